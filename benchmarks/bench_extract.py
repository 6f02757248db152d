"""Throughput of `tpbench extract`: one worker against two, whole runs, in turn.

    make bench

Sources are cut from the videos given (default: the sample talks in ../shared, else the demo's
talking man), so that there is enough work to share out. Prints wall time, frames a second, the
share of each stage, and the ratio pair by pair.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import tpbench
from tpbench.doctor import demo_clips
from tpbench.video import PREVIEW, VideoWriter, probe, read_frames

if TYPE_CHECKING:
    from tpbench.dataset import RunStats

SOURCE_FRAMES = 150


def cut_sources(videos: list[Path], folder: Path, *, count: int) -> int:
    """Write `count` videos of `SOURCE_FRAMES` frames; return the frames in all."""
    total = 0
    for number in range(count):
        video = videos[number % len(videos)]
        info = probe(video)
        length = min(SOURCE_FRAMES, info.frame_count)
        start = (number // len(videos)) * length % max(1, info.frame_count - length + 1)
        width_px, height_px = info.width_px // 2 * 2, info.height_px // 2 * 2
        with VideoWriter(
            folder / f"{number:02d}-{video.stem}.mp4",
            width_px=width_px,
            height_px=height_px,
            fps=info.fps,
            encoding=PREVIEW,
        ) as writer:
            for frame in read_frames(video, info=info, start_frame=start, end_frame=start + length):
                writer.write(frame.image[:height_px, :width_px])
        total += length
    return total


def one_run(sources: Path, preset: str, *, workers: int) -> tuple[float, RunStats]:
    """Extract into a new folder; return wall seconds and what the run says of itself."""
    with tempfile.TemporaryDirectory(prefix="tpbench-bench-") as out:
        began_s = time.perf_counter()
        dataset = tpbench.extract(
            [sources], Path(out) / "dataset", preset=preset, skeleton="mediapipe", workers=workers
        )
        wall_s = time.perf_counter() - began_s
    assert dataset.info.run is not None
    return wall_s, dataset.info.run


def main() -> None:
    """Run the benchmark and print it."""
    shared = Path(__file__).resolve().parents[2] / "shared" / "data" / "talkingpose_samples"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("videos", nargs="*", type=Path)
    parser.add_argument("--sources", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    talks = sorted(shared.glob("vid*.mp4"))
    videos: list[Path] = options.videos or talks or demo_clips()[:1]
    preset = "talkingpose" if options.videos or talks else "demo"
    with tempfile.TemporaryDirectory(prefix="tpbench-bench-") as folder:
        frames = cut_sources(videos, Path(folder), count=options.sources)
        print(f"{options.sources} sources, {frames} frames, preset {preset}, skeleton mediapipe")
        ratios = []
        for number in range(options.rounds):
            one_s, one = one_run(Path(folder), preset, workers=1)
            two_s, _ = one_run(Path(folder), preset, workers=2)
            ratios.append(one_s / two_s)
            print(
                f"round {number + 1}: 1 worker {one_s:.1f} s ({frames / one_s:.1f} frames/s), "
                f"2 workers {two_s:.1f} s ({frames / two_s:.1f} frames/s), x{ratios[-1]:.2f}"
            )
            if number == 0:
                busy_s = sum(one.stage_s.values())
                shares = ", ".join(f"{k} {v / busy_s:.0%}" for k, v in one.stage_s.items())
                print(f"stages, 1 worker: {shares}; {busy_s:.1f} s in all")
        print(f"median ratio x{statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
