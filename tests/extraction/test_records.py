from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest

from tpbench.dataset import Clip, RunStats
from tpbench.dataset.folder import RECORDS_FOLDER
from tpbench.dataset.manifest import rows_of
from tpbench.errors import DatasetError, MediaError
from tpbench.extraction.planning import make_folder, plan, work_items
from tpbench.extraction.publishing import published
from tpbench.extraction.records import (
    WORKER_LOG,
    SourceRecord,
    SourceRecords,
    error_line,
    open_records,
    read_records,
)
from tpbench.extraction.rows import duplicate_row
from tpbench.extraction.sources import Source, find_sources, hashed, source_id
from tpbench.foreign import printable
from tpbench.work import Outcome, Progress, ProgressCounter
from tpbench.work.locks import InUseError
from tpbench.work.records import Shard


@pytest.fixture
def talks(tmp_path: Path) -> Path:
    path = tmp_path / "talks"
    path.mkdir()
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    make_folder(tmp_path / "out")
    return tmp_path / "out"


@contextmanager
def opened(
    out: Path, settings: str = "s", *, redo: bool = False, shard: Shard | None = None
) -> Iterator[SourceRecords]:
    with open_records(out, settings=settings, config={}, redo=redo, shard=shard) as records:
        yield records


def planned(
    records: SourceRecords, *folders: Path, shard: Shard | None = None
) -> tuple[set[str], ProgressCounter]:
    sources = find_sources(folders, excluded=folders[0] / "none")
    keys = set(plan(records, sources, shard=shard))
    return keys, ProgressCounter("extract", total=len(keys), before=0, listener=None)


def run(out: Path, *folders: Path, stop_after: int = 99, shard: Shard | None = None) -> list[str]:
    """Plan, and do every source as a worker would; return the names of what was done.

    A file that begins with "bad" fails.
    """
    did: list[str] = []
    with opened(out, shard=shard) as records:
        _, progress = planned(records, *folders, shard=shard)
        for item in work_items(records):
            if len(did) == stop_after:
                break
            source = hashed(Source.from_json(item.payload))
            did.append(source.path.name)
            records.add(outcome_of(item.key, source), progress)
    return did


def outcome_of(key: str, source: Source) -> Outcome:
    if source.duplicate_of is None and source.path.read_bytes().startswith(b"bad"):
        return Outcome(key=key, kind="failed", attempts=1, error="is bad")
    clip = Clip(
        clip_id=f"{source_id(source)}_00000000_00001000",
        status="rejected",
        source_id=source_id(source),
        source_path=source.shown_path,
        source_sha256=source.sha256,
        reject_codes=("face.missing",),
    )
    if source.duplicate_of is not None:
        clip = duplicate_row(source)
    result = {
        "clips": [clip.to_json()],
        "source_sha256": source.sha256,
        "n_frames": 25,
        "duration_s": 1.0,
        "stage_s": {"decode": 0.5},
    }
    return Outcome(key=key, kind="done", attempts=1, result=result, cpu_s=2.0)


def rows(out: Path) -> list[Clip]:
    with opened(out) as records:
        return rows_of(published(records, workers=1)[0])


def table(out: Path) -> dict[str, str]:
    """Shown path -> what stands in its row."""
    return {row.source_path: row.error or row.reject_codes[0] for row in rows(out)}


def known(out: Path) -> dict[str, SourceRecord]:
    return {Path(record.item).name: record for record in read_records(out)}


def test_what_is_done_is_not_done_again(out: Path, talks: Path) -> None:
    (talks / "a.mp4").write_bytes(b"a")
    (talks / "bad.mp4").write_bytes(b"bad")
    assert run(out, talks) == ["a.mp4", "bad.mp4"]
    assert run(out, talks) == []
    assert table(out) == {
        "talks/a.mp4": "face.missing",
        "talks/bad.mp4": "talks/bad.mp4: is bad",
    }


def test_a_name_that_is_no_text_is_recorded_as_any_other(out: Path, talks: Path) -> None:
    names = [os.fsdecode(b"caf\xe9.mp4"), os.fsdecode(b"bad-\xff.mp4")]
    try:
        for name in names:
            (talks / name).write_bytes(name[:3].encode())
    except OSError:
        pytest.skip("this file system takes UTF-8 names alone")
    assert sorted(run(out, talks)) == sorted(names)
    assert run(out, talks) == []
    assert {record.source.path.name for record in read_records(out)} == set(names)
    assert table(out) == {
        "talks/caf\\xe9.mp4": "face.missing",
        "talks/bad-\\xff.mp4": "talks/bad-\\xff.mp4: is bad",
    }


def test_a_touched_file_is_not_done_again_and_a_changed_one_is(out: Path, talks: Path) -> None:
    (talks / "a.mp4").write_bytes(b"a")
    (talks / "b.mp4").write_bytes(b"bb")
    run(out, talks)
    for name in ("a.mp4", "b.mp4"):
        os.utime(talks / name, (1, 1))
    (talks / "b.mp4").write_bytes(b"BB")
    assert run(out, talks) == ["b.mp4"]


def test_a_failed_file_that_was_mended_is_tried_again(out: Path, talks: Path) -> None:
    (talks / "a.mp4").write_bytes(b"bad")
    run(out, talks)
    (talks / "a.mp4").write_bytes(b"good")
    assert run(out, talks) == ["a.mp4"]
    assert table(out) == {"talks/a.mp4": "face.missing"}


def test_a_failed_file_that_is_gone_has_no_row_any_more(out: Path, talks: Path) -> None:
    (talks / "a.mp4").write_bytes(b"a")
    (talks / "bad.mp4").write_bytes(b"bad")
    run(out, talks)
    (talks / "bad.mp4").unlink()
    assert run(out, talks) == []
    assert table(out) == {"talks/a.mp4": "face.missing"}


def test_a_folder_that_moved_is_not_done_again(out: Path, talks: Path) -> None:
    (talks / "a.mp4").write_bytes(b"a")
    run(out, talks)
    before = table(out)
    moved = talks.rename(talks.with_name("moved"))
    assert run(out, moved) == []
    assert table(out) == before


def test_rows_of_other_inputs_stay(out: Path, talks: Path, tmp_path: Path) -> None:
    (talks / "a.mp4").write_bytes(b"a")
    run(out, talks)
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "b.mp4").write_bytes(b"bb")
    assert run(out, tmp_path / "more") == ["b.mp4"]
    assert table(out).keys() == {"talks/a.mp4", "more/b.mp4"}


def test_equal_broken_files_are_one_failure_and_one_duplicate_for_good(
    out: Path, talks: Path
) -> None:
    for name in ("a.mp4", "b.mp4"):
        (talks / name).write_bytes(b"bad")
    run(out, talks)
    expected = {"talks/a.mp4": "talks/a.mp4: is bad", "talks/b.mp4": "same bytes as talks/a.mp4"}
    assert table(out) == expected
    assert run(out, talks) == []
    assert table(out) == expected


def test_a_duplicate_is_done_itself_once_its_original_has_other_bytes(
    out: Path, talks: Path
) -> None:
    for name in ("a.mp4", "b.mp4"):
        (talks / name).write_bytes(b"same")
    run(out, talks)
    assert table(out)["talks/b.mp4"] == "same bytes as talks/a.mp4"
    (talks / "a.mp4").write_bytes(b"other")
    assert run(out, talks) == ["a.mp4", "b.mp4"]
    assert table(out) == dict.fromkeys(["talks/a.mp4", "talks/b.mp4"], "face.missing")


def test_a_copy_is_done_itself_when_its_original_never_was_and_is_gone(
    out: Path, talks: Path
) -> None:
    for name in ("a.mp4", "b.mp4"):
        (talks / name).write_bytes(b"same")
    run(out, talks, stop_after=0)
    (talks / "a.mp4").unlink()
    assert run(out, talks) == ["b.mp4"]
    assert table(out) == {"talks/b.mp4": "face.missing"}


def test_a_copy_that_comes_later_is_a_duplicate(out: Path, talks: Path, tmp_path: Path) -> None:
    (talks / "b.mp4").write_bytes(b"same")
    run(out, talks)
    (tmp_path / "more").mkdir()
    shutil.copy(talks / "b.mp4", tmp_path / "more" / "a.mp4")
    run(out, talks, tmp_path / "more")
    assert table(out)["more/a.mp4"] == "same bytes as talks/b.mp4"


def test_a_line_names_the_source_once_and_says_where_there_is_more(talks: Path) -> None:
    (talks / "a.mp4").touch()
    (source,) = find_sources([talks], excluded=talks / "none")
    assert error_line(source, "talks/a.mp4: is empty", unexpected=False) == "talks/a.mp4: is empty"
    assert error_line(source, "KeyError: 1", unexpected=True) == (
        f"talks/a.mp4: KeyError: 1 (more on it: {WORKER_LOG})"
    )


def test_a_strangers_folder_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(DatasetError, match="holds files but no dataset of tpbench"):
        make_folder(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("below", ["", "dataset"])
def test_a_file_in_the_way_is_one_line(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DatasetError, match="can't write a dataset here"):
        make_folder(tmp_path / "file" / below)


@pytest.mark.parametrize("name", ["My  talk.mp4", "new\nline.mp4", "esc\x1b[2J.mp4"])
def test_an_error_line_holds_the_name_once_and_is_one_line(name: str) -> None:
    source = Source(path=Path("/v") / name, shown_path=f"v/{name}", size_bytes=1, mtime_ns=0)
    told = printable(MediaError(source.shown_path, "is no video"))
    line = error_line(source, told, unexpected=False)
    assert line == told
    assert line == f"{printable(source.shown_path)}: is no video"
    assert "  " not in line or "  " in name
    assert line.isprintable()


def test_a_duplicate_that_is_done_waits_for_its_original(out: Path, talks: Path) -> None:
    """Several workers: the copy may be through when a run is killed, and the original not."""
    for name in ("a.mp4", "b.mp4"):
        (talks / name).write_bytes(b"same")
    run(out, talks)
    next((out / RECORDS_FOLDER / "sources").glob("*/a-*")).unlink()
    assert run(out, talks) == ["a.mp4"]
    assert table(out)["talks/b.mp4"] == "same bytes as talks/a.mp4"


def test_quarantined_sources_have_a_row_of_their_own_kind(out: Path, talks: Path) -> None:
    (talks / "a.mp4").write_bytes(b"a")
    with opened(out) as records:
        (key,), progress = planned(records, talks)
        lost = Outcome(key=key, kind="quarantined", attempts=3, error="the worker was lost")
        records.add(lost, progress)
    (row,) = rows(out)
    assert row.status == "quarantined"
    assert row.error == f"talks/a.mp4: the worker was lost (more on it: {WORKER_LOG})"


def test_what_is_pending_counts_only_of_the_inputs(out: Path, talks: Path) -> None:
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        (talks / name).write_bytes(name.encode())
    run(out, talks, stop_after=1)
    with opened(out) as records:
        assert records.num_pending({str(talks / "a.mp4"), str(talks / "b.mp4")}) == 1


def test_the_times_of_all_runs_and_shards_add_up(out: Path, talks: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        (talks / name).write_bytes(name.encode())
    run(out, talks)
    with opened(out) as records:
        took = RunStats(workers=1, wall_s=2.0, core_s=1.0, source_frames=9, source_s=0.3)
        idle = RunStats(workers=1, wall_s=0.5, core_s=0.0, source_frames=0, source_s=0.0)
        records.add_run(took, None)
        records.add_run(idle, None)
        records.add_run(idle.model_copy(update={"wall_s": 1.0}), Shard(number=2, count=3))
        _, stats = published(records, workers=3)
    assert stats.runs == (took,), "a run that found nothing to do is not listed"
    assert (stats.workers, stats.wall_s, stats.core_s) == (3, 3.5, 4.0)
    assert (stats.source_frames, stats.source_s, stats.stage_s) == (50, 2.0, {"decode": 1.0})


def test_a_source_whose_file_is_gone_keeps_its_failed_row(out: Path, talks: Path) -> None:
    (talks / "bad.mp4").write_bytes(b"bad")
    run(out, talks)
    (source,) = find_sources([talks], excluded=talks / "none")
    (talks / "bad.mp4").unlink()
    (row,) = rows(out)
    assert row.source_sha256 is None
    assert row.source_id == source_id(replace(source, sha256=None))


def test_all_of_an_outcome_is_kept(out: Path, talks: Path) -> None:
    """Also a bug's traceback, and numbers that JSON has no sign for."""
    (talks / "a.mp4").write_bytes(b"a")
    with opened(out) as records:
        (key,), progress = planned(records, talks)
        bug = Outcome(
            key=key, kind="failed", attempts=3, error="no", error_detail="Trace\n", wall_s=1.5
        )
        records.add(bug, progress)
    record = known(out)["a.mp4"]
    assert (record.state, record.attempts, record.error) == ("failed", 3, "no")
    assert (record.error_detail, record.wall_s) == ("Trace\n", 1.5)
    assert (out / WORKER_LOG).read_text() == "talks/a.mp4:\nTrace\n"


def test_tries_in_vain_are_remembered_over_runs_and_end_no_source(out: Path, talks: Path) -> None:
    (talks / "a.mp4").write_bytes(b"a")
    with opened(out) as records:
        (key,), progress = planned(records, talks)
        records.add(Outcome(key=key, kind="retried", attempts=2, error="lost"), progress)
    with opened(out) as records:
        planned(records, talks)
        assert [item.attempts for item in work_items(records)] == [2]


def test_other_settings_are_refused_and_redo_counts_no_earlier_record(
    out: Path, talks: Path
) -> None:
    (talks / "a.mp4").write_bytes(b"a")
    run(out, talks)
    with (
        pytest.raises(DatasetError, match=r"another config \(s, now t\).*--redo"),
        opened(out, "t"),
    ):
        pass
    assert run(out, talks) == []
    with opened(out, redo=True) as records:
        assert records.num_pending({str(talks / "a.mp4")}) == 1
        assert len(published(records, workers=1)[0]) == 1, "what it gave stays until it is done"
    assert run(out, talks) == ["a.mp4"]


def test_a_second_run_is_told_who_has_the_folder(out: Path) -> None:
    with opened(out), pytest.raises(InUseError, match=f"process {os.getpid()} on "), opened(out):
        pass
    with opened(out):
        pass


def test_shards_do_every_source_once_and_agree_on_duplicates(out: Path, talks: Path) -> None:
    for number in range(40):
        (talks / f"{number:02d}.mp4").write_bytes(str(number % 30).encode())
    shards = [Shard(number=index, count=3) for index in (1, 2, 3)]
    did = [run(out, talks, shard=shard) for shard in shards]
    assert all(len(names) > 5 for names in did)
    assert sorted(chain.from_iterable(did)) == [f"{number:02d}.mp4" for number in range(40)]
    assert run(out, talks) == []
    assert sum(row.error is not None for row in rows(out)) == 10


def test_shards_share_a_folder_and_nobody_else_does(out: Path) -> None:
    """Not the same shard twice, not another number of shards, not a whole run."""
    one, two = Shard(number=1, count=2), Shard(number=2, count=2)
    with opened(out, shard=one), opened(out, shard=two):
        for other in (one, Shard(number=3, count=4), None):
            with pytest.raises(InUseError), opened(out, shard=other):
                pass
    with opened(out, shard=Shard(number=3, count=4)):
        pass


def test_a_clip_of_one_id_in_two_shards_is_done_again(out: Path, talks: Path) -> None:
    """Names are given out by each shard alone; the last run sees that two have the same."""
    (talks / "a.mp4").write_bytes(b"a")
    (talks / "b.mp4").write_bytes(b"b")
    run(out, talks)
    with opened(out) as records:
        for name, record in known(out).items():
            clip = {"clip_id": "x-12345678_00000000_00001000", "status": "kept"}
            row = record.result["clips"][0] | clip | {"clip_sha256": name}  # type: ignore[index]
            changed = {"result": record.result | {"clips": [row]}}  # type: ignore[operator]
            records.put(record.model_copy(update=changed))
    assert run(out, talks) == ["a.mp4", "b.mp4"]


def test_progress_is_counted_and_failures_are_told(
    out: Path, talks: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a", "bad"):
        (talks / f"{name}.mp4").write_text(name)
    told: list[Progress] = []
    with opened(out) as records:
        keys, _ = planned(records, talks)
        progress = ProgressCounter("extract", total=len(keys), before=0, listener=told.append)
        for item in work_items(records):
            source = hashed(Source.from_json(item.payload))
            records.add(outcome_of(item.key, source), progress)
    assert (told[-1].done, dict(told[-1].counts)) == (2, {"rejected": 1, "failed": 1})
    assert [record.getMessage() for record in caplog.records] == ["talks/bad.mp4: is bad"]


def test_a_record_holds_json_and_its_name_and_is_whole_or_refused(out: Path, talks: Path) -> None:
    (talks / "a.mp4").write_bytes(b"a")
    run(out, talks)
    (path,) = (out / RECORDS_FOLDER / "sources").glob("*/*")
    assert path.name.startswith("a-")
    content = json.loads(path.read_text())
    assert content["source"]["shown_path"] == "talks/a.mp4"
    content["attempts"] = 2
    path.write_text(json.dumps(content))
    with pytest.raises(DatasetError, match=r"was changed after it was written; put back a copy"):
        rows(out)


def test_a_record_with_its_fields_in_another_order_is_refused(out: Path, talks: Path) -> None:
    (talks / "a.mp4").write_bytes(b"a")
    run(out, talks)
    (path,) = (out / RECORDS_FOLDER / "sources").glob("*/*")
    content = json.loads(path.read_text())
    assert path.read_text() == json.dumps(content) + "\n"
    digest = content.pop("digest")
    path.write_text(json.dumps(dict(reversed(content.items())) | {"digest": digest}) + "\n")
    with pytest.raises(DatasetError, match="was changed after it was written"):
        rows(out)


def test_a_new_and_an_empty_folder_are_taken(tmp_path: Path) -> None:
    make_folder(tmp_path / "new" / "dataset")
    make_folder(tmp_path / "new" / "dataset")
    assert (tmp_path / "new" / "dataset" / RECORDS_FOLDER).is_dir()
