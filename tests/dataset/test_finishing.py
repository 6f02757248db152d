from __future__ import annotations

import gc
import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.dataset.rows import kept, make_dataset
from tpbench.dataset import Clip, Dataset, finalise


def test_counts_are_those_of_the_rows(small: Dataset) -> None:
    counts = small.info.counts
    assert (counts.sources, counts.candidates, counts.kept, counts.rejected) == (4, 4, 2, 1)
    assert (counts.failed, counts.quarantined, counts.identities) == (1, 0, 2)
    assert counts.kept_frames == 240
    assert counts.kept_s == 2 * 120 / 25
    assert counts.reject_codes == {"face.too_small": 1}


def test_folder_holds_every_promised_file_and_no_leftover(small: Dataset) -> None:
    names = {path.name for path in small.folder.iterdir()}
    assert names == {
        "README.md",
        "clips",
        "clips-whole.parquet",
        "croissant.json",
        "dataset.json",
        "keypoints",
        "manifest.parquet",
        "poses",
    }
    assert Dataset.open(small.folder).info == small.info


def test_finalising_again_changes_no_byte(small: Dataset) -> None:
    files = [path for path in small.folder.rglob("*") if path.is_file()]
    before = {path: path.read_bytes() for path in files}
    make_dataset(small.folder, small.clips(None)[::-1])
    assert {path: path.read_bytes() for path in files} == before


def test_a_failed_write_leaves_the_former_dataset_readable(
    small: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tpbench.dataset.finishing.write_cards", full)
    with pytest.raises(OSError, match="No space left"):
        make_dataset(small.folder, small.clips(None))

    assert Dataset.open(small.folder).verify() == []
    assert not list(small.folder.rglob("*.tmp"))


def test_dataset_json_is_for_people_too(small: Dataset) -> None:
    raw = json.loads((small.folder / "dataset.json").read_text())
    assert raw["schema_version"] == 1
    assert raw["config"]["preset"] == "talkingpose"
    assert raw["models"] == {"skeleton": "a" * 64, "face": "b" * 64}
    assert raw["measurements"][0]["title"] == "Face height"
    assert small.info.run is not None
    assert small.info.run.frames_per_s == 45.0
    assert small.info.run.video_hours_per_core_hour == 0.9


def test_name_that_is_no_text_is_spelt_out(tmp_path: Path) -> None:
    finalise(tmp_path, [], name="talks\udcff", config={}, models={}, measurements=())
    assert Dataset.open(tmp_path).info.name == "talks\\udcff"


def test_publishing_holds_columns_and_no_object_for_each_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_rows = 6_000
    rows = (
        replace(kept(f"s{at // 40:04d}_{at:08d}"), source_id=f"s{at // 40:04d}", identity="p")
        for at in range(n_rows)
    )
    alive = []

    def count_alive(*_: object) -> None:
        gc.collect()
        alive.append(sum(type(thing) is Clip for thing in gc.get_objects()))

    monkeypatch.setattr("tpbench.dataset.finishing.write_cards", count_alive)
    dataset = finalise(tmp_path, rows, name="many", config={}, models={}, measurements=())
    assert dataset.info.counts.kept == n_rows
    assert alive[0] < n_rows / 10
