from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tpbench.dataset import Clip
from tpbench.dataset.folder import LEDGER_FILE
from tpbench.errors import DatasetError, MediaError
from tpbench.execution import Ledger
from tpbench.extraction.bookkeeping import (
    WORKER_LOG,
    add_wall_time,
    error_line,
    make_folder,
    num_pending,
    plan,
    rows_of,
    run_stats,
)
from tpbench.extraction.pipeline import duplicate_row
from tpbench.extraction.sources import Source, find_sources, hashed, source_id
from tpbench.extraction.worker import source_of
from tpbench.foreign import printable
from tpbench.work import Outcome


@pytest.fixture
def talks(tmp_path: Path) -> Path:
    path = tmp_path / "talks"
    path.mkdir()
    return path


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "out" / LEDGER_FILE, config_digest="c") as opened:
        yield opened


def run(ledger: Ledger, *folders: Path, stop_after: int = 99) -> list[str]:
    """Plan, and do every source as a worker would; return the names of what was done.

    A file that begins with "bad" fails.
    """
    sources = find_sources(folders, excluded=folders[0] / "none")
    keys = plan(ledger, sources, folders[0] / "none")
    did: list[str] = []
    for item in ledger.lease(keys):
        if len(did) == stop_after:
            break
        source = hashed(source_of(item.payload))
        did.append(source.path.name)
        if source.duplicate_of is None and source.path.read_bytes().startswith(b"bad"):
            ledger.record(Outcome(key=item.key, kind="failed", attempts=1, error="is bad"))
            continue
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
        ledger.record(Outcome(key=item.key, kind="done", attempts=1, result=result, cpu_s=2.0))
    return did


def table(ledger: Ledger) -> dict[str, str]:
    """Shown path -> what stands in its row."""
    return {row.source_path: row.error or row.reject_codes[0] for row in rows_of(ledger)}


def test_what_is_done_is_not_done_again(ledger: Ledger, talks: Path) -> None:
    (talks / "a.mp4").write_bytes(b"a")
    (talks / "bad.mp4").write_bytes(b"bad")
    assert run(ledger, talks) == ["a.mp4", "bad.mp4"]
    assert run(ledger, talks) == []
    assert table(ledger) == {
        "talks/a.mp4": "face.missing",
        "talks/bad.mp4": "talks/bad.mp4: is bad",
    }


def test_a_touched_file_is_not_done_again_and_a_changed_one_is(ledger: Ledger, talks: Path) -> None:
    (talks / "a.mp4").write_bytes(b"a")
    (talks / "b.mp4").write_bytes(b"bb")
    run(ledger, talks)
    for name in ("a.mp4", "b.mp4"):
        os.utime(talks / name, (1, 1))
    (talks / "b.mp4").write_bytes(b"BB")
    assert run(ledger, talks) == ["b.mp4"]


def test_a_failed_file_that_was_mended_is_tried_again(ledger: Ledger, talks: Path) -> None:
    (talks / "a.mp4").write_bytes(b"bad")
    run(ledger, talks)
    (talks / "a.mp4").write_bytes(b"good")
    assert run(ledger, talks) == ["a.mp4"]
    assert table(ledger) == {"talks/a.mp4": "face.missing"}


def test_a_failed_file_that_is_gone_has_no_row_any_more(ledger: Ledger, talks: Path) -> None:
    (talks / "a.mp4").write_bytes(b"a")
    (talks / "bad.mp4").write_bytes(b"bad")
    run(ledger, talks)
    (talks / "bad.mp4").unlink()
    assert run(ledger, talks) == []
    assert table(ledger) == {"talks/a.mp4": "face.missing"}


def test_a_folder_that_moved_is_not_done_again(ledger: Ledger, talks: Path) -> None:
    (talks / "a.mp4").write_bytes(b"a")
    run(ledger, talks)
    before = table(ledger)
    moved = talks.rename(talks.with_name("moved"))
    assert run(ledger, moved) == []
    assert table(ledger) == before


def test_rows_of_other_inputs_stay(ledger: Ledger, talks: Path, tmp_path: Path) -> None:
    (talks / "a.mp4").write_bytes(b"a")
    run(ledger, talks)
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "b.mp4").write_bytes(b"bb")
    assert run(ledger, tmp_path / "more") == ["b.mp4"]
    assert table(ledger).keys() == {"talks/a.mp4", "more/b.mp4"}


def test_equal_broken_files_are_one_failure_and_one_duplicate_for_good(
    ledger: Ledger, talks: Path
) -> None:
    for name in ("a.mp4", "b.mp4"):
        (talks / name).write_bytes(b"bad")
    run(ledger, talks)
    expected = {"talks/a.mp4": "talks/a.mp4: is bad", "talks/b.mp4": "same bytes as talks/a.mp4"}
    assert table(ledger) == expected
    assert run(ledger, talks) == []
    assert table(ledger) == expected


def test_a_duplicate_is_done_itself_once_its_original_has_other_bytes(
    ledger: Ledger, talks: Path
) -> None:
    for name in ("a.mp4", "b.mp4"):
        (talks / name).write_bytes(b"same")
    run(ledger, talks)
    assert table(ledger)["talks/b.mp4"] == "same bytes as talks/a.mp4"
    (talks / "a.mp4").write_bytes(b"other")
    assert run(ledger, talks) == ["a.mp4", "b.mp4"]
    assert table(ledger) == dict.fromkeys(["talks/a.mp4", "talks/b.mp4"], "face.missing")


def test_a_duplicate_that_is_done_waits_for_its_original(ledger: Ledger, talks: Path) -> None:
    """Several workers: the copy may be through when a run is killed, and the original not."""
    for name in ("a.mp4", "b.mp4"):
        (talks / name).write_bytes(b"same")
    run(ledger, talks)
    ledger.forget([str(talks / "a.mp4")])
    assert run(ledger, talks) == ["a.mp4"]
    assert table(ledger)["talks/b.mp4"] == "same bytes as talks/a.mp4"


def test_a_copy_is_done_itself_when_its_original_never_was_and_is_gone(
    ledger: Ledger, talks: Path
) -> None:
    for name in ("a.mp4", "b.mp4"):
        (talks / name).write_bytes(b"same")
    run(ledger, talks, stop_after=0)
    (talks / "a.mp4").unlink()
    assert run(ledger, talks) == ["b.mp4"]
    assert table(ledger) == {"talks/b.mp4": "face.missing"}


def test_a_copy_that_comes_later_is_a_duplicate(
    ledger: Ledger, talks: Path, tmp_path: Path
) -> None:
    (talks / "b.mp4").write_bytes(b"same")
    run(ledger, talks)
    (tmp_path / "more").mkdir()
    shutil.copy(talks / "b.mp4", tmp_path / "more" / "a.mp4")
    run(ledger, talks, tmp_path / "more")
    assert table(ledger)["more/a.mp4"] == "same bytes as talks/b.mp4"


def test_a_line_names_the_source_once_and_says_where_there_is_more(talks: Path) -> None:
    (talks / "a.mp4").touch()
    (source,) = find_sources([talks], excluded=talks / "none")
    assert error_line(source, "talks/a.mp4: is empty", unexpected=False) == "talks/a.mp4: is empty"
    assert error_line(source, "KeyError: 1", unexpected=True) == (
        f"talks/a.mp4: KeyError: 1 (more on it: {WORKER_LOG})"
    )


def test_quarantined_sources_have_a_row_of_their_own_kind(ledger: Ledger, talks: Path) -> None:
    (talks / "a.mp4").write_bytes(b"a")
    plan(ledger, find_sources([talks], excluded=talks / "none"), talks / "none")
    (item,) = ledger.lease()
    ledger.record(
        Outcome(key=item.key, kind="quarantined", attempts=3, error="the worker was lost")
    )
    (row,) = rows_of(ledger)
    assert row.status == "quarantined"
    assert row.error == f"talks/a.mp4: the worker was lost (more on it: {WORKER_LOG})"


def test_what_is_pending_counts_only_of_the_inputs(ledger: Ledger, talks: Path) -> None:
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        (talks / name).write_bytes(name.encode())
    run(ledger, talks, stop_after=1)
    keys = {str(talks / "a.mp4"), str(talks / "b.mp4")}
    assert num_pending(ledger, keys) == 1


def test_the_times_of_all_runs_add_up(ledger: Ledger, talks: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        (talks / name).write_bytes(name.encode())
    run(ledger, talks)
    add_wall_time(ledger, 2.0)
    add_wall_time(ledger, 0.5)
    stats = run_stats(ledger, workers=3)
    assert (stats.workers, stats.wall_s, stats.core_s) == (3, 2.5, 4.0)
    assert (stats.source_frames, stats.source_s, stats.stage_s) == (50, 2.0, {"decode": 1.0})


def test_a_new_and_an_empty_folder_are_taken(tmp_path: Path) -> None:
    make_folder(tmp_path / "new" / "dataset")
    make_folder(tmp_path / "new" / "dataset")
    assert (tmp_path / "new" / "dataset" / ".ledger").is_dir()


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


def test_a_source_whose_file_is_gone_keeps_its_failed_row(ledger: Ledger, talks: Path) -> None:
    (talks / "bad.mp4").write_bytes(b"bad")
    run(ledger, talks)
    (source,) = find_sources([talks], excluded=talks / "none")
    (talks / "bad.mp4").unlink()
    (row,) = rows_of(ledger)
    assert row.source_sha256 is None
    assert row.source_id == source_id(replace(source, sha256=None))


@pytest.mark.parametrize("name", ["My  talk.mp4", "new\nline.mp4", "esc\x1b[2J.mp4"])
def test_an_error_line_holds_the_name_once_and_is_one_line(name: str) -> None:
    source = Source(path=Path("/v") / name, shown_path=f"v/{name}", size_bytes=1, mtime_ns=0)
    told = printable(MediaError(source.shown_path, "is no video"))
    line = error_line(source, told, unexpected=False)
    assert line == told
    assert line == f"{printable(source.shown_path)}: is no video"
    assert "  " not in line or "  " in name
    assert line.isprintable()
