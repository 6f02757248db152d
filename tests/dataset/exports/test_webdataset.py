"""Shards, read by webdataset itself."""

from __future__ import annotations

import csv
import gc
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.dataset.exports.conftest import LENGTHS, by_side
from tpbench.dataset import Dataset
from tpbench.dataset.exports import export

webdataset = pytest.importorskip("webdataset")

# webdataset leaves the last file of a loop to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture(scope="module")
def shards(talks: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("webdataset") / "shards"
    export(talks.folder, out, to="webdataset", per_shard=1)
    return out


def test_webdataset_reads_every_clip_once_with_its_four_files(shards: Path, talks: Dataset) -> None:
    for side, ids in by_side(talks).items():
        urls = sorted(map(str, shards.glob(f"{side}-*.tar")))
        samples: list[dict[str, Any]] = list(webdataset.WebDataset(urls, shardshuffle=False))
        assert [sample["__key__"] for sample in samples] == ids
        for sample, clip_id in zip(samples, ids, strict=True):
            clip = talks.clip(clip_id)
            assert sample["mp4"] == talks.clip_path(clip).read_bytes()
            assert sample["pose.mp4"] == talks.pose_path(clip).read_bytes()
            assert json.loads(sample["json"]) == clip.to_json()
            arrays = np.load(io.BytesIO(sample["npz"]))
            assert arrays["keypoints"].shape == (LENGTHS[clip_id], 133, 2)
    gc.collect()


def test_the_indexes_name_every_shard_and_every_clip(shards: Path, talks: Dataset) -> None:
    for side, ids in by_side(talks).items():
        index = json.loads((shards / f"{side}-index.json").read_text())
        assert [entry["nsamples"] for entry in index["shardlist"]] == [1] * len(ids)
        for entry in index["shardlist"]:
            assert entry["filesize"] == (shards / entry["url"]).stat().st_size
    with (shards / "index.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["clip_id"] for row in rows] == [*by_side(talks)["train"], *by_side(talks)["test"]]
    for row in rows:
        assert row["identity"] == f"'=person {row['clip_id']}"  # no formula in a spreadsheet
        with tarfile.open(shards / row["shard"]) as tar:
            assert f"{row['clip_id']}.mp4" in tar.getnames()


def test_shards_hold_as_many_clips_as_asked_and_name_nobody(talks: Dataset, tmp_path: Path) -> None:
    export(talks.folder, tmp_path / "out", to="webdataset", per_shard=3)
    found = sorted((tmp_path / "out").glob("*.tar"))
    assert len(found) == 2
    for path in found:
        with tarfile.open(path) as tar:
            members = tar.getmembers()
        assert {(m.uid, m.gid, m.uname, m.gname, m.mtime) for m in members} == {(0, 0, "", "", 0)}


def test_a_thousand_clips_fit_into_a_shard_unless_told_otherwise(
    talks: Dataset, tmp_path: Path
) -> None:
    export(talks.folder, tmp_path / "out", to="webdataset")
    assert len(list((tmp_path / "out").glob("*.tar"))) == 2
