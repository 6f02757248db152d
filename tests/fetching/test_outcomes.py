from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tpbench.errors import DatasetError
from tpbench.fetching.lists import ListedVideo, Span
from tpbench.fetching.outcomes import (
    FETCH_FOLDER,
    FETCHED_TABLE,
    MEANINGS,
    OUTCOMES,
    FetchOutcome,
    FetchRecord,
    FetchRecords,
    count_outcomes,
    write_table,
)

NAME = "-bcdefghij_"
VIDEO = ListedVideo(video_id=NAME, url=f"https://www.youtube.com/watch?v={NAME}", rows=2)


def record(outcome: FetchOutcome = "ok", *, with_cookies: bool = False) -> FetchRecord:
    return FetchRecord(
        video_id=NAME,
        url=VIDEO.url,
        outcome=outcome,
        with_cookies=with_cookies,
        tried_at="2026-01-02T03:04:05+00:00",
        file=f"{NAME}.mp4" if outcome == "ok" else None,
        size_bytes=3 if outcome == "ok" else None,
        title="A talk",
    )


@pytest.fixture
def records(tmp_path: Path) -> FetchRecords:
    return FetchRecords(tmp_path)


def settled(records: FetchRecords, *, with_cookies: bool = False, retry: bool = False) -> bool:
    return records.is_settled(VIDEO, with_cookies=with_cookies, retry_failed=retry)


def test_a_file_counts_only_with_its_record_and_its_size(
    records: FetchRecords, tmp_path: Path
) -> None:
    (tmp_path / f"{NAME}.mp4").write_bytes(b"123")
    assert records.file_of(NAME) is None
    records.put(record())
    assert records.file_of(NAME) == tmp_path / f"{NAME}.mp4"
    assert settled(records)
    (tmp_path / f"{NAME}.mp4").write_bytes(b"12")
    assert records.file_of(NAME) is None
    assert not settled(records)


def test_records_are_read_back(records: FetchRecords, tmp_path: Path) -> None:
    records.put(record("gone"))
    assert FetchRecords(tmp_path).known == {NAME: record("gone")}


def test_a_damaged_record_is_named_with_what_to_do(records: FetchRecords, tmp_path: Path) -> None:
    records.put(record())
    (path,) = (tmp_path / FETCH_FOLDER).rglob("*.json")
    path.write_text(path.read_text().replace("A talk", "Another"))
    with pytest.raises(DatasetError, match=r"was changed after it was written; delete this file"):
        FetchRecords(tmp_path)


def test_a_file_that_was_deleted_on_purpose_is_not_missed(
    records: FetchRecords, tmp_path: Path
) -> None:
    (tmp_path / f"{NAME}.mp4").write_bytes(b"123")
    records.put(record())
    assert records.delete_file(NAME) == 3
    assert not (tmp_path / f"{NAME}.mp4").exists()
    assert FetchRecords(tmp_path).known[NAME].deleted
    assert settled(records)
    assert records.delete_file(NAME) == 0


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_only_what_may_change_by_itself_is_tried_again(
    records: FetchRecords, outcome: FetchOutcome
) -> None:
    records.put(record(outcome))
    again = {"blocked", "network", "pending", "licence", "excluded", "ok"}
    assert settled(records) == (outcome not in again)
    assert not settled(records, retry=True)


@pytest.mark.parametrize("outcome", ["private", "age"])
def test_cookies_are_a_new_chance_once(records: FetchRecords, outcome: FetchOutcome) -> None:
    records.put(record(outcome))
    assert not settled(records, with_cookies=True)
    records.put(record(outcome, with_cookies=True))
    assert settled(records, with_cookies=True)


def test_the_table_has_a_row_for_every_video_of_the_list(tmp_path: Path) -> None:
    other = ListedVideo(
        video_id="abcdefghijk", url="https://x.org", spans=(Span(start_s=1, end_s=2),)
    )
    outcomes: dict[str, FetchOutcome] = {NAME: "ok", "abcdefghijk": "pending"}
    write_table(tmp_path, [VIDEO, other], {NAME: record()}, outcomes)
    rows = pq.read_table(tmp_path / FETCHED_TABLE).to_pylist()
    assert [(row["video_id"], row["outcome"], row["rows"]) for row in rows] == [
        (NAME, "ok", 2),
        ("abcdefghijk", "pending", 1),
    ]
    assert rows[0]["title"] == "A talk"
    assert rows[1]["spans"] == [{"start_s": 1.0, "end_s": 2.0}]


def test_the_table_says_nothing_about_whom_it_excludes(tmp_path: Path) -> None:
    write_table(tmp_path, [VIDEO], {NAME: record()}, {NAME: "excluded"})
    (row,) = pq.read_table(tmp_path / FETCHED_TABLE).to_pylist()
    assert row["outcome"] == "excluded"
    assert row["title"] is None


def test_outcomes_are_counted_and_each_has_a_meaning() -> None:
    assert count_outcomes(["gone", "ok", "gone"]) == {"ok": 1, "gone": 2}
    assert set(MEANINGS) == set(OUTCOMES)
