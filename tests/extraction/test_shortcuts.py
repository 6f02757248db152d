"""Shortcuts of the screening give exactly what plain code, or the library they stand for, gives."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scenedetect import FrameTimecode
from scenedetect.detectors import AdaptiveDetector, ContentDetector

from tpbench.extraction import camera
from tpbench.extraction.config import ExtractionConfig, load_preset
from tpbench.extraction.measures import looks, luminance, sharpness
from tpbench.extraction.pages import flat_mask, page_image, page_share, text_mask
from tpbench.extraction.shots import CutRules
from tpbench.wholebody import NUM_KEYPOINTS, body_size_px

if TYPE_CHECKING:
    from tests.extraction.conftest import MakeTexture

Image = NDArray[np.uint8]


def _cuts_of_pyscenedetect(pictures: Sequence[Image], config: ExtractionConfig) -> set[int]:
    shots = config.shots
    detectors = (
        ContentDetector(threshold=shots.content_threshold, min_scene_len=0),
        AdaptiveDetector(
            adaptive_threshold=shots.adaptive_ratio,
            min_content_val=shots.adaptive_min_content,
            min_scene_len=0,
        ),
    )
    found: set[int] = set()
    for number, picture in enumerate(pictures):
        at = FrameTimecode(number, Fraction(25))
        for detector in detectors:
            cuts = detector.process_frame(at, picture[:, :, ::-1])
            found.update(cut.frame_num for cut in cuts)
    return found


def _cuts(pictures: Sequence[Image], config: ExtractionConfig) -> set[int]:
    rules = CutRules(config.shots)
    return {cut for picture in pictures for cut in rules.push(picture)}


@settings(max_examples=60)
@given(
    shown=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 40)), max_size=40),
    seed=st.integers(0, 9),
)
def test_cuts_are_those_of_pyscenedetect(shown: list[tuple[int, int]], seed: int) -> None:
    """Scenes of all strengths, each a few frames long, some the same as before."""
    config = load_preset("talkingpose")
    base = np.random.default_rng(seed).integers(0, 256, (6, 9, 16, 3))
    pictures = [
        np.clip(base[scene] * 0.4 + level, 0, 255).astype(np.uint8) for scene, level in shown
    ]
    assert _cuts(pictures, config) == _cuts_of_pyscenedetect(pictures, config)


def test_a_still_before_and_after_a_change_is_cut_as_by_pyscenedetect(
    talkingpose: ExtractionConfig,
) -> None:
    dark, light = (np.full((9, 16, 3), level, np.uint8) for level in (0, 60))
    pictures = [dark] * 6 + [light] * 6 + [dark] + [light] * 5
    cuts = _cuts(pictures, talkingpose)
    assert cuts == _cuts_of_pyscenedetect(pictures, talkingpose)
    assert cuts


def _plain_flat_mask(page: Image) -> NDArray[np.bool_]:
    kernel = np.ones((5, 5), np.uint8)
    span = cv2.subtract(cv2.dilate(page, kernel), cv2.erode(page, kernel)).max(axis=2)
    flat: NDArray[np.bool_] = (span <= 2) & (page.max(axis=2) > 24)
    return flat


def _plain_text_mask(page: Image) -> NDArray[np.bool_]:
    grey = cv2.cvtColor(page, cv2.COLOR_RGB2GRAY)
    height = grey.shape[0]
    strokes = (np.abs(cv2.Sobel(grey, cv2.CV_32F, 1, 0, ksize=3)) > 160).astype(np.uint8)
    joined = cv2.morphologyEx(strokes, cv2.MORPH_CLOSE, np.ones((3, 13), np.uint8))
    joined = cv2.morphologyEx(joined, cv2.MORPH_OPEN, np.ones((4, 9), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(joined, connectivity=4)
    mask = np.zeros(grey.shape, dtype=np.bool_)
    for index in range(1, count):
        x, y, w, h, area = stats[index]
        if w < 2.5 * h or area < 0.6 * w * h or not 0.015 * height <= h <= 0.12 * height:
            continue
        if strokes[y : y + h, x : x + w].mean() > 0.25:
            mask |= labels == index
    return mask


def _plain_page_share(page: Image, text: NDArray[np.bool_]) -> float:
    flat = _plain_flat_mask(page)
    count, labels, _, _ = cv2.connectedComponentsWithStats(flat.view(np.uint8), connectivity=4)
    filled: dict[int, NDArray[np.bool_]] = {}
    for index in range(1, count):
        area = labels == index
        if area.mean() >= 0.002:
            outline, _ = cv2.findContours(
                area.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
            )
            canvas = np.zeros(area.shape, np.uint8)
            cv2.drawContours(canvas, outline, -1, 1, thickness=-1)
            filled[index] = canvas.astype(np.bool_)
    boxes = {index for index, area in filled.items() if area.sum() >= 0.4 * _box_px(labels, index)}
    pages = np.zeros(labels.shape, np.bool_)
    for index, area in filled.items():
        if (labels == index).mean() < 0.03:
            continue
        inside = boxes & set(np.unique(labels[area]).tolist()) - {index}
        if text[area].mean() >= 0.01 or len(inside) >= 4:
            pages |= labels == index
    return float(pages.mean())


def _box_px(labels: NDArray[np.int32], index: int) -> int:
    ys, xs = np.nonzero(labels == index)
    return int((ys.max() - ys.min() + 1) * (xs.max() - xs.min() + 1))


@pytest.fixture(params=range(8))
def picture(request: pytest.FixtureRequest, make_texture: MakeTexture) -> Image:
    """Slides, captions, charts and plain walls of several sizes, with texture and noise."""
    seed = int(request.param)
    rng = np.random.default_rng(seed)
    width, height = [(512, 512), (640, 360), (480, 270), (360, 640)][seed % 4]
    image = make_texture(width, height, seed=seed)
    if seed % 2:
        image[: height // 2] = rng.integers(40, 250, 3)
        image[height // 2 :, : width // 3] = rng.integers(0, 60, 3)
    for line in range(seed):
        at = (int(rng.integers(0, width // 2)), int(rng.integers(20, height)))
        ink = [int(level) for level in rng.integers(0, 256, 3)]
        cv2.putText(image, f"Line {line} of text", at, 0, 0.4 + 0.1 * line, ink, 2)
        corner = (at[0] + 40, at[1] + 30)
        cv2.rectangle(image, (at[0], at[1]), corner, ink[::-1], thickness=-1)
    noise = rng.integers(0, 1 + seed % 3, image.shape)
    return np.asarray(np.clip(image + noise, 0, 255), dtype=np.uint8)


def test_flat_areas_are_those_of_the_plain_code(picture: Image) -> None:
    assert np.array_equal(flat_mask(picture), _plain_flat_mask(page_image(picture)))


def test_text_is_that_of_the_plain_code(picture: Image) -> None:
    assert np.array_equal(text_mask(picture), _plain_text_mask(page_image(picture)))


def test_pages_are_those_of_the_plain_code(picture: Image) -> None:
    page = page_image(picture)
    text = _plain_text_mask(page)
    assert page_share(picture, text) == page_share(page, text) == _plain_page_share(page, text)


def test_some_of_the_pictures_hold_pages_and_text(make_texture: MakeTexture) -> None:
    """Else the tests above compare nothing."""
    image = np.full((360, 640, 3), 240, np.uint8)
    cv2.putText(image, "A title of some words", (60, 90), 0, 1.2, (0, 0, 0), 3)
    assert page_share(image, text_mask(image)) > 0.5
    assert text_mask(image).any()


def test_luminance_is_that_of_the_plain_code(picture: Image) -> None:
    red, green, blue = picture.reshape(-1, 3).mean(axis=0)
    assert luminance(picture) == float(0.299 * red + 0.587 * green + 0.114 * blue)


def _greys(make_texture: MakeTexture) -> tuple[Image, Image, Image]:
    first, second = (
        cv2.cvtColor(make_texture(96, 64, seed=seed), cv2.COLOR_RGB2GRAY) for seed in (1, 2)
    )
    mask = np.full((64, 96), 255, np.uint8)
    mask[30:, 20:50] = 0
    return first, cv2.convertScaleAbs(second, alpha=0.7, beta=9), mask


def test_brightness_is_matched_as_by_the_plain_code(make_texture: MakeTexture) -> None:
    last, now, mask = _greys(make_texture)
    (then, spread), (mean, spread_now) = (
        (float(m[0, 0]), float(s[0, 0]))
        for m, s in (cv2.meanStdDev(grey, mask=mask) for grey in (last, now))
    )
    lit = (now.astype(np.float32) - mean) * (spread / spread_now) + then
    expected = np.clip(np.rint(lit), 0, 255).astype(np.uint8)
    assert np.array_equal(camera._matched_brightness(last, now, mask), expected)


def test_corners_stand_out_as_by_the_plain_code(make_texture: MakeTexture) -> None:
    grey, _, _ = _greys(make_texture)
    grey = cv2.convertScaleAbs(grey, alpha=0.1)
    ys, xs = np.mgrid[0:64, 0:96]
    corners = np.stack([xs.ravel(), ys.ravel()], axis=1).astype(np.float32)[:, None]
    kernel = np.ones((5, 5), np.uint8)
    contrast = cv2.subtract(cv2.dilate(grey, kernel), cv2.erode(grey, kernel))
    expected = contrast.ravel() >= 8
    assert 0 < expected.mean() < 1
    assert np.array_equal(camera._stands_out(grey, corners), expected)


@given(st.lists(st.tuples(st.integers(0, 95), st.integers(0, 63)), min_size=1, max_size=12))
def test_corners_are_spread_as_by_the_plain_code(places: list[tuple[int, int]]) -> None:
    corners = np.array(places, dtype=np.float32)[:, None]
    cells = np.floor(corners.reshape(-1, 2) * 4 / (96, 64)).astype(int)
    assert camera._spread(corners, (64, 96)) == (len(np.unique(cells, axis=0)) >= 3)


@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_people_are_masked_as_line_by_line(seed: int, unknown: float) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(120, 80, (NUM_KEYPOINTS, 2)).astype(np.float32)
    points[rng.random(NUM_KEYPOINTS) < unknown] = np.nan
    mask, expected = (np.full((256, 256), 255, np.uint8) for _ in range(2))
    camera._mask_arms_and_torso(mask, points)
    size = body_size_px(points)
    limbs = [(5, 7), (7, 9), (6, 8), (8, 10), (5, 11), (6, 12)]
    lines = [(points[start], points[end]) for start, end in limbs]
    lines += [(points[w], points[w] + 0.5 * (points[w] - points[e])) for e, w in ((7, 9), (8, 10))]
    for line in lines:
        if not np.isfinite([*line[0], *line[1], size]).all():
            continue
        half = max(2, round(0.25 * size))
        start, end = ([int(v) for v in np.clip(np.rint(point), -1024, 2048)] for point in line)
        cv2.line(expected, start, end, 0, min(2 * half + 1, 255))
        for centre in (start, end):
            cv2.circle(expected, centre, half, 0, thickness=-1)
    assert np.array_equal(mask, expected)


def test_sharpness_and_looks_are_those_of_the_plain_code(picture: Image) -> None:
    patch = np.ascontiguousarray(picture[40:104, 60:124])
    grey = cv2.cvtColor(patch, cv2.COLOR_RGB2GRAY).astype(np.float32)
    variance = float(grey.var())
    plain = float(cv2.Laplacian(grey, cv2.CV_32F).var()) / variance if variance >= 1 else 0.0
    assert sharpness(picture, np.array([60, 40, 124, 104]), side_px=64) == plain

    lab = np.clip(cv2.cvtColor(patch, cv2.COLOR_RGB2LAB), [0, 64, 64], [255, 191, 191])
    ranges = [0, 256, 64, 192, 64, 192]
    bins = cv2.calcHist([lab.astype(np.uint8)], [0, 1, 2], None, [6, 8, 8], ranges)
    for axis in range(3):
        padded = np.pad(bins, [(1, 1) if i == axis else (0, 0) for i in range(3)], mode="edge")
        low, middle, high = (
            np.take(padded, range(shift, shift + bins.shape[axis]), axis=axis) for shift in range(3)
        )
        bins = 0.25 * low + 0.5 * middle + 0.25 * high
    assert np.array_equal(looks(patch), bins.ravel() / np.float32(bins.sum()))
