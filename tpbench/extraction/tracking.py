"""One person through the frames of a piece."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from tpbench.extraction.appearance import hellinger, in_light, looks, person_patch
from tpbench.wholebody import LEFT_EAR, NOSE, VISIBLE_SCORE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tpbench.detectors.base import Detections, FaceDetection, PersonDetection
    from tpbench.extraction.config import TrackSettings

_REFERENCE_S: Final = 1.0
"""A person's looks are learnt over the first second of the track."""

_SMOOTHING: Final = 0.2
"""Weight of the newest frame in the running appearance change: a hand across the chest is no
change."""

_SAME_LIGHT_RATIO: Final = 1.15
"""Where head and chest are brighter or darker than at the start by more, their looks are compared
in the light of the start as well: under fading lamps nobody becomes another person."""

_SIZE_RATIO: Final = 1.7
"""The face may not grow or shrink by more than this between two sightings."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sighting:
    """The followed person in one frame."""

    track: int
    """Counts from 0 within the piece; a new number is another person, or the same one found
    again."""

    face: FaceDetection | None
    person: PersonDetection | None
    appearance_change: float
    """Smoothed Hellinger distance to the start of the track, 0..1; NaN while it is learnt or
    lost."""


class PersonTracker:
    """Follows one person and says when it is no longer the same one.

    A track ends when the face jumps, when it stays away for longer than `max_gap_s`, or when the
    person's looks change for good. The next track begins at the largest face in sight.
    """

    def __init__(self, *, fps: float, settings: TrackSettings) -> None:
        self._settings = settings
        self._max_gap_frames = round(settings.max_gap_s * fps)
        self._reference_frames = max(1, round(_REFERENCE_S * fps))
        self._track = 0
        self._last_face: FaceDetection | None = None
        self._lost_frames = 0
        self._reference: NDArray[np.float32] | None = None
        self._reference_level = 0.0
        self._reference_count = 0
        self._change = float("nan")

    def push(self, image: NDArray[np.uint8], detections: Detections) -> Sighting:
        """Look at the next frame.

        Args:
            image: (H, W, 3) uint8 RGB, the picture that was searched.
            detections: faces and people found in it, in its px.
        """
        face = self._same_face(detections.faces)
        if face is None:
            self._lost_frames += 1
            if self._last_face is not None and self._lost_frames > self._max_gap_frames:
                self._next_track()
            return self._sighting(None, None)
        change = self._change_of_looks(image, face)
        if change > self._settings.max_appearance_change:
            self._next_track()
            self._change_of_looks(image, face)
        self._last_face = face
        self._lost_frames = 0
        return self._sighting(face, _person_of(face, detections.people))

    def _next_track(self) -> None:
        self._track += 1
        self._last_face = None
        self._lost_frames = 0
        self._reference = None
        self._change = float("nan")

    def _sighting(self, face: FaceDetection | None, person: PersonDetection | None) -> Sighting:
        change = self._change if face is not None else float("nan")
        return Sighting(track=self._track, face=face, person=person, appearance_change=change)

    def _same_face(self, faces: Sequence[FaceDetection]) -> FaceDetection | None:
        if not faces:
            return None
        last = self._last_face
        if last is None:
            return max(faces, key=_height)
        reach = self._settings.max_jump_faces * _height(last) * (1 + self._lost_frames)
        near = [
            face
            for face in faces
            if np.linalg.norm(_centre(face) - _centre(last)) <= reach
            and 1 / _SIZE_RATIO <= _height(face) / _height(last) <= _SIZE_RATIO
        ]
        return min(
            near,
            key=lambda face: float(np.linalg.norm(_centre(face) - _centre(last))),
            default=None,
        )

    def _change_of_looks(self, image: NDArray[np.uint8], face: FaceDetection) -> float:
        patch = person_patch(image, face.box_px)
        if patch is None:
            return self._change
        now, level = looks(patch), float(patch.mean())
        if self._reference is None:
            self._reference, self._reference_level = now, level
            self._reference_count = 1
            return self._change
        distance = hellinger(self._reference, now)
        ratio = max(1.0, level) / max(1.0, self._reference_level)
        if not 1 / _SAME_LIGHT_RATIO <= ratio <= _SAME_LIGHT_RATIO:
            lit = looks(in_light(patch, self._reference_level))
            distance = min(distance, hellinger(self._reference, lit))
        self._change = (
            distance
            if np.isnan(self._change)
            else (1 - _SMOOTHING) * self._change + _SMOOTHING * distance
        )
        if self._reference_count < self._reference_frames:
            self._reference_count += 1
            step = (now - self._reference) / np.float32(self._reference_count)
            self._reference = self._reference + step
            self._reference_level += (level - self._reference_level) / self._reference_count
        return self._change


def _height(face: FaceDetection) -> float:
    return max(1.0, float(face.box_px[3] - face.box_px[1]))


def _centre(face: FaceDetection) -> NDArray[np.float64]:
    return (face.box_px[:2].astype(np.float64) + face.box_px[2:]) / 2


def _person_of(face: FaceDetection, people: Sequence[PersonDetection]) -> PersonDetection | None:
    """Return the person whose head lies within a face height of the face; the nearest one."""
    best, best_distance = None, _height(face)
    for person in people:
        head = slice(NOSE, LEFT_EAR)
        seen = person.scores[head] > VISIBLE_SCORE
        if not seen.any():
            continue
        distance = float(
            np.linalg.norm(person.keypoints_px[head][seen].mean(axis=0) - _centre(face))
        )
        if distance < best_distance:
            best, best_distance = person, distance
    return best
