"""Every filter on evidence worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tpbench.extraction.config import ExtractionConfig
from tpbench.extraction.filters import ALL_FILTERS, CLIP_FILTERS, SCREENING_FILTERS
from tpbench.extraction.filters.camera_motion import CameraMotion
from tpbench.extraction.filters.darkness import Dark
from tpbench.extraction.filters.face_confidence import FaceConfidence
from tpbench.extraction.filters.face_frontal import FaceFrontal
from tpbench.extraction.filters.face_present import FacePresent
from tpbench.extraction.filters.face_sharpness import FaceSharpness
from tpbench.extraction.filters.face_size import FaceSize
from tpbench.extraction.filters.face_yaw import FaceYaw
from tpbench.extraction.filters.framing import UpperBodyFraming
from tpbench.extraction.filters.hand_confidence import HandConfidence
from tpbench.extraction.filters.hand_sharpness import HandSharpness
from tpbench.extraction.filters.hands_both import HandsBoth
from tpbench.extraction.filters.hands_visible import HandsVisible
from tpbench.extraction.filters.identity import Identity
from tpbench.extraction.filters.length import Length
from tpbench.extraction.filters.overexposure import Overexposed
from tpbench.extraction.filters.overlaid_text import OverlaidText
from tpbench.extraction.filters.single_person import SinglePerson
from tpbench.extraction.filters.skeleton_blinking import SkeletonBlinking
from tpbench.extraction.filters.skeleton_confidence import SkeletonConfidence
from tpbench.extraction.filters.skeleton_jitter import SkeletonJitter
from tpbench.extraction.filters.slides import Slides
from tpbench.extraction.filters.source_size import SourceSize
from tpbench.extraction.filters.still import Still
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

if TYPE_CHECKING:
    from tests.extraction.conftest import MakeEvidence, MakePose

NAN = float("nan")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Case:
    """One filter, evidence exactly at its threshold, and evidence just beyond."""

    kind: type[Any]
    code: str
    threshold: float
    at: dict[str, Any]
    beyond: dict[str, Any]
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
    Case(
        kind=SourceSize,
        code="source.too_small",
        threshold=256,
        at={"width_px": 256},
        beyond={"width_px": 255},
        measured=255,
    ),
    Case(
        kind=Length,
        code="clip.too_short",
        threshold=101,
        at={"n_frames": 101},
        beyond={"n_frames": 100},
        measured=100,
    ),
    Case(
        kind=Dark,
        code="image.too_dark",
        threshold=10,
        at={"luminance": [4, 10, 200]},
        beyond={"luminance": [4, 9.5, 200]},
        measured=9.5,
    ),
    Case(
        kind=Overexposed,
        code="image.too_bright",
        threshold=210,
        at={"luminance": [0] * 9 + [210, 255]},
        beyond={"luminance": [0] * 9 + [211, 255]},
        measured=211,
    ),
    Case(
        kind=Still,
        code="motion.static",
        threshold=0.5,
        at={"motion": [0.0, 0.4, 0.5, 9.0]},
        beyond={"motion": [0.0, 0.4, 0.3, 9.0]},
        measured=0.25,
    ),
    Case(
        kind=Slides,
        code="overlay.slides",
        threshold=0.5,
        at={"page_share": [0.1, 0.5, 0.9]},
        beyond={"page_share": [0.1, 0.6, 0.9]},
        measured=0.6,
    ),
    Case(
        kind=OverlaidText,
        code="overlay.text",
        threshold=0.01,
        at={"text_share": 0.01},
        beyond={"text_share": 0.011},
        measured=0.011,
    ),
    Case(
        kind=FacePresent,
        code="face.missing",
        threshold=0.75,
        at={"num_faces": [1, 0, 0, 2, 1, 1, 0, 1]},
        beyond={"num_faces": [1, 0, 0, 2, 0, 0, 1, 1]},
        measured=0.5,
    ),
    Case(
        kind=SinglePerson,
        code="person.multiple",
        threshold=0.25,
        at={"num_faces": [1, 2, 3, 1, 0, 2, 1, 1]},
        beyond={"num_faces": [1, 2, 3, 1, 0, 2, 2, 1]},
        measured=0.5,
    ),
    Case(
        kind=FaceSize,
        code="face.too_small",
        threshold=48,
        at={"face_height_px": [NAN, 40, 48, 56]},
        beyond={"face_height_px": [NAN, 40, 47, 56]},
        measured=47,
    ),
    Case(
        kind=FaceConfidence,
        code="face.low_confidence",
        threshold=0.5,
        at={"face_scores": [0.25, NAN, 0.5, 0.75]},
        beyond={"face_scores": [0.25, NAN, 0.375, 0.75]},
        measured=0.375,
    ),
    Case(
        kind=FaceYaw,
        code="face.turned",
        threshold=45,
        at={"face_yaw_deg": [-60, 45, NAN, 10]},
        beyond={"face_yaw_deg": [60, -46, NAN, 10]},
        measured=46,
    ),
    Case(
        kind=FaceFrontal,
        code="face.rarely_frontal",
        threshold=0.5,
        at={"face_yaw_deg": [-45, 44, 46, NAN]},
        beyond={"face_yaw_deg": [-45, 80, 46, NAN]},
        measured=0.25,
    ),
    Case(
        kind=FaceSharpness,
        code="image.blurred",
        threshold=0.02,
        at={"face_sharpness": [NAN, 0.01, 0.02, 0.9]},
        beyond={"face_sharpness": [NAN, 0.01, 0.015, 0.9]},
        measured=0.015,
    ),
    Case(
        kind=UpperBodyFraming,
        code="framing.not_upper_body",
        threshold=0.5,
        at={"pose": _framed(good_frames=2)},
        beyond={"pose": _framed(good_frames=1)},
        measured=0.25,
    ),
    Case(
        kind=SkeletonConfidence,
        code="skeleton.low_confidence",
        threshold=0.5,
        at={"pose": _scored(0.25, 0.5, 0.75)},
        beyond={"pose": _scored(0.25, 0.375, 0.75)},
        measured=0.375,
    ),
    Case(  # shoulders are 150 px apart
        kind=SkeletonJitter,
        code="skeleton.jitter",
        threshold=0.1,
        at={"pose": _trembling(150 * 0.1 / 4)},
        beyond={"pose": _trembling(150 * 0.12 / 4)},
        measured=0.12,
    ),
    Case(
        kind=SkeletonBlinking,
        code="skeleton.blinking",
        threshold=5.0,
        at={"pose": _blinking(2)},
        beyond={"pose": _blinking(3)},
        measured=7.5,
    ),
    Case(
        kind=HandsVisible,
        code="hands.hidden",
        threshold=0.5,
        at={"hand_scores": [[0, 0], [0.1, 0], [0, 0], [0.5, 0.5]]},
        beyond={"hand_scores": [[0, 0], [0.1, 0], [0, 0], [0, 0]]},
        measured=0.25,
    ),
    Case(
        kind=HandsBoth,
        code="hands.rarely_both",
        threshold=0.5,
        at={"hand_scores": [[0, 0], [0.1, 0], [0.1, 0.2], [0.5, 0.5]]},
        beyond={"hand_scores": [[0, 0], [0.1, 0], [0, 0.2], [0.5, 0.5]]},
        measured=0.25,
    ),
    Case(
        kind=HandConfidence,
        code="hands.low_confidence",
        threshold=0.5,
        at={"hand_scores": [[0, 0.25], [0.5, 0]] + 9 * [[0.9, 0]]},
        beyond={"hand_scores": [[0, 0.25], [0.375, 0]] + 9 * [[0.9, 0]]},
        measured=0.375,
    ),
    Case(
        kind=HandSharpness,
        code="hands.blurred",
        threshold=0.02,
        at={"hand_sharpness": [[NAN, 0.01], [0.02, NAN], [NAN, 0.9]]},
        beyond={"hand_sharpness": [[NAN, 0.01], [0.015, NAN], [NAN, 0.9]]},
        measured=0.015,
    ),
    Case(  # a mean of 1/64 diagonal a frame, 16 frames a second
        kind=CameraMotion,
        code="motion.camera",
        threshold=0.25,
        at={"camera_shift_share": [0, 1 / 32, NAN], "fps": Fraction(16)},
        beyond={"camera_shift_share": [0, 1 / 16, NAN], "fps": Fraction(16)},
        measured=0.5,
    ),
    Case(
        kind=Identity,
        code="person.changed",
        threshold=0.75,
        at={"appearance_change": [NAN] + [0] * 19 + [0.75, 1]},
        beyond={"appearance_change": [NAN] + [0] * 19 + [0.8, 1]},
        measured=0.8,
    ),
]


@pytest.fixture
def evidence_of(
    make_evidence: MakeEvidence, make_pose: MakePose
) -> Callable[[dict[str, Any]], Any]:
    def make(changes: dict[str, Any]) -> Any:  # noqa: ANN401 - either kind of filter takes it
        made: dict[str, Any] = {
            name: value.make(make_pose) if isinstance(value, PoseOf) else value
            for name, value in changes.items()
        }
        return make_evidence(**made)

    return make


def _id(case: Case) -> str:
    return case.code


def test_every_filter_has_a_case() -> None:
    assert {case.kind for case in CASES} == set(ALL_FILTERS)


@pytest.mark.parametrize("case", CASES, ids=_id)
def test_the_threshold_itself_is_kept(
    case: Case, evidence_of: Callable[[dict[str, Any]], Any]
) -> None:
    verdict = case.kind(threshold=case.threshold).judge(evidence_of(case.at))

    assert verdict.measured == pytest.approx(case.threshold, rel=1e-12)
    assert verdict.kept is True


@pytest.mark.parametrize("case", CASES, ids=_id)
def test_beyond_the_threshold_is_rejected_with_all_that_led_to_it(
    case: Case, evidence_of: Callable[[dict[str, Any]], Any]
) -> None:
    verdict = case.kind(threshold=case.threshold).judge(evidence_of(case.beyond))

    assert verdict.kept is False
    assert verdict.code == case.code
    assert verdict.measured == pytest.approx(case.measured, rel=1e-12)
    assert type(verdict.measured) is float  # it goes into JSON
    assert verdict.threshold == case.threshold
    assert verdict.measurement == case.kind.measurement


@pytest.mark.parametrize("case", CASES, ids=_id)
def test_a_flawless_clip_passes_by_the_default_preset(
    case: Case, make_evidence: MakeEvidence, talkingpose: ExtractionConfig
) -> None:
    threshold = talkingpose.filters[case.code]

    verdict = case.kind(threshold=threshold).judge(make_evidence(101))

    assert verdict.kept
    assert math.isfinite(verdict.measured)


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.kind not in {SourceSize, Length}], ids=_id
)
def test_no_frames_at_all_are_nothing_to_measure(case: Case, make_evidence: MakeEvidence) -> None:
    verdict = case.kind(threshold=case.threshold).judge(make_evidence(0, text_share=NAN))

    assert math.isnan(verdict.measured)
    assert verdict.kept


NOBODY = {
    FacePresent: 0,
    SinglePerson: 0,
    FaceSize: NAN,
    FaceConfidence: NAN,
    FaceYaw: NAN,
    FaceFrontal: 0,
    FaceSharpness: NAN,
    UpperBodyFraming: 0,
    SkeletonConfidence: 0,
    SkeletonJitter: NAN,
    SkeletonBlinking: 0,
    HandsVisible: 0,
    HandsBoth: 0,
    HandConfidence: NAN,
    HandSharpness: NAN,
    CameraMotion: NAN,
    Identity: NAN,
}
"""What is measured where nobody was seen: a share of frames is 0, a trait of a person is NaN."""


@pytest.mark.parametrize("n_frames", [1, 2, 5])
@pytest.mark.parametrize(
    ("kind", "measured"), NOBODY.items(), ids=[kind.__name__ for kind in NOBODY]
)
def test_frames_without_anybody_are_measured_without_a_warning(
    kind: type[Any], measured: float, n_frames: int, make_evidence: MakeEvidence
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

    verdict = kind(threshold=0.0).judge(evidence)

    np.testing.assert_equal(verdict.measured, float(measured))
    assert verdict.kept


@pytest.mark.parametrize(("n_known", "speed"), [(0, NAN), (17, NAN), (64, NAN), (65, 0.2 * 25)])
def test_the_camera_is_judged_by_half_of_the_frames_or_not_at_all(
    n_known: int, speed: float, make_evidence: MakeEvidence
) -> None:
    shifts = np.full(130, NAN)
    shifts[:n_known] = 0.2
    evidence = make_evidence(131, camera_shift_share=shifts)

    np.testing.assert_allclose(CameraMotion(threshold=0.1).measure(evidence), speed)


@pytest.mark.parametrize("n_frames", [1, 2])
def test_jitter_takes_three_frames(n_frames: int, make_evidence: MakeEvidence) -> None:
    assert math.isnan(SkeletonJitter(threshold=0.1).measure(make_evidence(n_frames)))


def test_steady_motion_is_no_jitter(make_evidence: MakeEvidence) -> None:
    evidence = make_evidence(10)
    evidence.pose.keypoints[:] += np.arange(10, dtype=np.float32)[:, None, None] * 4

    assert SkeletonJitter(threshold=0.1).measure(evidence) == 0


def test_jitter_with_one_shoulder_hidden_is_nothing_to_measure(
    make_evidence: MakeEvidence,
) -> None:
    evidence = make_evidence(10)
    evidence.pose.scores[:, LEFT_SHOULDER] = 0

    assert math.isnan(SkeletonJitter(threshold=0.1).measure(evidence))


def test_jitter_of_shoulders_in_one_point_is_nothing_to_measure(
    make_evidence: MakeEvidence,
) -> None:
    evidence = make_evidence(10)
    evidence.pose.keypoints[:, LEFT_SHOULDER] = evidence.pose.keypoints[:, RIGHT_SHOULDER]

    assert math.isnan(SkeletonJitter(threshold=0.1).measure(evidence))


def test_joints_on_the_outermost_pixels_are_in_the_frame(make_evidence: MakeEvidence) -> None:
    evidence = make_evidence(2)
    evidence.pose.keypoints[:, LEFT_ELBOW] = (evidence.width_px - 1, evidence.height_px - 1)
    evidence.pose.keypoints[:, RIGHT_ELBOW] = 0

    assert UpperBodyFraming(threshold=0.7).measure(evidence) == 1


def test_a_detector_that_doubts_hips_only_is_sure_of_the_upper_body(
    make_evidence: MakeEvidence,
) -> None:
    evidence = make_evidence(3)
    evidence.pose.scores[:, LEFT_WRIST + 2 :] = 0

    assert SkeletonConfidence(threshold=0.6).measure(evidence) == 1


def test_codes_and_measurements_are_unique() -> None:
    assert len({kind.code for kind in ALL_FILTERS}) == len(ALL_FILTERS)
    assert len({kind.measurement for kind in ALL_FILTERS}) == len(ALL_FILTERS)


def test_all_filters_are_those_of_both_stages() -> None:
    assert (*SCREENING_FILTERS, *CLIP_FILTERS) == ALL_FILTERS


@pytest.mark.parametrize("kind", SCREENING_FILTERS)
def test_screening_filters_need_nothing_of_a_tracked_person(
    kind: type[Any], make_evidence: MakeEvidence
) -> None:
    from tpbench.extraction.evidence import Evidence

    full = make_evidence(101)
    cheap = Evidence(
        **{name: getattr(full, name) for name in Evidence.__dataclass_fields__},
    )

    assert kind(threshold=0.0).measure(cheap) == kind(threshold=0.0).measure(full)
