from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.benchmark.conftest import write_dataset
from tpbench.benchmark.tasks import SELF, read_ids, select_clips, task_rule
from tpbench.dataset import Dataset, split_dataset
from tpbench.errors import ConfigError, DatasetError

if TYPE_CHECKING:
    from pathlib import Path

    from tpbench.benchmark.tasks import SplitChoice, TaskClip


@pytest.fixture(scope="module")
def whole(talks: Path) -> Dataset:
    return Dataset.open(talks)


@pytest.fixture(scope="module")
def parted(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Split so that both sides have clips."""
    folder = tmp_path_factory.mktemp("selection") / "parted"
    write_dataset(folder, dict.fromkeys("abcdef", 101))
    split_dataset(folder, test_share=0.5, seed=1)
    return Dataset.open(folder)


SPLITS: tuple[SplitChoice, ...] = ("test", "train", "all")


def names(clips: tuple[TaskClip, ...]) -> list[str]:
    return [clip.clip_id for clip in clips]


def test_a_dataset_that_is_not_split_is_used_whole_and_that_is_said(
    whole: Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    selection = select_clips(whole, SELF)

    assert (selection.split, names(selection.clips)) == ("all", ["a", "b", "c"])
    assert "is not split: it is used whole" in caplog.text


def test_clips_too_short_for_the_task_are_left_out_and_named(
    whole: Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    assert select_clips(whole, SELF).left_out == {"short": 100}
    assert "1 of 4 clips left out: fewer than 101 frames (short)" in caplog.text


def test_a_split_dataset_gives_its_test_side_unless_told(parted: Dataset) -> None:
    sides = {split: names(select_clips(parted, SELF, split=split).clips) for split in SPLITS}

    assert names(select_clips(parted, SELF).clips) == sides["test"]
    assert sides["test"]
    assert sides["train"]
    assert sorted(sides["test"] + sides["train"]) == sides["all"] == list("abcdef")


def test_a_split_that_is_not_there_is_refused(whole: Dataset) -> None:
    with pytest.raises(DatasetError, match="not split yet; run `tpbench split"):
        select_clips(whole, SELF, split="test")


def test_an_empty_side_is_refused(tmp_path: Path) -> None:
    write_dataset(tmp_path / "one", {"a": 101})
    info = split_dataset(tmp_path / "one", test_share=0.5, seed=0)
    empty: SplitChoice = "test" if info.train_clips else "train"

    with pytest.raises(DatasetError, match=f"its {empty} side has no clips; take --split all, or"):
        select_clips(Dataset.open(tmp_path / "one"), SELF, split=empty)


def test_only_short_clips_are_refused_with_the_longest(whole: Dataset) -> None:
    with pytest.raises(DatasetError, match=r"no clip of 105 frames or more.*longest has 104"):
        select_clips(whole, task_rule("self", min_frames=105))


def test_a_limit_takes_the_first_by_id(whole: Dataset) -> None:
    selection = select_clips(whole, SELF, limit=2)

    assert names(selection.wanted) == ["a", "b"]
    assert names(selection.clips) == ["a", "b", "c"]
    assert selection.digest == select_clips(whole, SELF).digest


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_is_refused(limit: int, whole: Dataset) -> None:
    with pytest.raises(ConfigError, match=f"at least 1, got {limit}"):
        select_clips(whole, SELF, limit=limit)


@pytest.mark.parametrize(
    ("name", "message"),
    [("d", "has no clip 'd'"), ("short", "'short' has 100 frames, too few for the task")],
)
def test_ids_that_can_not_be_used_are_refused(name: str, message: str, whole: Dataset) -> None:
    with pytest.raises(ConfigError, match=message):
        select_clips(whole, SELF, ids=["a", name])


def test_the_lists_of_a_split_can_be_given_as_ids(parted: Dataset) -> None:
    ids = read_ids(parted.folder / "splits" / "test.csv")

    assert ids == names(select_clips(parted, SELF, split="test").clips)


def test_comments_and_empty_lines_are_no_ids(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("# mine\n\n a \nb\n")

    assert read_ids(tmp_path / "ids.txt") == ["a", "b"]


@pytest.mark.parametrize("content", [None, b"", b"# none\n", b"\xff\xfe"])
def test_a_list_without_ids_is_refused(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "ids.txt").write_bytes(content)

    with pytest.raises(ConfigError, match=r"ids\.txt: "):
        read_ids(tmp_path / "ids.txt")


@pytest.mark.timeout(30)
def test_a_named_pipe_is_no_list_of_ids_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "ids.txt")
    with pytest.raises(ConfigError, match="is a named pipe, not a regular file"):
        read_ids(tmp_path / "ids.txt")
