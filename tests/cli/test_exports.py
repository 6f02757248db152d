"""`tpbench export` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import invoke
from tpbench.errors import DatasetError


@pytest.mark.parametrize(
    ("kind", "file", "said"),
    [
        ("webdataset", "whole-000000.tar", "listed in SPLIT-index.json"),
        ("hf", "whole/00000/metadata.parquet", "needs torchcodec"),
        ("talkingpose-json", "whole_meta.json", "the videos stay in the dataset"),
        ("coco", "wholebody-whole.json", "frames of the dataset's clips"),
    ],
)
def test_each_format_says_what_was_written_and_how_to_go_on(
    kind: str, file: str, said: str, data: Path, tmp_path: Path
) -> None:
    done = invoke("export", data, "--to", kind, "--out", tmp_path / "out")
    assert done.exit_code == 0
    assert (tmp_path / "out" / file).is_file()
    assert done.output.startswith("2 clips (2 whole) in ")
    assert said in done.output


def test_json_says_the_same(data: Path, tmp_path: Path) -> None:
    done = invoke(
        "export",
        data,
        "--to",
        "webdataset",
        "--out",
        tmp_path / "out",
        "--per-shard",
        "1",
        "--json",
    )
    content = json.loads(done.output)
    assert content["clips"] == {"whole": 2}
    assert content["files"] == len(list((tmp_path / "out").iterdir())) == 4
    assert content["bytes"] == sum(path.stat().st_size for path in (tmp_path / "out").iterdir())


def test_an_existing_folder_is_refused(data: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DatasetError, match="is there already; choose a new folder"):
        invoke("export", data, "--to", "hf", "--out", tmp_path)
