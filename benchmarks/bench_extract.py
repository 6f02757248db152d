"""Extraction beside the loop a user would write: kept videos, and a mix of which most is rejected.

    python -m benchmarks.bench_extract [--quick] [--against CHECKOUT] [VIDEO...]

The plain loop decodes with OpenCV and runs MediaPipe's face detector, hand landmarker and pose
landmarker on every frame; it writes nothing. It is measured as one process, and as two that share
the videos; "the plain loop" in ratios is the faster form. Ours is `tpbench extract --skeleton
mediapipe` with two workers, which writes the dataset. All sides work in turn on the same files,
each in processes of its own; what their start takes is measured on videos of a few frames, stated,
and left out of the rates.

`--against` adds the tpbench of another checkout, such as the commit before, as a further side:

    git worktree add ../before HEAD~1
    python -m benchmarks.bench_extract --against ../before
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.material import Talks, sample_talks, write_kept, write_mix
from benchmarks.mediapipe_bundles import hand_bundle, pose_bundle
from benchmarks.sides import (
    CHECKOUT,
    Rate,
    Spent,
    checkout_argument,
    commit_of,
    print_table,
    rate,
    run_together,
    shown,
)
from tpbench.detectors.lite import model_bytes

_PROCESSES: Final = 2
_START_FRAMES: Final = 8
_ONE_WORKER: Final = "tpbench, 1 worker"
_OURS: Final = f"tpbench, {_PROCESSES} workers"
_BEFORE: Final = f"tpbench before, {_PROCESSES} workers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Where everything lies that the sides need."""

    folder: Path
    preset: str
    against: Path | None
    one_worker: bool
    """Whether one worker is measured, too."""

    @property
    def sides(self) -> list[str]:
        """Names of all sides, in the order of their turns."""
        sides = ["plain loop, 1 process", f"plain loop, {_PROCESSES} processes"]
        sides += [_ONE_WORKER] if self.one_worker else []
        return [*sides, _OURS, *([_BEFORE] if self.against else [])]

    def run(self, side: str, videos: Path) -> Spent:
        """Let one side process a folder of videos."""
        if side.startswith("tpbench"):
            checkout = self.against if side == _BEFORE else CHECKOUT
            assert checkout is not None
            return self._extract(videos, checkout, 1 if side == _ONE_WORKER else _PROCESSES)
        n_processes = 1 if side.endswith("1 process") else _PROCESSES
        files = [str(path) for path in sorted(videos.iterdir())]
        shares = [files[at::n_processes] for at in range(n_processes)]
        models = str(self.folder / "models")
        return run_together([["once_plain.py", models, *share] for share in shares])

    def _extract(self, videos: Path, checkout: Path, workers: int) -> Spent:
        with tempfile.TemporaryDirectory(dir=self.folder) as out:
            command = ["once_extract.py", str(videos), str(Path(out) / "dataset")]
            options = ["--workers", f"{workers}", "--preset", self.preset]
            spent = run_together([[*command, *options]], checkout=checkout)
        package = Path(spent.said[0]["package"])
        assert package == checkout / "tpbench", f"measured {package}, not that of {checkout}"
        assert not spent.said[0]["failed"], f"{videos}: some could not be read"
        assert "source.duplicate" not in spent.said[0]["codes"], f"{videos}: some are the same"
        return spent


def save_models(folder: Path) -> None:
    """Write the model files that the plain loop opens."""
    folder.mkdir()
    (folder / "face.tflite").write_bytes(model_bytes("mediapipe-face-detector", offline=False))
    (folder / "hand.task").write_bytes(hand_bundle(offline=False))
    (folder / "pose.task").write_bytes(pose_bundle(offline=False))


def measure(bench: Bench, name: str, videos: Path, n_frames: int, *, rounds: int) -> None:
    """Measure all sides in turn on one folder of videos, and print what they took."""
    starts = {side: bench.run(side, bench.folder / "start") for side in bench.sides}
    taken: dict[str, list[Rate]] = {side: [] for side in bench.sides}
    last: dict[str, Spent] = {}
    few = _PROCESSES * _START_FRAMES
    for _ in range(rounds):
        for side in bench.sides:
            last[side] = bench.run(side, videos)
            taken[side].append(rate(last[side], starts[side], n_frames - few))
    speed = {side: median([one.frames_per_s for one in rates]) for side, rates in taken.items()}
    cost = {side: median([one.cpu_ms for one in rates]) for side, rates in taken.items()}
    loops = [side for side in bench.sides if side.startswith("plain")]
    plain = max(loops, key=lambda side: 0.0 if math.isnan(speed[side]) else speed[side])
    print(f"{name}: {len(list(videos.iterdir()))} videos, {n_frames:,} frames, {rounds} rounds")
    print_table(
        ["side", "frames/s", "ratio", "CPU ms/frame", "ratio", "start, s"],
        [
            [
                f"{side} *" if side == plain else side,
                shown(speed[side], "{:.1f}"),
                shown(speed[side] / speed[plain], "{:.2f}x"),
                shown(cost[side], "{:.1f}"),
                shown(cost[side] / cost[plain], "{:.2f}x"),
                f"{starts[side].wall_s:.1f}",
            ]
            for side in bench.sides
        ],
    )
    print("* its faster form: ratios are to this one")
    for side in bench.sides:
        if side.startswith("tpbench"):
            print(found(side, last[side]))
    if bench.against:
        compare(taken, last)
    print(flush=True)


def compare(taken: dict[str, list[Rate]], last: dict[str, Spent]) -> None:
    """Print how the two checkouts differ, in speed and in what they kept."""
    ratios = [
        now.frames_per_s / before.frames_per_s
        for now, before in zip(taken[_OURS], taken[_BEFORE], strict=True)
    ]
    cpu_ms = [median([one.cpu_ms for one in taken[side]]) for side in (_BEFORE, _OURS)]
    print(
        f"now against before: {median(ratios):.2f}x the frames/s (round by round: "
        f"{', '.join(f'{ratio:.2f}' for ratio in ratios)}), CPU {cpu_ms[0] / cpu_ms[1]:.2f}x less"
    )
    one, other = (last[side].said[0] for side in (_OURS, _BEFORE))
    same = all(one[name] == other[name] for name in ("kept_sources", "kept_frames", "codes"))
    print(f"kept videos, kept frames and reject codes: {'the same' if same else 'NOT the same'}")


def found(side: str, spent: Spent) -> str:
    """Return what an extraction kept, and the share of each stage."""
    said = spent.said[0]
    total = sum(said["stage_s"].values())
    shares = ", ".join(f"{stage} {s / total:.0%}" for stage, s in said["stage_s"].items())
    kept, rejected = said["kept"], said["rejected"]
    codes = ", ".join(f"{code} {count}" for code, count in said["codes"].items())
    return (
        f"{side}: {kept} clips of {said['kept_frames']:,} frames kept, {rejected} stretches "
        f"rejected{f' ({codes})' if codes else ''}; stages: {shares}"
    )


def median(values: list[float]) -> float:
    """Return the median of what was measured; NaN where nothing was."""
    measured = [value for value in values if not math.isnan(value)]
    return statistics.median(measured) if measured else math.nan


def main() -> None:
    """Make the videos, run the benchmark and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("videos", nargs="*", type=Path, help="talks that are kept")
    parser.add_argument("--quick", action="store_true", help="a minute or two, rougher figures")
    parser.add_argument("--only", choices=["kept", "mix"], help="one of the two parts")
    parser.add_argument("--rounds", type=int, help="default 3; quick: 1")
    parser.add_argument(
        "--against", type=checkout_argument, metavar="CHECKOUT", help="of another commit"
    )
    options = parser.parse_args()
    talks = sample_talks(options.videos)
    rounds = options.rounds or (1 if options.quick else 3)
    with tempfile.TemporaryDirectory(prefix="tpbench-bench-") as made:
        folder = Path(made)
        save_models(folder / "models")
        start(folder / "start", talks)
        bench = Bench(
            folder=folder,
            preset=talks.preset,
            against=options.against,
            one_worker=not options.quick,
        )
        print(f"preset {talks.preset}, skeleton mediapipe", flush=True)
        if options.against:
            print(f"before: commit {commit_of(options.against)}", flush=True)
        print(flush=True)
        if options.only != "mix":
            videos = folder / "kept"
            videos.mkdir()
            count, length = (4, 120) if options.quick else (8, 300)
            n_frames = write_kept(videos, talks, count=count, n_frames=length)
            measure(bench, "Kept material", videos, n_frames, rounds=rounds)
        if options.only != "kept":
            videos = folder / "mix"
            videos.mkdir()
            fives, length = (2, 120) if options.quick else (5, 300)
            n_frames = write_mix(videos, talks, fives=fives, n_frames=length)
            measure(bench, "Four of five rejected", videos, n_frames, rounds=rounds)


def start(folder: Path, talks: Talks) -> None:
    """Write the videos of a few frames that a start is measured on, one for each process."""
    folder.mkdir()
    write_kept(folder, talks, count=_PROCESSES, n_frames=_START_FRAMES)


if __name__ == "__main__":
    main()
