from __future__ import annotations

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console
from rich.progress import Progress

from tpbench import work
from tpbench.cli.progress import LINE_EVERY_S, PlainLines, progress_bar, stalled_column
from tpbench.work import StallWatch


def test_the_progress_line_names_what_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = StallWatch(stall_s=0)
    monkeypatch.setattr("tpbench.work.IN_WORK", watch)
    console = Console(file=StringIO(), width=120)
    bar = Progress(stalled_column(), console=console)
    bar.add_task("videos", total=3)

    def line() -> str:
        with console.capture() as captured:
            console.print(bar)
        return captured.get().strip()

    assert line() == ""
    watch.begin("/videos/a.mp4", where="process 7")
    assert line() == "no progress for 0 s: a.mp4 (process 7)"
    watch.begin("/videos/b.mp4", where="process 8")
    assert line() == "no progress for 0 s: a.mp4 (process 7) and 1 more"


def _state(*, done: int, frames: int, before: int = 0) -> work.Progress:
    return work.Progress(step="score", total=10, before=before, done=done, frames=frames)


def test_without_a_terminal_there_is_one_line_in_30_seconds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 0.0
    watch = StallWatch()
    monkeypatch.setattr("tpbench.work.IN_WORK", watch)
    lines = PlainLines("clips", every_s=LINE_EVERY_S, clock=lambda: now_s)
    for second in range(100):
        now_s = float(second)
        with watch.at("/runs/b_0002", where="process 7"):
            lines(_state(done=2 + second // 20, before=2, frames=second), step="score")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "score: 3 of 10 clips (30%), 30 frames, about 4 min left, now b_0002",
        "score: 5 of 10 clips (50%), 60 frames, about 2 min left, now b_0002",
        "score: 6 of 10 clips (60%), 90 frames, about 2 min left, now b_0002",
    ]


def test_clips_in_work_that_share_a_name_are_named_with_their_folders(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = StallWatch()
    monkeypatch.setattr("tpbench.work.IN_WORK", watch)
    lines = PlainLines("clips", every_s=0)
    for at, key in enumerate(("anna/talk", "ben/talk", "ben/other")):
        watch.begin(key, where=f"process {at}")
    lines(_state(done=0, frames=1), step="score")
    assert capsys.readouterr().err.strip().endswith("now anna/talk ben/talk other")


@pytest.mark.parametrize(
    ("rates", "shown"),
    [
        ({"one": 31.24, "two": 8.0}, "9 frames, one 31.2 two 8.0 frames/s"),
        (
            {"a": 9.0, "b": 1.0, "c": 3.0, "d": 2.0},
            "9 frames, slowest of 4 nodes: b 1.0 d 2.0 c 3.0 frames/s",
        ),
    ],
)
def test_the_speed_of_each_node_is_shown_and_of_many_that_of_the_slowest(
    rates: dict[str, float], shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    state = replace(_state(done=0, frames=9), rates=rates)
    PlainLines("clips", every_s=0)(state, step="score")
    assert shown in capsys.readouterr().err


def test_clips_of_an_earlier_step_or_call_say_nothing_about_the_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tpbench.work.IN_WORK", StallWatch())
    now_s = 0.0
    lines = PlainLines("clips", every_s=LINE_EVERY_S, clock=lambda: now_s)
    lines(_state(done=10, frames=0), step="generate, seed 42")
    now_s = 1000.0
    lines(_state(done=4, before=4, frames=7), step="score, seed 42", news="1 failed")
    assert capsys.readouterr().err == "score, seed 42: 4 of 10 clips (40%), 7 frames, 1 failed\n"


def test_a_bar_is_for_terminals_and_short_work_prints_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with progress_bar("clips") as show:
        show(_state(done=3, frames=40), step="score")
    assert isinstance(show, PlainLines)
    assert capsys.readouterr() == ("", "")
