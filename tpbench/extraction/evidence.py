"""What was measured on a span of video, as filters see it, and how its numbers are summed up."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from tpbench.wholebody import WholeBodyPose


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evidence:
    """Cheap measurements of a span: enough for the filters of the screening stage.

    N pictures are sampled about twice a second; F frames were searched for faces (the same N in
    screening, every frame later).
    """

    width_px: int
    height_px: int
    """Size of the source as displayed."""
    fps: Fraction
    n_frames: int
    """Frames of the span on the constant-rate timeline, sampled or not."""
    luminance: NDArray[np.float64]
    """(N,) mean luma, 0..255."""
    motion: NDArray[np.float64]
    """(N-1,) mean absolute CIELAB difference of neighbouring samples, 8-bit levels."""
    page_share: NDArray[np.float64]
    """(N,) share of the picture that is flat and written or drawn upon, 0..1."""
    text_share: float
    """Share of the picture covered by text that stands for at least half of the span, 0..1."""
    num_faces: NDArray[np.int64]
    """(F,) faces of a size comparable with the main one."""
    face_height_px: NDArray[np.float64]
    """(F,) height of the main face in source px; NaN where there is none."""
    face_scores: NDArray[np.float64]
    """(F,) confidence of the main face, 0..1; NaN where there is none."""

    @property
    def duration_s(self) -> float:
        """Length of the span in seconds."""
        return float(self.n_frames / self.fps)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClipEvidence(Evidence):
    """All measurements of one tracked person over T = n_frames frames."""

    face_yaw_deg: NDArray[np.float64]
    """(T,) head turn, 0 towards the camera; NaN without a face."""
    face_sharpness: NDArray[np.float64]
    """(T,) see `picture.sharpness`; NaN without a face."""
    hand_scores: NDArray[np.float64]
    """(T, 2) the person's own left and right hand, 0..1; 0 where it was not seen."""
    hand_sharpness: NDArray[np.float64]
    """(T, 2) see `picture.sharpness`; NaN where the hand was not seen."""
    camera_shift_share: NDArray[np.float64]
    """(T-1,) background displacement from frame to frame, as a share of the picture's diagonal; NaN
    where the background tells nothing."""
    appearance_change: NDArray[np.float64]
    """(T,) how far the person looks from how they looked when the track began, 0..1."""
    pose: WholeBodyPose
    """T frames, in source px."""


def finite_percentile(values: NDArray[np.floating], q: float) -> float:
    """Return the q-th percentile (0..100) of the finite values; NaN where there is none."""
    finite = values[np.isfinite(values)]
    return float(np.percentile(finite, q)) if finite.size else float("nan")


def finite_median(values: NDArray[np.floating]) -> float:
    """Return the median of the finite values; NaN where there is none."""
    return finite_percentile(values, 50)


def share(hits: NDArray[np.bool_]) -> float:
    """Return the share of True, 0..1; NaN for none at all."""
    return float(hits.mean()) if hits.size else float("nan")


def lasting(hits: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the hits that have a neighbouring hit: detectors blink, and one frame is no evidence.

    Where every frame hits, all of them count, be it a single one.

    >>> lasting(np.array([True, False, True, True])).tolist()
    [False, False, True, True]
    """
    if hits.all():
        return hits
    kept = np.zeros_like(hits)
    kept[1:] = hits[1:] & hits[:-1]
    kept[:-1] |= hits[1:] & hits[:-1]
    return kept
