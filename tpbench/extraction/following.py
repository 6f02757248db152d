"""Tracking of one person over every frame of a piece."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tpbench.detectors.base import (
    Detections,
    DetectorSuite,
    FaceDetection,
    HandDetection,
    PersonDetection,
)
from tpbench.extraction import measures
from tpbench.extraction.camera import CameraShift
from tpbench.extraction.config import ExtractionConfig, TrackSettings
from tpbench.extraction.measures import (
    StageClock,
    hellinger,
    in_light,
    looks,
    person_patch,
    yaw_deg,
)
from tpbench.extraction.screening import PictureSample, PictureSampler, sample_faces
from tpbench.extraction.shots import Span
from tpbench.extraction.tracks import (
    EvidenceMaker,
    Followed,
    FrameRecord,
    Glimpse,
    TrackWatch,
    sampling_step,
)
from tpbench.video import Frame, VideoInfo
from tpbench.wholebody import (
    LEFT_EAR,
    LEFT_WRIST,
    NOSE,
    NUM_KEYPOINTS,
    RIGHT_WRIST,
    VISIBLE_SCORE,
)

_REFERENCE_S: Final = 1.0
"""A person's appearance is learnt over the first second of the track."""
_SMOOTHING: Final = 0.2
"""Weight of the newest frame in the running appearance change: a hand across the chest does
not count."""
_SAME_LIGHT_RATIO: Final = 1.15
"""If the brightness of head and chest differs from the start by more, their appearance is also
compared at the brightness of the start: fading lamps do not make another person."""
_SIZE_RATIO: Final = 1.7
"""The face may not grow or shrink by more than this between two sightings."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sighting:
    """The tracked person in one frame."""

    track: int
    """Counts from 0 within the piece; a new number means another person, or the same one found
    again."""
    face: FaceDetection | None
    person: PersonDetection | None
    appearance_change: float
    """Smoothed Hellinger distance to the start of the track, 0..1; NaN while the appearance is
    learnt or the face is lost."""


class PersonTracker:
    """Tracks one person and detects when it is no longer the same one.

    A track ends when the face jumps, when it is lost for longer than `max_gap_s`, or when the
    person's appearance changes permanently. The next track begins at the largest face.
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
        """Process the next frame.

        Args:
            image: (H, W, 3) uint8 RGB, the image that was searched.
            detections: faces and people found in it, in its px.
        """
        face = self._same_face(detections.faces)
        if face is None:
            self._lost_frames += 1
            if self._last_face is not None and self._lost_frames > self._max_gap_frames:
                self._next_track()
            return self._sighting(None, None)
        change = self._appearance_change(image, face)
        if change > self._settings.max_appearance_change:
            self._next_track()
            self._appearance_change(image, face)
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

    def _appearance_change(self, image: NDArray[np.uint8], face: FaceDetection) -> float:
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


def with_person(sighting: Sighting, people: Sequence[PersonDetection]) -> Sighting:
    """Return a sighting with its person among the people of the frame."""
    if sighting.face is None:
        return sighting
    return replace(sighting, person=_person_of(sighting.face, people))


def _person_of(face: FaceDetection, people: Sequence[PersonDetection]) -> PersonDetection | None:
    """Return the nearest person whose head lies within a face height of the face."""
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


_BATCH: Final = 16
_WRISTS: Final = [LEFT_WRIST, RIGHT_WRIST]
_FACE_PATCH_PX: Final = 64
_HAND_PATCH_PX: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class PieceAnalyser:
    """Analyses every frame of one piece. Holds no image longer than a batch."""

    info: VideoInfo
    config: ExtractionConfig
    detectors: DetectorSuite
    clock: StageClock
    to_the_end: bool = False
    """Measure every frame, even of tracks that will certainly be rejected."""

    def analyse(self, piece: Span, frames: Iterable[Frame]) -> list[Followed]:
        """Return the piece tiled into spans of one track each.

        Once it is certain that the running track will be rejected, only its face is followed, until
        the track ends; and nothing more is read when no other track can be long enough either.

        Args:
            piece: the range of these frames.
            frames: all of them in order, scaled to `screening.max_side_px`.

        Raises:
            UndecidedError: a span might have been kept, but not all of it was measured.
        """
        self.detectors.reset()
        track = TrackWatch(
            piece=piece,
            maker=EvidenceMaker(info=self.info, detectors=self.detectors),
            config=self.config,
            to_the_end=self.to_the_end,
        )
        fps = float(self.info.fps)
        tracker = PersonTracker(fps=fps, settings=self.config.track)
        camera: CameraShift | None = CameraShift()
        """None while frames are not measured."""
        sampler = PictureSampler()
        every = sampling_step(self.info, self.config)
        for batch in _batches(frames, _BATCH):
            answers = self._answers(batch, faces_only=track.is_hopeless)
            for at, frame in enumerate(batch):
                sighting = tracker.push(frame.image, answers[at])
                if track.enter(sighting.track):
                    if camera is None:
                        self.detectors.reset()  # frames were left out
                    answers[at:] = self._answers(batch[at:], faces_only=False)
                    sighting = with_person(sighting, answers[at].people)
                found = answers[at]
                if track.is_hopeless:
                    camera = None
                    track.push(self._glimpse(frame, found, sighting))
                    continue
                camera = camera or CameraShift()
                box = None if sighting.face is None else sighting.face.box_px
                shift = camera.push(frame.image, box, people=found.people, hands=found.hands)
                sample = None
                if (frame.index - piece.start_frame) % every == 0:
                    sample = sampler.sample(frame.index, frame.image)
                track.push(self._record(frame, found, sighting, sample, shift))
            track.look()
            if track.nothing_can_follow:
                break
        return list(track.followed())

    def _answers(self, batch: Sequence[Frame], *, faces_only: bool) -> list[Detections]:
        with self.clock.stage("detect"):
            detector = self.detectors.faces if faces_only else self.detectors
            return list(detector.detect(batch))

    def _glimpse(self, frame: Frame, found: Detections, sighting: Sighting) -> Glimpse:
        return Glimpse(
            pts=frame.pts,
            sighting_track=sighting.track,
            face_seen=sighting.face is not None,
            faces=sample_faces(
                frame.index,
                found.faces,
                scale=frame.image.shape[1] / self.info.width_px,
                prominent_share=self.config.screening.prominent_face_share,
            ),
        )

    def _record(
        self,
        frame: Frame,
        found: Detections,
        sighting: Sighting,
        sample: PictureSample | None,
        camera_shift_share: float,
    ) -> FrameRecord:
        scale = frame.image.shape[1] / self.info.width_px
        keypoints = np.full((NUM_KEYPOINTS, 2), np.nan, dtype=np.float32)
        scores = np.zeros(NUM_KEYPOINTS, dtype=np.float32)
        wrists = keypoints[_WRISTS]
        sides: tuple[HandDetection | None, HandDetection | None] = (None, None)
        if sighting.person is not None:
            keypoints = _to_source(sighting.person.keypoints_px, scale)
            scores = sighting.person.scores
            own = sighting.person.body_wrists_px
            wrists = keypoints[_WRISTS] if own is None else _to_source(own, scale)
            sides = self.detectors.sides_of_hands(found.hands, sighting.person)
        face, glimpse = sighting.face, self._glimpse(frame, found, sighting)
        return FrameRecord(
            pts=glimpse.pts,
            sighting_track=glimpse.sighting_track,
            face_seen=glimpse.face_seen,
            faces=glimpse.faces,
            picture=sample,
            keypoints=keypoints,
            scores=scores,
            wrists_px=wrists,
            yaw_deg=float("nan") if face is None else yaw_deg(face),
            face_sharpness=float("nan")
            if face is None
            else measures.sharpness(frame.image, face.box_px, side_px=_FACE_PATCH_PX),
            hand_scores=(_hand_score(sides[0]), _hand_score(sides[1])),
            hand_sharpness=(
                _hand_sharpness(frame.image, sides[0]),
                _hand_sharpness(frame.image, sides[1]),
            ),
            camera_shift_share=camera_shift_share,
            appearance_change=sighting.appearance_change,
        )


def _batches(frames: Iterable[Frame], size: int) -> Iterator[list[Frame]]:
    batch: list[Frame] = []
    for frame in frames:
        batch.append(frame)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _to_source(keypoints_px: NDArray[np.float32], scale: float) -> NDArray[np.float32]:
    """Map points of the searched image to the source; the centres of pixels stay centres."""
    return ((keypoints_px + 0.5) / np.float32(scale) - 0.5).astype(np.float32)


def _hand_score(hand: HandDetection | None) -> float:
    return 0.0 if hand is None else hand.score


def _hand_sharpness(image: NDArray[np.uint8], hand: HandDetection | None) -> float:
    if hand is None:
        return float("nan")
    low, high = hand.keypoints_px.min(axis=0), hand.keypoints_px.max(axis=0)
    return measures.sharpness(image, np.concatenate([low, high]), side_px=_HAND_PATCH_PX)
