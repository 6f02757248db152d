from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpbench.metrics.motion import EarlierPairs, frame_motion, jitter_error
from tpbench.video import read_frames

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

GOLDEN = Path(__file__).parents[1] / "golden" / "tje"
DELTAS = (1, 2, 5)


def images(path: Path) -> Iterator[np.ndarray]:
    return (frame.image for frame in read_frames(path))


def opencv_images(path: Path) -> Iterator[np.ndarray]:
    capture = cv2.VideoCapture(str(path))
    while True:
        found, image = capture.read()
        if not found:
            return
        yield image[..., ::-1]


def reference_numpy_tje(real: np.ndarray, generated: np.ndarray, delta: int) -> np.ndarray:
    """Terms of whole videos, (T, H, W, 3) each."""
    real_change = np.abs(real[delta:].astype(np.int64) - real[:-delta])
    generated_change = np.abs(generated[delta:].astype(np.int64) - generated[:-delta])
    terms: np.ndarray = np.abs(real_change - generated_change).mean(axis=(1, 2, 3))
    return terms


def video(n: int, *, seed: int = 0, size: tuple[int, int] = (9, 7)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, *size, 3), dtype=np.uint8)


def terms_of(
    real: Iterable[np.ndarray], generated: Iterable[np.ndarray], delta: int = 1
) -> list[float]:
    earlier, terms = EarlierPairs(delta), []
    for pair in zip(real, generated, strict=False):
        before = earlier.before(*pair)
        terms += [jitter_error(pair[0], before[0], pair[1], before[1])] if before else []
    return terms


def tje_of(real: np.ndarray, generated: np.ndarray, delta: int = 1) -> float:
    return float(np.mean(terms_of(real, generated, delta)))


@pytest.mark.parametrize("path", sorted(GOLDEN.rglob("*.mp4")), ids=lambda path: path.stem)
def test_our_reader_gives_what_the_script_reads(path: Path) -> None:
    for ours, theirs in zip(images(path), opencv_images(path), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.shared
def test_real_samples_equal_the_official_script(shared_dir: Path) -> None:
    folder = shared_dir / "data" / "talkingpose_samples"
    terms = [
        terms_of(images(folder / "vid1.mp4"), images(folder / "vid3.mp4"), delta)
        for delta in (1, 2)
    ]

    assert [len(one) for one in terms] == [642, 641]
    means = pytest.approx([3.3390018665159245, 5.166870938448378], abs=1e-9)
    assert [np.mean(one) for one in terms] == means


@given(st.integers(1, 8), st.sampled_from(DELTAS), st.integers(0, 2**32 - 1))
def test_terms_equal_numpy(n: int, delta: int, seed: int) -> None:
    real, generated = video(n, seed=seed), video(n, seed=seed + 1)

    np.testing.assert_allclose(
        terms_of(real, generated, delta),
        reference_numpy_tje(real, generated, delta),
        rtol=0,
        atol=1e-12,
    )


def test_pictures_of_many_strips_equal_numpy() -> None:
    real, generated = video(2, size=(333, 257)), video(2, seed=1, size=(333, 257))

    term = jitter_error(real[1], real[0], generated[1], generated[0])

    assert term == pytest.approx(reference_numpy_tje(real, generated, 1)[0], abs=1e-12)


def test_hand_worked_term() -> None:
    """|R| = 10 -> 40: 30; |G| = 200 -> 180: 20; they differ by 10 in one of two pixels."""
    real = np.array([[[[10] * 3, [5] * 3]], [[[40] * 3, [5] * 3]]], np.uint8)
    generated = np.array([[[[200] * 3, [9] * 3]], [[[180] * 3, [9] * 3]]], np.uint8)

    assert tje_of(real, generated) == 5.0


def test_tje_is_blind_to_the_sign_and_kind_to_a_frozen_video() -> None:
    real = np.arange(10, dtype=np.uint8)[:, None, None, None] * np.full((1, 4, 4, 3), 3, np.uint8)
    frozen = np.broadcast_to(real[:1], real.shape)

    assert tje_of(real, real) == 0.0
    assert tje_of(real, real[::-1]) == 0.0
    assert tje_of(real, frozen) == 3.0 == frame_motion(real[1], real[0])


@given(st.sampled_from(DELTAS))
def test_tje_has_no_preferred_order(delta: int) -> None:
    real, generated = video(8), video(8, seed=1)

    assert tje_of(real, generated, delta) == tje_of(generated, real, delta)
    assert tje_of(real[::-1], generated[::-1], delta) == pytest.approx(
        tje_of(real, generated, delta), abs=1e-12
    )
