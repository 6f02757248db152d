"""Every filter on evidence worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from tests.extraction.conftest import MakeEvidence, MakePose
from tpbench.extraction.config import ExtractionConfig
from tpbench.extraction.filters import (
    ALL_FILTERS,
    CLIP_FILTERS,
    SCREENING_FILTERS,
    Filter,
    deciding_frame,
    judge_clip,
)
from tpbench.extraction.measures import ClipEvidence, Evidence
from tpbench.wholebody import (
    LEFT_ELBOW,
    LEFT_SHOULDER,
    LEFT_WRIST,
    NOSE,
    RIGHT_ELBOW,
    RIGHT_HAND,
    RIGHT_SHOULDER,
    WholeBodyPose,
)

NAN = float("nan")


FILTERS: dict[str, Filter[Any]] = {item.code: item for item in ALL_FILTERS}


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One filter, evidence exactly at its threshold, and evidence just beyond."""

    code: str
    threshold: float
    seen: str
    """The field of the evidence that it looks at."""

    at: Any
    beyond: Any
    measured: float
    """What the evidence beyond measures."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PoseOf:
    """A pose that is made from the still person of the fixture."""

    n_frames: int
    change: Callable[[WholeBodyPose], None]

    def make(self, make_pose: MakePose) -> WholeBodyPose:
        pose = make_pose(self.n_frames)
        self.change(pose)
        return pose


def _framed(*, good_frames: int) -> PoseOf:
    """Four frames; those that are not good lack a joint, each in another way."""

    def change(pose: WholeBodyPose) -> None:
        pose.scores[3, LEFT_ELBOW] = 0.3  # the score of a point must be more than that
        pose.keypoints[2, RIGHT_SHOULDER, 0] = pose.width_px
        if good_frames < 2:
            pose.keypoints[1, RIGHT_ELBOW] = NAN
            pose.scores[1, RIGHT_ELBOW] = 0

    return PoseOf(n_frames=4, change=change)


def _scored(*scores: float) -> PoseOf:
    """Nose, eyes and arms have this score, a frame each; what is not counted has none."""

    def change(pose: WholeBodyPose) -> None:
        pose.scores[:] = 0
        for frame, score in enumerate(scores):
            pose.scores[frame, : NOSE + 3] = score
            pose.scores[frame, LEFT_SHOULDER : LEFT_WRIST + 2] = score

    return PoseOf(n_frames=len(scores), change=change)


def _trembling(amplitude_px: float) -> PoseOf:
    """Joints jump from one side to the other: |x - 2 (-x) + x| = 4 x amplitude each frame."""

    def change(pose: WholeBodyPose) -> None:
        pose.keypoints[::2, :, 0] += np.float32(amplitude_px)
        pose.keypoints[1::2, :, 0] -= np.float32(amplitude_px)

    return PoseOf(n_frames=8, change=change)


def _blinking(n_switches: int) -> PoseOf:
    """Ten frames (0.4 s) in which the right hand comes and goes this often."""

    def change(pose: WholeBodyPose) -> None:
        for at in range(n_switches):
            pose.scores[at + 1 :, RIGHT_HAND] = at % 2

    return PoseOf(n_frames=10, change=change)


CASES = [
    Case("source.too_small", 256, "width_px", 256, 255, 255),
    Case("clip.too_short", 101, "n_frames", 101, 100, 100),
    Case("image.too_dark", 10, "luminance", [4, 10, 200], [4, 9.5, 200], 9.5),
    Case("image.too_bright", 210, "luminance", [0] * 9 + [210, 255], [0] * 9 + [211, 255], 211),
    Case("motion.static", 0.5, "motion", [0.0, 0.4, 0.5, 9.0], [0.0, 0.4, 0.3, 9.0], 0.25),
    Case("overlay.slides", 0.5, "page_share", [0.1, 0.5, 0.9], [0.1, 0.6, 0.9], 0.6),
    Case("overlay.text", 0.01, "text_share", 0.01, 0.011, 0.011),
    Case(
        "face.missing", 0.75, "num_faces", [1, 0, 0, 2, 1, 1, 0, 1], [1, 0, 0, 2, 0, 0, 1, 1], 0.5
    ),
    Case(
        "person.multiple",
        0.25,
        "num_faces",
        [1, 2, 3, 1, 0, 2, 1, 1],
        [1, 2, 3, 1, 0, 2, 2, 1],
        0.5,
    ),
    Case("face.too_small", 48, "face_height_px", [NAN, 40, 48, 56], [NAN, 40, 47, 56], 47),
    Case(
        "face.low_confidence",
        0.5,
        "face_scores",
        [0.25, NAN, 0.5, 0.75],
        [0.25, NAN, 0.375, 0.75],
        0.375,
    ),
    Case("face.turned", 45, "face_yaw_deg", [-60, 45, NAN, 10], [60, -46, NAN, 10], 46),
    Case("face.rarely_frontal", 0.5, "face_yaw_deg", [-45, 44, 46, NAN], [-45, 80, 46, NAN], 0.25),
    Case(
        "image.blurred",
        0.02,
        "face_sharpness",
        [NAN, 0.01, 0.02, 0.9],
        [NAN, 0.01, 0.015, 0.9],
        0.015,
    ),
    Case(
        "framing.not_upper_body", 0.5, "pose", _framed(good_frames=2), _framed(good_frames=1), 0.25
    ),
    Case(
        "skeleton.low_confidence",
        0.5,
        "pose",
        _scored(0.25, 0.5, 0.75),
        _scored(0.25, 0.375, 0.75),
        0.375,
    ),
    # Shoulders are 150 px apart.
    Case(
        "skeleton.jitter", 0.1, "pose", _trembling(150 * 0.1 / 4), _trembling(150 * 0.12 / 4), 0.12
    ),
    Case("skeleton.blinking", 5.0, "pose", _blinking(2), _blinking(3), 7.5),
    Case(
        "hands.hidden",
        0.5,
        "hand_scores",
        [[0, 0], [0.1, 0], [0, 0], [0.5, 0.5]],
        [[0, 0], [0.1, 0], [0, 0], [0, 0]],
        0.25,
    ),
    Case(
        "hands.rarely_both",
        0.5,
        "hand_scores",
        [[0, 0], [0.1, 0], [0.1, 0.2], [0.5, 0.5]],
        [[0, 0], [0.1, 0], [0, 0.2], [0.5, 0.5]],
        0.25,
    ),
    Case(
        "hands.low_confidence",
        0.5,
        "hand_scores",
        [[0, 0.25], [0.5, 0]] + 9 * [[0.9, 0]],
        [[0, 0.25], [0.375, 0]] + 9 * [[0.9, 0]],
        0.375,
    ),
    Case(
        "hands.blurred",
        0.02,
        "hand_sharpness",
        [[NAN, 0.01], [0.02, NAN], [NAN, 0.9]],
        [[NAN, 0.01], [0.015, NAN], [NAN, 0.9]],
        0.015,
    ),
    # A mean of 1/64 diagonal a frame, 25 frames a second.
    Case(
        "motion.camera", 25 / 64, "camera_shift_share", [0, 1 / 32, NAN], [0, 1 / 16, NAN], 25 / 32
    ),
    Case(
        "person.changed",
        0.75,
        "appearance_change",
        [NAN] + [0] * 19 + [0.75, 1],
        [NAN] + [0] * 19 + [0.8, 1],
        0.8,
    ),
]


@pytest.fixture
def evidence_of(make_evidence: MakeEvidence, make_pose: MakePose) -> Callable[[str, Any], Any]:
    def make(name: str, value: Any) -> ClipEvidence:  # noqa: ANN401 - any field
        made = value.make(make_pose) if isinstance(value, PoseOf) else value
        changes: dict[str, Any] = {name: made}
        return make_evidence(**changes)

    return make


def _id(case: Case) -> str:
    return case.code


def test_every_filter_has_a_case() -> None:
    assert [case.code for case in CASES] == list(FILTERS)


@pytest.mark.parametrize("case", CASES, ids=_id)
def test_the_threshold_itself_is_kept(case: Case, evidence_of: Callable[[str, Any], Any]) -> None:
    verdict = FILTERS[case.code].judge(evidence_of(case.seen, case.at), case.threshold)
    assert verdict.measured == pytest.approx(case.threshold, rel=1e-12)
    assert verdict.kept is True


@pytest.mark.parametrize("case", CASES, ids=_id)
def test_beyond_the_threshold_is_rejected_with_all_that_led_to_it(
    case: Case, evidence_of: Callable[[str, Any], Any]
) -> None:
    verdict = FILTERS[case.code].judge(evidence_of(case.seen, case.beyond), case.threshold)
    assert verdict.kept is False
    assert verdict.code == case.code
    assert verdict.measured == pytest.approx(case.measured, rel=1e-12)
    assert type(verdict.measured) is float  # it goes into JSON
    assert verdict.threshold == case.threshold
    assert verdict.measurement == FILTERS[case.code].measurement.name


@pytest.mark.parametrize("case", CASES, ids=_id)
def test_the_deciding_frame_is_one_of_the_span(
    case: Case, evidence_of: Callable[[str, Any], Any]
) -> None:
    evidence = evidence_of(case.seen, case.beyond)
    if isinstance(case.beyond, list):  # in some cases for more frames than the fixture has
        n_frames = max(evidence.n_frames, len(case.beyond))
        evidence = replace(evidence, n_frames=n_frames, sampled=np.arange(n_frames))
    verdict = FILTERS[case.code].judge(evidence, case.threshold)
    frame = FILTERS[case.code].deciding_frame(evidence, verdict)
    assert type(frame) is int
    assert 0 <= frame < max(evidence.n_frames, 1)


def _decided(code: str, evidence: ClipEvidence, threshold: float) -> int:
    verdict = FILTERS[code].judge(evidence, threshold)
    assert not verdict.kept
    return FILTERS[code].deciding_frame(evidence, verdict)


def test_a_median_is_shown_by_the_frame_that_has_it(make_evidence: MakeEvidence) -> None:
    dark = make_evidence(7, luminance=[200, 20, 31, 5, 30, 32, 210])
    assert _decided("image.too_dark", dark, 40) == 2


def test_a_share_is_shown_by_the_middle_of_the_frames_that_fail(
    make_evidence: MakeEvidence,
) -> None:
    hidden = np.ones((10, 2))
    hidden[[1, 2, 3, 8]] = 0
    assert _decided("hands.hidden", make_evidence(10, hand_scores=hidden), 0.9) == 3


def test_a_span_as_a_whole_is_shown_by_its_middle(make_evidence: MakeEvidence) -> None:
    assert _decided("clip.too_short", make_evidence(50), 101) == 25


def test_sampled_values_belong_to_the_sampled_frames(make_evidence: MakeEvidence) -> None:
    evidence = make_evidence(
        100, sampled=[3, 28, 53, 78], luminance=[9, 100, 100, 100], motion=[0, 2, 0]
    )
    assert _decided("image.too_dark", evidence, 120) == 53
    assert _decided("motion.static", evidence, 0.9) == 78
    still = replace(evidence, motion=np.array([2.0, 0.0, 2.0]))
    assert _decided("motion.static", still, 0.9) == 53


def test_a_difference_belongs_to_the_later_frame(make_evidence: MakeEvidence) -> None:
    evidence = make_evidence(5, camera_shift_share=[0, 0, 0.5, 0])
    assert _decided("motion.camera", evidence, 0.1) == 3


def test_the_first_filter_that_rejects_decides(make_evidence: MakeEvidence) -> None:
    yaw = [0.0] * 10
    yaw[2] = 80
    evidence = make_evidence(10, face_yaw_deg=yaw, luminance=[5.0] * 9 + [1.0])
    limits = {"image.too_dark": 2.0, "face.rarely_frontal": 0.95}
    assert deciding_frame(evidence, judge_clip(evidence, limits)) == 2


@pytest.mark.parametrize("case", CASES, ids=_id)
def test_a_flawless_clip_passes_by_the_default_preset(
    case: Case, make_evidence: MakeEvidence, talkingpose: ExtractionConfig
) -> None:
    threshold = talkingpose.filters[case.code]
    assert threshold is not None
    verdict = FILTERS[case.code].judge(make_evidence(101), threshold)
    assert verdict.kept
    assert math.isfinite(verdict.measured)


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if case.code not in {"source.too_small", "clip.too_short"}],
    ids=_id,
)
def test_no_frames_at_all_are_nothing_to_measure(case: Case, make_evidence: MakeEvidence) -> None:
    verdict = FILTERS[case.code].judge(make_evidence(0, text_share=NAN), case.threshold)
    assert math.isnan(verdict.measured)
    assert verdict.kept


NOBODY = {
    "face.missing": 0,
    "person.multiple": 0,
    "face.too_small": NAN,
    "face.low_confidence": NAN,
    "face.turned": NAN,
    "face.rarely_frontal": 0,
    "image.blurred": NAN,
    "framing.not_upper_body": 0,
    "skeleton.low_confidence": 0,
    "skeleton.jitter": NAN,
    "skeleton.blinking": 0,
    "hands.hidden": 0,
    "hands.rarely_both": 0,
    "hands.low_confidence": NAN,
    "hands.blurred": NAN,
    "motion.camera": NAN,
    "person.changed": NAN,
}
"""What is measured where nobody was seen: a share of frames is 0, a trait of a person is NaN."""


@pytest.mark.parametrize("n_frames", [1, 2, 5])
@pytest.mark.parametrize(("code", "measured"), NOBODY.items())
def test_frames_without_anybody_are_measured_without_a_warning(
    code: str, measured: float, n_frames: int, make_evidence: MakeEvidence
) -> None:
    evidence = make_evidence(
        n_frames,
        num_faces=[0] * n_frames,
        face_height_px=[NAN] * n_frames,
        face_scores=[NAN] * n_frames,
        face_yaw_deg=[NAN] * n_frames,
        face_sharpness=[NAN] * n_frames,
        hand_scores=[[0, 0]] * n_frames,
        hand_sharpness=[[NAN, NAN]] * n_frames,
        camera_shift_share=[NAN] * (n_frames - 1),
        appearance_change=[NAN] * n_frames,
    )
    evidence.pose.keypoints[:] = NAN
    evidence.pose.scores[:] = 0

    verdict = FILTERS[code].judge(evidence, 0.0)

    np.testing.assert_equal(verdict.measured, float(measured))
    assert verdict.kept


@pytest.mark.parametrize(("n_known", "speed"), [(0, NAN), (17, NAN), (64, NAN), (65, 0.2 * 25)])
def test_the_camera_is_judged_by_half_of_the_frames_or_not_at_all(
    n_known: int, speed: float, make_evidence: MakeEvidence
) -> None:
    shifts = np.full(130, NAN)
    shifts[:n_known] = 0.2
    evidence = make_evidence(131, camera_shift_share=shifts)
    np.testing.assert_allclose(FILTERS["motion.camera"].measure(evidence), speed)


@pytest.mark.parametrize("n_frames", [1, 2])
def test_jitter_takes_three_frames(n_frames: int, make_evidence: MakeEvidence) -> None:
    assert math.isnan(FILTERS["skeleton.jitter"].measure(make_evidence(n_frames)))


def test_steady_motion_is_no_jitter(make_evidence: MakeEvidence) -> None:
    evidence = make_evidence(10)
    evidence.pose.keypoints[:] += np.arange(10, dtype=np.float32)[:, None, None] * 4
    assert FILTERS["skeleton.jitter"].measure(evidence) == 0


def test_jitter_with_one_shoulder_hidden_is_nothing_to_measure(
    make_evidence: MakeEvidence,
) -> None:
    evidence = make_evidence(10)
    evidence.pose.scores[:, LEFT_SHOULDER] = 0
    assert math.isnan(FILTERS["skeleton.jitter"].measure(evidence))


def test_jitter_of_shoulders_in_one_point_is_nothing_to_measure(
    make_evidence: MakeEvidence,
) -> None:
    evidence = make_evidence(10)
    evidence.pose.keypoints[:, LEFT_SHOULDER] = evidence.pose.keypoints[:, RIGHT_SHOULDER]
    assert math.isnan(FILTERS["skeleton.jitter"].measure(evidence))


def test_joints_on_the_outermost_pixels_are_in_the_frame(make_evidence: MakeEvidence) -> None:
    evidence = make_evidence(2)
    evidence.pose.keypoints[:, LEFT_ELBOW] = (evidence.width_px - 1, evidence.height_px - 1)
    evidence.pose.keypoints[:, RIGHT_ELBOW] = 0
    assert FILTERS["framing.not_upper_body"].measure(evidence) == 1


def test_a_detector_that_doubts_hips_only_is_sure_of_the_upper_body(
    make_evidence: MakeEvidence,
) -> None:
    evidence = make_evidence(3)
    evidence.pose.scores[:, LEFT_WRIST + 2 :] = 0
    assert FILTERS["skeleton.low_confidence"].measure(evidence) == 1


def test_codes_and_measurements_are_unique() -> None:
    assert len(FILTERS) == len({item.measurement.name for item in ALL_FILTERS}) == len(ALL_FILTERS)
    assert (*SCREENING_FILTERS, *CLIP_FILTERS) == ALL_FILTERS


@pytest.mark.parametrize("item", SCREENING_FILTERS, ids=lambda item: item.code)
def test_screening_filters_need_nothing_of_a_tracked_person(
    item: Filter[Evidence], make_evidence: MakeEvidence
) -> None:
    full = make_evidence(101)
    cheap = Evidence(**{name: getattr(full, name) for name in Evidence.__dataclass_fields__})
    assert item.measure(cheap) == item.measure(full)
