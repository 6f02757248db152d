"""Frames around a change of person belong to neither."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tpbench.detectors.base import Detections, FaceDetection, PersonDetection
from tpbench.extraction.config import TrackSettings
from tpbench.extraction.following import PersonTracker, Sighting
from tpbench.extraction.tracks import joined_tracks
from tpbench.wholebody import NUM_KEYPOINTS

if TYPE_CHECKING:
    from tests.extraction.conftest import MakeFace


FPS = 25
SETTINGS = TrackSettings(max_jump_faces=0.5, max_gap_s=0.4, max_appearance_change=0.7)
GAP_FRAMES = 10

RED, BLUE, GREEN = (200, 30, 40), (30, 50, 190), (40, 180, 60)


@pytest.fixture
def tracker() -> PersonTracker:
    return PersonTracker(fps=FPS, settings=SETTINGS)


def _stage(*people: tuple[FaceDetection, tuple[int, int, int]]) -> NDArray[np.uint8]:
    """Paint people, head and chest in one colour, before a grey wall: (240, 320, 3)."""
    image = np.full((240, 320, 3), 110, dtype=np.uint8)
    for face, colour in people:
        x0, y0, x1, y1 = face.box_px.astype(int)
        height = y1 - y0
        image[max(0, y0 - height // 2) : y1 + 2 * height, max(0, x0 - height) : x1 + height] = (
            colour
        )
    return image


def _seen(*faces: FaceDetection, people: Sequence[PersonDetection] = ()) -> Detections:
    return Detections(faces=faces, people=tuple(people))


def _tracks(sightings: Iterable[Sighting]) -> list[int]:
    return [sighting.track for sighting in sightings]


def _person(face: FaceDetection, *, dx: float = 0.0, score: float = 1.0) -> PersonDetection:
    """Return a skeleton of which only nose and eyes are seen, `dx` px beside the face."""
    keypoints = np.full((NUM_KEYPOINTS, 2), np.nan, dtype=np.float32)
    scores = np.zeros(NUM_KEYPOINTS, dtype=np.float32)
    keypoints[:3] = (face.box_px[:2] + face.box_px[2:]) / 2 + (dx, 0)
    scores[:3] = score
    return PersonDetection(keypoints_px=keypoints, scores=scores)


def test_a_person_who_moves_calmly_is_one_track(
    tracker: PersonTracker, make_face: MakeFace
) -> None:
    faces = [make_face(100 + 3 * k, 80) for k in range(40)]
    sightings = [tracker.push(_stage((face, RED)), _seen(face)) for face in faces]
    assert set(_tracks(sightings)) == {0}
    assert [sighting.face for sighting in sightings] == faces
    assert all(sighting.appearance_change < 0.2 for sighting in sightings[1:])


@pytest.mark.parametrize("last_gain", [0.3, 0.45, 0.7, 1.6])
def test_lamps_that_fade_make_nobody_another_person(
    last_gain: float, tracker: PersonTracker, make_face: MakeFace
) -> None:
    face = make_face(100, 80)
    stage = _stage((face, RED)).astype(np.float32) * 0.6
    sightings = [
        tracker.push((stage * gain).astype(np.uint8), _seen(face))
        for gain in [1.0] * 30 + np.linspace(1, last_gain, 30).tolist() + [last_gain] * 30
    ]
    assert set(_tracks(sightings)) == {0}
    assert max(sighting.appearance_change for sighting in sightings[1:]) < 0.25


def test_somebody_else_in_another_light_is_somebody_else(
    tracker: PersonTracker, make_face: MakeFace
) -> None:
    face = make_face(100, 80)
    first, other = _stage((face, RED)), _stage((face, BLUE)) // 2
    sightings = [tracker.push(image, _seen(face)) for image in [first] * 30 + [other] * 30]
    assert _tracks(sightings)[-1] == 1


def test_the_first_track_begins_at_the_largest_face(
    tracker: PersonTracker, make_face: MakeFace
) -> None:
    small, large = make_face(60, 80, 30), make_face(200, 80, 50)
    sighting = tracker.push(_stage((small, RED), (large, BLUE)), _seen(small, large))
    assert sighting.face is large


def test_a_larger_face_that_comes_in_does_not_take_over(
    tracker: PersonTracker, make_face: MakeFace
) -> None:
    mine, other = make_face(80, 80, 40), make_face(240, 80, 60)
    tracker.push(_stage((mine, RED)), _seen(mine))
    sighting = tracker.push(_stage((mine, RED), (other, BLUE)), _seen(other, mine))
    assert sighting.face is mine


@pytest.mark.parametrize(("jump_px", "kept"), [(19, 1), (21, 0)])
def test_a_face_may_move_half_its_height_from_frame_to_frame(
    jump_px: int,
    kept: int,
    tracker: PersonTracker,
    make_face: MakeFace,
) -> None:
    first, second = make_face(100, 80, 40), make_face(100 + jump_px, 80, 40)
    tracker.push(_stage((first, RED)), _seen(first))
    sighting = tracker.push(_stage((second, RED)), _seen(second))
    assert (sighting.face is second) == bool(kept)


@pytest.mark.parametrize(("factor", "kept"), [(1.6, 1), (1 / 1.6, 1), (1.8, 0), (1 / 1.8, 0)])
def test_a_face_of_quite_another_size_is_another_face(
    factor: float,
    kept: int,
    tracker: PersonTracker,
    make_face: MakeFace,
) -> None:
    first, second = make_face(100, 100, 40), make_face(100, 100, 40 * factor)
    tracker.push(_stage((first, RED)), _seen(first))
    sighting = tracker.push(_stage((second, RED)), _seen(second))
    assert (sighting.face is second) == bool(kept)


@pytest.mark.parametrize(("lost_frames", "track"), [(GAP_FRAMES, 0), (GAP_FRAMES + 1, 1)])
def test_a_person_may_be_lost_for_just_the_longest_gap(
    lost_frames: int, track: int, tracker: PersonTracker, make_face: MakeFace
) -> None:
    face, empty = make_face(100, 80), _stage()
    tracker.push(_stage((face, RED)), _seen(face))
    lost = [tracker.push(empty, _seen()) for _ in range(lost_frames)]
    back = tracker.push(_stage((face, RED)), _seen(face))
    assert back.track == track
    assert all(sighting.face is None and sighting.person is None for sighting in lost)
    assert all(math.isnan(sighting.appearance_change) for sighting in lost)


@pytest.mark.parametrize(("lost_frames", "track"), [(4, 0), (1, 1)])
def test_a_lost_face_may_come_back_the_further_off_the_longer_it_was_away(
    lost_frames: int, track: int, tracker: PersonTracker, make_face: MakeFace
) -> None:
    """Four times lost it may have moved by five halves of its height, 100 px; once lost by 40."""
    first, second = make_face(100, 80, 40), make_face(190, 80, 40)
    tracker.push(_stage((first, RED)), _seen(first))
    for _ in range(lost_frames):
        tracker.push(_stage(), _seen())
    back = tracker.push(_stage((second, RED)), _seen(second))
    assert (back.face is second) == (track == 0)


def test_frames_before_the_first_face_and_long_after_it_start_no_tracks(
    tracker: PersonTracker, make_face: MakeFace
) -> None:
    face, empty = make_face(100, 80), _stage()
    before = [tracker.push(empty, _seen()) for _ in range(3 * GAP_FRAMES)]
    tracker.push(_stage((face, RED)), _seen(face))
    after = [tracker.push(empty, _seen()) for _ in range(5 * GAP_FRAMES)]
    assert set(_tracks(before)) == {0}
    assert _tracks(after) == [0] * GAP_FRAMES + [1] * 4 * GAP_FRAMES


def test_another_person_on_the_same_spot_is_another_track_within_a_fifth_of_a_second(
    tracker: PersonTracker, make_face: MakeFace
) -> None:
    face = make_face(120, 80)
    first = [tracker.push(_stage((face, RED)), _seen(face)) for _ in range(40)]
    second = [tracker.push(_stage((face, BLUE)), _seen(face)) for _ in range(40)]
    assert set(_tracks(first)) == {0}
    assert set(_tracks(second)) == {0, 1}
    assert _tracks(second).index(1) <= FPS / 5
    assert second[-1].appearance_change < 0.1  # learnt anew


def test_a_hand_across_the_chest_for_two_frames_is_no_other_person(
    tracker: PersonTracker, make_face: MakeFace
) -> None:
    face = make_face(120, 80)
    colours = [RED] * 30 + [GREEN] * 2 + [RED] * 30
    sightings = [tracker.push(_stage((face, colour)), _seen(face)) for colour in colours]
    assert set(_tracks(sightings)) == {0}


def test_looks_that_turn_into_others_bit_by_bit_end_the_track(
    tracker: PersonTracker, make_face: MakeFace
) -> None:
    """The start of the track is what counts: a slow dissolve never gives a mixed track."""
    face = make_face(120, 80)
    start, end = np.array(RED), np.array(BLUE)
    shares = np.concatenate([np.zeros(30), np.linspace(0, 1, 150), np.ones(30)])
    sightings = []
    for share in shares:
        red, green, blue = (start + share * (end - start)).round().astype(int).tolist()
        sightings.append(tracker.push(_stage((face, (red, green, blue))), _seen(face)))
    assert sightings[29].track == 0
    assert sightings[-1].track >= 1


def test_a_light_that_slowly_dims_a_little_ends_no_track(
    tracker: PersonTracker, make_face: MakeFace
) -> None:
    face = make_face(120, 80)
    sightings = [
        tracker.push((_stage((face, RED)) * (1 - 0.15 * k / 100)).astype(np.uint8), _seen(face))
        for k in range(100)
    ]
    assert set(_tracks(sightings)) == {0}


def test_two_people_who_change_places_slowly_stay_apart(
    tracker: PersonTracker, make_face: MakeFace
) -> None:
    """Their paths cross with a face height between them; each is followed by nearness."""
    for k in range(60):
        mine, other = make_face(60 + 3 * k, 60, 42), make_face(240 - 3 * k, 130, 40)
        sighting = tracker.push(
            _stage((other, BLUE), (mine, RED)), _seen(*((mine, other) if k % 2 else (other, mine)))
        )
        assert sighting.face is mine
        assert sighting.track == 0


def test_two_people_who_swap_at_once_are_told_apart_by_their_colours(
    tracker: PersonTracker, make_face: MakeFace
) -> None:
    left, right = make_face(80, 80, 44), make_face(230, 80, 40)
    for _ in range(40):
        tracker.push(_stage((left, RED), (right, BLUE)), _seen(left, right))
    swapped = [
        tracker.push(_stage((left, BLUE), (right, RED)), _seen(left, right)) for _ in range(20)
    ]
    assert swapped[-1].track == 1


def test_a_face_at_the_border_keeps_the_last_known_looks(
    tracker: PersonTracker, make_face: MakeFace
) -> None:
    """Nothing of head and chest is in the picture: no looks to compare, and no warning."""
    face = make_face(-200, 80, 40)
    sightings = [tracker.push(_stage(), _seen(face)) for _ in range(3)]
    assert all(math.isnan(sighting.appearance_change) for sighting in sightings)
    assert set(_tracks(sightings)) == {0}


def test_a_picture_of_one_pixel_is_looked_at_without_a_warning(
    tracker: PersonTracker, make_face: MakeFace
) -> None:
    image = np.zeros((1, 1, 3), dtype=np.uint8)
    assert tracker.push(image, _seen(make_face(0, 0, 0))).track == 0


def test_the_skeleton_is_that_of_the_face(tracker: PersonTracker, make_face: MakeFace) -> None:
    mine, other = make_face(80, 80, 40), make_face(240, 80, 30)
    skeletons = [_person(other), _person(mine, dx=9), _person(mine, dx=4), _person(mine, dx=-20)]
    sighting = tracker.push(_stage((mine, RED)), _seen(mine, other, people=skeletons))
    assert sighting.person is skeletons[2]


@pytest.mark.parametrize(
    "person_of",
    [
        lambda face: _person(face, dx=41),  # a face height is 40
        lambda face: _person(face, score=0.3),
    ],
)
def test_a_skeleton_whose_head_is_elsewhere_or_unseen_is_nobody(
    person_of: object, tracker: PersonTracker, make_face: MakeFace
) -> None:
    face = make_face(80, 80, 40)
    assert callable(person_of)
    sighting = tracker.push(_stage((face, RED)), _seen(face, people=[person_of(face)]))
    assert sighting.face is face
    assert sighting.person is None


def test_one_track_is_left_alone() -> None:
    assert joined_tracks([0, 0, 0], [True, False, True], margin_frames=2) == [0, 0, 0]


def test_faceless_frames_and_a_margin_on_both_sides_of_a_change_are_nobodys() -> None:
    tracks = [0, 0, 0, 0, 0, 1, 1, 1, 1]
    seen = [True, True, True, False, False, False, True, True, True]
    assert joined_tracks(tracks, seen, margin_frames=1) == [0, 0, -1, -1, -1, -1, -1, 1, 1]


def test_a_short_track_between_two_changes_is_nobodys() -> None:
    tracks = [0, 0, 0, 1, 2, 2, 2]
    assert joined_tracks(tracks, [True] * 7, margin_frames=1) == [0, 0, -1, -2, -2, 2, 2]


@given(
    st.lists(st.tuples(st.integers(1, 6), st.booleans()), min_size=1, max_size=8),
    st.integers(0, 4),
)
def test_what_is_left_of_a_track_is_one_stretch_away_from_every_change(
    runs: list[tuple[int, bool]], margin: int
) -> None:
    tracks = [number for number, (length, _) in enumerate(runs) for _ in range(length)]
    seen = [face for length, face in runs for _ in range(length)]
    settled = joined_tracks(tracks, seen, margin_frames=margin)
    for at, track in enumerate(settled):
        assert track == tracks[at] or track < 0
        if track >= 0:
            near = range(max(0, at - margin), min(len(tracks), at + margin + 1))
            assert all(tracks[other] == track for other in near)
