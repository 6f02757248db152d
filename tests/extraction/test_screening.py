from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tpbench.detectors.base import Detections, FaceDetection
from tpbench.extraction.config import ExtractionConfig
from tpbench.extraction.measures import Evidence
from tpbench.extraction.screening import (
    FaceSample,
    PictureSample,
    PictureSampler,
    Screened,
    sample_faces,
    sampled_evidence,
    screen,
    spans_of_shot,
)
from tpbench.extraction.shots import Shot, Span
from tpbench.video import Frame, VideoInfo, decode_frames, probe

if TYPE_CHECKING:
    from tests.conftest import MediaMaker
    from tests.extraction.conftest import MakeFace, MakeTexture


def _gather(pictures: Sequence[PictureSample], faces: Sequence[FaceSample] = ()) -> Evidence:
    return sampled_evidence(
        pictures,
        faces,
        size_px=(640, 360),
        fps=Fraction(25),
        span=Span(shot_id=0, start_frame=0, end_frame=50),
    )


def _captioned(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    image = image.copy()
    for colour, width in (((0, 0, 0), 6), ((255, 255, 255), 2)):
        cv2.putText(image, "this is a caption of one line", (40, 330), 0, 0.9, colour, width, 16)
    return image


def test_motion_is_the_change_since_the_sample_before() -> None:
    sampler = PictureSampler()
    black, white = np.zeros((36, 64, 3), np.uint8), np.full((36, 64, 3), 255, np.uint8)
    motion = [sampler.sample(12 * k, image).motion for k, image in enumerate([black, black, white])]
    assert math.isnan(motion[0])
    assert motion[1:] == pytest.approx([0, 85], abs=0.5)


def test_a_span_does_not_count_the_change_that_led_to_it() -> None:
    sampler = PictureSampler()
    black, white = np.zeros((36, 64, 3), np.uint8), np.full((36, 64, 3), 255, np.uint8)
    samples = [sampler.sample(12 * k, image) for k, image in enumerate([black, white, white])]
    evidence = _gather(samples[1:])
    assert evidence.motion.tolist() == [0]
    assert evidence.luminance.tolist() == pytest.approx([255, 255])


def test_a_sample_is_some_hundred_bytes_however_large_the_picture() -> None:
    sample = PictureSampler().sample(0, np.zeros((1080, 1920, 3), np.uint8))
    assert sample.text_cells.nbytes < 1000


@pytest.mark.parametrize(("captioned", "counts"), [(2, 1), (1, 0)])
def test_text_counts_that_stands_for_half_of_the_samples(
    captioned: int, counts: int, make_texture: MakeTexture
) -> None:
    sampler = PictureSampler()
    images = [make_texture(640, 360, seed=k) for k in range(4)]
    images[:captioned] = [_captioned(image) for image in images[:captioned]]
    share = _gather([sampler.sample(k, image) for k, image in enumerate(images)]).text_share
    assert (share > 0.005) == bool(counts)


def test_the_largest_face_is_the_main_one_in_source_pixels(make_face: MakeFace) -> None:
    faces = [make_face(50, 50, 20, score=0.9), make_face(150, 50, 40, score=0.6)]
    sample = sample_faces(7, faces, scale=0.5, prominent_share=0.4)
    assert sample == FaceSample(frame=7, num_faces=2, face_height_px=80, face_score=0.6)


@pytest.mark.parametrize(("height", "count"), [(20, 2), (19, 1)])
def test_a_second_face_counts_from_its_share_of_the_main_one_on(
    height: int, count: int, make_face: MakeFace
) -> None:
    faces = [make_face(100, 60, 40), make_face(200, 60, height)]
    assert sample_faces(0, faces, scale=1, prominent_share=0.5).num_faces == count


def test_no_face_is_a_sample_too() -> None:
    sample = sample_faces(3, [], scale=1, prominent_share=0.5)
    assert sample.num_faces == 0
    assert math.isnan(sample.face_height_px)
    assert math.isnan(sample.face_score)


def test_evidence_without_samples_is_empty_and_its_text_unknown() -> None:
    evidence = _gather([])
    assert (evidence.width_px, evidence.height_px, evidence.n_frames) == (640, 360, 50)
    assert evidence.duration_s == 2
    assert math.isnan(evidence.text_share)
    for values in (evidence.luminance, evidence.motion, evidence.num_faces, evidence.face_scores):
        assert values.shape == (0,)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1)])
def test_the_smallest_pictures_can_be_sampled(size: tuple[int, int]) -> None:
    sample = PictureSampler().sample(0, np.full((*size, 3), 90, np.uint8))
    assert sample.luminance == pytest.approx(90)
    assert _gather([sample]).text_share == 0


class OneFace:
    """Finds the same face in every picture and remembers what it was shown."""

    model_digest = "none"

    def __init__(self, face: FaceDetection) -> None:
        self._face = face
        self.shown: list[Frame] = []
        self.resets = 0

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        self.shown += frames
        return [Detections(faces=(self._face,)) for _ in frames]

    def reset(self) -> None:
        self.resets += 1

    def close(self) -> None:
        pass


@pytest.fixture
def info(make_media: MediaMaker) -> VideoInfo:
    return probe(make_media.cfr(n=1))


def _of_any_length(config: ExtractionConfig) -> ExtractionConfig:
    """Return the settings without the filter that makes the faces of short shots irrelevant."""
    return config.model_copy(update={"filters": config.filters | {"clip.too_short": None}})


def test_two_pictures_a_second_are_looked_at_each_by_itself(
    make_media: MediaMaker, make_face: MakeFace, talkingpose: ExtractionConfig
) -> None:
    path, faces = make_media.cfr(n=60, fps=25), OneFace(make_face(30, 20, 16))
    info, config = probe(path), _of_any_length(talkingpose)
    screened = screen(decode_frames(path, info=info), info=info, config=config, faces=faces)
    assert [frame.index for frame in faces.shown] == [0, 12, 24, 36, 48]
    assert [make_media.frame_number(frame.image) for frame in faces.shown] == [0, 12, 24, 36, 48]
    assert faces.resets == 5
    assert [sample.frame for sample in screened.faces] == [0, 12, 24, 36, 48]
    assert [sample.frame for sample in screened.pictures] == [0, 12, 24, 36, 48]
    assert screened.shots[-1].span.end_frame == 60


def test_large_pictures_are_searched_small_and_measured_in_source_pixels(
    make_media: MediaMaker, make_face: MakeFace, talkingpose: ExtractionConfig
) -> None:
    path, faces = make_media.cfr(n=3, size=(320, 240)), OneFace(make_face(30, 20, 16))
    info = probe(path)
    small = talkingpose.screening.model_copy(update={"max_side_px": 160})
    screened = screen(
        decode_frames(path, info=info),
        info=info,
        config=_of_any_length(talkingpose).model_copy(update={"screening": small}),
        faces=faces,
    )
    assert faces.shown[0].image.shape == (120, 160, 3)
    assert screened.faces[0].face_height_px == pytest.approx(32)


def _screened(info: VideoInfo, num_faces: Sequence[int], shots: Sequence[Shot]) -> Screened:
    """One sample every 10 frames at 20 fps."""
    faces = [
        FaceSample(frame=10 * k, num_faces=count, face_height_px=50.0, face_score=0.9)
        for k, count in enumerate(num_faces)
    ]
    return Screened(
        info=replace(info, fps=Fraction(20)), shots=tuple(shots), pictures=(), faces=tuple(faces)
    )


def _shots(*edges: int) -> list[Shot]:
    return [
        Shot(span=Span(shot_id=k, start_frame=a, end_frame=b), is_transition=False)
        for k, (a, b) in enumerate(pairwise(edges))
    ]


def _edges(spans: Sequence[Span]) -> list[tuple[int, int]]:
    return [(span.start_frame, span.end_frame) for span in spans]


def test_frames_beside_a_cut_are_left_out_but_not_those_at_the_ends(
    info: VideoInfo, talkingpose: ExtractionConfig
) -> None:
    shots = _shots(0, 100, 200, 300)
    screened = _screened(info, [1] * 30, shots)
    spans = [_edges(spans_of_shot(shot, screened, talkingpose)) for shot in shots]
    assert spans == [[(0, 99)], [(101, 199)], [(201, 300)]]


def test_no_frames_are_lost_beside_a_seam(info: VideoInfo, talkingpose: ExtractionConfig) -> None:
    shots = _shots(0, 40, 80, 120)
    screened = _screened(replace(info, seams=(40,)), [1] * 12, shots)
    margin = talkingpose.shots.margin_frames
    assert _edges(spans_of_shot(shots[0], screened, talkingpose)) == [(0, 40)]
    assert _edges(spans_of_shot(shots[1], screened, talkingpose)) == [(40, 80 - margin)]


@pytest.mark.parametrize("length", [1, 2])
def test_a_shot_that_is_all_margin_has_no_spans(
    length: int, info: VideoInfo, talkingpose: ExtractionConfig
) -> None:
    shots = _shots(0, 100, 100 + length, 300)
    screened = _screened(info, [1] * 30, shots)
    assert spans_of_shot(shots[1], screened, talkingpose) == []


def test_a_video_of_one_frame_is_one_span(info: VideoInfo, talkingpose: ExtractionConfig) -> None:
    (shot,) = _shots(0, 1)
    assert _edges(spans_of_shot(shot, _screened(info, [1], [shot]), talkingpose)) == [(0, 1)]


def test_a_long_time_without_or_with_two_faces_is_a_span_of_its_own(
    info: VideoInfo, talkingpose: ExtractionConfig
) -> None:
    (shot,) = _shots(0, 500)
    one, none, two = [1] * 15, [0] * 5, [2] * 5
    screened = _screened(info, [*one, *none, *one, *two, *one[:10]], [shot])
    spans = spans_of_shot(shot, screened, talkingpose)
    assert _edges(spans) == [(0, 141), (141, 200), (200, 341), (341, 400), (400, 500)]


def test_the_evidence_of_a_span_is_that_of_its_samples(info: VideoInfo) -> None:
    (shot,) = _shots(0, 100)
    screened = _screened(info, [1, 2, 3, 0, 5, 6], [shot])
    evidence = screened.evidence(Span(shot_id=0, start_frame=10, end_frame=50))
    assert evidence.num_faces.tolist() == [2, 3, 0, 5]
    assert evidence.n_frames == 40
    assert (evidence.width_px, evidence.height_px) == (info.width_px, info.height_px)
    assert np.isnan(evidence.text_share)
