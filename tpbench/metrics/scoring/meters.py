"""What is measured frame by frame: each meter turns pairs of frames into columns."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

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
from tpbench.metrics.scoring.tools import ClipSetting, Columns, FrameChunk, SkeletonFinder

if TYPE_CHECKING:
    from tpbench.metrics.lpips_distance import LpipsDistance


class PsnrMeter:
    """PSNR of each pair of frames, capped, and whether they are identical (1) or not (0)."""

    def __init__(self) -> None:
        self._columns = Columns(["psnr", "identical"])

    def update(self, chunk: FrameChunk) -> None:
        """See `Meter.update`."""
        for real, generated in zip(chunk.real, chunk.generated, strict=True):
            value = psnr(real, generated)
            self._columns.append(capped(value), float(math.isinf(value)))

    def finish(self) -> dict[str, NDArray[np.float64]]:
        """See `Meter.finish`."""
        return self._columns.arrays()


class FrameMeter:
    """Asks one function about each pair of frames.

    Args:
        column: its name.
        function: of the real and the generated picture.
    """

    def __init__(
        self, column: str, function: Callable[[NDArray[np.uint8], NDArray[np.uint8]], float]
    ) -> None:
        self._columns = Columns([column])
        self._function = function

    def update(self, chunk: FrameChunk) -> None:
        """See `Meter.update`."""
        for real, generated in zip(chunk.real, chunk.generated, strict=True):
            self._columns.append(self._function(real, generated))

    def finish(self) -> dict[str, NDArray[np.float64]]:
        """See `Meter.finish`."""
        return self._columns.arrays()


def disco_psnr(real: NDArray[np.uint8], generated: NDArray[np.uint8]) -> float:
    """Return PSNR of one frame in dB as DisCo's script has it: 100 for identical frames only.

    Raises:
        ValueError: they are no pictures or differ in size.
    """
    value = psnr(real, generated)
    return CAP_DB if math.isinf(value) else value


def psnr_meter(_: ClipSetting) -> PsnrMeter:
    """Return the meter of `psnr` and `identical`."""
    return PsnrMeter()


def ssim_meter(_: ClipSetting) -> FrameMeter:
    """Return the meter of `ssim`."""
    return FrameMeter("ssim", ssim)


def l1_meter(_: ClipSetting) -> FrameMeter:
    """Return the meter of `l1`."""
    return FrameMeter("l1", mean_absolute_error)


def disco_psnr_meter(_: ClipSetting) -> FrameMeter:
    """Return the meter of `disco_psnr`."""
    return FrameMeter("disco_psnr", disco_psnr)


def disco_ssim_meter(_: ClipSetting) -> FrameMeter:
    """Return the meter of `disco_ssim`."""
    return FrameMeter("disco_ssim", disco_ssim)


def disco_l1_meter(_: ClipSetting) -> FrameMeter:
    """Return the meter of `disco_l1`."""
    return FrameMeter("disco_l1", disco_l1)


class TjeMeter:
    """Terms of TJE, each on the later of its two frames; the first `delta` frames have none.

    Args:
        delta: distance of the frames compared.
    """

    def __init__(self, delta: int) -> None:
        self._earlier = EarlierPairs(delta)
        self._columns = Columns([f"tje_d{delta}"])

    def update(self, chunk: FrameChunk) -> None:
        """See `Meter.update`."""
        for real, generated in zip(chunk.real, chunk.generated, strict=True):
            before = self._earlier.before(real, generated)
            self._columns.append(
                jitter_error(real, before[0], generated, before[1]) if before else math.nan
            )

    def finish(self) -> dict[str, NDArray[np.float64]]:
        """See `Meter.finish`."""
        return self._columns.arrays()


class MotionMeter:
    """Motion of either clip since the frame before."""

    def __init__(self) -> None:
        self._earlier = EarlierPairs(1)
        self._columns = Columns(["motion_real", "motion_generated"])

    def update(self, chunk: FrameChunk) -> None:
        """See `Meter.update`."""
        for real, generated in zip(chunk.real, chunk.generated, strict=True):
            before = self._earlier.before(real, generated)
            self._columns.append(
                frame_motion(real, before[0]) if before else math.nan,
                frame_motion(generated, before[1]) if before else math.nan,
            )

    def finish(self) -> dict[str, NDArray[np.float64]]:
        """See `Meter.finish`."""
        return self._columns.arrays()


class LagMeter:
    """Cosine of each clip's frame to its own frames some lags before."""

    def __init__(self) -> None:
        self._real, self._generated = LagCosines(), LagCosines()
        self._columns = Columns(
            [f"lag_{side}_{lag}" for side in ("real", "generated") for lag in LAGS]
        )

    def update(self, chunk: FrameChunk) -> None:
        """See `Meter.update`."""
        for real, generated in zip(chunk.real, chunk.generated, strict=True):
            self._columns.append(*self._real.update(real), *self._generated.update(generated))

    def finish(self) -> dict[str, NDArray[np.float64]]:
        """See `Meter.finish`."""
        return self._columns.arrays()


def tje_d1_meter(_: ClipSetting) -> TjeMeter:
    """Return the meter of `tje_d1`."""
    return TjeMeter(1)


def tje_d2_meter(_: ClipSetting) -> TjeMeter:
    """Return the meter of `tje_d2`."""
    return TjeMeter(2)


def tje_d5_meter(_: ClipSetting) -> TjeMeter:
    """Return the meter of `tje_d5`."""
    return TjeMeter(5)


def motion_meter(_: ClipSetting) -> MotionMeter:
    """Return the meter of motion."""
    return MotionMeter()


def lag_meter(_: ClipSetting) -> LagMeter:
    """Return the meter of lag curves."""
    return LagMeter()


class ColourMeter:
    """Shift of the mean and of the spread of L*, a*, b*, and the distance of the mean colours."""

    def __init__(self) -> None:
        names = [f"colour_{kind}_{axis}" for kind in ("shift", "spread") for axis in "lab"]
        self._columns = Columns([*names, "colour_delta_e"])

    def update(self, chunk: FrameChunk) -> None:
        """See `Meter.update`."""
        for real, generated in zip(chunk.real, chunk.generated, strict=True):
            shift = colour_shift(lab_statistics(real), lab_statistics(generated))
            self._columns.append(*shift.mean, *shift.spread, shift.delta_e)

    def finish(self) -> dict[str, NDArray[np.float64]]:
        """See `Meter.finish`."""
        return self._columns.arrays()


class SharpnessMeter:
    """Variance of the Laplacian of either frame."""

    def __init__(self) -> None:
        self._columns = Columns(["sharpness_real", "sharpness_generated"])

    def update(self, chunk: FrameChunk) -> None:
        """See `Meter.update`."""
        for real, generated in zip(chunk.real, chunk.generated, strict=True):
            self._columns.append(laplacian_variance(real), laplacian_variance(generated))

    def finish(self) -> dict[str, NDArray[np.float64]]:
        """See `Meter.finish`."""
        return self._columns.arrays()


def colour_meter(_: ClipSetting) -> ColourMeter:
    """Return the meter of colours."""
    return ColourMeter()


def sharpness_meter(_: ClipSetting) -> SharpnessMeter:
    """Return the meter of sharpness."""
    return SharpnessMeter()


class PoseMeter:
    """Sums of each part and frame, from which AKD, PCK and missing rates are made.

    Args:
        finder: of the generated clip's skeletons.
    """

    def __init__(self, finder: SkeletonFinder) -> None:
        self._columns = Columns(METERS["pose"].columns)
        self._finder = finder

    def update(self, chunk: FrameChunk) -> None:
        """See `Meter.update`."""
        real = chunk.real_skeletons()
        found = self._finder.find(chunk.generated)
        for at, image in enumerate(chunk.real):
            parts = pose_statistics(
                real.keypoints[at],
                real.scores[at],
                found.keypoints[at],
                found.scores[at],
                width_px=image.shape[1],
                height_px=image.shape[0],
            )
            self._columns.append(
                *(
                    float(getattr(getattr(parts, part), name))
                    for part in POSE_PARTS
                    for name in POSE_SUMS
                )
            )

    def finish(self) -> dict[str, NDArray[np.float64]]:
        """See `Meter.finish`."""
        return self._columns.arrays()


def pose_meter(setting: ClipSetting) -> PoseMeter:
    """Return the meter of pose accuracy."""
    return PoseMeter(SkeletonFinder(setting.toolbox.suite("generated"), setting.fps))


class RegionMeter:
    """PSNR (capped) and SSIM inside the boxes; NaN on frames without one."""

    def __init__(self) -> None:
        self._columns = Columns(METERS["regions"].columns)

    def update(self, chunk: FrameChunk) -> None:
        """See `Meter.update`."""
        for at, boxes in enumerate(_boxes(chunk)):
            values: list[float] = []
            for box in boxes:
                if box is None:
                    values += [math.nan, math.nan]
                else:
                    found = region_scores(chunk.real[at], chunk.generated[at], box)
                    values += [capped(found.psnr_db), found.ssim]
            self._columns.append(*values)

    def finish(self) -> dict[str, NDArray[np.float64]]:
        """See `Meter.finish`."""
        return self._columns.arrays()


class RegionLpipsMeter:
    """LPIPS of the boxes, brought to one size; NaN on frames without one.

    Args:
        network: what measures.
    """

    def __init__(self, network: LpipsDistance) -> None:
        self._columns = Columns(METERS["region_lpips"].columns)
        self._network = network

    def update(self, chunk: FrameChunk) -> None:
        """See `Meter.update`."""
        boxes = _boxes(chunk)
        found = [(at, to, box) for at, row in enumerate(boxes) for to, box in enumerate(row) if box]
        values = np.full((len(boxes), len(REGIONS)), np.nan)
        if found:
            real, generated = (
                np.stack([region_crop(side[at], box) for at, _, box in found])
                for side in (chunk.real, chunk.generated)
            )
            frames, regions = [at for at, _, _ in found], [to for _, to, _ in found]
            values[frames, regions] = self._network.distances(real, generated)
        for row in values:
            self._columns.append(*row)

    def finish(self) -> dict[str, NDArray[np.float64]]:
        """See `Meter.finish`."""
        return self._columns.arrays()


def region_meter(_: ClipSetting) -> RegionMeter:
    """Return the meter of PSNR and SSIM inside the boxes."""
    return RegionMeter()


def region_lpips_meter(setting: ClipSetting) -> RegionLpipsMeter:
    """Return the meter of LPIPS inside the boxes."""
    return RegionLpipsMeter(setting.toolbox.lpips("alex", "signed"))


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
