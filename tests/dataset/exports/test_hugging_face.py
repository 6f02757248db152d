"""The folder for Hugging Face, opened by `datasets` itself."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import yaml

from tests.conftest import MediaMaker
from tests.dataset.exports.conftest import LENGTHS, SIDE_PX, by_side
from tpbench.dataset import Dataset
from tpbench.dataset.exports import export, hugging_face
from tpbench.dataset.statements import Statements
from tpbench.wholebody import load_pose


def can_decode() -> bool:
    """Whether torchcodec is installed, and finds the libraries of FFmpeg."""
    try:
        importlib.import_module("torchcodec.decoders")
    except (ImportError, OSError, RuntimeError):
        return False
    return True


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


@pytest.fixture(scope="module")
def exported(talks: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("hf") / "out"
    export(talks.folder, out, to="hf")
    return out


@pytest.fixture(scope="module")
def loaded(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    cache = tmp_path_factory.mktemp("cache")
    found: Mapping[str, Any] = datasets.load_dataset(str(exported), cache_dir=str(cache))
    return found


def test_both_splits_open_with_two_columns_of_the_video_feature(
    loaded: Mapping[str, Any], talks: Dataset
) -> None:
    assert {side: list(rows["clip_id"]) for side, rows in loaded.items()} == by_side(talks)
    for rows in loaded.values():
        assert isinstance(rows.features["video"], datasets.Video)
        assert isinstance(rows.features["pose"], datasets.Video)


def test_without_decoding_the_rows_name_the_files_of_each_clip(
    loaded: Mapping[str, Any], exported: Path, talks: Dataset
) -> None:
    for rows in loaded.values():
        plain = rows
        for column in ("video", "pose"):
            plain = plain.cast_column(column, datasets.Video(decode=False))
        for row in plain:
            clip = talks.clip(row["clip_id"])
            assert Path(row["video"]["path"]).read_bytes() == talks.clip_path(clip).read_bytes()
            assert Path(row["pose"]["path"]).read_bytes() == talks.pose_path(clip).read_bytes()
            assert len(load_pose(exported / row["keypoints_path"])) == row["n_frames"]
            assert row["identity"] == clip.identity


def test_frames_come_out_in_order(loaded: Mapping[str, Any]) -> None:
    if not can_decode():
        pytest.skip("decoding needs torchcodec")
    for rows in loaded.values():
        for row in rows:
            frames = [np.asarray(frame).transpose(1, 2, 0) for frame in row["video"]]
            assert [frame.shape for frame in frames] == [(SIDE_PX, SIDE_PX, 3)] * len(frames)
            assert list(map(MediaMaker.frame_number, frames)) == list(
                range(LENGTHS[row["clip_id"]])
            )


def test_the_head_of_the_card_is_yaml_and_its_text_is_escaped(
    exported: Path, talks: Dataset
) -> None:
    card = (exported / "README.md").read_text(encoding="utf-8")
    head = yaml.safe_load(card.split("---\n")[1])
    assert head["pretty_name"] == "Small *talks*"
    (config,) = head["configs"]
    assert [entry["split"] for entry in config["data_files"]] == ["train", "test"]
    assert "# Small \\*talks\\*" in card
    assert talks.digest in card
    assert "torchcodec" in card
    assert "requests for removal" in card


def test_export_takes_along_the_datasheet_and_the_licence_of_the_whole(
    talks: Dataset, tmp_path: Path
) -> None:
    source = Path(shutil.copytree(talks.folder, tmp_path / "talks"))
    stated = dict.fromkeys(Statements.model_fields) | {"licence": "CC-BY-4.0", "consent": "Signed."}
    (source / "card.yaml").write_text(yaml.safe_dump(stated))
    export(source, tmp_path / "out", to="hf")
    head = yaml.safe_load((tmp_path / "out" / "README.md").read_text().split("---\n")[1])
    assert head["license"] == "cc-by-4.0"
    sheet = (tmp_path / "out" / "DATASHEET.md").read_text()
    assert sheet.startswith("# Small")
    assert "Signed." in sheet


def test_folders_hold_a_limited_number_of_clips_and_still_open(
    talks: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hugging_face, "_PER_FOLDER", 1)
    export(talks.folder, tmp_path / "out", to="hf")
    assert len(list((tmp_path / "out").glob("*/*/metadata.parquet"))) == len(LENGTHS)
    loaded = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    # `datasets` reads the folders of a split in any order.
    found = {side: sorted(rows["clip_id"]) for side, rows in loaded.items()}
    assert found == by_side(talks)
