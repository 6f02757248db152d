"""Tombstones: what they hold, and what they keep out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dataset.rows import FAILED, kept, rejected
from tpbench.dataset.removal import (
    REMOVALS_NAME,
    Removals,
    SourceMarks,
    Tombstone,
    clip_tombstone,
    name_stem,
    video_id_of_name,
    video_id_of_url,
)
from tpbench.errors import DatasetError

DAY = "2026-11-29"
SHA256 = "0123abcd" + "e" * 56
OTHER = "9876abcd" + "e" * 56


def source(name: str) -> Tombstone:
    return Tombstone(kind="source", id=name, date=DAY)


def stretch(source_id: str, start_s: float, end_s: float) -> Tombstone:
    name = f"{source_id}_{round(1000 * start_s):08d}_{round(1000 * end_s):08d}"
    return Tombstone(
        kind="clip", id=name, date=DAY, source_id=source_id, start_s=start_s, end_s=end_s
    )


def removals(*stones: Tombstone) -> Removals:
    return Removals().joined(stones)


def test_what_is_written_is_read_back_and_holds_only_ids_dates_and_times(tmp_path: Path) -> None:
    row = kept("talk-0123abcd_00000400_00005200", source_id="talk-0123abcd", source_sha256=SHA256)
    written = removals(
        clip_tombstone(row, reason="asked", date=DAY), source("b-9876abcd"), source("b-9876abcd")
    )
    path = written.write(tmp_path)
    assert Removals.read(tmp_path) == written
    assert json.loads(path.read_text()) == {
        "schema_version": 1,
        "removals": [
            {
                "kind": "clip",
                "id": "talk-0123abcd_00000400_00005200",
                "date": DAY,
                "reason": "asked",
                "source_id": "talk-0123abcd",
                "start_s": 0.4,
                "end_s": 5.2,
            },
            {"kind": "source", "id": "b-9876abcd", "date": DAY, "reason": ""},
        ],
    }


def test_a_dataset_without_the_file_has_no_removals(tmp_path: Path) -> None:
    none = Removals.read(tmp_path)
    assert not none
    assert not none.removes_source(source_id="talk-0123abcd", sha256=SHA256)
    assert not none.removes_row(FAILED)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "not readable"),
        ("[]", "removals"),
        ('{"schema_version": 2, "removals": []}', "schema_version"),
        ('{"schema_version": 1, "removals": [{"kind": "clip", "id": "a", "date": "x"}]}', "date"),
    ],
)
def test_a_damaged_file_is_one_line_and_never_no_removals(
    tmp_path: Path, content: str, said: str
) -> None:
    (tmp_path / REMOVALS_NAME).write_text(content)
    with pytest.raises(DatasetError, match="put it back from a copy") as caught:
        Removals.read(tmp_path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "clip", "id": "a"},
        {"kind": "source", "id": "a", "source_id": "a"},
        {"kind": "identity", "id": "a", "start_s": 0, "end_s": 1},
        {"kind": "clip", "id": "a", "source_id": "a", "start_s": 1},
        {"kind": "uploader", "id": "a"},
        {"kind": "source", "id": ""},
        {"kind": "source", "id": "a", "sha256": SHA256},
    ],
)
def test_a_tombstone_of_another_form_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        Tombstone.model_validate({"date": DAY, **fields})


def test_a_source_is_known_by_its_id_its_bytes_and_its_video_id() -> None:
    gone = removals(source("dQw4w9WgXcQ-0123abcd"))
    assert gone.removes_source(source_id="dQw4w9WgXcQ-0123abcd")
    assert gone.removes_source(source_id="renamed-0123abcd")
    assert gone.removes_source(source_id="renamed-0123abcdeeeeeeee")
    assert gone.removes_source(sha256=SHA256)
    assert gone.removes_source(video_id="dQw4w9WgXcQ")
    assert gone.removes_source(url="https://www.youtube.com/watch?v=dQw4w9WgXcQ&t=3s")
    assert gone.removes_source(source_id="dQw4w9WgXcQ-9876abcd", sha256=OTHER)
    assert not gone.removes_source(source_id="other-9876abcd", sha256=OTHER)
    assert not gone.removes_source(url="https://www.youtube.com/watch?v=dQw4w9WgXcU")
    assert not gone.removes_source()


def test_a_title_with_an_id_in_brackets_is_known_by_the_id() -> None:
    stem = name_stem("On clouds [dQw4w9WgXcQ]")
    assert removals(source(f"{stem}-0123abcd")).removes_source(video_id="dQw4w9WgXcQ")


def test_an_id_that_begins_with_a_dash_is_known() -> None:
    gone = removals(source(f"{name_stem('-Qw4w9WgXcQ')}-0123abcd"))
    assert gone.removes_source(video_id="-Qw4w9WgXcQ")
    assert gone.removes_source(url="https://youtu.be/-Qw4w9WgXcQ")


def test_an_ordinary_name_of_other_bytes_is_another_source() -> None:
    """Many folders have a 00001.mp4."""
    gone = removals(source("00001-0123abcd"))
    assert not gone.removes_source(source_id="00001-9876abcd", sha256=OTHER)


def test_longer_digits_tell_two_sources_of_one_beginning_apart() -> None:
    gone = removals(source("a-0123abcd11112222"))
    assert gone.removes_source(sha256="0123abcd11112222" + "0" * 48)
    assert not gone.removes_source(sha256="0123abcd99992222" + "0" * 48)


def test_a_source_of_any_name_is_known_by_exactly_that_name() -> None:
    gone = removals(source("ann"))
    assert gone.removes_source(source_id="ann")
    assert not gone.removes_source(source_id="anna")


times = st.integers(min_value=0, max_value=50)


@given(a=times, b=times, c=times, d=times)
def test_a_stretch_is_removed_if_and_only_if_it_shares_time(a: int, b: int, c: int, d: int) -> None:
    gone = removals(stretch("talk-0123abcd", min(a, b), max(a, b) + 1))
    shared = set(range(min(a, b), max(a, b) + 1)) & set(range(min(c, d), max(c, d) + 1))
    assert gone.removes_span("talk-0123abcd", min(c, d), max(c, d) + 1) == bool(shared)
    assert not gone.removes_span("talk-9876abcd", min(c, d), max(c, d) + 1)
    assert not gone.removes_source(source_id="talk-0123abcd")


def test_all_of_a_removed_source_is_removed() -> None:
    assert removals(source("talk-0123abcd")).removes_span("talk-0123abcd", 0, 1)


def test_stretches_are_those_of_the_same_bytes_under_any_name() -> None:
    gone = removals(stretch("talk-0123abcd", 4, 8), stretch("talk-0123abcd", 1, 2))
    assert gone.spans_of(SourceMarks(sha256=SHA256)) == [(1.0, 2.0), (4.0, 8.0)]
    assert gone.spans_of(SourceMarks(source_id="copy-0123abcd")) == [(1.0, 2.0), (4.0, 8.0)]
    assert gone.spans_of(SourceMarks(sha256=OTHER)) == []


def test_the_name_of_a_file_tells_its_source_and_time_and_a_neighbour_stays() -> None:
    gone = removals(stretch("talk-0123abcd", 4.0004, 8.0004))
    assert gone.removes_clip_id("talk-0123abcd_00004000_00008000")
    assert gone.removes_clip_id("talk-0123abcd_00007000_00009000")
    assert not gone.removes_clip_id("talk-0123abcd_00002000_00004000")
    assert not gone.removes_clip_id("talk-0123abcd_00008000_00009000")
    assert not gone.removes_clip_id("anything")


def test_rows_go_by_source_time_identity_and_id() -> None:
    ids = {"source_id": "talk-0123abcd", "source_sha256": SHA256}
    of_ann = kept("a", source_id="b-9876abcd", identity="ann")
    early, late = (
        kept("b", **ids, start_s=0.0, end_s=4.0),
        rejected("c", **ids, start_s=4.0, end_s=8.0),
    )
    copy = rejected("d", source_id="copy-0123abcd", start_s=3.0, end_s=5.0)
    rows = [of_ann, early, late, copy, FAILED]

    def left(*stones: Tombstone) -> list[str]:
        return [row.clip_id for row in removals(*stones).without_removed(rows)]

    assert left() == ["a", "b", "c", "d", "broken"]
    assert left(Tombstone(kind="identity", id="ann", date=DAY)) == ["b", "c", "d", "broken"]
    assert left(source("talk-0123abcd")) == ["a", "broken"]
    assert left(source("broken")) == ["a", "b", "c", "d"]
    assert left(stretch("talk-0123abcd", 0, 3)) == ["a", "c", "d", "broken"]
    assert left(clip_tombstone(of_ann, date=DAY)) == ["b", "c", "d", "broken"]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("dQw4w9WgXcQ", "dQw4w9WgXcQ"),
        ("A [x] talk [dQw4w9WgXcQ]", "dQw4w9WgXcQ"),
        ("interview", None),
        ("A talk [short]", None),
    ],
)
def test_video_ids_in_names(name: str, found: str | None) -> None:
    assert video_id_of_name(name) == found


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://www.youtube.com/shorts/dQw4w9WgXcQ?feature=share", "dQw4w9WgXcQ"),
        ("http://127.0.0.1:8000/talks/a.mp4", "a"),
        ("https://vimeo.com/123456", "123456"),
        ("https://example.org", None),
        ("http://[", None),
    ],
)
def test_video_ids_in_addresses(url: str, found: str | None) -> None:
    assert video_id_of_url(url) == found
