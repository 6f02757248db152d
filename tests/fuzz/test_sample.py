"""A sample of the broken files of `make fuzz`: all formats, and the commands that read them."""

from __future__ import annotations

import contextlib
import io
import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.fuzz import commands
from benchmarks.fuzz.clips import CONTAINERS, talk
from benchmarks.fuzz.commands import Finished, call_main, environment, in_fresh_process
from benchmarks.fuzz.layouts import layout_of
from benchmarks.fuzz.material import write_material, write_runs
from benchmarks.fuzz.media import DAMAGES, intact_clips, media_case
from benchmarks.fuzz.media_runs import extracted, scored, write_corpus
from benchmarks.fuzz.outcomes import Outcome, as_markdown, faults_of
from benchmarks.fuzz.run_places import RUN_PLACES
from benchmarks.fuzz.tables import run_case, table_cases

SEED = 14
N_MEDIA = 20
N_TABLES = 20


def in_this_process(
    arguments: Sequence[str], folder: Path, *, limit_s: float, limit_mb: int
) -> Finished:
    """Call the command line here, which takes no second; limits are those of the test."""
    del limit_s, limit_mb
    printed = io.StringIO()
    began = time.monotonic()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("sys.argv", ["tpbench"])
        for name, value in environment(arguments, folder).items():
            if os.environ.get(name) != value:
                patch.setenv(name, value)
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            code = call_main(arguments)
    return Finished(
        code=code, printed=printed.getvalue(), seconds=time.monotonic() - began, peak_mb=0
    )


def test_content_depends_on_seed_and_number_alone() -> None:
    clips = intact_clips(talk(6, 64, 48))
    again = intact_clips(talk(6, 64, 48))
    for number in range(0, len(CONTAINERS) * len(DAMAGES), 5):
        assert media_case(1, number, clips) == media_case(1, number, again)
    others = [media_case(2, number, clips).data for number in range(20)]
    assert [media_case(1, number, clips).data for number in range(20)] != others


@pytest.mark.parametrize("container", CONTAINERS)
def test_header_index_and_pictures_are_found_in_every_container(container: str) -> None:
    for data in intact_clips(talk(6, 64, 48))[container]:
        layout = layout_of(container, data)
        assert {part.kind for part in layout.parts} == {"header", "index", "payload"}
        assert all(0 <= part.start < part.end <= len(data) for part in layout.parts)
        assert all(0 <= one.at <= len(data) - one.n_bytes for one in layout.numbers)
        assert {one.lie for one in layout.numbers} >= {"duration", "size", "count"}


def test_broken_media_among_good_ones_cost_nothing_but_themselves(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "raw", seed=SEED, n_cases=N_MEDIA, n_good=2)
    outcomes = extracted(corpus, tmp_path / "dataset", in_fresh_process)
    assert faults_of(outcomes) == []
    assert sum(one.sort == "code" for one in outcomes) > N_MEDIA // 3


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_broken_files_of_other_formats_are_done_or_told_of_in_a_line(
    tmp_path: Path, material: Path
) -> None:
    numbers = range(N_TABLES)
    outcomes = [
        run_case(case, material, tmp_path / "case", in_this_process)
        for case in table_cases(SEED, numbers, material, only_quick=True)
    ]
    assert faults_of(outcomes) == []


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_material(tmp_path_factory.mktemp("fuzz") / "material", in_this_process)


@pytest.mark.slow
def test_more_of_all_formats_and_commands(tmp_path: Path, material: Path) -> None:
    corpus = write_corpus(tmp_path / "raw", seed=SEED + 1, n_cases=84, n_good=6)
    outcomes = extracted(corpus, tmp_path / "dataset", in_fresh_process)
    for side in ("generated", "real"):
        outcomes += scored(corpus, tmp_path / side, in_fresh_process, broken_side=side)
    outcomes += [
        run_case(case, material, tmp_path / "case", in_fresh_process)
        for case in table_cases(SEED + 1, range(60), material)
    ]
    assert faults_of(outcomes) == []


@pytest.mark.slow
def test_broken_files_of_a_run_are_told_of_or_made_again(tmp_path: Path, material: Path) -> None:
    write_runs(material, in_fresh_process)
    outcomes = [
        run_case(case, material, tmp_path / "case", in_fresh_process)
        for case in table_cases(SEED, range(45), material, places=RUN_PLACES)
    ]
    assert faults_of(outcomes) == []


def test_the_table_counts_every_file_once() -> None:
    outcomes = [
        Outcome(command="extract", format="mp4", case="1", sort="done", peak_mb=300),
        Outcome(command="extract", format="mp4", case="2", sort="hang", reason="no progress"),
    ]
    *_, row, total = as_markdown(outcomes).splitlines()
    assert row == "| extract | mp4 | 2 | 1 | 0 | 0 | 1 | 0 | 0 | 0 | 0 | 300 |"
    assert total.startswith("| all | | 2 | 1 | 0 | 0 | 1 ")
    assert faults_of(outcomes) == ["hang: extract, mp4 2: no progress"]


@pytest.mark.parametrize(
    ("code", "printed", "sort"),
    [
        (0, "done", "done"),
        (2, "error: x: is no video", "code"),
        (-11, "", "crash"),
        (70, "", "crash"),
        (3, "Traceback (most recent call last):\nKeyError: 1", "traceback"),
        (2, "x" * (commands._MOST_PRINTED + 1), "flood"),
    ],
)
def test_what_a_command_left_is_told_apart(code: int, printed: str, sort: str) -> None:
    assert Finished(code=code, printed=printed, seconds=1.0, peak_mb=1).sort() == sort
