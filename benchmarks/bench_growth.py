"""How the cost of an extraction grows: with the length of a video, its size, the number of videos.

    python -m benchmarks.bench_growth [--quick] [--only length|size|number]

Every row is one run of `tpbench extract --skeleton mediapipe` in processes of its own: one worker
for one video, two for many. Processor time is that of all processes, their start included, which is
why the first row of a part is the dearest per frame. Memory is the peak of the driver and of the
largest worker; it should not grow.

Length: a sample talk, played on from its start at its end. Size: ten seconds of it in wide
pictures. Number: the same second of a talk under many names, each with bytes of its own; all are
rejected as too short, so this is what a video costs besides its frames.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from benchmarks.material import Picture, Reel, Talks, sample_talks, write_video
from benchmarks.sides import Spent, print_table, run_together

_HEADS: Final = [
    "frames", "kept", "wall, s", "CPU ms/frame", "driver, MB", "worker, MB",
]  # fmt: skip
_SIZES_PX: Final = {
    "360p": (640, 360),
    "720p": (1280, 720),
    "1080p": (1920, 1080),
    "4K": (3840, 2160),
}


def extract(videos: Path, preset: str, *, workers: int) -> Spent:
    """Extract a folder of videos into a new dataset."""
    with tempfile.TemporaryDirectory(prefix="tpbench-bench-") as out:
        command = ["once_extract.py", str(videos), str(Path(out) / "dataset")]
        return run_together([[*command, "--workers", f"{workers}", "--preset", preset]])


def cells(spent: Spent) -> list[str]:
    """Return what a run took, under `_HEADS`."""
    said = spent.said[0]
    return [
        f"{said['frames']:,}",
        f"{said['kept']}",
        f"{spent.wall_s:.1f}",
        f"{1000 * spent.cpu_s / said['frames']:.1f}",
        f"{spent.own_mb:,.0f}",
        f"{spent.below_mb:,.0f}",
    ]


def by_length(folder: Path, talks: Talks, minutes: list[float]) -> None:
    """Print the cost of videos of these lengths."""
    rows = []
    for length in minutes:
        videos = new_folder(folder, f"length-{length}")
        reel = Reel(talks.videos[-1])
        n_frames = round(60 * length * reel.fps)
        write_video(videos / "talk.mp4", reel.take(n_frames), reel.fps)
        rows.append([f"{length:g}", *cells(extract(videos, talks.preset, workers=1))])
    print("By length of the video, one worker")
    print_table(["minutes", *_HEADS], rows)


def by_size(folder: Path, talks: Talks, sizes: list[str], n_frames: int) -> None:
    """Print the cost of videos of these sizes."""
    rows = []
    for size in sizes:
        videos = new_folder(folder, f"size-{size}")
        reel = Reel(talks.videos[-1])
        write_video(videos / "talk.mp4", widened(reel.take(n_frames), _SIZES_PX[size]), reel.fps)
        rows.append([size, *cells(extract(videos, talks.preset, workers=1))])
    print("By size of the video, one worker")
    print_table(["size", *_HEADS], rows)


def widened(pictures: Iterator[Picture], size_px: tuple[int, int]) -> Iterator[Picture]:
    """Yield pictures of a wide size: the talk in the middle, before its own blurred background."""
    width_px, height_px = size_px
    for picture in pictures:
        small = cv2.blur(np.asarray(cv2.resize(picture, (64, 36)), np.uint8), (9, 9))
        wide = np.asarray(cv2.resize(small, size_px), np.uint8)
        left = (width_px - height_px) // 2
        wide[:, left : left + height_px] = cv2.resize(picture, (height_px, height_px))
        yield wide


def by_number(folder: Path, talks: Talks, counts: list[int]) -> None:
    """Print the cost of these numbers of short videos."""
    reel = Reel(talks.videos[-1])
    one = folder / "second.mp4"
    write_video(one, reel.take(round(reel.fps)), reel.fps)
    content, rows = one.read_bytes(), []
    for count in counts:
        videos = new_folder(folder, f"number-{count}")
        for number in range(count):
            # An empty box at the end of an MP4 is skipped by all readers.
            box = (16).to_bytes(4, "big") + b"free" + number.to_bytes(8, "big")
            (videos / f"talk-{number:04d}.mp4").write_bytes(content + box)
        spent = extract(videos, talks.preset, workers=2)
        per_video = f"{1000 * spent.cpu_s / count:.0f}"
        rows.append([f"{count:,}", per_video, *cells(spent)])
    print("By number of videos of a second, two workers")
    print_table(["videos", "CPU ms/video", *_HEADS], rows)
    spent_ms = [count * float(row[1]) for count, row in zip(counts, rows, strict=True)]
    for before, after in pairwise(range(len(counts))):
        more = counts[after] - counts[before]
        each_ms = (spent_ms[after] - spent_ms[before]) / more
        print(f"each of {more:,} videos more: {each_ms:.0f} ms of CPU")
    print()


def new_folder(folder: Path, name: str) -> Path:
    """Create a folder for the videos of a row."""
    made = folder / name
    made.mkdir()
    return made


def main() -> None:
    """Run the benchmark and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="shorter, smaller, fewer videos")
    parser.add_argument("--only", choices=["length", "size", "number"])
    options = parser.parse_args()
    talks, quick, only = sample_talks(), options.quick, options.only
    with tempfile.TemporaryDirectory(prefix="tpbench-bench-") as made:
        folder = Path(made)
        if only in {None, "length"}:
            by_length(folder, talks, [0.1, 0.4] if quick else [1, 4, 16])
        if only in {None, "size"}:
            sizes = ["360p", "1080p"] if quick else list(_SIZES_PX)
            by_size(folder, talks, sizes, 110 if quick else 230)
        if only in {None, "number"}:
            by_number(folder, talks, [4, 12] if quick else [10, 100, 1000])


if __name__ == "__main__":
    main()
