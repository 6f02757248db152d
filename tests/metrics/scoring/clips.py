"""Made-up clips without loss, and short ways to have them scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tpbench.metrics.registry import Protocol
from tpbench.metrics.registry import protocol as protocol_named
from tpbench.metrics.scoring.clip_pass import FACTORY
from tpbench.metrics.scoring.pairing import Pairing, pair_up, real_clips, videos_below
from tpbench.metrics.scoring.policies import Policies
from tpbench.metrics.scoring.report import ScoreReport
from tpbench.metrics.scoring.request import ScoringSetting
from tpbench.metrics.scoring.run import score_pairs
from tpbench.work import ProgressListener

Images = NDArray[np.uint8]
"""(n, height, width, 3) RGB."""

REAL = {"kind": "folder", "name": "real", "digest": None, "split": None}

STRICT = Policies(length="fail", resize="fail", rate="fail")
"""The policies of tpbench-v2."""

PIXEL_METRICS = ("psnr", "identical_share", "ssim", "l1", "tje_d2", "motion_ratio")
"""What needs neither network nor detector."""


def pictures(n: int, *, size_px: tuple[int, int] = (64, 48), seed: int = 0) -> Images:
    """Return n pictures of a wandering pattern: coarse blocks with noise on them."""
    draw = np.random.default_rng(seed)
    width_px, height_px = size_px
    coarse = draw.integers(20, 200, (-(-height_px // 8), -(-(width_px + 2 * n) // 8), 3))
    wall = coarse.repeat(8, axis=0).repeat(8, axis=1)[:height_px]
    views = np.stack([wall[:, 2 * at : 2 * at + width_px] for at in range(n)])
    return (views + draw.integers(0, 40, views.shape)).astype(np.uint8)


def worse(images: Images, *, by: int = 12, seed: int = 1) -> Images:
    """Return the pictures with noise of up to `by` levels."""
    noise = np.random.default_rng(seed).integers(-by, by + 1, images.shape)
    noisy: Images = np.clip(images + noise, 0, 255).astype(np.uint8)
    return noisy


def write_video(path: Path, images: Images, *, fps: int = 25) -> Path:
    """Write pictures as they are: raw video loses nothing and costs no time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as output:
        stream = output.add_stream("rawvideo", rate=Fraction(fps))
        stream.height, stream.width = images.shape[1:3]
        stream.pix_fmt = "bgr24"
        stream.codec_context.thread_count = 1
        for image in images:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def write_pictures(folder: Path, images: Images, *, first: int = 0) -> Path:
    """Write pictures as numbered PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images, start=first):
        Image.fromarray(image).save(folder / f"frame_{number:04d}.png")
    return folder


def write_set(
    folder: Path, clips: Mapping[str, Images], *, ending: str = ".avi", fps: int = 25
) -> Path:
    """Write clips by name; an empty ending makes folders of pictures."""
    for name, images in clips.items():
        if ending:
            write_video(folder / f"{name}{ending}", images, fps=fps)
        else:
            write_pictures(folder / name, images)
    return folder


def some_clips(
    lengths: Sequence[int], *, size_px: tuple[int, int] = (64, 48)
) -> tuple[dict[str, Images], dict[str, Images]]:
    """Return real clips of these lengths by name, and worse ones."""
    real = {f"clip{at}": pictures(n, size_px=size_px, seed=10 + at) for at, n in enumerate(lengths)}
    generated = {
        name: worse(images, by=8 + 4 * at, seed=50 + at)
        for at, (name, images) in enumerate(real.items())
    }
    return real, generated


def pairing_of(real: Path, generated: Path) -> Pairing:
    """Match two folders."""
    return pair_up(real_clips(real), videos_below(generated))


def custom(*metrics: str, protocol: str = "tpbench-v2") -> Protocol:
    """Return a protocol narrowed to some metrics."""
    return protocol_named(protocol).with_metrics(metrics)


def scored(
    pairing: Pairing,
    out: Path,
    *metrics: str,
    workers: int = 1,
    policies: Policies = STRICT,
    strict: bool = False,
    factory: str = FACTORY,
    retry_failed: bool = False,
    on_progress: ProgressListener | None = None,
) -> ScoreReport:
    """Score pairs in this process, unless told otherwise."""
    setting = ScoringSetting(
        protocol=custom(*metrics),
        policies=policies,
        device="cpu",
        workers=workers,
        offline=True,
        strict=strict,
        factory=factory,
        retry_failed=retry_failed,
    )
    return score_pairs(pairing, out=out, setting=setting, real=REAL, on_progress=on_progress)
