from __future__ import annotations

import hashlib
import json

import mlcroissant
import pytest
import yaml

from tpbench.dataset import Dataset, SplitInfo
from tpbench.dataset.finishing import render_card


def test_card_states_counts_digest_codes_and_settings(small: Dataset) -> None:
    card = (small.folder / "README.md").read_text()
    assert "2 clips, 240 frames, 0.00 hours, 2 identities" in card
    assert small.digest in card
    assert "| `face.too_small` | Face height | 1 |" in card
    assert '"preset": "talkingpose"' in card
    assert f"| skeleton | `{'a' * 64}` |" in card
    assert "Not split yet" in card
    assert "| failed" not in card
    assert "| sources not readable | 1 |" in card


def test_card_head_is_yaml_whatever_the_name(small: Dataset) -> None:
    for name in ('say "hi": [no]', "# $name ${x}", "line\nbreak | *bold*"):
        card = render_card(small.info.model_copy(update={"name": name}))
        _, head, body = card.split("---\n", 2)
        assert yaml.safe_load(head)["pretty_name"] == name
        assert len([line for line in body.splitlines() if line.startswith("# ")]) == 1


def test_card_tells_of_the_split(small: Dataset) -> None:
    split = SplitInfo(
        test_share=0.1,
        seed=4,
        train_clips=1234,
        test_clips=5,
        train_identities=6,
        test_identities=7,
    )
    card = render_card(small.info.model_copy(update={"split": split}))
    assert "test share 0.1, seed 4" in card
    assert "| train | 1,234 | 6 |" in card


def test_settings_cannot_break_out_of_their_fence(small: Dataset) -> None:
    config = {"note": "```\n~~~~\n# owned"}
    card = render_card(small.info.model_copy(update={"config": config}))
    assert "\n# owned" not in card


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
