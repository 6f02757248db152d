"""`tpbench remove` as a user meets it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import invoke
from tpbench.dataset import Dataset
from tpbench.errors import ConfigError


@pytest.fixture
def copy(data: Path, tmp_path: Path) -> Path:
    """A dataset of the clips a and b."""
    return shutil.copytree(data, tmp_path / "data")


def test_a_removal_says_what_went_and_what_is_left(copy: Path) -> None:
    said = invoke("remove", copy, "--source", "a", "--reason", "asked")
    assert said.exit_code == 0
    assert "removed source a\n" in said.output
    assert "deleted: 1 clip, 0 rows of rejected or failed stretches, 3 files\n" in said.output
    assert "version 1.0.1, digest " in said.output
    assert [clip.clip_id for clip in Dataset.open(copy).clips()] == ["b"]
    again = invoke("remove", copy, "--source", "a")
    assert again.exit_code == 0
    assert "source a was removed on " in again.output
    assert Dataset.open(copy).info.version == "1.0.1"


def test_a_dry_run_says_what_would_go(copy: Path) -> None:
    said = invoke("remove", copy, "--identity", "person a", "--dry-run")
    assert (
        "would remove identity person a\nwould remove source a\nwould delete: 1 clip" in said.output
    )
    assert len(Dataset.open(copy).clips()) == 2


def test_a_list_may_name_all_kinds(copy: Path, tmp_path: Path) -> None:
    listed = tmp_path / "ids.txt"
    listed.write_text("\ufeffkind,id\n# by mail\n\nclip, a\nIdentity person b\n", encoding="utf-8")
    said = json.loads(invoke("remove", copy, "--file", listed, "--json").output)
    assert [(row["kind"], row["id"]) for row in said["removed"]] == [
        ("clip", "a"), ("identity", "person b"), ("source", "b"),
    ]  # fmt: skip
    assert (said["clips_left"], said["kept_clips"], said["dry_run"]) == (0, 2, False)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("clip a\nvideo b\n", r"ids.txt line 2: want clip, source or identity.*'video b'"),
        ("clip\n", r"line 1: want clip, source or identity, and an id"),
        ("# nothing\n", r"lists nothing to remove"),
    ],
)
def test_a_list_of_another_form_is_one_line(
    copy: Path, tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / "ids.txt").write_text(text)
    with pytest.raises(ConfigError, match=said):
        invoke("remove", copy, "--file", tmp_path / "ids.txt")
    with pytest.raises(ConfigError, match="no readable list"):
        invoke("remove", copy, "--file", tmp_path / "none.txt")
    assert len(Dataset.open(copy).clips()) == 2


def test_an_unknown_id_is_refused(copy: Path) -> None:
    with pytest.raises(ConfigError, match=r"no clip 'c'; known: a, b; nothing was removed"):
        invoke("remove", copy, "--clip", "c")


def test_a_copy_follows_the_removals_of_another(copy: Path, data: Path, tmp_path: Path) -> None:
    newer = shutil.copytree(data, tmp_path / "newer")
    invoke("remove", newer, "--source", "b", "--reason", "asked")
    said = invoke("remove", copy, "--file", newer / "removals.json")
    assert "removed source b\n" in said.output
    assert [clip.clip_id for clip in Dataset.open(copy).clips()] == ["a"]
    assert (copy / "removals.json").read_bytes() == (newer / "removals.json").read_bytes()
    again = invoke("remove", copy, "--file", newer / "removals.json")
    assert "deleted: 0 clips" in again.output
    assert Dataset.open(copy).info.version == "1.0.1"
