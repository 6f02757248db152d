"""The list of the released training code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.dataset.exports.conftest import LENGTHS, by_side
from tpbench.dataset import Dataset
from tpbench.dataset.exports import export
from tpbench.video import probe


def test_entries_have_the_two_keys_and_paths_that_open(talks: Dataset, tmp_path: Path) -> None:
    export(talks.folder, tmp_path / "lists", to="talkingpose-json")
    for side, ids in by_side(talks).items():
        entries = json.loads((tmp_path / "lists" / f"{side}_meta.json").read_text())
        assert [set(entry) for entry in entries] == [{"video_path", "kps_path"}] * len(ids)
        for clip_id, entry in zip(ids, entries, strict=True):
            lengths = [probe(Path(path)).frame_count for path in entry.values()]
            assert lengths == [LENGTHS[clip_id]] * 2


@pytest.mark.parametrize(
    ("given", "beginning"),
    [("talks", "talks/clips/"), (".", "clips/"), ("../x/talks", "../x/talks/clips/")],
)
def test_paths_begin_as_the_dataset_was_named(
    given: str,
    beginning: str,
    talks: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home = tmp_path / "x"
    home.mkdir()
    (home / "talks").symlink_to(talks.folder)
    monkeypatch.chdir(home / "talks" if given == "." else home)
    export(given, tmp_path / "lists", to="talkingpose-json")
    text = (tmp_path / "lists" / "train_meta.json").read_text()
    for entry in json.loads(text):
        assert entry["video_path"].startswith(beginning)
        assert Path(entry["video_path"]).is_file()
        assert Path(entry["kps_path"]).is_file()
    assert str(tmp_path) not in text


def test_another_root_can_be_given(talks: Dataset, tmp_path: Path) -> None:
    export(talks.folder, tmp_path / "lists", to="talkingpose-json", root="/data/tp/")
    for entry in json.loads((tmp_path / "lists" / "test_meta.json").read_text()):
        assert entry["video_path"].startswith("/data/tp/clips/")
        assert entry["kps_path"].startswith("/data/tp/poses/")
