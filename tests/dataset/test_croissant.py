from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import mlcroissant
import pytest

if TYPE_CHECKING:
    from tpbench.dataset import Dataset


def test_description_is_valid_croissant(small: Dataset) -> None:
    described = mlcroissant.Dataset(jsonld=small.folder / "croissant.json")

    assert not described.metadata.issues.errors
    assert {node.uuid for node in described.metadata.distribution} == {
        "manifest.parquet",
        "clips",
        "keypoints",
        "poses",
    }


def test_rows_can_be_read_through_the_description(small: Dataset) -> None:
    described = mlcroissant.Dataset(jsonld=small.folder / "croissant.json")

    rows = list(described.records("candidates"))

    ids = [row["candidates/clip_id"].decode() for row in rows]
    assert ids == ["a_kept", "b_kept", "broken", "c_rejected"]
    assert rows[0]["candidates/m_face_height_px"] == pytest.approx(140.0)


def test_description_holds_the_hash_of_the_manifest(small: Dataset) -> None:
    raw = json.loads((small.folder / "croissant.json").read_text())

    manifest = (small.folder / "manifest.parquet").read_bytes()
    assert raw["conformsTo"] == "http://mlcommons.org/croissant/1.1"
    assert raw["distribution"][0]["sha256"] == hashlib.sha256(manifest).hexdigest()
    assert raw["rai:personalSensitiveInformation"]
