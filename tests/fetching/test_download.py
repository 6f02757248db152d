"""What hosts say of a video, and what is kept of it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tpbench.fetching.download import NotFetchedError, _about, _file_of, _single


def test_what_a_host_says_is_kept_if_it_makes_sense() -> None:
    about = _about(
        {
            "title": "half a \ud800 pair",
            "channel": "A channel",
            "license": "Creative Commons Attribution license (reuse allowed)",
            "upload_date": "20260102",
            "duration": 61,
            "width": 1920,
            "height": 1080.0,
        }
    )
    assert about.title == "half a ? pair"
    assert about.uploader == "A channel"
    assert about.licence == "Creative Commons Attribution license (reuse allowed)"
    assert about.published_on == "2026-01-02"
    assert (about.duration_s, about.width_px, about.height_px) == (61.0, 1920, 1080)


@pytest.mark.parametrize("value", [None, "long", -1, math.nan, math.inf, 10**40, [], {}])
def test_nonsense_is_left_blank(value: object) -> None:
    about = _about({"duration": value, "width": value, "upload_date": value, "title": value})
    assert (about.duration_s, about.width_px, about.published_on) == (None, None, None)


def test_a_playlist_and_a_live_stream_are_no_video() -> None:
    for info in ({"_type": "playlist"}, {"live_status": "is_upcoming"}, {"is_live": True}):
        with pytest.raises(NotFetchedError) as raised:
            _single(info)
        assert raised.value.reason.outcome == "unusable"
    assert _single({"live_status": "was_live"}) == {"live_status": "was_live"}


def test_only_a_video_in_the_folder_of_downloads_is_taken(tmp_path: Path) -> None:
    parts, other = tmp_path / "parts", tmp_path / "other.mp4"
    parts.mkdir()
    for path in (other, parts / "a.mp4", parts / "a.txt"):
        path.touch()
    taken = parts / "a.mp4"
    assert _file_of({"requested_downloads": [{"filepath": str(taken)}]}, parts) == taken
    for path in (other, parts / "a.txt", parts / "missing.mp4"):
        with pytest.raises(NotFetchedError):
            _file_of({"requested_downloads": [{"filepath": str(path)}]}, parts)
    with pytest.raises(NotFetchedError):
        _file_of({}, parts)
