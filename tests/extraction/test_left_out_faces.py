"""Samples are searched for faces only where these may matter; what passes stays the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tpbench.detectors.base import Detections, FaceDetection
from tpbench.extraction.config import ExtractionConfig, load_preset
from tpbench.extraction.filters import judge_screened, reject_codes
from tpbench.extraction.screening import Screened, screen, search_left_out, spans_of_shot
from tpbench.extraction.shots import Span
from tpbench.video import DecodedFrame, Frame, VideoInfo, probe

if TYPE_CHECKING:
    from tests.conftest import MediaMaker

FPS = 10
EVERY = 5
FILTERS: dict[str, float | None] = {
    "clip.too_short": 30.0,
    "image.too_dark": 10.0,
    "image.too_bright": 210.0,
    "overlay.slides": 0.5,
    "face.missing": 0.9,
    "person.multiple": 0.1,
}
MIDDLE = 105.0
"""Some pictures of a talk are darker."""
TALK = np.random.default_rng(0).integers(60, 180, (2, 48, 64, 3)).astype(np.uint8)


@dataclass(frozen=True)
class Stretch:
    """Frames of one scene."""

    n_frames: int
    kind: str = "talk"
    num_faces: int = 1
    still: bool = False

    def image(self, at: int) -> NDArray[np.uint8]:
        if self.kind == "dark":
            return np.full(
                (48, 64, 3), self.num_faces + (0 if self.still else 3 * (at % 3)), np.uint8
            )
        if self.kind == "bright":
            level = 230 + self.num_faces + (0 if self.still else 5 * (at % 3))
            return np.full((48, 64, 3), level, np.uint8)
        image: NDArray[np.uint8] = TALK[int(self.kind == "other")].copy()
        if not self.still:
            image[:, : 1 + at % 60] = 90
        image[-1, -1] = self.num_faces  # equal pictures show equally many faces
        return image


@dataclass
class Shown:
    """A frame that was not decoded."""

    index: int
    image: NDArray[np.uint8]

    @property
    def time_s(self) -> float:
        return self.index / FPS

    pts: int | None = None

    def to_rgb(self, *, max_side_px: int | None = None) -> NDArray[np.uint8]:
        return self.image

    def is_combed(self) -> bool:
        return False


@dataclass
class Faces:
    """Finds as many faces in a frame as the script says, and notes which it searched."""

    counts: Sequence[int]
    model_digest: str = ""
    searched: list[int] = field(default_factory=list)

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        self.searched += [frame.index for frame in frames]
        return [Detections(faces=(_FACE,) * self.counts[frame.index]) for frame in frames]

    def reset(self) -> None:
        pass

    def close(self) -> None:
        pass


_FACE = FaceDetection(
    box_px=np.array([10, 10, 40, 40], dtype=np.float32),
    score=0.9,
    eyes_px=np.zeros((2, 2), dtype=np.float32),
    nose_px=np.zeros(2, dtype=np.float32),
    ears_px=np.zeros((2, 2), dtype=np.float32),
)


def _config(**filters: float | None) -> ExtractionConfig:
    preset = load_preset("talkingpose")
    named = {code.replace("__", "."): limit for code, limit in filters.items()}
    return preset.model_copy(
        update={
            "clip": preset.clip.model_copy(update={"min_s": 2.5}),
            "filters": FILTERS | named,
        }
    )


@pytest.fixture(scope="module")
def info(session_media: MediaMaker) -> VideoInfo:
    return replace(probe(session_media.cfr("left-out.mp4", n=1)), fps=Fraction(FPS))


def _frames(script: Sequence[Stretch]) -> list[DecodedFrame]:
    images = [shown.image(at) for shown in script for at in range(shown.n_frames)]
    frames: list[Any] = [Shown(number, image) for number, image in enumerate(images)]
    return cast("list[DecodedFrame]", frames)


def _faces(script: Sequence[Stretch]) -> Faces:
    return Faces([shown.num_faces for shown in script for _ in range(shown.n_frames)])


def _promising(
    screened: Screened, script: Sequence[Stretch], faces: Faces, config: ExtractionConfig
) -> Iterator[Span]:
    """Yield the spans that pass, as the pipeline finds them."""
    for shot in screened.shots:
        seen = screened
        if not shot.is_transition and (left_out := screened.left_out(shot, config)):
            seen = search_left_out(_frames(script), screened, left_out, config=config, faces=faces)
        for span in [] if shot.is_transition else spans_of_shot(shot, seen, config):
            if not reject_codes(judge_screened(seen.evidence(span), config.filters)):
                yield span


SCRIPTS = st.lists(
    st.builds(
        Stretch,
        n_frames=st.integers(1, 70),
        kind=st.sampled_from(["talk", "talk", "other", "dark", "bright"]),
        num_faces=st.sampled_from([1, 1, 0, 2]),
        still=st.booleans(),
    ),
    min_size=1,
    max_size=6,
)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(script=SCRIPTS, dark=st.sampled_from([10.0, MIDDLE]))
def test_the_same_spans_pass_as_with_every_sample_searched(
    script: list[Stretch], dark: float, info: VideoInfo
) -> None:
    config = _config(image__too_dark=dark)
    every = _config(image__too_dark=dark, clip__too_short=None)
    info = replace(info, frame_count=sum(shown.n_frames for shown in script))
    faces = _faces(script)
    lazily = screen(_frames(script), info=info, config=config, faces=faces)
    fully = screen(_frames(script), info=info, config=every, faces=_faces(script))
    assert fully.has_all_faces(Span(shot_id=0, start_frame=0, end_frame=info.frame_count))
    assert lazily.shots == fully.shots
    passing = [list(_promising(seen, script, faces, config)) for seen in (lazily, fully)]
    assert passing[0] == passing[1]


def _searched(script: Sequence[Stretch], info: VideoInfo, **filters: float | None) -> list[int]:
    faces = _faces(script)
    screen(_frames(script), info=info, config=_config(**filters), faces=faces)
    return faces.searched


def test_short_shots_are_not_searched(info: VideoInfo) -> None:
    script = [Stretch(20), Stretch(20, kind="other")] * 3
    assert _searched(script, info) == []
    assert len(_searched(script, info, clip__too_short=None)) == 24


def test_a_shot_that_is_long_enough_is_searched_from_its_start(info: VideoInfo) -> None:
    script = [Stretch(20), Stretch(41, kind="other")]
    assert _searched(script, info) == [20, 25, 30, 35, 40, 45, 50, 55, 60]


@pytest.mark.parametrize("kind", ["dark", "bright"])
def test_pictures_that_are_rejected_by_themselves_are_not_searched(
    kind: str, info: VideoInfo
) -> None:
    script = [Stretch(100, kind=kind)]
    assert _searched(script, info) == []
    filters = {"image.too_dark": None, "image.too_bright": None, "overlay.slides": None}
    off = {code.replace(".", "__"): limit for code, limit in filters.items()}
    assert len(_searched(script, info, **off)) == 20


def test_a_shot_with_other_pictures_as_well_is_searched_afterwards(info: VideoInfo) -> None:
    script, config = [Stretch(60)], _config(image__too_dark=MIDDLE)
    info = replace(info, frame_count=60)
    faces = _faces(script)
    screened = screen(_frames(script), info=info, config=config, faces=faces)
    (shot,) = screened.shots
    left_out = list(screened.left_out(shot, config))
    assert 0 < len(left_out) < 12
    searched = search_left_out(_frames(script), screened, left_out, config=config, faces=faces)
    assert [sample.frame for sample in searched.faces] == list(range(0, 60, EVERY))
    assert sorted(faces.searched) == list(range(0, 60, EVERY))


def test_a_still_is_searched_once(info: VideoInfo) -> None:
    script = [Stretch(60, still=True)]
    faces = _faces(script)
    screened = screen(_frames(script), info=info, config=_config(), faces=faces)
    assert faces.searched == [0]
    assert [sample.num_faces for sample in screened.faces] == [1] * 12
    assert [sample.motion for sample in screened.pictures[1:]] == [0.0] * 11
