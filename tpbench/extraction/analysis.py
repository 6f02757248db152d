"""The full-rate look at one piece: every frame's faces, hands and skeleton, one person followed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Final

import numpy as np

from tpbench.extraction import picture
from tpbench.extraction.camera import CameraShift
from tpbench.extraction.evidence import ClipEvidence
from tpbench.extraction.head import yaw_deg
from tpbench.extraction.sampling import (
    FaceSample,
    PictureSample,
    PictureSampler,
    sample_faces,
    sampled_evidence,
)
from tpbench.extraction.spans import Span
from tpbench.extraction.steadying import skeleton_digest, steadied
from tpbench.extraction.tracking import PersonTracker, Sighting
from tpbench.wholebody import LEFT_WRIST, NUM_KEYPOINTS, RIGHT_WRIST, WholeBodyPose

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from tpbench.detectors.base import Detections, HandDetection
    from tpbench.detectors.suite import DetectorSuite
    from tpbench.extraction.config import ExtractionConfig
    from tpbench.extraction.stages import StageClock
    from tpbench.video import Frame, VideoInfo

_BATCH: Final = 16
_SWITCH_MARGIN_S: Final = 0.4
"""A swap of people is noticed within 9 frames of 25 a second, measured on made-up faces."""

_WRISTS: Final = [LEFT_WRIST, RIGHT_WRIST]
_FACE_PATCH_PX: Final = 64
_HAND_PATCH_PX: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Followed:
    """A span over which one person was followed, or nobody could be."""

    span: Span
    evidence: ClipEvidence
    first_pts: int | None
    """Stamp of the span's first picture in the source."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _FrameRecord:
    """What is kept of one frame: about 2 KB."""

    pts: int | None
    sighting_track: int
    face_seen: bool
    faces: FaceSample
    picture: PictureSample | None
    keypoints: NDArray[np.float32]
    scores: NDArray[np.float32]
    wrists_px: NDArray[np.float32]
    yaw_deg: float
    face_sharpness: float
    hand_scores: tuple[float, float]
    hand_sharpness: tuple[float, float]
    camera_shift_share: float
    appearance_change: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PieceAnalyser:
    """Looks at every frame of one piece. Holds no picture longer than a batch."""

    info: VideoInfo
    config: ExtractionConfig
    detectors: DetectorSuite
    clock: StageClock

    def analyse(self, piece: Span, frames: Iterable[Frame]) -> list[Followed]:
        """Return the piece tiled into followed spans.

        Args:
            piece: which frames these are.
            frames: all of them in order, scaled to `screening.max_side_px`.
        """
        self.detectors.reset()
        records: list[_FrameRecord] = []
        fps = float(self.info.fps)
        tracker = PersonTracker(fps=fps, settings=self.config.track)
        camera = CameraShift()
        sampler = PictureSampler()
        every = max(1, round(fps / self.config.screening.rate_hz))
        for batch in _batches(frames, _BATCH):
            with self.clock.stage("detect"):
                answers = self.detectors.detect(batch)
            for frame, found in zip(batch, answers, strict=True):
                sighting = tracker.push(frame.image, found)
                box = None if sighting.face is None else sighting.face.box_px
                shift = camera.push(frame.image, box, people=found.people, hands=found.hands)
                sample = None
                if (frame.index - piece.start_frame) % every == 0:
                    sample = sampler.sample(frame.index, frame.image)
                records.append(self._record(frame, found, sighting, sample, shift))
        return list(self._followed(piece, records))

    def _record(
        self,
        frame: Frame,
        found: Detections,
        sighting: Sighting,
        sample: PictureSample | None,
        camera_shift_share: float,
    ) -> _FrameRecord:
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
        face = sighting.face
        return _FrameRecord(
            pts=frame.pts,
            sighting_track=sighting.track,
            face_seen=face is not None,
            faces=sample_faces(
                frame.index,
                found.faces,
                scale=scale,
                prominent_share=self.config.screening.prominent_face_share,
            ),
            picture=sample,
            keypoints=keypoints,
            scores=scores,
            wrists_px=wrists,
            yaw_deg=float("nan") if face is None else yaw_deg(face),
            face_sharpness=float("nan")
            if face is None
            else picture.sharpness(frame.image, face.box_px, side_px=_FACE_PATCH_PX),
            hand_scores=(_hand_score(sides[0]), _hand_score(sides[1])),
            hand_sharpness=(
                _hand_sharpness(frame.image, sides[0]),
                _hand_sharpness(frame.image, sides[1]),
            ),
            camera_shift_share=camera_shift_share,
            appearance_change=sighting.appearance_change,
        )

    def _followed(self, piece: Span, seen: Sequence[_FrameRecord]) -> Iterator[Followed]:
        tracks = settled_tracks(
            [record.sighting_track for record in seen],
            [record.face_seen for record in seen],
            margin_frames=round(_SWITCH_MARGIN_S * self.info.fps),
        )
        start = 0
        for _, group in groupby(zip(tracks, seen, strict=True), key=itemgetter(0)):
            records = [record for _, record in group]
            begin = piece.start_frame + start
            start += len(records)
            span = Span(shot_id=piece.shot_id, start_frame=begin, end_frame=begin + len(records))
            yield Followed(
                span=span,
                evidence=self._evidence(records),
                first_pts=records[0].pts,
            )

    def _evidence(self, records: Sequence[_FrameRecord]) -> ClipEvidence:
        cheap = sampled_evidence(
            [record.picture for record in records if record.picture is not None],
            [record.faces for record in records],
            size_px=(self.info.width_px, self.info.height_px),
            fps=self.info.fps,
            n_frames=len(records),
        )
        return ClipEvidence(
            width_px=cheap.width_px,
            height_px=cheap.height_px,
            fps=cheap.fps,
            n_frames=cheap.n_frames,
            luminance=cheap.luminance,
            motion=cheap.motion,
            page_share=cheap.page_share,
            text_share=cheap.text_share,
            num_faces=cheap.num_faces,
            face_height_px=cheap.face_height_px,
            face_scores=cheap.face_scores,
            face_yaw_deg=np.array([record.yaw_deg for record in records]),
            face_sharpness=np.array([record.face_sharpness for record in records]),
            hand_scores=np.array([record.hand_scores for record in records]),
            hand_sharpness=np.array([record.hand_sharpness for record in records]),
            camera_shift_share=np.array([r.camera_shift_share for r in records[1:]]),
            appearance_change=np.array([record.appearance_change for record in records]),
            pose=self._pose(records),
        )

    def _pose(self, records: Sequence[_FrameRecord]) -> WholeBodyPose:
        found = WholeBodyPose(
            keypoints=np.stack([record.keypoints for record in records]),
            scores=np.stack([record.scores for record in records]),
            width_px=self.info.width_px,
            height_px=self.info.height_px,
            source=self.detectors.source,
            model_digest=skeleton_digest(self.detectors),
        )
        wrists_px = np.stack([record.wrists_px for record in records])
        return steadied(found, wrists_px=wrists_px, fps=float(self.info.fps))


def settled_tracks(
    tracks: Sequence[int], face_seen: Sequence[bool], *, margin_frames: int
) -> list[int]:
    """Take the frames around a change of person away from both.

    A change is noticed some frames after it happened. So the frames without a face on either side
    of it, and `margin_frames` more, belong to nobody: they get a negative number of their own.

    Args:
        tracks: number of the track of each frame.
        face_seen: whether the followed face was seen in each frame.
        margin_frames: how late a change may be noticed.
    """
    settled = list(tracks)
    changes = [at for at in range(1, len(tracks)) if tracks[at] != tracks[at - 1]]
    for number, change in enumerate(changes):
        for frames in (range(change - 1, -1, -1), range(change, len(tracks))):
            seen = 0
            for at in frames:
                seen += face_seen[at]
                if tracks[at] != tracks[frames[0]] or seen > margin_frames:
                    break
                settled[at] = -1 - number
    return settled


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
    """Map points of the searched picture to the source; the centres of pixels stay centres."""
    return ((keypoints_px + 0.5) / np.float32(scale) - 0.5).astype(np.float32)


def _hand_score(hand: HandDetection | None) -> float:
    return 0.0 if hand is None else hand.score


def _hand_sharpness(image: NDArray[np.uint8], hand: HandDetection | None) -> float:
    if hand is None:
        return float("nan")
    low, high = hand.keypoints_px.min(axis=0), hand.keypoints_px.max(axis=0)
    return picture.sharpness(image, np.concatenate([low, high]), side_px=_HAND_PATCH_PX)
