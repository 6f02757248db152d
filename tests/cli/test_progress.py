from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console
from rich.progress import Progress

from tpbench.cli.output import stalled_column
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
