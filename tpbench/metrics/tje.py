"""Temporal jitter error (TJE): does the generated video change where and as much as the real one?

Two things to know about it. It is blind to the sign: motion played backwards scores 0. And a frozen
video scores just the mean motion of the real one, which may be better than an honest attempt: read
it beside the motion ratio (`tpbench.metrics.motion`). Re-encoding alone costs up to 1.75 levels.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import cv2

from tpbench.metrics.pictures import check_pair, check_picture, row_strips

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

_STRIP_VALUES: Final = 32768


@dataclass(frozen=True, slots=True, kw_only=True)
class TjeStatistics:
    """What the TJE of a video is made of."""

    total: float = 0.0
    """Sum of the terms, in grey levels."""

    n_terms: int = 0
    """Frames that have one `delta` frames before them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TjeOverVideos:
    """TJE of a set of videos."""

    mean_of_videos: float
    """Mean over videos of each video's mean, the official headline; NaN without a term."""

    mean_of_terms: float
    """Mean over all terms, so that long videos weigh more; NaN without a term."""

    n_videos: int
    """Videos with at least one term; the others are in neither mean."""

    n_terms: int
    """Terms in all."""


def jitter_error(
    real: NDArray[np.uint8],
    real_before: NDArray[np.uint8],
    generated: NDArray[np.uint8],
    generated_before: NDArray[np.uint8],
) -> float:
    """Return one term of TJE: mean over pixels and channels of ||R_t - R_t-d| - |G_t - G_t-d||.

    Args:
        real: (H, W, 3) uint8 RGB, frame t of the real video.
        real_before: the same, frame t - d.
        generated: the same, frame t of the generated video.
        generated_before: the same, frame t - d.

    Returns:
        Grey levels in [0, 255]; the sum is one of integers and exact.

    Raises:
        ValueError: they are no pictures or differ in size.
    """
    check_pair(real, generated)
    check_pair(real, real_before)
    check_pair(generated, generated_before)
    total = 0.0
    for rows in row_strips(real, values=_STRIP_VALUES):
        real_change = cv2.absdiff(real[rows], real_before[rows])
        generated_change = cv2.absdiff(generated[rows], generated_before[rows])
        total += cv2.norm(real_change, generated_change, cv2.NORM_L1)
    return total / real.size


def compute_tje(statistics: TjeStatistics) -> float:
    """Return the mean of a video's terms in grey levels; NaN where there is none."""
    return statistics.total / statistics.n_terms if statistics.n_terms else math.nan


def tje_over_videos(videos: Sequence[TjeStatistics]) -> TjeOverVideos:
    """Return both means that the official script prints.

    Videos without a term (`delta` frames or fewer) are in neither.
    """
    measured = [video for video in videos if video.n_terms]
    n_terms = sum(video.n_terms for video in measured)
    if not measured:
        return TjeOverVideos(mean_of_videos=math.nan, mean_of_terms=math.nan, n_videos=0, n_terms=0)
    return TjeOverVideos(
        mean_of_videos=sum(compute_tje(video) for video in measured) / len(measured),
        mean_of_terms=sum(video.total for video in measured) / n_terms,
        n_videos=len(measured),
        n_terms=n_terms,
    )


class Tje:
    """Accumulates the TJE of one video, holding `delta` + 1 pairs of frames.

    Frames are kept as they come, not copied: they must not be overwritten afterwards.

    Args:
        delta: distance of the frames compared; 2 in the published tables.

    Raises:
        ValueError: delta is below 1.
    """

    def __init__(self, delta: int) -> None:
        if delta < 1:
            message = f"delta is at least 1 frame, not {delta}"
            raise ValueError(message)
        self.delta = delta
        self.statistics = TjeStatistics()
        self._pairs: deque[tuple[NDArray[np.uint8], NDArray[np.uint8]]] = deque(maxlen=delta + 1)

    def update(self, real: NDArray[np.uint8], generated: NDArray[np.uint8]) -> float:
        """Take in the next frame of both videos and return its term; see `jitter_error`.

        Returns:
            Grey levels; NaN for the first `delta` frames, which have no term.

        Raises:
            ValueError: they are no pictures, differ in size, or differ from the frames before.
        """
        check_pair(real, generated)
        self._pairs.append((real, generated))
        if len(self._pairs) <= self.delta:
            return math.nan
        real_before, generated_before = self._pairs[0]
        term = jitter_error(real, real_before, generated, generated_before)
        self.statistics = TjeStatistics(
            total=self.statistics.total + term, n_terms=self.statistics.n_terms + 1
        )
        return term

    def compute(self) -> float:
        """Return the mean of the terms so far in grey levels; NaN where there is none."""
        return compute_tje(self.statistics)


def official_tje(
    real: Iterable[NDArray[np.uint8]], generated: Iterable[NDArray[np.uint8]], delta: int
) -> TjeStatistics:
    """Measure one video against another as TalkingPose's released script does.

    Frames are compared until the shorter video ends. Frames of another size than the first real one
    are resized to it by averaging areas (OpenCV's INTER_AREA). The script does both without a word.

    Args:
        real: frames of the real video, (H, W, 3) uint8 RGB each.
        generated: frames of the generated one.
        delta: distance of the frames compared.

    Raises:
        ValueError: a frame is no picture, or delta is below 1.
    """
    tje = Tje(delta)
    size: tuple[int, int] | None = None
    for pair in zip(real, generated, strict=False):
        check_picture(pair[0], "real")
        check_picture(pair[1], "generated")
        size = size or (pair[0].shape[1], pair[0].shape[0])
        tje.update(_resized(pair[0], size), _resized(pair[1], size))
    return tje.statistics


def _resized(image: NDArray[np.uint8], size_px: tuple[int, int]) -> NDArray[np.uint8]:
    if (image.shape[1], image.shape[0]) == size_px:
        return image
    resized: NDArray[np.uint8] = cv2.resize(image, size_px, interpolation=cv2.INTER_AREA)
    return resized
