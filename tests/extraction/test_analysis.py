"""Frames around a change of person belong to neither."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tpbench.extraction.following import settled_tracks


def test_one_track_is_left_alone() -> None:
    assert settled_tracks([0, 0, 0], [True, False, True], margin_frames=2) == [0, 0, 0]


def test_faceless_frames_and_a_margin_on_both_sides_of_a_change_are_nobodys() -> None:
    tracks = [0, 0, 0, 0, 0, 1, 1, 1, 1]
    seen = [True, True, True, False, False, False, True, True, True]

    assert settled_tracks(tracks, seen, margin_frames=1) == [0, 0, -1, -1, -1, -1, -1, 1, 1]


def test_a_short_track_between_two_changes_is_nobodys() -> None:
    tracks = [0, 0, 0, 1, 2, 2, 2]

    assert settled_tracks(tracks, [True] * 7, margin_frames=1) == [0, 0, -1, -2, -2, 2, 2]


@given(
    st.lists(st.tuples(st.integers(1, 6), st.booleans()), min_size=1, max_size=8),
    st.integers(0, 4),
)
def test_what_is_left_of_a_track_is_one_stretch_away_from_every_change(
    runs: list[tuple[int, bool]], margin: int
) -> None:
    tracks = [number for number, (length, _) in enumerate(runs) for _ in range(length)]
    seen = [face for length, face in runs for _ in range(length)]

    settled = settled_tracks(tracks, seen, margin_frames=margin)

    for at, track in enumerate(settled):
        assert track == tracks[at] or track < 0
        if track >= 0:
            near = range(max(0, at - margin), min(len(tracks), at + margin + 1))
            assert all(tracks[other] == track for other in near)
