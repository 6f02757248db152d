"""`tpbench split`: what it prints, and that every option gets there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import invoke
from tests.dataset.rows import kept, make_dataset
from tpbench.cli.output import counted
from tpbench.dataset import Dataset
from tpbench.errors import DatasetError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six people with two clips each; the last two are of one uploader."""
    monkeypatch.setenv("COLUMNS", "120")
    rows = [
        kept(
            f"p{person}_{clip}",
            source_id=f"p{person}",
            identity=f"p{person}",
            uploader="Jane [bold]Doe" if person > 3 else None,
            measurements={"face_yaw_deg": float(person)},
        )
        for person in range(6)
        for clip in range(2)
    ]
    return make_dataset(tmp_path / "talks", rows).folder


def words(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def test_split_prints_both_sides_and_is_seen_by_inspect(folder: Path) -> None:
    result = invoke("split", folder, "--test", "0.5", "--seed", "2")
    info = Dataset.open(folder).info.split
    assert result.exit_code == 0
    assert info is not None
    assert (info.test_share, info.seed) == (0.5, 2)
    sizes = counted(info.test_clips, "clip"), counted(info.test_identities, "identity")
    assert f"test:  {' of '.join(sizes)}\n" in result.stdout
    again = json.loads(invoke("split", folder, "--test", "0.5", "--seed", "2", "--json").stdout)
    assert again | info.model_dump(mode="json") == again
    assert "share 0.5, seed 2" in invoke("inspect", folder).stdout


def test_split_prints_how_alike_the_sides_are_and_who_was_joined(folder: Path) -> None:
    result = invoke("split", folder, "--test", "0.4")
    lines = words(result.stdout)
    assert "clips by class whole train test test - whole" in lines
    assert any(line.startswith("Head turn (deg) below 1 ") for line in lines)
    assert "Time in motion not measured 100.0% 100.0% 100.0% 0.0" in lines
    assert any(line.startswith("largest difference: ") for line in lines)
    assert "2 sources joined into 1 identity (1 by uploader): identities.csv" in lines
    said = json.loads(invoke("split", folder, "--json").stdout)
    assert [row["why"] for row in said["joined"]] == [
        "the others were joined to it",
        "uploader: Jane [bold]Doe",
    ]
    yaw = [row for row in said["balance"] if row["trait"] == "yaw"]
    assert sum(row["whole_share"] for row in yaw) == pytest.approx(1)
    assert all(row["difference"] == row["test_share"] - row["whole_share"] for row in yaw)


def test_split_names_the_identity_that_fills_an_empty_side(folder: Path) -> None:
    result = invoke("split", folder, "--test", "0.0001")
    assert result.exit_code == 0
    assert "of 1 identity\n" in result.stdout
    (placed,) = {clip.identity for clip in Dataset.open(folder).clips(split="test")}
    assert f"{placed} was placed on the test side, which had no clips otherwise" in result.stdout


def test_split_of_one_identity_says_what_works(folder: Path) -> None:
    rows = [row for row in Dataset.open(folder).clips() if row.identity == "p0"]
    make_dataset(folder, rows)
    with pytest.raises(DatasetError, match="all its clips are of one identity") as caught:
        invoke("split", folder, "--test", "0.5")
    assert "`tpbench eval --split all`" in str(caught.value)


def test_tables_lists_and_names_are_taken(folder: Path, tmp_path: Path) -> None:
    who, test = tmp_path / "who.csv", tmp_path / "test.csv"
    who.write_text("clip_id,identity\np0_1,Ann\np1_0,Ann\n")
    test.write_text("identity\nAnn\np2\n")
    result = invoke(
        "split", folder, "--join", "none", "--identities", who, "--from", test,
        "--version-name", "test-v1",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    opened = Dataset.open(folder)
    assert {clip.identity for clip in opened.clips(split="test")} == {"Ann", "p2"}
    assert opened.clips(split="test-v1") == opened.clips(split="test")
    assert opened.info.counts.identities == 5
    lines = words(result.stdout)
    assert "2 sources joined into 1 identity (2 by table): identities.csv" in lines
    assert "3 identities went to the train side: no list names them" in lines
    assert any(line.startswith("frozen: test-v1, 6 clips, digest ") for line in lines)
    seen = words(invoke("inspect", folder).stdout)
    assert "split: 6 train, 6 test clips (from lists)" in seen
    assert "frozen: test-v1, 6 clips" in seen
