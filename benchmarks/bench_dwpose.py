"""DWPose in tpbench beside a plain loop of rtmlib, on networks of the real sizes.

    python -m benchmarks.bench_dwpose [--quick] [--every 1,8] [--against CHECKOUT]

The networks are stand-ins of the sizes of YOLOX-l and DWPose-l (`real_size.py`), so times are those
of the real files; the pictures show one person who sways. rtmlib runs one picture after the other
on all cores, as it comes. Ours runs as in two workers: two processes of one thread, each with a
video. What a side takes to start is measured on a video of a few frames, and left out.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.real_size import save_networks, write_figures
from benchmarks.sides import (
    CHECKOUT,
    Spent,
    checkout_argument,
    print_table,
    rate,
    run_together,
    shown,
)

_PROCESSES: Final = 2
_FEW_FRAMES: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One way to find the skeletons."""

    name: str
    arguments: tuple[str, ...]
    """The first is the kind of loop."""
    n_processes: int = 1
    checkout: Path = CHECKOUT

    def run(self, folder: Path, video: Path) -> Spent:
        """Process a video in each process."""
        kind, *options = self.arguments
        command = ["once_dwpose.py", kind, str(folder), str(video), *options]
        return run_together([command] * self.n_processes, checkout=self.checkout)


def sides(everies: list[int], against: Path | None) -> list[Side]:
    """Return all sides, in the order of their turns."""
    found = [Side(name="rtmlib, 1 process", arguments=("rtmlib",))]
    if against is not None:
        found.append(
            Side(
                name="tpbench before",
                arguments=("ours",),
                n_processes=_PROCESSES,
                checkout=against,
            )
        )
    found += [
        Side(
            name=f"tpbench, person searched every {every} frames",
            arguments=("ours", "--every", f"{every}"),
            n_processes=_PROCESSES,
        )
        for every in everies
    ]
    return found


def main() -> None:
    """Make the networks, run the benchmark and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few minutes, rougher figures")
    parser.add_argument("--frames", type=int, help="default 64; quick: 16")
    parser.add_argument("--every", default="1,8", help="frames between two searches")
    parser.add_argument("--against", type=checkout_argument, metavar="CHECKOUT")
    options = parser.parse_args()
    n_frames = options.frames or (16 if options.quick else 64)
    with tempfile.TemporaryDirectory(prefix="tpbench-bench-") as made:
        folder = Path(made)
        detector, pose = save_networks(folder)
        print(f"person detector: {detector}; pose network: {pose}; {n_frames} frames a process\n")
        write_figures(folder / "few.mkv", _FEW_FRAMES)
        write_figures(folder / "all.mkv", n_frames)
        rows, places = [], {}
        for side in sides([int(every) for every in options.every.split(",")], options.against):
            start = side.run(folder, folder / "few.mkv")
            spent = side.run(folder, folder / "all.mkv")
            rows.append(row(side, spent, start, n_frames))
            places[side.name] = np.array(spent.said[0]["places"])
        print_table(
            ["side", "frames/s", "CPU ms/frame", "persons searched", "poses", "calls"], rows
        )
        first = next(iter(places.values()))
        apart = max(float(np.abs(place - first).max()) for place in places.values())
        print(f"mean place of the points: at most {apart:.2f} px apart\n")


def row(side: Side, spent: Spent, start: Spent, n_frames: int) -> list[str]:
    """Return the cells of a side; images and calls are those per frame."""
    found = rate(spent, start, side.n_processes * (n_frames - _FEW_FRAMES))
    said = spent.said[0]
    return [
        side.name,
        shown(found.frames_per_s, "{:.2f}"),
        shown(found.cpu_ms, "{:,.0f}"),
        *(f"{said['images'].get(name, 0) / n_frames:.2f}" for name in ("detector", "pose")),
        f"{sum(said['calls'].values()) / n_frames:.2f}",
    ]


if __name__ == "__main__":
    main()
