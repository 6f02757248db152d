"""Meters of what people look at: face and hands, in the boxes where the real clip shows them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tpbench.metrics.psnr import capped
from tpbench.metrics.regions import Box, face_box, hand_box, region_crop, region_scores
from tpbench.metrics.scoring.meters.base import Columns
from tpbench.metrics.scoring.meters.table import METERS, REGIONS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tpbench.metrics.lpips_distance import LpipsDistance
    from tpbench.metrics.scoring.meters.base import ClipSetting, FrameChunk


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
