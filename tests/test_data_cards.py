"""Every folder in data_cards/ is a whole card: text, machine-readable description, sources."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import mlcroissant
import pytest
import yaml

_CARDS = Path(__file__).resolve().parents[1] / "data_cards"
_FOLDERS = sorted(path for path in _CARDS.iterdir() if path.is_dir())
_HEADINGS = (
    "What is known",
    "What is not known",
    "Licence",
    "People",
    "How to rebuild a dataset from the list",
    "Citation",
)

each_card = pytest.mark.parametrize("card", _FOLDERS, ids=lambda path: path.name)


def _sources(card: Path) -> list[dict[str, Any]]:
    content = json.loads((card / "sources.json").read_text(encoding="utf-8"))
    rows = content["sources"]
    assert isinstance(rows, list)
    return rows


def test_the_card_of_talkingpose_is_there() -> None:
    assert "talkingpose" in {card.name for card in _FOLDERS}


@each_card
def test_card_has_its_headings_in_order(card: Path) -> None:
    text = (card / "README.md").read_text(encoding="utf-8")
    assert tuple(re.findall(r"^## (.+)$", text, flags=re.MULTILINE)) == _HEADINGS
    assert len(re.findall(r"^# .+$", text.split("```")[0], flags=re.MULTILINE)) == 1


@each_card
def test_card_begins_with_yaml(card: Path) -> None:
    head = (card / "README.md").read_text(encoding="utf-8").split("---\n")[1]
    assert {"pretty_name", "license", "tags"} <= yaml.safe_load(head).keys()


@each_card
def test_description_is_valid_croissant(card: Path) -> None:
    described = mlcroissant.Dataset(jsonld=card / "croissant.json")
    assert not described.metadata.issues.errors
    assert described.metadata.name


@each_card
def test_sources_are_pinned(card: Path) -> None:
    for source in _sources(card):
        assert re.fullmatch(r"[0-9a-f]{64}", source["sha256"])
        assert source["url"].startswith("https://")
        assert not re.search(r"/(main|master)/", source["url"]), "a branch moves"
        assert source["size_bytes"] > 0
        assert source["rows"] >= source["unique_rows"] > 0


@each_card
def test_card_and_description_name_the_same_files_as_the_sources(card: Path) -> None:
    text = (card / "README.md").read_text(encoding="utf-8")
    files = json.loads((card / "croissant.json").read_text(encoding="utf-8"))["distribution"]
    described = {item["name"]: (item["contentUrl"], item["sha256"]) for item in files}
    assert described == {row["name"]: (row["url"], row["sha256"]) for row in _sources(card)}
    for source in _sources(card):
        assert source["url"] in text
        assert source["sha256"] in text
        assert f"{source['rows']:,}" in text
        assert f"{source['unique_rows']:,}" in text


@pytest.mark.shared
def test_numbers_of_the_talkingpose_card_are_those_of_the_released_list(shared_dir: Path) -> None:
    raw = (shared_dir / "data" / "talkingpose_video_ids.csv").read_bytes()
    ids = raw.decode().splitlines()
    source = _sources(_CARDS / "talkingpose")[0]
    text = (_CARDS / "talkingpose" / "README.md").read_text(encoding="utf-8")
    assert hashlib.sha256(raw).hexdigest() == source["sha256"]
    assert (len(raw), len(ids)) == (source["size_bytes"], source["rows"])
    assert len(set(ids)) == source["unique_rows"]
    assert f"{sum(name.startswith('-') for name in set(ids))} of the unique ones" in text
    assert f"{len(ids) - len(set(ids)):,} surplus rows" in text
    repeated = sum(number > 1 for number in Counter(ids).values())
    assert f"{repeated:,} of them stand in the list two or three times" in text
