"""Every filter, tripped by a talk that was spoilt in the way the filter is there for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tpbench.dataset import Clip
from tpbench.detectors.base import DetectorSuite, build_suite
from tpbench.extraction.config import load_preset
from tpbench.extraction.filters import ALL_FILTERS
from tpbench.extraction.pipeline import SourcePipeline
from tpbench.extraction.sources import find_sources

Image = NDArray[np.uint8]
Spoiler = Callable[[Sequence[Image]], Iterator[Image]]

pytestmark = pytest.mark.shared

N_FRAMES = 60
MIN_S = 2.0
"""Clips may be shorter than the preset's, so that a spoilt talk is soon measured."""
UNSPOILT = "skeleton.blinking"
"""Whatever hides half a person by turns makes cuts first; made-up skeletons trip this filter."""

WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def each(change: Callable[[Image], Image]) -> Spoiler:
    """Spoil every frame in the same way."""

    def spoil(images: Sequence[Image]) -> Iterator[Image]:
        for image in images:
            yield change(image.copy())

    return spoil


def resized(image: Image, size: tuple[int, int]) -> Image:
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def blurred(image: Image, sigma: float) -> Image:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), dtype=np.uint8)


def washed_out(image: Image) -> Image:
    """Blur by about 40 px, in a copy an eighth as wide: done at full size, it takes longest."""
    height_px, width_px = image.shape[:2]
    small = blurred(resized(image, (width_px // 8, height_px // 8)), 5)
    return np.asarray(cv2.resize(small, (width_px, height_px)), dtype=np.uint8)


def scaled_light(image: Image, *, gain: float, offset: float) -> Image:
    lit = np.clip(image.astype(np.float32) * gain + offset, 0, 255)
    return np.asarray(lit, dtype=np.uint8)


def frozen(images: Sequence[Image]) -> Iterator[Image]:
    for _ in images:
        yield images[0]


def shortened(images: Sequence[Image]) -> Iterator[Image]:
    yield from images[:90]


def slide(image: Image) -> Image:
    page = np.full_like(image, (250, 248, 240))
    for line, text in enumerate(["Results of the study", "- one point", "- another point"]):
        at = (24, 70 + 60 * line)
        cv2.putText(page, text, at, cv2.FONT_HERSHEY_SIMPLEX, 1.0, (20, 20, 40), 2, cv2.LINE_AA)
    page[256:, 256:] = resized(image, (256, 256))
    return page


def captioned(image: Image) -> Image:
    for colour, width in ((BLACK, 5), (WHITE, 2)):
        text, at = "and that is what we found", (60, 480)
        cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.9, colour, width, cv2.LINE_AA)
    return image


def headless(image: Image) -> Image:
    image[:200] = image[200:220].repeat(10, axis=0)
    return image


def small(image: Image) -> Image:
    canvas = washed_out(image)
    canvas[192:, 160:480] = resized(image, (320, 320))
    return canvas


def zoomed(image: Image) -> Image:
    return np.asarray(cv2.resize(image[20:220, 150:350], (512, 512)), dtype=np.uint8)


def without_hands(image: Image) -> Image:
    image[225:] = washed_out(image)[225:]
    return image


def close_up(image: Image) -> Image:
    return np.asarray(cv2.resize(image[30:210, 160:340], (512, 512)), dtype=np.uint8)


def without_left_hand(image: Image) -> Image:
    image[225:, 256:] = washed_out(image)[225:, 256:]
    return image


def smeared_hands(image: Image) -> Image:
    image[225:] = blurred(image, 3)[225:]
    return image


def blown_up_hands(image: Image) -> Image:
    low = cv2.resize(image, (51, 51), interpolation=cv2.INTER_AREA)
    image[225:] = cv2.resize(low, (512, 512), interpolation=cv2.INTER_LINEAR)[225:]
    return image


def masked_face(image: Image) -> Image:
    image[60:220, 180:330] = blurred(image, 8)[60:220, 180:330]
    return image


def shaken(images: Sequence[Image]) -> Iterator[Image]:
    random = np.random.default_rng(0)
    for image in images:
        dx, dy = random.integers(-8, 9, 2)
        yield np.roll(image, (dy, dx), axis=(0, 1))


def swaying(images: Sequence[Image]) -> Iterator[Image]:
    for at, image in enumerate(images):
        left = round(64 + 64 * np.sin(at / 4))
        yield np.asarray(cv2.resize(image[:384, left : left + 384], (512, 512)), dtype=np.uint8)


def tinted(images: Sequence[Image]) -> Iterator[Image]:
    """The colours of the clothes turn slowly into others."""
    for at, image in enumerate(images):
        share = min(1.0, at / 46)
        other = image[:, :, ::-1]
        yield np.asarray(cv2.addWeighted(image, 1 - share, other, share, 0), dtype=np.uint8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trip:
    """A way to spoil a sample, and the filter that must notice."""

    code: str
    spoil: Spoiler
    stem: str = "vid3"
    start: int = 0
    n_frames: int = N_FRAMES


TRIPS = (
    Trip(code="source.too_small", spoil=each(lambda image: resized(image, (240, 240)))),
    Trip(code="clip.too_short", spoil=shortened, n_frames=104),
    Trip(code="image.too_dark", spoil=each(lambda im: scaled_light(im, gain=0.15, offset=0))),
    Trip(code="image.too_bright", spoil=each(lambda im: scaled_light(im, gain=0.25, offset=205))),
    Trip(code="motion.static", spoil=frozen),
    Trip(code="overlay.slides", spoil=each(slide)),
    Trip(code="overlay.text", spoil=each(captioned)),
    Trip(code="face.missing", spoil=each(headless)),
    Trip(code="face.too_small", spoil=each(lambda image: resized(small(image), (384, 384)))),
    Trip(code="face.low_confidence", spoil=each(masked_face)),
    Trip(code="face.turned", spoil=each(lambda image: image), stem="vid1", start=0),
    Trip(code="face.rarely_frontal", spoil=each(lambda image: image), stem="vid1", start=2),
    Trip(code="image.blurred", spoil=each(lambda image: blurred(image, 3))),
    Trip(code="framing.not_upper_body", spoil=each(zoomed)),
    Trip(code="skeleton.low_confidence", spoil=each(close_up)),
    Trip(code="skeleton.jitter", spoil=shaken),
    Trip(code="hands.hidden", spoil=each(without_hands)),
    Trip(code="hands.rarely_both", spoil=each(without_left_hand)),
    Trip(code="hands.low_confidence", spoil=each(blown_up_hands)),
    Trip(code="hands.blurred", spoil=each(smeared_hands)),
    Trip(code="motion.camera", spoil=swaying),
    Trip(code="person.changed", spoil=tinted),
)


def with_second_face(images: Sequence[Image], others: Sequence[Image]) -> Iterator[Image]:
    for image, other in zip(images, others, strict=True):
        pasted = image.copy()
        pasted[:180, 332:] = resized(other[40:220, 160:340], (180, 180))
        yield pasted


SECOND_FACE = "person.multiple"
"""Its talk is made of two."""


@pytest.fixture(scope="module")
def detectors() -> Iterator[DetectorSuite]:
    suite = build_suite(skeleton="mediapipe", device="cpu", offline=False)
    yield suite
    suite.close()


@pytest.fixture
def extracted(
    frames_of: Callable[[str, int, int], list[Image]],
    write_video: Callable[..., Path],
    detectors: DetectorSuite,
    tmp_path: Path,
) -> Callable[[str], tuple[Clip, ...]]:
    """Extracts the talk that was spoilt for a filter, with this filter of the preset alone.

    With all of them, a talk that fails another one first is not measured to its end.
    """

    def extract(code: str) -> tuple[Clip, ...]:
        path = tmp_path / f"{code}.mkv"
        if code == SECOND_FACE:
            talks = (frames_of(stem, 0, N_FRAMES) for stem in ("vid3", "vid1"))
            write_video(path, with_second_face(*talks))
        else:
            (trip,) = (trip for trip in TRIPS if trip.code == code)
            images = frames_of(trip.stem, trip.start, trip.start + trip.n_frames)
            write_video(path, trip.spoil(images))
        preset = load_preset("talkingpose")
        clip = preset.clip.model_copy(update={"min_s": MIN_S})
        config = preset.model_copy(update={"filters": {code: preset.filters[code]}, "clip": clip})
        out = tmp_path / "out"
        out.mkdir()
        pipeline = SourcePipeline(config=config, detectors=detectors, folder=out)
        (source,) = find_sources([path], excluded=out)
        return pipeline.run(source, lambda _: None).clips

    return extract


def test_every_filter_has_a_spoilt_talk() -> None:
    spoilt_codes = {trip.code for trip in TRIPS} | {SECOND_FACE}
    assert spoilt_codes | {UNSPOILT} == {row.code for row in ALL_FILTERS}


@pytest.mark.parametrize("code", [row.code for row in ALL_FILTERS if row.code != UNSPOILT])
def test_a_spoilt_talk_trips_its_filter(
    extracted: Callable[[str], tuple[Clip, ...]], code: str
) -> None:
    clip = max(extracted(code), key=lambda row: row.n_frames or 0)
    kind = next(row.measurement for row in ALL_FILTERS if row.code == code)
    threshold = load_preset("talkingpose").filters[code]
    assert threshold is not None
    measured = clip.measurements[kind.name]
    assert clip.status == "rejected"
    assert code in clip.reject_codes
    assert clip.thresholds[kind.name] == threshold
    assert measured < threshold if kind.direction == "at_least" else measured > threshold
