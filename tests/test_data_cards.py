"""Every folder in data_cards/ is a whole card: text, machine-readable description, sources."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections import Counter
from pathlib import Path
from typing import Any

import mlcroissant
import pytest
import typer
from huggingface_hub import metadata_load

from tpbench.cli.main import app

_CARDS = Path(__file__).resolve().parents[1] / "data_cards"
_FOLDERS = sorted(path for path in _CARDS.iterdir() if path.is_dir())
_HEADINGS = (
    "What is public",
    "What is known",
    "What is not known",
    "Licence",
    "People",
    "How to get it",
    "Citation",
)
_DESCRIBED = (
    "name", "description", "url", "license", "citeAs", "conformsTo", "keywords",
    "rai:dataCollection", "rai:dataPreprocessingProtocol", "rai:dataLimitations",
    "rai:dataBiases", "rai:dataUseCases", "rai:personalSensitiveInformation",
    "rai:dataReleaseMaintenancePlan",
)  # fmt: skip
_SOURCE = {
    "name", "url", "page", "read_at", "sha256", "size_bytes", "rows", "unique_rows", "description",
}  # fmt: skip

each_card = pytest.mark.parametrize("card", _FOLDERS, ids=lambda path: path.name)


def _text(card: Path) -> str:
    return (card / "README.md").read_text(encoding="utf-8")


def _head(card: Path) -> dict[str, Any]:
    return metadata_load(card / "README.md") or {}


def _sources(card: Path) -> list[dict[str, Any]]:
    content = json.loads((card / "sources.json").read_text(encoding="utf-8"))
    rows = content["sources"]
    assert isinstance(rows, list)
    assert rows
    return rows


def _described(card: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((card / "croissant.json").read_text(encoding="utf-8"))
    return content


def test_the_sets_that_talkingpose_is_compared_on_have_cards() -> None:
    names = {card.name for card in _FOLDERS}
    assert names == {"talkingpose", "ted-talks", "tiktok", "emtd", "template"}


@each_card
def test_card_has_its_headings_in_order(card: Path) -> None:
    text = _text(card)
    assert tuple(re.findall(r"^## (.+)$", text, flags=re.MULTILINE)) == _HEADINGS
    assert len(re.findall(r"^# .+$", text.split("```")[0], flags=re.MULTILINE)) == 1


@each_card
def test_no_section_is_empty(card: Path) -> None:
    for section in re.split(r"^## .+$", _text(card), flags=re.MULTILINE)[1:]:
        assert len(section.split()) > 5


@each_card
def test_card_head_is_read_by_the_hub(card: Path) -> None:
    head = _head(card)
    assert head["pretty_name"]
    assert head["tags"]
    assert head["license"] == "other"
    assert re.fullmatch(r"[a-z0-9.-]+", head["license_name"])
    assert head["license_link"].startswith("https://")


@each_card
def test_every_known_fact_says_where_it_is_from(card: Path) -> None:
    known = _text(card).partition("## What is known\n")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in known.splitlines() if line.startswith("| ")]
    assert rows[0] == ["fact", "value", "where it is from"]
    for row in rows[1:]:
        assert len(row) == 3
        assert all(row)


@each_card
def test_description_is_valid_croissant_and_lacks_no_field(card: Path) -> None:
    content = _described(card)
    assert [name for name in _DESCRIBED if not content.get(name)] == []
    assert content["conformsTo"] == "http://mlcommons.org/croissant/1.1"
    described = mlcroissant.Dataset(jsonld=card / "croissant.json").metadata
    assert not described.issues.errors
    assert described.name == content["name"] == _head(card)["pretty_name"]
    assert described.data_biases
    assert described.personal_sensitive_information


@each_card
def test_sources_lack_no_field_and_are_pinned_or_said_not_to_be(card: Path) -> None:
    text = _text(card)
    for source in _sources(card):
        assert source.keys() == _SOURCE
        assert source["page"].startswith("https://")
        assert source["page"] in text or source["read_at"]
        if source["url"] is not None:
            assert source["url"] in text
            assert not re.search(r"/(main|master)/", source["url"]), "a branch moves"
        if source["read_at"] is not None:
            assert source["read_at"]["commit"] in text
            assert re.fullmatch(r"[0-9a-f]{40}", source["read_at"]["commit"])
        if source["sha256"] is None:
            said = r"(checksum was not|No checksum was) established when this card was written"
            assert re.search(said, " ".join(text.split()))
        else:
            assert re.fullmatch(r"[0-9a-f]{64}", source["sha256"])
            assert source["sha256"] in text
            assert source["size_bytes"] > 0
        for number in ("rows", "unique_rows"):
            assert source[number] is None or f"{source[number]:,}" in text


@each_card
def test_description_names_the_files_with_a_checksum(card: Path) -> None:
    files = _described(card).get("distribution", [])
    described = {item["name"]: (item["contentUrl"], item["sha256"]) for item in files}
    assert described == {
        row["name"]: (row["url"], row["sha256"]) for row in _sources(card) if row["sha256"]
    }


@each_card
def test_commands_of_tpbench_exist_with_these_options(card: Path) -> None:
    known = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    blocks = re.findall(r"^```sh\n(.*?)^```$", _text(card), flags=re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", "").splitlines()]
    ours = [shlex.split(line)[1:] for line in lines if line.startswith("tpbench ")]
    assert ours
    for name, *words in ours:
        assert name in known
        options = {option for param in known[name].params for option in param.opts}
        assert {word for word in words if word.startswith("-")} <= options


@pytest.mark.shared
def test_numbers_of_the_talkingpose_card_are_those_of_the_released_list(shared_dir: Path) -> None:
    raw = (shared_dir / "data" / "talkingpose_video_ids.csv").read_bytes()
    ids = raw.decode().splitlines()
    source = _sources(_CARDS / "talkingpose")[0]
    text = _text(_CARDS / "talkingpose")
    assert hashlib.sha256(raw).hexdigest() == source["sha256"]
    assert (len(raw), len(ids)) == (source["size_bytes"], source["rows"])
    assert len(set(ids)) == source["unique_rows"]
    assert f"{sum(name.startswith('-') for name in set(ids))} of the unique ones" in text
    assert f"{len(ids) - len(set(ids)):,} surplus rows" in text
    repeated = sum(number > 1 for number in Counter(ids).values())
    assert f"{repeated:,} of them stand in the list two or three times" in text
