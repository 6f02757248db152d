"""Time a frame of the pixel metrics, on one core, beside the libraries they equal.

    python benchmarks/bench_metrics_pixel.py [--real VIDEO --generated VIDEO] [--frames 120]

Both ways read the same files and start from nothing: ours decodes both videos once and takes PSNR,
SSIM, TJE, motion ratio, colours, sharpness and lag curves in one pass; the other way is
scikit-image's SSIM (the same variant) and PSNR, and then the official TJE arithmetic, which decodes
again. Prints both, round by round in turn, then each metric alone on decoded frames.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from scipy.ndimage import laplace
from skimage.color import rgb2lab
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from tpbench.metrics.colour import Colour, lab_statistics
from tpbench.metrics.frame_mean import FrameMean
from tpbench.metrics.l1 import mean_absolute_error
from tpbench.metrics.lag import LagCosines, unit_thumbnail
from tpbench.metrics.motion import Motion
from tpbench.metrics.psnr import Psnr, psnr
from tpbench.metrics.sharpness import Sharpness, laplacian_variance
from tpbench.metrics.ssim import disco_ssim, ssim
from tpbench.metrics.tje import Tje, jitter_error
from tpbench.video import read_frames

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Picture = NDArray[np.uint8]

SAMPLES = Path(__file__).resolve().parents[2] / "shared" / "data" / "talkingpose_samples"
DELTA = 2


def opencv_frames(path: Path, n_frames: int) -> Iterator[Picture]:
    """Decode as the scripts of the field do: (H, W, 3) uint8 BGR."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    for _ in range(n_frames):
        found, image = capture.read()
        if not found:
            return
        yield image


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


def one_after_the_other(real: Path, generated: Path, n_frames: int) -> tuple[float, float, float]:
    """PSNR and SSIM by scikit-image, then TJE with frames decoded again."""
    psnrs, ssims = [], []
    frames = zip(opencv_frames(real, n_frames), opencv_frames(generated, n_frames), strict=False)
    for pair in frames:
        ssims.append(skimage_ssim(*pair))
        psnrs.append(peak_signal_noise_ratio(*pair, data_range=255))
    buffer: deque[tuple[Picture, Picture]] = deque(maxlen=DELTA + 1)
    terms = []
    frames = zip(opencv_frames(real, n_frames), opencv_frames(generated, n_frames), strict=False)
    for pair in frames:
        buffer.append(pair)
        if len(buffer) == DELTA + 1:
            changes = [
                cv2.absdiff(now, before) for now, before in zip(pair, buffer[0], strict=True)
            ]
            terms.append(sum(cv2.mean(cv2.absdiff(*changes))[:3]) / 3)
    return float(np.mean(psnrs)), float(np.mean(ssims)), float(np.mean(terms))


def one_pass(real: Path, generated: Path, n_frames: int) -> tuple[float, float, float]:
    """Everything of ours in one pass."""
    psnrs, ssims, tje = Psnr(), FrameMean(ssim), Tje(DELTA)
    motion, colour, sharpness = Motion(1), Colour(), Sharpness()
    lags = [LagCosines(), LagCosines()]
    videos = (read_frames(path, end_frame=n_frames) for path in (real, generated))
    for frames in zip(*videos, strict=True):
        images = [frame.image for frame in frames]
        for metric in (psnrs, ssims, tje, motion, colour, sharpness):
            metric.update(*images)
        for lag, image in zip(lags, images, strict=True):
            lag.update(image)
    return psnrs.compute().psnr_db, ssims.compute(), tje.compute()


def ms_per_call(call: Callable[[], object], rounds: int) -> float:
    """Return the median of a few calls, after one to warm up."""
    call()
    spent_s = []
    for _ in range(rounds):
        began_s = time.perf_counter()
        call()
        spent_s.append(time.perf_counter() - began_s)
    return 1000 * statistics.median(spent_s)


def compare_passes(real: Path, generated: Path, *, n_frames: int, rounds: int) -> None:
    """Print both ways in turn."""
    print(f"{real.name} and {generated.name}, {n_frames} frames, decoding included, one core")
    ratios = []
    for way in (one_after_the_other, one_pass):
        way(real, generated, DELTA + 2)  # so that imports on first use are in neither time
    for round_number in range(rounds):
        ms, values = [], []
        for way in (one_after_the_other, one_pass):
            began_s = time.perf_counter()
            values.append(way(real, generated, n_frames))
            ms.append(1000 * (time.perf_counter() - began_s) / n_frames)
        np.testing.assert_allclose(values[0], values[1], rtol=0, atol=1e-5)
        ratios.append(ms[0] / ms[1])
        print(
            f"  round {round_number + 1}: one after the other {ms[0]:6.1f} ms a frame, "
            f"one pass {ms[1]:5.1f} ms, {ratios[-1]:.1f} times faster"
        )
    print(f"  median {statistics.median(ratios):.1f} times faster; equal values to 1e-5")


def compare_metrics(real: Path, generated: Path, *, rounds: int) -> None:
    """Print each metric alone beside its reference, on decoded frames."""
    frames = itertools.islice(
        zip(read_frames(real, end_frame=2), read_frames(generated, end_frame=2), strict=True), 2
    )
    (real_before, generated_before), (a, b) = ((pair[0].image, pair[1].image) for pair in frames)
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
    print(f"\nalone on one frame or pair, {width_px} x {height_px}: ours, reference, ratio")
    for name, (ours, reference) in table.items():
        ms = ms_per_call(ours, rounds), ms_per_call(reference, rounds)
        print(f"  {name:10} {ms[0]:7.2f} ms {ms[1]:8.2f} ms {ms[1] / ms[0]:6.1f}")


def main() -> None:
    """Parse the command line, keep to one core, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--real", type=Path, default=SAMPLES / "vid1.mp4")
    parser.add_argument("--generated", type=Path, default=SAMPLES / "vid3.mp4")
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    real, generated = arguments.real, arguments.generated
    compare_passes(real, generated, n_frames=arguments.frames, rounds=arguments.rounds)
    compare_metrics(real, generated, rounds=3 * arguments.rounds)


if __name__ == "__main__":
    main()
