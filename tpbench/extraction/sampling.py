"""The cheap look at two pictures a second: light, motion, slides, text, faces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from tpbench.extraction import picture
from tpbench.extraction.evidence import Evidence
from tpbench.extraction.pages import page_share

if TYPE_CHECKING:
    from collections.abc import Sequence
    from fractions import Fraction

    from numpy.typing import NDArray

    from tpbench.detectors.base import FaceDetection

_TEXT_GRID: Final = (96, 54)
"""Columns and rows of the grid in which text is remembered."""

_LASTING_SHARE: Final = 0.5
"""Text counts where it stands in this share of the samples or more."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PictureSample:
    """What is remembered of one sampled picture: a few hundred bytes."""

    frame: int
    luminance: float
    page_share: float
    motion: float
    """Mean CIELAB difference to the sample before, levels; NaN for the first."""

    text_cells: NDArray[np.uint8]
    """Which cells of the grid hold text, as packed bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceSample:
    """The faces of one searched frame."""

    frame: int
    num_faces: int
    """Faces comparable in size with the main one, itself included."""

    face_height_px: float
    """Height of the main face in source px; NaN without one."""

    face_score: float
    """Confidence of the main face; NaN without one."""


class PictureSampler:
    """Measures sampled pictures one after the other; keeps one thumbnail between them."""

    def __init__(self) -> None:
        self._last: NDArray[np.float32] | None = None

    def sample(self, frame: int, image: NDArray[np.uint8]) -> PictureSample:
        """Measure the next sampled picture, (H, W, 3) uint8 RGB."""
        thumbnail = picture.lab_thumbnail(image)
        motion = float("nan") if self._last is None else picture.lab_distance(self._last, thumbnail)
        self._last = thumbnail
        text = picture.text_mask(image)
        covered = cv2.resize(text.astype(np.float32), _TEXT_GRID, interpolation=cv2.INTER_AREA)
        return PictureSample(
            frame=frame,
            luminance=picture.luminance(image),
            page_share=page_share(image, text),
            motion=motion,
            text_cells=np.packbits(covered > 0.5),
        )


def sample_faces(
    frame: int, faces: Sequence[FaceDetection], *, scale: float, prominent_share: float
) -> FaceSample:
    """Count the prominent faces of a frame and measure the largest.

    Args:
        frame: its number.
        faces: what the detector found, in px of a picture that is `scale` times the source.
        scale: searched picture over source, in (0, 1].
        prominent_share: a face counts when its height is this share of the largest, or more.
    """
    if not faces:
        nan = float("nan")
        return FaceSample(frame=frame, num_faces=0, face_height_px=nan, face_score=nan)
    heights = [float(face.box_px[3] - face.box_px[1]) for face in faces]
    tallest = max(range(len(faces)), key=heights.__getitem__)
    return FaceSample(
        frame=frame,
        num_faces=sum(height >= prominent_share * heights[tallest] for height in heights),
        face_height_px=heights[tallest] / scale,
        face_score=faces[tallest].score,
    )


def sampled_evidence(
    pictures: Sequence[PictureSample],
    faces: Sequence[FaceSample],
    *,
    size_px: tuple[int, int],
    fps: Fraction,
    n_frames: int,
) -> Evidence:
    """Gather the samples of one span into what filters judge.

    Args:
        pictures: the sampled pictures of the span.
        faces: the searched frames of the span.
        size_px: width and height of the source.
        fps: rate of the source.
        n_frames: all frames of the span.
    """
    return Evidence(
        width_px=size_px[0],
        height_px=size_px[1],
        fps=fps,
        n_frames=n_frames,
        luminance=np.array([sample.luminance for sample in pictures]),
        motion=np.array([sample.motion for sample in pictures[1:]]),
        page_share=np.array([sample.page_share for sample in pictures]),
        text_share=_lasting_text_share(pictures),
        num_faces=np.array([sample.num_faces for sample in faces], dtype=np.int64),
        face_height_px=np.array([sample.face_height_px for sample in faces]),
        face_scores=np.array([sample.face_score for sample in faces]),
    )


def _lasting_text_share(pictures: Sequence[PictureSample]) -> float:
    if not pictures:
        return float("nan")
    counts = np.zeros(_TEXT_GRID[0] * _TEXT_GRID[1], dtype=np.int64)
    for sample in pictures:
        counts += np.unpackbits(sample.text_cells, count=counts.size)
    return float((counts >= _LASTING_SHARE * len(pictures)).mean())
