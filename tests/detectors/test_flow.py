from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.detectors.textures import THING, at, pictures
from tpbench.detectors.flow import Greys, carried

ALL = np.ones(len(THING), dtype=bool)


def test_points_follow_what_they_lie_on() -> None:
    places = [(60.0 + 4 * number, 50.0 - 2 * number) for number in range(6)]
    ways = carried(Greys(pictures(places)), range(6), at(*places[0]), ALL)
    for found, place in zip(ways, places, strict=True):
        assert np.abs(found - at(*place))[:, :2].max() < 0.3


def test_the_way_back_leads_to_the_start() -> None:
    places = [(60.0 + 4 * number, 50.0 + 3 * number) for number in range(6)]
    greys = Greys(pictures(places))
    ways = carried(greys, range(5, -1, -1), at(*places[-1]), ALL)
    assert np.abs(ways[-1] - at(*places[0]))[:, :2].max() < 0.3


def test_what_is_not_tracked_moves_by_the_mean_of_the_rest() -> None:
    places = [(60.0, 50.0), (66.0, 53.0)]
    thing = np.concatenate([at(*places[0]), [[500.0, 500.0, 0.4]]])
    tracked = np.append(ALL, False)
    moved = carried(Greys(pictures(places)), range(2), thing, tracked)[-1]
    np.testing.assert_allclose(moved[-1], [506.0, 503.0, 0.4], atol=0.2)


def test_points_outside_the_picture_are_not_looked_for() -> None:
    places = [(60.0, 50.0), (66.0, 53.0)]
    thing = np.concatenate([at(*places[0]), [[-3.0, 50.0, 1.0], [60.0, 9999.0, 1.0]]])
    moved = carried(Greys(pictures(places)), range(2), thing, np.ones(len(thing), bool))[-1]
    np.testing.assert_allclose(moved[-2:, :2], [[3.0, 53.0], [66.0, 10002.0]], atol=0.2)


def test_with_nothing_to_track_a_thing_rests() -> None:
    ways = carried(Greys(pictures([(60.0, 50.0)] * 3)), range(3), at(60, 50), ~ALL)
    assert len(ways) == 3
    assert all(np.array_equal(way, at(60, 50)) for way in ways)


@pytest.mark.parametrize("scale", [4, 16])
def test_large_things_are_seen_smaller_and_end_where_they_are(scale: int) -> None:
    places = [(20.0 + number, 20.0) for number in range(4)]
    images = [np.kron(image, np.ones((scale, scale, 1), np.uint8)) for image in pictures(places)]

    def large(x: float, y: float) -> np.ndarray:
        thing = at(x, y)
        thing[:, :2] = (thing[:, :2] + 0.5) * scale - 0.5
        return thing

    ways = carried(Greys(images), range(4), large(*places[0]), ALL)
    assert np.abs(ways[-1] - large(*places[-1]))[:, :2].max() < 0.5 * scale


@given(st.integers(1, 3), st.integers(1, 40), st.integers(1, 40))
def test_any_picture_gives_finite_places(count: int, height_px: int, width_px: int) -> None:
    images = [np.zeros((height_px, width_px, 3), np.uint8)] * count
    thing = at(width_px / 2, height_px / 2)
    ways = carried(Greys(images), range(count), thing, ALL)
    assert len(ways) == count
    assert all(np.isfinite(way).all() for way in ways)


def test_a_frame_before_is_number_minus_one() -> None:
    places = [(60.0, 50.0), (63.0, 50.0)]
    before, image = pictures(places)
    ways = carried(Greys([image], before), [-1, 0], at(*places[0]), ALL)
    assert np.abs(ways[-1] - at(*places[1]))[:, :2].max() < 0.3


def test_half_a_picture_is_the_mean_of_four_pixels() -> None:
    image = np.zeros((5, 6, 3), np.uint8)
    image[:2, :2] = 200
    image[2:4, 4:] = [[[40] * 3, [80] * 3], [[120] * 3, [160] * 3]]
    half = Greys([image]).picture(0, 2)
    np.testing.assert_array_equal(half, [[200, 0, 0], [0, 0, 100]])
