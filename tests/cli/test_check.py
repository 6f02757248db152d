from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import invoke
from tests.dataset.heads import Filmed, write_heads
from tpbench.cli import checking
from tpbench.cli.main import main


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    ann = Filmed(clip_id="ann", talk=0, identity="ann", side="test", length_s=1.2)
    bob = Filmed(clip_id="bob", talk=1, identity="bob", side="train", length_s=1.2)
    return write_heads(tmp_path / "data", [ann, bob]).folder


def test_a_whole_dataset_is_said_to_be_so(folder: Path) -> None:
    result = invoke("check", folder)
    assert result.exit_code == 0
    assert result.stdout == (
        "checked 2 clips of 2 identities, 2 compared across the split: nothing is wrong\n"
    )
    assert result.stderr == ""


def test_what_is_wrong_is_a_table_with_exit_3(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    (path,) = (folder / "poses").rglob("ann.mp4")
    path.unlink()
    result = invoke("check", folder)
    assert result.exit_code == 3
    head, _, row, last = filter(None, result.stdout.splitlines())
    assert head.split() == ["where", "what", "is", "wrong", "what", "to", "do"]
    assert row.strip().startswith(path.relative_to(folder).as_posix())
    assert "is missing" in row
    assert "run the same `tpbench extract` again" in row
    assert last.endswith("compared across the split: 1 problem")


def test_json_has_all_of_it(folder: Path) -> None:
    (path,) = (folder / "poses").rglob("ann.mp4")
    path.unlink()
    result = invoke("check", folder, "--json")
    assert result.exit_code == 3
    found = json.loads(result.stdout)
    assert (found["clips"], found["identities"], found["compared"]) == (2, 2, 2)
    (problem,) = found["problems"]
    assert problem["code"] == "file.missing"
    assert problem["where"] == path.relative_to(folder).as_posix()


def test_a_long_table_ends_early_and_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "_MOST_ROWS", 2)
    for path in (*(folder / "poses").rglob("*.mp4"), *(folder / "keypoints").rglob("*.npz")):
        path.unlink()
    said = invoke("check", folder).stdout
    assert said.count("is missing") == 2
    assert "and 2 other problems; --json lists all" in said


def test_without_a_split_a_note_says_what_was_not_checked(tmp_path: Path) -> None:
    talk = Filmed(clip_id="ann", talk=1, identity="ann", length_s=1.2)
    write_heads(tmp_path / "data", [talk], is_split=False)
    result = invoke("check", tmp_path / "data")
    assert result.exit_code == 0
    assert result.stderr.startswith("note: not split, so no clips were compared")
    assert result.stdout == "checked 1 clip of 1 identity: nothing is wrong\n"


@pytest.mark.parametrize("words", [("nowhere",), ("data", "--workers", "0")])
def test_wrong_input_is_one_line_with_exit_2(
    folder: Path,
    words: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder.parent)
    monkeypatch.setattr(sys, "argv", ["tpbench", "check", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
