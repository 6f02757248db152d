"""Every fault, really done to a run over real videos, by engine: a table of what became of them.

`python -m benchmarks.faults [--faults WORD] [--engine local|ray] [--videos N]` cuts short videos
from the sample talks of ../shared (or the demo's), extracts them undisturbed, and then once with
each fault: two workers, MediaPipe's skeletons. One video kills its workers every time. After each
fault the command is started again, as a user would.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final

import yaml

from benchmarks.material import write_short
from tests.faults.disturbances import FAULTS, Fault, small_disk, why_not
from tests.faults.stage import Audit, Stage, audit
from tests.talks import short_settings
from tpbench.work import usable_cores

_FRAMES: Final = 60
"""Of a video: 2.4 s, and long enough to report progress in its middle."""
_OPTIONS: Final = {"local": (), "ray": ("--executor", "ray")}
_HEAD: Final = (
    "fault", "engine", "good videos done", "done twice", "quarantined", "redone after restart",
    "manifest equal", "s",
)  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", default="", help="only those whose names hold this word")
    parser.add_argument("--engine", choices=sorted(_OPTIONS), help="both if not given")
    parser.add_argument("--videos", type=int, default=60, help="with the one that kills workers")
    asked = parser.parse_args()
    print(f"{asked.videos} videos of {_FRAMES} frames, 2 workers, {usable_cores()} cores\n")
    print(f"| {' | '.join(_HEAD)} |\n|{' --- |' * len(_HEAD)}", flush=True)
    with tempfile.TemporaryDirectory(prefix="tpbench-faults-") as folder:
        root = Path(folder)
        names = _make_videos(root / "talks", asked.videos, n_frames=_FRAMES)
        undisturbed = _undisturbed(root, names)
        for engine in [asked.engine] if asked.engine else list(_OPTIONS):
            for fault in FAULTS.values():
                if asked.faults in fault.name and why_not(fault, engine) is None:
                    began_s = time.monotonic()
                    cells = _row(root, names, fault, engine, undisturbed)
                    cells = [fault.name, engine, *cells, f"{time.monotonic() - began_s:.0f}"]
                    print(f"| {' | '.join(cells)} |", flush=True)


def _row(
    root: Path, names: Sequence[str], fault: Fault, engine: str, undisturbed: Path
) -> list[str]:
    """Do a fault; return its cells of the table."""
    with ExitStack() as stack:
        stage = replace(make_stage(root / "stage", names, engine), unprivileged=fault.unprivileged)
        stack.callback(shutil.rmtree, stage.root, ignore_errors=True)
        link_videos(root / "talks", stage)
        if fault.disk_bytes is not None:
            disk = stack.enter_context(small_disk(stage.root / "disk", fault.disk_bytes))
            stage = replace(stage, out=disk / "dataset")
        stage.prepare()
        try:
            fault.act(stage)
            found = audit(stage, undisturbed)
        except AssertionError as error:
            return [" ".join(str(error).split()).replace("|", "/")[:300], *["-"] * 4]
    return _cells(stage, found)


def _cells(stage: Stage, found: Audit) -> list[str]:
    """Return what became of the videos, in words."""
    quarantined = [f"{len(found.quarantined)}: {error}" for error in found.quarantined.values()]
    return [
        f"{found.done} of {len(stage.good)}",
        str(len(found.twice)),
        "; ".join(quarantined) or "0",
        str(len(found.redone)),
        f"no: {found.differs[:120]}" if found.differs else "yes",
    ]


def _undisturbed(root: Path, names: Sequence[str]) -> Path:
    """Extract all videos but the poison, by local workers."""
    good = [name for name in names if not name.endswith("poison")]
    stage = make_stage(root / "undisturbed", good, "local")
    link_videos(root / "talks", stage)
    began_s = time.monotonic()
    code, said = stage.run()
    assert code == 0, said
    stage_s = time.monotonic() - began_s
    print(f"| none | local | {len(stage.done())} of {len(good)} | 0 | - | - | - | {stage_s:.0f} |")
    return stage.out


def make_stage(root: Path, names: Sequence[str], engine: str) -> Stage:
    """Return a stage for real videos in a new folder."""
    preset = root / "short.yaml"
    root.mkdir()
    settings = short_settings().model_dump(mode="json")
    preset.write_text(yaml.safe_dump(settings))
    options = ("--preset", str(preset), "--skeleton", "mediapipe", *_OPTIONS[engine])
    return Stage(root=root, out=root / "dataset", names=tuple(names), kind="real", options=options)


def link_videos(videos: Path, stage: Stage) -> None:
    """Give a stage its videos: same bytes, same times."""
    stage.talks.mkdir()
    for name in stage.names:
        os.link(videos / f"{name}.mp4", stage.talks / f"{name}.mp4")
    (stage.root / "log").touch()


def _make_videos(folder: Path, count: int, *, n_frames: int) -> list[str]:
    """Write short videos; return their names, of which the one in the middle kills its workers."""
    names = [f"talk{number:03d}" for number in range(count)]
    names[count // 2] += "-poison"
    write_short(folder, names, n_frames=n_frames)
    return names


if __name__ == "__main__":
    main()
