"""What is measured frame by frame: each meter turns pairs of frames into columns."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tpbench.metrics.appearance import colour_shift, lab_statistics, laplacian_variance
from tpbench.metrics.motion import LAGS, EarlierPairs, LagCosines, frame_motion, jitter_error
from tpbench.metrics.pixels import (
    CAP_DB,
    capped,
    disco_l1,
    disco_ssim,
    mean_absolute_error,
    psnr,
    ssim,
)
from tpbench.metrics.pose import (
    Box,
    face_box,
    hand_box,
    pose_statistics,
    region_crop,
    region_scores,
)
from tpbench.metrics.scoring.meter_table import METERS, POSE_PARTS, POSE_SUMS, REGIONS
from tpbench.metrics.scoring.tools import (
    ClipSetting,
    ColumnMeter,
    FrameChunk,
    SkeletonFinder,
    frame_meter,
)


def psnr_meter(_: ClipSetting) -> ColumnMeter:
    """Return the meter of PSNR, capped, and of whether frames are identical (1) or not (0)."""

    def values(real: NDArray[np.uint8], generated: NDArray[np.uint8]) -> tuple[float, float]:
        value = psnr(real, generated)
        return capped(value), float(math.isinf(value))

    return frame_meter(["psnr", "identical"], values)


def ssim_meter(_: ClipSetting) -> ColumnMeter:
    """Return the meter of `ssim`."""
    return _one("ssim", ssim)


def l1_meter(_: ClipSetting) -> ColumnMeter:
    """Return the meter of `l1`."""
    return _one("l1", mean_absolute_error)


def disco_psnr_meter(_: ClipSetting) -> ColumnMeter:
    """Return the meter of PSNR in dB as DisCo's script has it: 100 for identical frames only."""

    def value(real: NDArray[np.uint8], generated: NDArray[np.uint8]) -> float:
        found = psnr(real, generated)
        return CAP_DB if math.isinf(found) else found

    return _one("disco_psnr", value)


def disco_ssim_meter(_: ClipSetting) -> ColumnMeter:
    """Return the meter of `disco_ssim`."""
    return _one("disco_ssim", disco_ssim)


def disco_l1_meter(_: ClipSetting) -> ColumnMeter:
    """Return the meter of `disco_l1`."""
    return _one("disco_l1", disco_l1)


def _one(
    name: str, function: Callable[[NDArray[np.uint8], NDArray[np.uint8]], float]
) -> ColumnMeter:
    return frame_meter([name], lambda real, generated: (function(real, generated),))


def tje_d1_meter(_: ClipSetting) -> ColumnMeter:
    """Return the meter of `tje_d1`."""
    return _tje_meter(1)


def tje_d2_meter(_: ClipSetting) -> ColumnMeter:
    """Return the meter of `tje_d2`."""
    return _tje_meter(2)


def tje_d5_meter(_: ClipSetting) -> ColumnMeter:
    """Return the meter of `tje_d5`."""
    return _tje_meter(5)


def motion_meter(_: ClipSetting) -> ColumnMeter:
    """Return the meter of either clip's motion since the frame before."""
    earlier = EarlierPairs(1)

    def values(real: NDArray[np.uint8], generated: NDArray[np.uint8]) -> tuple[float, float]:
        if (before := earlier.before(real, generated)) is None:
            return math.nan, math.nan
        return frame_motion(real, before[0]), frame_motion(generated, before[1])

    return frame_meter(["motion_real", "motion_generated"], values)


def lag_meter(_: ClipSetting) -> ColumnMeter:
    """Return the meter of the cosine of each clip's frame to its own frames some lags before."""
    of_real, of_generated = LagCosines(), LagCosines()
    return frame_meter(
        [f"lag_{side}_{lag}" for side in ("real", "generated") for lag in LAGS],
        lambda real, generated: (*of_real.update(real), *of_generated.update(generated)),
    )


def _tje_meter(delta: int) -> ColumnMeter:
    """Terms of TJE, each on the later of its two frames; the first `delta` frames have none."""
    earlier = EarlierPairs(delta)

    def term(real: NDArray[np.uint8], generated: NDArray[np.uint8]) -> tuple[float]:
        if (before := earlier.before(real, generated)) is None:
            return (math.nan,)
        return (jitter_error(real, before[0], generated, before[1]),)

    return frame_meter([f"tje_d{delta}"], term)


def colour_meter(_: ClipSetting) -> ColumnMeter:
    """Return the meter of the shift of mean and spread of L*, a*, b*, and of `delta_e`."""

    def values(real: NDArray[np.uint8], generated: NDArray[np.uint8]) -> tuple[float, ...]:
        shift = colour_shift(lab_statistics(real), lab_statistics(generated))
        return *shift.mean, *shift.spread, shift.delta_e

    names = [f"colour_{kind}_{axis}" for kind in ("shift", "spread") for axis in "lab"]
    return frame_meter([*names, "colour_delta_e"], values)


def sharpness_meter(_: ClipSetting) -> ColumnMeter:
    """Return the meter of the variance of the Laplacian of either frame."""
    return frame_meter(
        ["sharpness_real", "sharpness_generated"],
        lambda real, generated: (laplacian_variance(real), laplacian_variance(generated)),
    )


def pose_meter(setting: ClipSetting) -> ColumnMeter:
    """Return the meter of each part's sums, from which AKD, PCK and missing rates are made."""
    finder = SkeletonFinder(setting.toolbox.suite("generated"), setting.fps)

    def rows(chunk: FrameChunk) -> Iterator[Sequence[float]]:
        real = chunk.real_skeletons()
        found = finder.find(chunk.generated)
        for at, image in enumerate(chunk.real):
            parts = pose_statistics(
                real.keypoints[at],
                real.scores[at],
                found.keypoints[at],
                found.scores[at],
                width_px=image.shape[1],
                height_px=image.shape[0],
            )
            yield [
                float(getattr(getattr(parts, part), name))
                for part in POSE_PARTS
                for name in POSE_SUMS
            ]

    return ColumnMeter(METERS["pose"].columns, rows)


def region_meter(_: ClipSetting) -> ColumnMeter:
    """Return the meter of PSNR (capped) and SSIM inside the boxes; NaN on frames without one."""

    def rows(chunk: FrameChunk) -> Iterator[Sequence[float]]:
        for at, boxes in enumerate(_boxes(chunk)):
            values: list[float] = []
            for box in boxes:
                if box is None:
                    values += [math.nan, math.nan]
                else:
                    found = region_scores(chunk.real[at], chunk.generated[at], box)
                    values += [capped(found.psnr_db), found.ssim]
            yield values

    return ColumnMeter(METERS["regions"].columns, rows)


def region_lpips_meter(setting: ClipSetting) -> ColumnMeter:
    """Return the meter of LPIPS of the boxes, brought to one size; NaN on frames without one."""
    network = setting.toolbox.lpips("alex", "signed")

    def rows(chunk: FrameChunk) -> NDArray[np.float64]:
        boxes = _boxes(chunk)
        found = [(at, to, box) for at, row in enumerate(boxes) for to, box in enumerate(row) if box]
        values = np.full((len(boxes), len(REGIONS)), np.nan)
        if found:
            real, generated = (
                np.stack([region_crop(side[at], box) for at, _, box in found])
                for side in (chunk.real, chunk.generated)
            )
            frames, regions = [at for at, _, _ in found], [to for _, to, _ in found]
            values[frames, regions] = network.distances(real, generated)
        return values

    return ColumnMeter(METERS["region_lpips"].columns, rows)


def _boxes(chunk: FrameChunk) -> list[tuple[Box | None, Box | None, Box | None]]:
    """Return face, left and right hand of each frame, where the real skeleton has them."""
    pose = chunk.real_skeletons()
    boxes = []
    for at, image in enumerate(chunk.real):
        height_px, width_px = image.shape[:2]
        size = {"width_px": width_px, "height_px": height_px}
        points, scores = pose.keypoints[at], pose.scores[at]
        boxes.append(
            (
                face_box(points, scores, **size),
                hand_box(points, scores, side="left", **size),
                hand_box(points, scores, side="right", **size),
            )
        )
    return boxes
