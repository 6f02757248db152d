"""Measurements of frames and spans that filters judge: sharpness, appearance, head turn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from threading import Lock, local
from time import perf_counter
from typing import Final, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from tpbench.detectors.base import FaceDetection
from tpbench.wholebody import WholeBodyPose

THUMB_WIDTH_PX: Final = 64
"""Thumbnails for motion and appearance have this width; the aspect ratio is kept."""


def shrunk(image: NDArray[np.uint8], size_px: tuple[int, int]) -> NDArray[np.uint8]:
    """Return an image shrunk to (width, height) by averaging areas, as far as that pays.

    OpenCV averages at other factors than two twenty times as slowly. So an image at least twice as
    large is halved first, without an odd last row or column, and what is then less than twice as
    large is interpolated linearly.
    """
    height, width = (side // 2 for side in image.shape[:2])
    if width >= size_px[0] and height >= size_px[1]:
        even = image[: 2 * height, : 2 * width]
        image = np.asarray(cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA))
    is_close = image.shape[1] < 2 * size_px[0] and image.shape[0] < 2 * size_px[1]
    way = cv2.INTER_LINEAR if is_close else cv2.INTER_AREA
    return np.asarray(cv2.resize(image, size_px, interpolation=way), dtype=np.uint8)


def lab_thumbnail(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return a (h, 64, 3) float32 thumbnail in CIELAB (OpenCV's 8-bit scaling, 0..255)."""
    height, width = image.shape[:2]
    size = (THUMB_WIDTH_PX, max(1, round(THUMB_WIDTH_PX * height / width)))
    small = shrunk(image, size)
    lab: NDArray[np.float32] = cv2.cvtColor(small, cv2.COLOR_RGB2LAB).astype(np.float32)
    return lab


def lab_distance(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Return the mean absolute difference of two thumbnails, in 8-bit CIELAB levels (0..255)."""
    return float(np.abs(first - second).mean())


def luminance(image: NDArray[np.uint8]) -> float:
    """Return the mean BT.601 luma of an image, 0..255."""
    n_px = image.shape[0] * image.shape[1]
    red, green, blue, _ = (total / n_px for total in cv2.sumElems(image))
    return float(0.299 * red + 0.587 * green + 0.114 * blue)


def sharpness(image: NDArray[np.uint8], box_px: NDArray[np.floating], *, side_px: int) -> float:
    """Return the variance of the Laplacian inside a box, the box scaled to `side_px` squared.

    The scaling makes people of different size comparable, and lets a small, enlarged face count as
    blurred. The result is divided by the patch's own grey variance, so that a low-contrast (dark)
    patch is not taken for a blurred one.

    Args:
        image: (H, W, 3) uint8 RGB.
        box_px: (4,) x0, y0, x1, y1; clipped to the image.
        side_px: side of the square patch that is measured.

    Returns:
        A ratio of variances, 0 for a flat patch; NaN where the box is NaN, lies outside the image
        or covers less than 4 px of it in width or height.
    """
    if not np.isfinite(box_px).all():
        return float("nan")
    height, width = image.shape[:2]
    x0, y0 = np.maximum(np.floor(box_px[:2]), 0).astype(int)
    x1, y1 = np.minimum(np.ceil(box_px[2:]), (width, height)).astype(int)
    if x1 - x0 < 4 or y1 - y0 < 4:
        return float("nan")
    grey = cv2.cvtColor(image[y0:y1, x0:x1], cv2.COLOR_RGB2GRAY)
    shrinks = grey.shape[0] > side_px or grey.shape[1] > side_px
    patch = cv2.resize(
        grey, (side_px, side_px), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    ).astype(np.float32)
    variance = _variance(patch)
    if variance < 1.0:
        return 0.0
    return _variance(cv2.Laplacian(patch, cv2.CV_32F)) / variance


def _variance(patch: NDArray[np.float32]) -> float:
    """Return what `patch.var()` does, without its slow preparations."""
    n_px = np.float32(patch.size)
    off = patch - np.add.reduce(patch, axis=None) / n_px
    return float(np.add.reduce(off * off, axis=None) / n_px)


_BINS: Final = (6, 8, 8)
_PATCH_PX: Final = 48
_LAB_LOW: Final = np.array([0, 64, 64], dtype=np.uint8)
_LAB_HIGH: Final = np.array([255, 191, 191], dtype=np.uint8)


def person_region(face_box_px: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return head and chest around a face as a box: (4,) x0, y0, x1, y1 px.

    2.4 face heights wide, from half a face height above the face box to two below it.
    """
    x0, y0, x1, y1 = (float(value) for value in face_box_px)
    middle, height = (x0 + x1) / 2, y1 - y0
    return np.array(
        [middle - 1.2 * height, y0 - 0.5 * height, middle + 1.2 * height, y1 + 2 * height]
    )


def person_patch(
    image: NDArray[np.uint8], face_box_px: NDArray[np.floating]
) -> NDArray[np.uint8] | None:
    """Return head and chest as (48, 48, 3) uint8 RGB; None outside the image.

    Args:
        image: (H, W, 3) uint8 RGB.
        face_box_px: (4,) x0, y0, x1, y1.
    """
    height, width = image.shape[:2]
    box = person_region(face_box_px)
    x0, y0 = np.maximum(box[:2], 0).astype(int)
    x1, y1 = np.minimum(box[2:], (width, height)).astype(int)
    if x1 - x0 < 8 or y1 - y0 < 8:
        return None
    return shrunk(image[y0:y1, x0:x1], (_PATCH_PX, _PATCH_PX))


def in_light(patch: NDArray[np.uint8], level: float) -> NDArray[np.uint8]:
    """Return the patch scaled to another mean level, as under brighter or darker lamps."""
    gain = level / max(1.0, float(patch.mean()))
    lit: NDArray[np.uint8] = np.clip(patch * np.float32(gain), 0, 255).astype(np.uint8)
    return lit


def looks(patch: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the smoothed CIELAB histogram of a patch, summing to 1: (384,) float32."""
    lab = cv2.cvtColor(patch, cv2.COLOR_RGB2LAB)
    # a and b of ordinary images fill the middle half of their range; coloured stage light
    # exceeds it and is clipped.
    lab = np.clip(lab, _LAB_LOW, _LAB_HIGH)
    histogram = cv2.calcHist([lab], [0, 1, 2], None, list(_BINS), [0, 256, 64, 192, 64, 192])
    # Blurred over neighbouring bins, so that a small change of light is a small change.
    for axis in range(3):
        histogram = _blur(histogram, axis)
    flat: NDArray[np.float32] = histogram.ravel()
    total = np.float32(flat.sum())
    return flat / total


def hellinger(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Return the Hellinger distance of two histograms that sum to 1: 0 equal, 1 disjoint."""
    overlap = float(np.sqrt(first * second).sum())
    return float(np.sqrt(max(0.0, 1.0 - overlap)))


def _blur(histogram: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    blurred: NDArray[np.float32] = 0.5 * histogram
    quarter = 0.25 * histogram
    # Views along the axis; each bin gets its neighbour below, then the one above, at the edges
    # itself.
    sums, parts = blurred.swapaxes(0, axis), quarter.swapaxes(0, axis)
    sums[1:] += parts[:-1]
    sums[0] += parts[0]
    sums[:-1] += parts[1:]
    sums[-1] += parts[-1]
    return blurred


_REACH_PX: Final = 6.0
"""Illumination varies slowly: over this many px of a thumbnail 64 px wide."""
_SLACK_PX: Final = 5
"""How far the camera may have moved, in px of the thumbnail."""
SECONDS_APART: Final = 0.3
"""Least likeness of a scene to itself seconds later: 0.30 to 0.85 in the sample talks under any
lighting and with a panning camera. Two different scenes reach 0.21."""
FRAMES_APART: Final = 0.95
"""Least likeness of a scene to itself in the next frame. A cut to an image that contains 70 % of
the previous one reaches 0.92."""
_LEAST_CONTRAST_SHARE: Final = 0.1
_LEAST_CONTRAST_LEVELS: Final = 1.0
"""Below this, the image has disappeared, as in a fade to black, not just changed its light."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Structure:
    """The shapes of an image, independent of its illumination."""

    shapes: NDArray[np.float32]
    """(h, w), about 1 at strong edges, of either sign."""
    contrast_levels: float
    """Root mean square of the shapes before normalisation, 8-bit levels of lightness."""


def structure(lab: NDArray[np.float32]) -> Structure:
    """Return the shapes of a `lab_thumbnail`."""
    lightness = np.ascontiguousarray(lab[..., 0])
    detail = lightness - cv2.GaussianBlur(lightness, (0, 0), _REACH_PX)
    local = np.sqrt(cv2.GaussianBlur(detail**2, (0, 0), _REACH_PX))
    contrast = float(np.sqrt((detail**2).mean()))
    shapes: NDArray[np.float32] = detail / (local + np.float32(0.5 * contrast + 1e-6))
    return Structure(shapes=shapes, contrast_levels=contrast)


def likeness(first: Structure, second: Structure) -> float:
    """Return the correlation of the shapes of two images at their best alignment, -1..1.

    0 if either has hardly any contrast, or one has lost most of the other's: there is then no
    evidence that they show the same scene.
    """
    low, high = sorted((first.contrast_levels, second.contrast_levels))
    if low < max(_LEAST_CONTRAST_LEVELS, _LEAST_CONTRAST_SHARE * high):
        return 0.0
    height, width = first.shapes.shape
    if min(height, width) < 4 * _SLACK_PX:
        return 0.0
    inner = first.shapes[_SLACK_PX : height - _SLACK_PX, _SLACK_PX : width - _SLACK_PX]
    fits = cv2.matchTemplate(second.shapes, inner, cv2.TM_CCOEFF_NORMED)
    return float(fits.max())


_NOSE_DEPTH_PER_HALF_WIDTH: Final = 1.4
"""Depth of the nose tip before the ears over half the ear distance (about 105 mm : 75 mm)."""


def yaw_deg(face: FaceDetection) -> float:
    """Return how far the head is turned, in degrees: 0 to the camera, > 0 to the person's left.

    The nose tip is at depth p before the middle of the ears, which are 2w apart. Turned by a, it is
    seen p sin(a) off the middle, the ears at +-w cos(a); so tan(a) = r w / p with r the nose's
    offset in half ear distances along the line of the ears. Accurate to about 10 degrees up to 60;
    beyond that, the position of the hidden ear is a guess. NaN where the ears coincide.
    """
    right_ear, left_ear = face.ears_px.astype(np.float64)
    half = (left_ear - right_ear) / 2
    squared = float(half @ half)
    if squared < 1e-6:
        return float("nan")
    offset = face.nose_px.astype(np.float64) - (left_ear + right_ear) / 2
    ratio = float(offset @ half) / squared
    return float(np.degrees(np.arctan(ratio / _NOSE_DEPTH_PER_HALF_WIDTH)))


Item = TypeVar("Item")


class StageClock:
    """Adds up wall time by stage. The time of a nested stage is not counted for the outer one.

    Each thread has stages of its own. Where two are busy at once, as beside a GPU, the sum of all
    stages is more than the time that passed.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._thread = _ThreadStages()
        self._lock = Lock()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time of the block for `name`."""
        self._settle()
        self._thread.open.append(name)
        try:
            yield
        finally:
            self._settle()
            self._thread.open.pop()

    def each(self, name: str, items: Iterable[Item]) -> Iterator[Item]:
        """Yield the items, counting the time to produce each one for `name`."""
        iterator = iter(items)
        while True:
            with self.stage(name):
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item

    def _settle(self) -> None:
        now = perf_counter()
        if self._thread.open:
            stage = self._thread.open[-1]
            with self._lock:
                self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._thread.since
        self._thread.since = now


class _ThreadStages(local):
    """The open stages of one thread, and since when the innermost runs."""

    def __init__(self) -> None:
        self.open: list[str] = []
        self.since = perf_counter()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evidence:
    """Cheap measurements of a span: enough for the filters of the screening stage.

    N frames are sampled about twice a second; F frames are searched for faces (the same N in
    screening, every frame later).
    """

    width_px: int
    height_px: int
    """Size of the source as displayed."""
    fps: Fraction
    n_frames: int
    """Frames of the span on the constant-rate timeline, sampled or not."""
    sampled: NDArray[np.int64]
    """(N,) which frames were sampled, counted from the start of the span."""
    luminance: NDArray[np.float64]
    """(N,) mean luma, 0..255."""
    motion: NDArray[np.float64]
    """(N-1,) mean absolute CIELAB difference of consecutive samples, 8-bit levels."""
    page_share: NDArray[np.float64]
    """(N,) share of the image that is flat and carries text or drawings, 0..1."""
    text_share: float
    """Share of the image covered by text that stays for at least half of the span, 0..1."""
    num_faces: NDArray[np.int64]
    """(F,) number of faces of a size comparable to the main one."""
    face_height_px: NDArray[np.float64]
    """(F,) height of the main face in source px; NaN without one."""
    face_scores: NDArray[np.float64]
    """(F,) confidence of the main face, 0..1; NaN without one."""

    @property
    def duration_s(self) -> float:
        """Length of the span in seconds."""
        return float(self.n_frames / self.fps)

    def frames_of(self, n_values: int) -> NDArray[np.int64]:
        """Return the frames, counted from the start of the span, that values belong to.

        Args:
            n_values: there is one per sampled frame, or one per frame; of differences one or two
                fewer: those belong to the later, or the middle, of the frames compared.
        """
        every = n_values > len(self.sampled)
        frames = np.arange(self.n_frames) if every else self.sampled
        skipped = (len(frames) - n_values + 1) // 2
        return frames[skipped : skipped + n_values]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClipEvidence(Evidence):
    """All measurements of one tracked person over T = n_frames frames."""

    face_yaw_deg: NDArray[np.float64]
    """(T,) head turn, 0 towards the camera; NaN without a face."""
    face_sharpness: NDArray[np.float64]
    """(T,) see `measures.sharpness`; NaN without a face."""
    hand_scores: NDArray[np.float64]
    """(T, 2) score of the person's own left and right hand, 0..1; 0 where it was not seen."""
    hand_sharpness: NDArray[np.float64]
    """(T, 2) see `measures.sharpness`; NaN where the hand was not seen."""
    camera_shift_share: NDArray[np.float64]
    """(T-1,) background displacement from frame to frame, as a share of the image diagonal; NaN
    where the background gives no estimate."""
    appearance_change: NDArray[np.float64]
    """(T,) difference of the person's appearance from the start of the track, 0..1."""
    pose: WholeBodyPose
    """T frames, in source px."""


def finite_percentile(values: NDArray[np.floating], q: float) -> float:
    """Return the q-th percentile (0..100) of the finite values; NaN if there are none."""
    finite = values[np.isfinite(values)]
    return float(np.percentile(finite, q)) if finite.size else float("nan")


def finite_median(values: NDArray[np.floating]) -> float:
    """Return the median of the finite values; NaN if there are none."""
    return finite_percentile(values, 50)


def share(hits: NDArray[np.bool_]) -> float:
    """Return the share of True, 0..1; NaN for an empty array."""
    return float(hits.mean()) if hits.size else float("nan")


def lasting(hits: NDArray[np.bool_], at_least: int = 2) -> NDArray[np.bool_]:
    """Return the runs of hits of at least this length, since detectors may fail for a single frame.

    If every frame is a hit, all of them count, however few.

    >>> lasting(np.array([True, False, True, True])).tolist()
    [False, False, True, True]
    """
    if hits.all():
        return hits
    kept = hits.copy()
    edges = np.flatnonzero(np.diff(np.concatenate([[0], hits.astype(np.int8), [0]])))
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        kept[start:end] = end - start >= at_least
    return kept
