from __future__ import annotations

import json
import math
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpbench.metrics.motion import Motion
from tpbench.metrics.tje import (
    Tje,
    TjeStatistics,
    compute_tje,
    jitter_error,
    official_tje,
    tje_over_videos,
)
from tpbench.video import read_frames

if TYPE_CHECKING:
    from collections.abc import Iterator

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


def tje_of(real: np.ndarray, generated: np.ndarray, delta: int = 1) -> float:
    tje = Tje(delta)
    for pair in zip(real, generated, strict=True):
        tje.update(*pair)
    return tje.compute()


@pytest.fixture(params=DELTAS)
def golden(request: pytest.FixtureRequest) -> dict[str, Any]:
    text = (GOLDEN / f"official_delta{request.param}.json").read_text()
    result: dict[str, Any] = json.loads(text)
    return result


def test_golden_clips_equal_the_official_script(golden: dict[str, Any]) -> None:
    """Other sizes, other lengths and sub-folders are among them."""
    measured = []
    for pair in golden["pairs"]:
        statistics = official_tje(
            images(GOLDEN / "real" / pair["key"]),
            images(GOLDEN / "gen" / pair["key"]),
            golden["delta"],
        )
        assert compute_tje(statistics) == pytest.approx(pair["avg_tje"], abs=1e-9)
        assert statistics.n_terms == pair["n_terms"]
        measured.append(statistics)

    overall = tje_over_videos(measured)

    assert overall.mean_of_videos == pytest.approx(golden["overall_avg_tje"], abs=1e-9)
    assert overall.mean_of_terms == pytest.approx(golden["overall_weighted_avg_tje"], abs=1e-9)
    assert overall.n_videos == golden["num_pairs"]


@pytest.mark.parametrize("path", sorted(GOLDEN.rglob("*.mp4")), ids=lambda path: path.stem)
def test_our_reader_gives_what_the_script_reads(path: Path) -> None:
    for ours, theirs in zip(images(path), opencv_images(path), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.shared
def test_real_samples_equal_the_official_script(shared_dir: Path) -> None:
    folder = shared_dir / "data" / "talkingpose_samples"
    by_delta = {delta: Tje(delta) for delta in (1, 2)}
    pairs = zip(images(folder / "vid1.mp4"), images(folder / "vid3.mp4"), strict=False)
    for pair in pairs:
        for tje in by_delta.values():
            tje.update(*pair)

    assert by_delta[1].compute() == pytest.approx(3.3390018665159245, abs=1e-9)
    assert by_delta[1].statistics.n_terms == 642
    assert by_delta[2].compute() == pytest.approx(5.166870938448378, abs=1e-9)
    assert by_delta[2].statistics.n_terms == 641


@given(st.integers(1, 8), st.sampled_from(DELTAS), st.integers(0, 2**32 - 1))
def test_terms_equal_numpy(n: int, delta: int, seed: int) -> None:
    real, generated = video(n, seed=seed), video(n, seed=seed + 1)
    tje = Tje(delta)

    terms = [tje.update(*pair) for pair in zip(real, generated, strict=True)]

    assert all(math.isnan(term) for term in terms[:delta])
    np.testing.assert_allclose(
        terms[delta:], reference_numpy_tje(real, generated, delta), rtol=0, atol=1e-12
    )
    assert tje.statistics.n_terms == max(0, n - delta)
    assert tje.compute() == pytest.approx(
        np.mean(terms[delta:]) if n > delta else math.nan, abs=1e-12, nan_ok=True
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
    motion = Motion(1)
    for pair in zip(real, frozen, strict=True):
        motion.update(*pair)

    assert tje_of(real, real) == 0.0
    assert tje_of(real, real[::-1]) == 0.0
    assert tje_of(real, frozen) == 3.0 == motion.compute().real_motion
    assert motion.compute().ratio == 0.0


@given(st.sampled_from(DELTAS))
def test_tje_has_no_preferred_order(delta: int) -> None:
    real, generated = video(8), video(8, seed=1)

    assert tje_of(real, generated, delta) == tje_of(generated, real, delta)
    assert tje_of(real[::-1], generated[::-1], delta) == pytest.approx(
        tje_of(real, generated, delta), abs=1e-12
    )


def test_other_sizes_follow_the_first_real_frame() -> None:
    real, generated = video(4, size=(6, 8)), video(5, seed=1, size=(12, 16))
    halved = [cv2.resize(image, (8, 6), interpolation=cv2.INTER_AREA) for image in generated]

    statistics = official_tje(real, generated, 1)

    assert statistics.n_terms == 3
    assert compute_tje(statistics) == tje_of(real, np.stack(halved[:4]))
    with pytest.raises(ValueError, match="one size"):
        tje_of(real, generated[:4])


def test_videos_without_a_term_are_in_no_mean() -> None:
    overall = tje_over_videos(
        [
            TjeStatistics(),
            TjeStatistics(total=8.0, n_terms=4),
            TjeStatistics(total=10.0, n_terms=1),
        ]
    )

    assert overall.mean_of_videos == 6.0
    assert overall.mean_of_terms == 3.6
    assert (overall.n_videos, overall.n_terms) == (2, 5)
    assert math.isnan(tje_over_videos([TjeStatistics()]).mean_of_videos)
    assert math.isnan(tje_over_videos([]).mean_of_terms)


def test_no_more_frames_are_held_than_delta_plus_one() -> None:
    tje = Tje(5)
    made: list[weakref.ref[np.ndarray]] = []

    def feed(number: int) -> None:
        image = np.full((4, 4, 3), number, np.uint8)
        made.append(weakref.ref(image))
        tje.update(image, image)

    for number in range(40):
        feed(number)

    assert [reference() is not None for reference in made] == [False] * 34 + [True] * 6


def test_a_delta_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 frame, not 0"):
        Tje(0)


def test_a_change_of_size_is_refused() -> None:
    tje = Tje(1)
    tje.update(*video(2, size=(4, 4)))

    with pytest.raises(ValueError, match="one size"):
        tje.update(*video(2, size=(5, 4)))
