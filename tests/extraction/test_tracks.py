"""Tracks that will be rejected whatever follows: found early, and never one that is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.extraction.conftest import SKELETON
from tpbench.detectors.base import Detections, FaceDetection, HandDetection, PersonDetection
from tpbench.extraction import following
from tpbench.extraction.config import ExtractionConfig, load_preset
from tpbench.extraction.filters import ALL_FILTERS, Unseen, Verdict, judge_clip, reject_codes
from tpbench.extraction.following import PieceAnalyser
from tpbench.extraction.measures import ClipEvidence, StageClock
from tpbench.extraction.shots import Span
from tpbench.extraction.tracks import Followed, UndecidedError
from tpbench.video import Frame, VideoInfo
from tpbench.wholebody import NUM_KEYPOINTS, WholeBodyPose

SIZE_PX = (96, 64)
FPS = 10
LEAST_FRAMES = 20
FILTERS = {
    "clip.too_short": float(LEAST_FRAMES),
    "image.too_dark": 10.0,
    "face.missing": 0.9,
    "person.multiple": 0.1,
    "face.low_confidence": 0.6,
    "face.rarely_frontal": 0.5,
    "hands.hidden": 0.6,
    "hands.rarely_both": 0.3,
    "hands.low_confidence": 0.5,
}


@dataclass(frozen=True)
class Stretch:
    """Frames that are alike."""

    n_frames: int
    person: int | None = 0
    """Which of three people is the tallest; None for an empty stage."""
    second: bool = False
    hands: int = 2
    score: float = 0.9
    turned: bool = False
    level: int = 128


COLOURS = ((200, 40, 40), (40, 40, 200), (40, 200, 40))


def _face(person: int, shown: Stretch, *, height: float = 24.0) -> FaceDetection:
    x, y, half = 20.0 + 28 * person, 24.0, height / 2
    nose = x + (0.9 * half if shown.turned else 0)
    return FaceDetection(
        box_px=np.array([x - half, y - half, x + half, y + half], dtype=np.float32),
        score=shown.score,
        eyes_px=np.array([[x - 4, y], [x + 4, y]], dtype=np.float32),
        nose_px=np.array([nose, y], dtype=np.float32),
        ears_px=np.array([[x - half, y], [x + half, y]], dtype=np.float32),
    )


def _found(shown: Stretch) -> Detections:
    if shown.person is None:
        return Detections()
    faces = [_face(shown.person, shown)]
    if shown.second:
        faces.append(_face((shown.person + 1) % 3, shown, height=22))
    keypoints = np.full((NUM_KEYPOINTS, 2), np.nan, dtype=np.float32)
    keypoints[list(SKELETON)] = (faces[0].box_px[:2] + faces[0].box_px[2:]) / 2
    scores = np.isfinite(keypoints[:, 0]).astype(np.float32)
    person = PersonDetection(keypoints_px=keypoints, scores=scores)
    places = np.linspace([10, 40], [30, 60], 21).astype(np.float32)
    hands = tuple(HandDetection(keypoints_px=places, score=shown.score) for _ in range(shown.hands))
    return Detections(faces=tuple(faces), hands=hands, people=(person,))


@dataclass
class Stage:
    """Detectors that see what a script says, and count the frames that all of them search."""

    script: Sequence[Stretch]
    searched: int = 0
    source: str = "dwpose"
    face_digest: str = "f"
    hand_digest: str = "h"
    skeleton_digest: str = "s"
    faces: Any = field(init=False)

    def __post_init__(self) -> None:
        self.frames = [shown for shown in self.script for _ in range(shown.n_frames)]
        self.faces = SimpleNamespace(
            detect=lambda batch: [
                Detections(faces=_found(self.frames[frame.index]).faces) for frame in batch
            ]
        )

    def detect(self, batch: Sequence[Frame]) -> list[Detections]:
        self.searched += len(batch)
        return [_found(self.frames[frame.index]) for frame in batch]

    def reset(self) -> None:
        pass

    def sides_of_hands(
        self, hands: Sequence[HandDetection], _: PersonDetection
    ) -> tuple[HandDetection | None, HandDetection | None]:
        padded = [*hands, None, None]
        return padded[0], padded[1]

    def images(self) -> list[Frame]:
        images = []
        for number, shown in enumerate(self.frames):
            image = np.full((SIZE_PX[1], SIZE_PX[0], 3), shown.level, dtype=np.uint8)
            if shown.person is not None:
                left = 20 + 28 * shown.person - 13
                image[8:, left : left + 26] = np.array(COLOURS[shown.person]) * (shown.level / 255)
            images.append(Frame(image=image, index=number, time_s=number / FPS))
        return images


class StillCamera:
    """Stands for the camera's shift, which takes most of the time."""

    def push(self, *_: object, **__: object) -> float:
        return 0.0


@pytest.fixture(autouse=True)
def _still_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "CameraShift", StillCamera)


def _config(filters: dict[str, float]) -> ExtractionConfig:
    return load_preset("talkingpose").model_copy(update={"filters": filters})


def _follow(
    stage: Stage, filters: dict[str, float], *, to_the_end: bool = False
) -> list[tuple[Followed, list[Verdict]]]:
    info = SimpleNamespace(width_px=SIZE_PX[0], height_px=SIZE_PX[1], fps=Fraction(FPS))
    config = _config(filters)
    analyser = PieceAnalyser(
        info=cast("VideoInfo", info),
        config=config,
        detectors=cast("Any", stage),
        clock=StageClock(),
        to_the_end=to_the_end,
    )
    frames = stage.images()
    piece = Span(shot_id=0, start_frame=0, end_frame=len(frames))
    return [
        (found, judge_clip(found.evidence, filters) if found.rejections is None
         else list(found.rejections))
        for found in analyser.analyse(piece, frames)
    ]  # fmt: skip


def _kept(result: list[tuple[Followed, list[Verdict]]]) -> list[tuple[int, int]]:
    return [
        (found.span.start_frame, found.span.end_frame)
        for found, verdicts in result
        if not reject_codes(verdicts)
    ]


STRETCHES = st.builds(
    Stretch,
    n_frames=st.integers(1, 45),
    person=st.sampled_from([0, 0, 0, 1, 2, None]),
    second=st.sampled_from([False, False, False, True]),
    hands=st.sampled_from([2, 2, 1, 0]),
    score=st.sampled_from([0.9, 0.9, 0.3]),
    turned=st.booleans(),
    level=st.sampled_from([128, 128, 120, 2]),
)


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    script=st.lists(STRETCHES, min_size=1, max_size=6),
    off=st.sets(st.sampled_from(sorted(FILTERS)), max_size=3),
)
def test_what_is_kept_is_the_same_as_with_every_frame_measured(
    script: list[Stretch], off: set[str]
) -> None:
    filters = {code: limit for code, limit in FILTERS.items() if code not in off}
    fully = _follow(Stage(script), filters, to_the_end=True)
    try:
        early = _follow(Stage(script), filters)
    except UndecidedError:
        return  # the pipeline measures every frame then
    assert _kept(early) == _kept(fully)
    codes = {found.span.start_frame: set(reject_codes(verdicts)) for found, verdicts in fully}
    for found, verdicts in early:
        assert set(reject_codes(verdicts)) <= codes[found.span.start_frame]
    assert early[-1][0].span.end_frame == fully[-1][0].span.end_frame
    for (first, _), (second, _) in pairwise(early):
        assert first.span.end_frame == second.span.start_frame


def test_hands_that_are_never_seen_are_searched_in_a_part_of_the_piece() -> None:
    stage = Stage([Stretch(300, hands=0)])
    ((found, verdicts),) = _follow(stage, FILTERS)
    assert reject_codes(verdicts)[0] == "hands.hidden"
    assert (found.span.start_frame, found.span.end_frame) == (0, 300)
    assert 120 < found.evidence.n_frames == stage.searched < 160
    assert {verdict.measured for verdict in verdicts} == {0.0}


def test_a_person_who_comes_after_a_hopeless_track_is_kept() -> None:
    script = [Stretch(60, hands=0), Stretch(8, person=None), Stretch(60, person=1)]
    stage = Stage(script)
    assert _kept(_follow(stage, FILTERS)) == _kept(_follow(Stage(script), FILTERS, to_the_end=True))
    assert len(_kept(_follow(Stage(script), FILTERS))) == 1
    assert stage.searched < 128


def test_a_piece_is_not_read_on_when_nobody_after_it_has_time_enough() -> None:
    stage = Stage([Stretch(200, score=0.3)])
    read: list[int] = []

    def counted() -> Any:  # noqa: ANN401 - an iterator of frames
        for frame in stage.images():
            read.append(frame.index)
            yield frame

    info = SimpleNamespace(width_px=SIZE_PX[0], height_px=SIZE_PX[1], fps=Fraction(FPS))
    analyser = PieceAnalyser(
        info=cast("VideoInfo", info),
        config=_config(FILTERS | {"clip.too_short": 90.0}),
        detectors=cast("Any", stage),
        clock=StageClock(),
    )
    (found,) = analyser.analyse(Span(shot_id=0, start_frame=0, end_frame=200), counted())
    assert found.span.end_frame == 200
    assert len(read) < 160


def test_a_track_in_doubt_is_measured_to_its_end() -> None:
    stage = Stage([Stretch(100, hands=0), Stretch(200)])
    assert _kept(_follow(stage, FILTERS)) == [(0, 300)]
    assert stage.searched == 300


@st.composite
def _evidence(draw: st.DrawFn) -> ClipEvidence:
    """Draw evidence in which every number may be on either side of its threshold, or unknown."""
    n = draw(st.integers(2, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    bad = draw(st.floats(0, 1))

    def mixed(good: float, poor: float, shape: tuple[int, ...] | int) -> NDArray[np.float64]:
        values = np.where(rng.random(shape) < bad, poor, good) * rng.uniform(0.9, 1.1, shape)
        values[rng.random(shape) < draw(st.sampled_from([0.0, 0.1, 0.6]))] = np.nan
        return values

    samples = np.arange(0, n, 5)
    pose = WholeBodyPose(
        keypoints=np.zeros((n, NUM_KEYPOINTS, 2), dtype=np.float32),
        scores=np.zeros((n, NUM_KEYPOINTS), dtype=np.float32),
        width_px=640,
        height_px=480,
        source="dwpose",
        model_digest="",
    )
    return ClipEvidence(
        width_px=640,
        height_px=draw(st.sampled_from([480, 200])),
        fps=Fraction(25),
        n_frames=n,
        sampled=samples,
        luminance=mixed(120, draw(st.sampled_from([5, 230])), len(samples)),
        motion=mixed(2, 0.1, len(samples) - 1),
        page_share=mixed(0.1, 0.7, len(samples)),
        text_share=0.0,
        num_faces=rng.choice([0, 1, 1, 1, 2], n),
        face_height_px=mixed(80, 30, n),
        face_scores=mixed(0.9, 0.4, n),
        face_yaw_deg=mixed(10, -70, n),
        face_sharpness=mixed(0.2, 0.01, n),
        hand_scores=np.nan_to_num(mixed(0.95, 0.5, (n, 2))),
        hand_sharpness=mixed(0.1, 0.01, (n, 2)),
        camera_shift_share=mixed(0.001, 0.008, n - 1),
        appearance_change=mixed(0.1, 0.5, n),
        pose=pose,
    )


def _first(evidence: ClipEvidence, n: int) -> ClipEvidence:
    samples = int(np.count_nonzero(evidence.sampled < n))
    kept = {"luminance": samples, "motion": max(0, samples - 1), "page_share": samples}
    names = ("num_faces", "face_height_px", "face_scores", "face_yaw_deg", "face_sharpness",
             "hand_scores", "hand_sharpness", "appearance_change")  # fmt: skip
    kept |= dict.fromkeys(names, n) | {"camera_shift_share": n - 1, "sampled": samples}
    cut: dict[str, Any] = {name: getattr(evidence, name)[:count] for name, count in kept.items()}
    return replace(evidence, n_frames=n, **cut)


@settings(max_examples=100, deadline=None)
@given(evidence=_evidence(), data=st.data())
def test_no_rejection_that_is_called_certain_is_undone_by_what_follows(
    evidence: ClipEvidence, data: st.DataObject
) -> None:
    n = data.draw(st.integers(2, evidence.n_frames))
    most = data.draw(st.integers(evidence.n_frames, evidence.n_frames + 20))
    seen = _first(evidence, n)
    samples = len(range(0, most, 5)) - len(seen.sampled)
    left = Unseen(frames=most - n, samples=samples)
    thresholds = load_preset("talkingpose").filters
    for item in ALL_FILTERS:
        threshold = thresholds[item.code]
        assert threshold is not None
        if not item.surely_rejects(seen, threshold, left, slack=1e-9):
            continue
        for end in {n, evidence.n_frames, data.draw(st.integers(n, evidence.n_frames))}:
            assert not item.judge(_first(evidence, end), threshold).kept, item.code


def _spoilt(evidence: Callable[..., ClipEvidence]) -> ClipEvidence:
    poor = np.full(100, 0.001)
    return evidence(
        100,
        num_faces=np.zeros(100),
        luminance=np.full(100, 1.0),
        motion=np.zeros(99),
        page_share=np.ones(100),
        face_height_px=poor,
        face_scores=poor,
        face_yaw_deg=np.full(100, 80.0),
        face_sharpness=poor,
        hand_scores=np.full((100, 2), 1e-4),
        hand_sharpness=np.zeros((100, 2)),
        camera_shift_share=np.ones(99),
        appearance_change=np.ones(100),
    )


def test_all_filters_that_can_be_certain_are_when_everything_is_bad(
    make_evidence: Callable[..., ClipEvidence],
) -> None:
    seen = _spoilt(make_evidence)
    thresholds = load_preset("talkingpose").filters
    certain = {
        item.code
        for item in ALL_FILTERS
        if item.surely_rejects(
            seen, thresholds[item.code] or 0, Unseen(frames=1, samples=1), slack=0
        )
    }
    able = {item.code for item in ALL_FILTERS if item.best_case is not None}
    others = {"source.too_small", "clip.too_short", "image.too_bright", "person.multiple",
              "hands.hidden", "hands.rarely_both"}  # fmt: skip
    assert certain >= able - others
