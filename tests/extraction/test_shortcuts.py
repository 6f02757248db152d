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

from tpbench.extraction.config import ExtractionConfig, load_preset
from tpbench.extraction.measures import flat_mask, luminance, page_image, page_share, text_mask
from tpbench.extraction.shots import CutRules

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
