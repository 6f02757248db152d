from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from tpbench.extraction.screening import (
    FaceSample,
    PictureSample,
    PictureSampler,
    sample_faces,
    sampled_evidence,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tests.extraction.conftest import MakeFace, MakeTexture
    from tpbench.extraction.evidence import Evidence


def _gather(pictures: Sequence[PictureSample], faces: Sequence[FaceSample] = ()) -> Evidence:
    return sampled_evidence(pictures, faces, size_px=(640, 360), fps=Fraction(25), n_frames=50)


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
