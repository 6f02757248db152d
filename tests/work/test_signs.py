from __future__ import annotations

import json
import platform
from pathlib import Path

import pytest
from pydantic import ValidationError

from tpbench.work import signs as signs_module
from tpbench.work.progress import IN_WORK, ProgressCounter
from tpbench.work.signs import DriverState, Standing, _Sample, signs


def counter(*, total: int = 10, before: int = 2) -> ProgressCounter:
    return ProgressCounter("extract", total=total, before=before, listener=None)


def test_a_driver_says_how_far_it_is_and_how_it_ended(tmp_path: Path) -> None:
    path, progress = tmp_path / "driver.json", counter()
    with signs(path, progress, part="2/4", workers=3), IN_WORK.at("/a/b/talk.mp4", where="here"):
        began = DriverState.read(path)
        progress.finish("one", frames=50, counts={"failed": 1})
        progress.finish("two", frames=30, counts={})
    ended = DriverState.read(path)
    assert (began.part, began.workers, began.ending, began.done) == ("2/4", 3, "", 2)
    assert (ended.done, ended.left, ended.frames, ended.ending) == (4, 6, 80, "finished")
    assert ended.counts == {"done": 3, "failed": 1}
    assert ended.recent_done == 2, "what was finished before is no speed"
    assert ended.start == began.start
    assert ended.beat > began.beat
    assert list(tmp_path.iterdir()) == [path]


def test_items_in_work_are_named_without_folders_and_machines_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[DriverState] = []
    with (
        IN_WORK.at("/home/someone/talk.mp4", where="process 7 on node-1"),
        signs(tmp_path / "driver.json", counter(), tell=told.append),
    ):
        text = (tmp_path / "driver.json").read_text()
    assert [item.item for item in told[0].in_work] == ["talk.mp4"]
    assert told[-1].in_work == []
    for private in ("someone", "node-1", platform.node()):
        assert private not in text
    monkeypatch.setattr(signs_module, "BEAT_S", 7.0)
    with signs(tmp_path / "driver.json", counter()):
        assert json.loads((tmp_path / "driver.json").read_text())["every_s"] == 7.0


@pytest.mark.parametrize(
    ("error", "ending"), [(KeyboardInterrupt(), "interrupted"), (OSError(), "stopped")]
)
def test_what_ended_a_driver_is_told(tmp_path: Path, error: BaseException, ending: str) -> None:
    with pytest.raises(type(error)), signs(tmp_path / "driver.json", counter()):
        raise error
    assert DriverState.read(tmp_path / "driver.json").ending == ending


def test_a_folder_that_was_moved_away_is_not_made_again(tmp_path: Path) -> None:
    home = tmp_path / "records"
    home.mkdir()
    with signs(home / "driver.json", counter()):
        home.rename(tmp_path / "elsewhere")
    assert not home.exists()


def test_the_time_left_is_that_of_the_video_left_where_its_duration_is_known() -> None:
    state = DriverState(
        step="extract", start="t", beat=1, every_s=5.0, total=10, done=4, recent_s=100.0,
        recent_done=2, recent_media_s=50.0, media_done_s=80.0, media_left_s=200.0,
    )  # fmt: skip
    assert state.left_s == pytest.approx(400.0)
    assert state.items_per_h == pytest.approx(72.0)
    assert state.model_copy(update={"media_left_s": None}).left_s == pytest.approx(300.0)
    assert state.model_copy(update={"media_left_s": None, "recent_done": 0}).left_s is None
    assert state.model_copy(update={"done": 10}).left_s == 0


@pytest.mark.parametrize(
    "changed",
    [
        {"media_left_s": 1e308},
        {"media_done_s": float("nan")},
        {"every_s": 1e9},
        {"every_s": 1e-300},
        {"done": -1},
        {"counts": {"kept": -7}},
        {"counts": {"\x1b[31mkept": 7}},
        {"total": 10**400},
        {"step": "[red]"},
        {"part": "\x1b"},
    ],
)
def test_what_no_driver_can_say_is_not_valid(changed: dict[str, object]) -> None:
    content = {"step": "extract", "start": "t", "beat": 1, "every_s": 5.0}
    DriverState.model_validate(content)
    with pytest.raises(ValidationError):
        DriverState.model_validate(content | changed)


def test_of_next_to_no_time_no_speed_is_told() -> None:
    state = DriverState(
        step="extract", start="t", beat=1, every_s=5.0, total=10**15, done=1, recent_done=10**15,
        recent_frames=9, recent_s=5e-324, media_left_s=1e12, recent_media_s=1e-300,
    )  # fmt: skip
    assert (state.items_per_h, state.frames_per_s, state.left_s) == (None, None, None)


def test_lately_is_the_last_minutes_or_all_of_a_slow_run(tmp_path: Path) -> None:
    giver = signs_module._Giver(
        path=tmp_path / "driver.json", progress=counter(), part="", workers=1,
        standing=lambda: Standing(counts={}), tell=lambda _: None,
    )  # fmt: skip
    spans = []
    for at_s, done in ((0, 0), (100, 50), (400, 200), (500, 300), (900, 301)):
        first, since = giver._since(_Sample(at_s, done, 0, 0.0), 1)
        spans.append((first.at_s, since.at_s))
    assert spans == [(0, 0), (0, 0), (0, 100), (0, 400), (0, 0)]
