from __future__ import annotations

import json
import logging
import os
from typing import TYPE_CHECKING

import pytest

from tpbench.extraction.sources import Provenance, read_provenance

if TYPE_CHECKING:
    from pathlib import Path

FULL = {
    "webpage_url": "https://example.org/watch?v=1",
    "license": "CC-BY",
    "uploader": "Ü. Ploader",
    "epoch": 1700000000,
    "formats": [],
}


def _beside(video: Path, text: str | bytes) -> None:
    data = text.encode() if isinstance(text, str) else text
    video.with_name(f"{video.stem}.info.json").write_bytes(data)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return tmp_path / "-My talk v1.2 [abc].mp4"


def test_no_file_is_nothing_known_and_no_news(
    video: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert read_provenance(video) == Provenance()
    assert not caplog.records


def test_the_file_of_yt_dlp_is_read(video: Path) -> None:
    _beside(video, json.dumps(FULL))

    assert read_provenance(video) == Provenance(
        url="https://example.org/watch?v=1",
        licence="CC-BY",
        uploader="Ü. Ploader",
        retrieved_at="2023-11-14T22:13:20+00:00",
    )


@pytest.mark.parametrize(
    ("key", "value", "field"),
    [
        ("webpage_url", None, "url"),
        ("webpage_url", "", "url"),
        ("license", None, "licence"),
        ("license", ["CC"], "licence"),
        ("uploader", 5, "uploader"),
        ("epoch", "yesterday", "retrieved_at"),
        ("epoch", True, "retrieved_at"),
        ("epoch", 10**30, "retrieved_at"),
        ("epoch", None, "retrieved_at"),
    ],
)
def test_what_is_absent_or_of_another_kind_is_not_known(
    key: str, value: object, field: str, video: Path
) -> None:
    _beside(video, json.dumps({**FULL, key: value}))

    provenance = read_provenance(video)

    assert getattr(provenance, field) is None
    assert sum(getattr(provenance, name) is None for name in Provenance.__slots__) == 1


def test_half_an_emoji_becomes_text_that_can_be_written(video: Path) -> None:
    _beside(video, '{"uploader": "A \\ud83d"}')

    assert read_provenance(video).uploader == "A ?"


@pytest.mark.parametrize(
    "text", ["", "{", "nonsense", b"\xff\xfe\x00", "[" * 100_000], ids=range(5)
)
def test_a_broken_file_is_logged_and_left_out(
    text: str | bytes, video: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _beside(video, text)

    with caplog.at_level(logging.WARNING):
        assert read_provenance(video) == Provenance()
    assert "info.json" in caplog.text


@pytest.mark.parametrize("text", ["[]", "3", "null", '"text"', "{}"])
def test_json_of_another_shape_tells_nothing(text: str, video: Path) -> None:
    _beside(video, text)

    assert read_provenance(video) == Provenance()


def test_a_folder_of_that_name_is_left_out(video: Path) -> None:
    video.with_name(f"{video.stem}.info.json").mkdir()

    assert read_provenance(video) == Provenance()


@pytest.mark.parametrize("part", ["f137", "f299-drc", "fhls-1080"])
def test_parts_that_were_not_merged_share_the_file_of_their_video(
    tmp_path: Path, part: str
) -> None:
    (tmp_path / "Talk [x].info.json").write_text(json.dumps(FULL))

    found = read_provenance(tmp_path / f"Talk [x].{part}.mp4")

    assert found.url == FULL["webpage_url"]


def test_a_part_with_a_file_of_its_own_keeps_it(tmp_path: Path) -> None:
    (tmp_path / "t.info.json").write_text(json.dumps(FULL))
    (tmp_path / "t.f1.info.json").write_text(json.dumps({"uploader": "own"}))

    assert read_provenance(tmp_path / "t.f1.mp4") == Provenance(uploader="own")


@pytest.mark.timeout(20)
def test_a_named_pipe_in_place_of_the_metadata_is_left_out_and_never_waited_for(
    video: Path, caplog: pytest.LogCaptureFixture
) -> None:
    os.mkfifo(video.with_name(f"{video.stem}.info.json"))
    assert read_provenance(video) == Provenance()
    assert "not a regular file" in caplog.text


def test_metadata_too_large_to_hold_leaves_blanks_and_says_so(
    video: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = video.with_name(f"{video.stem}.info.json")
    with path.open("wb") as file:
        file.truncate(1 << 34)
    assert read_provenance(video) == Provenance()
    assert "url and licence stay blank" in caplog.text
    assert "where 67,108,864 are the most that is read" in caplog.text


def test_metadata_with_many_comments_is_read(video: Path) -> None:
    comment = {"id": "Ugz", "text": "well, said, indeed", "like_count": 3, "parent": "root"}
    _beside(video, json.dumps({**FULL, "comments": [comment] * 50_000}))
    assert read_provenance(video).licence == "CC-BY"
