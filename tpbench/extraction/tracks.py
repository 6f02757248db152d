"""The tracks of one piece: what is kept of each frame, their evidence, and which are hopeless.

A track is hopeless once a filter rejects it whatever follows (`Filter.best_case`). From there on
its frames need no measurements; only its face is followed, to notice where it ends, since the track
after it may be kept. When the frames left are too few for that, the rest of the piece isn't read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, takewhile
from math import ceil
from operator import itemgetter
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tpbench.detectors.base import DetectorSuite
from tpbench.extraction.config import ExtractionConfig
from tpbench.extraction.filters import (
    Unseen,
    Verdict,
    certain_rejections,
    judge_faces,
    reject_codes,
)
from tpbench.extraction.measures import ClipEvidence
from tpbench.extraction.screening import FaceSample, PictureSample, sampled_evidence
from tpbench.extraction.shots import Span
from tpbench.extraction.steadying import skeleton_digest, steadied
from tpbench.video import VideoInfo
from tpbench.wholebody import NUM_KEYPOINTS, WholeBodyPose

_SWITCH_MARGIN_S: Final = 0.4
"""A change of person is noticed within 9 frames at 25 fps, measured on synthetic faces."""
_FIRST_LOOK_FRAMES: Final = 32
_GROWTH: Final = 1.2
"""A track is judged again when it is this many times as long: a sixth of its length is the most
that is measured in vain, and the judging costs little."""
_SLACK: Final = 1e-9
"""A track must fail a threshold by this share, so that rounding can't undo it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Followed:
    """A span over which one person was tracked, or in which no person could be."""

    span: Span
    evidence: ClipEvidence
    """Of all frames; of the first ones where `rejections` are given."""
    first_pts: int | None
    """Time stamp (pts) of the span's first frame in the source."""
    rejections: tuple[Verdict, ...] | None = None
    """Why it is rejected, if that was certain before its end; None if all frames were measured."""


class UndecidedError(Exception):
    """A span was not measured to its end, and is not certainly rejected either."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Glimpse:
    """What is kept of a frame of which only the faces are known."""

    pts: int | None
    sighting_track: int
    face_seen: bool
    faces: FaceSample


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrameRecord(Glimpse):
    """What is kept of a frame that was measured: about 2 KB."""

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


def sampling_step(info: VideoInfo, config: ExtractionConfig) -> int:
    """Return from frame to how many frames later pictures are sampled."""
    return max(1, round(float(info.fps) / config.screening.rate_hz))


class TrackWatch:
    """Collects the frames of a piece, and says which of them must be measured."""

    def __init__(
        self,
        *,
        piece: Span,
        maker: EvidenceMaker,
        config: ExtractionConfig,
        to_the_end: bool = False,
    ) -> None:
        """Watch a piece; `to_the_end` measures every frame."""
        self.is_hopeless = False
        """Whether the running track will be rejected, whatever follows."""
        self._piece, self._maker, self._filters = piece, maker, config.filters
        self._every = sampling_step(maker.info, config)
        self._margin_frames = round(_SWITCH_MARGIN_S * maker.info.fps)
        self._least_frames = ceil(config.filters.get("clip.too_short") or 0)
        self._to_the_end = to_the_end
        self._records: list[Glimpse] = []
        self._track = 0
        self._hopeless_from = 0
        self._next_look = _FIRST_LOOK_FRAMES

    def enter(self, track: int) -> bool:
        """Note the track of the next frame; return whether measuring begins again with it."""
        if track == self._track:
            return False
        self._track = track
        self._next_look = len(self._records) + _FIRST_LOOK_FRAMES
        was_hopeless, self.is_hopeless = self.is_hopeless, False
        return was_hopeless

    def push(self, record: Glimpse) -> None:
        """Add the next frame: measured, unless the track is hopeless."""
        self._records.append(record)

    def look(self) -> None:
        """Find out whether the running track is hopeless by now."""
        n_seen = len(self._records)
        if self._to_the_end or self.is_hopeless or n_seen < self._next_look:
            return
        tracks = self._joined()
        first = n_seen - len(list(takewhile(self._track.__eq__, reversed(tracks))))
        self._next_look = ceil(first + _GROWTH * (n_seen - first))
        if n_seen - first < 2:
            return  # a single frame of a kind may be a fault of a detector
        seen = self._maker.partly(self._piece.start_frame + first, _measured(self._records[first:]))
        left = self._unseen(n_seen, self._piece.n_frames)
        self.is_hopeless = bool(certain_rejections(seen, self._filters, left, slack=_SLACK))
        self._hopeless_from = n_seen

    @property
    def nothing_can_follow(self) -> bool:
        """Whether the rest of the piece can be left out: it is rejected, whoever appears in it."""
        if not self.is_hopeless:
            return False
        n_seen = len(self._records)
        trimmed = 0  # how far back a change of person would reach that comes right now, or later
        seen = 0
        for record in reversed(self._records):
            seen += record.face_seen
            if record.sighting_track != self._track or seen > self._margin_frames:
                break
            trimmed += 1
        left = self._piece.n_frames - n_seen
        return n_seen - trimmed >= self._hopeless_from and left + trimmed < self._least_frames

    def followed(self) -> Iterator[Followed]:
        """Yield the piece tiled into spans of one track each.

        Raises:
            UndecidedError: a span that was not measured to its end might have been kept.
        """
        start = 0
        for _, group in groupby(zip(self._joined(), self._records, strict=True), itemgetter(0)):
            records = [record for _, record in group]
            begin, start = start, start + len(records)
            is_last = start == len(self._records)
            yield self._span(begin, self._piece.n_frames if is_last else start, records)

    def _joined(self) -> list[int]:
        return joined_tracks(
            [record.sighting_track for record in self._records],
            [record.face_seen for record in self._records],
            margin_frames=self._margin_frames,
        )

    def _unseen(self, begin: int, end: int) -> Unseen:
        """Count the frames of the piece between two, and the samples among them."""
        samples = ceil(end / self._every) - ceil(begin / self._every)
        return Unseen(frames=end - begin, samples=samples)

    def _span(self, begin: int, end: int, records: Sequence[Glimpse]) -> Followed:
        at = self._piece.start_frame
        span = Span(shot_id=self._piece.shot_id, start_frame=at + begin, end_frame=at + end)
        measured = _measured(records)
        if len(measured) == span.n_frames:
            evidence, rejections = self._maker.whole(span.start_frame, measured), None
        else:
            evidence, rejections = self._rejected(begin, end, records, measured)
        return Followed(
            span=span, evidence=evidence, first_pts=records[0].pts, rejections=rejections
        )

    def _rejected(
        self, begin: int, end: int, records: Sequence[Glimpse], measured: Sequence[FrameRecord]
    ) -> tuple[ClipEvidence, tuple[Verdict, ...]]:
        """Return why a span is rejected that was not measured to its end, and by what evidence."""
        start_frame = self._piece.start_frame + begin
        if len(measured) > 1:
            seen = self._maker.partly(start_frame, measured)
            left = self._unseen(begin + len(measured), end)
            if sure := certain_rejections(seen, self._filters, left, slack=_SLACK / 2):
                return seen, tuple(sure)
        if len(records) == end - begin:
            seen = self._maker.faces(start_frame, records)
            verdicts = judge_faces(seen, self._filters)
            if reject_codes(verdicts):
                return seen, tuple(verdict for verdict in verdicts if not verdict.kept)
        raise UndecidedError


def _measured(records: Sequence[Glimpse]) -> list[FrameRecord]:
    """Return the first records up to one that was not measured."""
    measured: list[FrameRecord] = []
    for record in records:
        if not isinstance(record, FrameRecord):
            break
        measured.append(record)
    return measured


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceMaker:
    """Gathers what is kept of frames into evidence."""

    info: VideoInfo
    detectors: DetectorSuite

    def whole(self, start_frame: int, records: Sequence[FrameRecord]) -> ClipEvidence:
        """Return the evidence of a span, given the records of all its frames."""
        pose = WholeBodyPose(
            keypoints=np.stack([record.keypoints for record in records]),
            scores=np.stack([record.scores for record in records]),
            width_px=self.info.width_px,
            height_px=self.info.height_px,
            source=self.detectors.source,
            model_digest=skeleton_digest(self.detectors),
        )
        wrists_px = np.stack([record.wrists_px for record in records])
        pose = steadied(pose, wrists_px=wrists_px, fps=float(self.info.fps))
        return self._evidence(start_frame, records, records, pose)

    def partly(self, start_frame: int, records: Sequence[FrameRecord]) -> ClipEvidence:
        """Return the evidence of a span's first frames; its pose depends on the whole span."""
        return self._evidence(start_frame, records, records, self._no_pose())

    def faces(self, start_frame: int, records: Sequence[Glimpse]) -> ClipEvidence:
        """Return the evidence of a span of which nothing but faces is known."""
        return self._evidence(start_frame, records, [], self._no_pose())

    def _no_pose(self) -> WholeBodyPose:
        return WholeBodyPose(
            keypoints=np.zeros((0, NUM_KEYPOINTS, 2), dtype=np.float32),
            scores=np.zeros((0, NUM_KEYPOINTS), dtype=np.float32),
            width_px=self.info.width_px,
            height_px=self.info.height_px,
            source=self.detectors.source,
            model_digest="",
        )

    def _evidence(
        self,
        start_frame: int,
        glimpses: Sequence[Glimpse],
        records: Sequence[FrameRecord],
        pose: WholeBodyPose,
    ) -> ClipEvidence:
        end_frame = start_frame + len(glimpses)
        cheap = sampled_evidence(
            [record.picture for record in records if record.picture is not None],
            [glimpse.faces for glimpse in glimpses],
            size_px=(self.info.width_px, self.info.height_px),
            fps=self.info.fps,
            span=Span(shot_id=-1, start_frame=start_frame, end_frame=end_frame),
        )
        return ClipEvidence(
            width_px=cheap.width_px,
            height_px=cheap.height_px,
            fps=cheap.fps,
            n_frames=cheap.n_frames,
            sampled=cheap.sampled,
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
            pose=pose,
        )


def joined_tracks(
    tracks: Sequence[int], face_seen: Sequence[bool], *, margin_frames: int
) -> list[int]:
    """Remove the frames around a change of person from both tracks.

    A change is noticed some frames after it happened. So the frames without a face on either side
    of it, and `margin_frames` more, belong to no track: each change has its own negative number.

    Args:
        tracks: number of the track of each frame.
        face_seen: whether the followed face was seen in each frame.
        margin_frames: how late a change may be noticed.
    """
    joined = list(tracks)
    changes = [at for at in range(1, len(tracks)) if tracks[at] != tracks[at - 1]]
    for number, change in enumerate(changes):
        for frames in (range(change - 1, -1, -1), range(change, len(tracks))):
            seen = 0
            for at in frames:
                seen += face_seen[at]
                if tracks[at] != tracks[frames[0]] or seen > margin_frames:
                    break
                joined[at] = -1 - number
    return joined
