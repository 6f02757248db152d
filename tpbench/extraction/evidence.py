"""The measurements of a span of video that filters judge, and functions that summarise them."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from tpbench.wholebody import WholeBodyPose


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


def lasting(hits: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the hits with a neighbouring hit, since detectors may fail for a single frame.

    If every frame is a hit, all of them count, even a single one.

    >>> lasting(np.array([True, False, True, True])).tolist()
    [False, False, True, True]
    """
    if hits.all():
        return hits
    kept = np.zeros_like(hits)
    kept[1:] = hits[1:] & hits[:-1]
    kept[:-1] |= hits[1:] & hits[:-1]
    return kept
