from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import datasets
import mlcroissant
import pytest
import yaml
from huggingface_hub import metadata_load

from tests.dataset.rows import FAILED, kept, make_dataset, rejected
from tests.datasets import as_before
from tpbench.dataset import Dataset, split_dataset
from tpbench.dataset.cards import CardFacts, card_dataset, render_card
from tpbench.dataset.croissant import citation
from tpbench.dataset.manifest import read_clips, read_table
from tpbench.dataset.statements import Statements
from tpbench.errors import ConfigError, DatasetError

STATED = {
    "motivation": "There was none.\n\nNow there is.",
    "creators": ["Ann *Example*", "Ben Example"],
    "publisher": "Example Lab",
    "funding": "Nobody",
    "contact": "data@example.org",
    "url": "https://example.org/talks_1",
    "collection": "Chosen by hand, see https://example.org/a_b.",
    "languages": ["en", "de"],
    "people": "Speakers at a # conference",
    "consent": "Each signed a form.",
    "review": "Board of Example, 1",
    "licence": "CC-BY-4.0",
    "licence_url": "https://example.org/licence",
    "uses": "Animation",
    "not_for": "Fakes",
    "biases": "Mostly <b>speakers</b>",
    "take_down": "Within a week",
    "maintenance": "By Ann",
}


def _card(dataset: Dataset, **changes: object) -> str:
    info = dataset.info.model_copy(update=changes)
    facts = CardFacts.of(read_table(dataset.folder), info)
    return render_card(info, facts=facts, statements=Statements.none())


def test_card_states_counts_digest_codes_and_settings(small: Dataset) -> None:
    card = (small.folder / "README.md").read_text()
    assert "2 clips, 240 frames, 9.6 s, 2 identities" in card
    assert small.digest in card
    assert "| `face.too_small` | Face height | ≥ 80 px | 3 | 1 | 4.8 s | 1 |" in card
    assert "| `face.turned` | Head turn | ≤ 30 deg | 2 | 0 |  | 0 |" in card
    assert '"preset": "talkingpose"' in card
    assert f"| skeleton | `{'a' * 64}` |" in card
    assert "Not split yet" in card
    assert "| failed" not in card
    assert "| sources not readable | 1 |" in card


def test_card_has_the_sections_of_a_datasheet(small: Dataset) -> None:
    card = (small.folder / "README.md").read_text()
    assert re.findall(r"^## (.+)$", card, flags=re.MULTILINE) == [
        "Motivation", "Composition", "Collection", "How it was made", "What the filters removed",
        "Splits", "Licences", "People and consent", "Take-down", "Uses", "Known biases",
        "What was not measured", "Maintenance", "Citation",
    ]  # fmt: skip
    assert "tpbench remove" in card


def test_card_says_what_is_not_stated_and_what_was_switched_off(small: Dataset) -> None:
    card = (small.folder / "README.md").read_text()
    assert card.count("*Not stated.*") == 10
    assert "Contact: *not stated*" in card
    assert "| *not known* | 2 | 2 | 9.6 s |" in card
    off = _card(small, config={"filters": {"face.too_small": 80.0, "face.turned": None}})
    assert "Not applied, as the settings have no threshold for them: `face.turned`." in off
    assert "- Head turn: the filter was switched off." in off


def test_card_and_description_repeat_what_is_stated(small: Dataset) -> None:
    (small.folder / "card.yaml").write_text(yaml.safe_dump(STATED, allow_unicode=True))
    made = card_dataset(small.folder)
    assert not made.template_written
    assert made.open_fields == ()
    card = (small.folder / "README.md").read_text()
    assert "ot stated" not in card.partition("## Motivation")[2]
    head = metadata_load(small.folder / "README.md") or {}
    assert (head["license"], head["language"]) == ("cc-by-4.0", ["en", "de"])
    assert "There was none.\n\nNow there is." in card
    assert "<https://example.org/a_b>." in card
    assert r"Mostly \<b\>speakers\</b\>" in card
    assert "  author = {{Ann *Example*} and {Ben Example}}," in card
    described = mlcroissant.Dataset(jsonld=small.folder / "croissant.json").metadata
    assert [person.name for person in described.creators] == STATED["creators"]
    assert [organisation.name for organisation in described.publisher] == ["Example Lab"]
    assert described.license == ["https://example.org/licence"]
    assert described.in_language == ["en", "de"]
    assert described.url == STATED["url"]
    said = json.dumps(described.to_json(), ensure_ascii=False)
    for field in ("motivation", "people", "consent", "uses", "not_for", "take_down", "contact"):
        assert " ".join(str(STATED[field]).split()) in said
    assert "Filter face.too_small (Face height at least 80 px): removed 1, 1 by it alone." in said
    assert not described.issues.errors
    assert not described.issues.warnings


def test_card_of_an_imported_set_claims_no_selection(small: Dataset) -> None:
    info = small.info.model_copy(update={"config": {"imported": True, "fit": "pad"}})
    (small.folder / "dataset.json").write_text(info.model_dump_json())
    card_dataset(small.folder)
    card = (small.folder / "README.md").read_text()
    assert "made into a dataset by `tpbench import`" in card
    assert "nothing was cut, selected or filtered" in card
    assert "screened" not in card
    assert "The filters select" not in card
    described = mlcroissant.Dataset(jsonld=small.folder / "croissant.json").metadata
    assert described.data_collection.startswith("All clips of an existing set.")
    assert "Filters favour" not in json.dumps(described.to_json())


def test_card_says_how_much_was_taken_out_but_not_what(small: Dataset) -> None:
    stone = {"kind": "identity", "id": "carla", "date": "2026-01-02", "reason": "asked"}
    (small.folder / "removals.json").write_text(
        json.dumps({"schema_version": 1, "removals": [stone]})
    )
    card_dataset(small.folder)
    card = (small.folder / "README.md").read_text()
    assert "1 was removed so far." in card
    assert "carla" not in card


def test_licence_that_the_hub_does_not_know_is_named_and_linked(small: Dataset) -> None:
    (small.folder / "card.yaml").write_text(
        yaml.safe_dump({**dict.fromkeys(STATED), "licence": "Research only: ask!"})
    )
    card_dataset(small.folder)
    head = metadata_load(small.folder / "README.md") or {}
    assert (head["license"], head["license_name"]) == ("other", "research-only-ask")


def test_template_is_written_once_and_what_is_stated_survives_later_runs(small: Dataset) -> None:
    assert card_dataset(small.folder).template_written
    path = small.folder / "card.yaml"
    path.write_text(path.read_text().replace("consent: null", "consent: Each signed a form."))
    mine = path.read_text()
    assert not card_dataset(small.folder).template_written
    make_dataset(small.folder, small.clips(None))
    split_dataset(small.folder, test_share=0.5, seed=0)
    assert path.read_text() == mine
    assert "Each signed a form." in (small.folder / "README.md").read_text()


def test_cards_do_not_change_when_written_again(small: Dataset) -> None:
    before = [(small.folder / name).read_bytes() for name in ("README.md", "croissant.json")]
    made = card_dataset(small.folder)
    assert [path.read_bytes() for path in made.files] == before


def test_wrong_card_yaml_stops_the_command_but_no_extraction(
    small: Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    (small.folder / "card.yaml").write_text("motivation: x\n")
    before = (small.folder / "README.md").read_bytes()
    with pytest.raises(ConfigError, match="field 'creators' is missing"):
        card_dataset(small.folder)
    assert (small.folder / "README.md").read_bytes() == before
    make_dataset(small.folder, small.clips(None))
    assert "field 'creators' is missing" in caplog.text
    assert "## Motivation\n\n*Not stated.*" in (small.folder / "README.md").read_text()


def test_cards_need_a_finished_dataset(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no dataset here"):
        card_dataset(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_card_head_is_yaml_whatever_the_name(small: Dataset) -> None:
    for name in ('say "hi": [no]', "# $name ${x}", "line\nbreak | *bold*", "--- \n---\n"):
        card = _card(small, name=name)
        (small.folder / "README.md").write_text(card)
        assert (metadata_load(small.folder / "README.md") or {})["pretty_name"] == name
        body = card.split("\n---\n", 1)[1]
        assert len([line for line in body.splitlines() if line.startswith("# ")]) == 1


def test_card_tells_of_the_split(small: Dataset) -> None:
    split_dataset(small.folder, test_share=0.5, seed=4)
    card = (small.folder / "README.md").read_text()
    assert "test share 0.5, seed 4" in card
    assert "| train | 1 | 1 | 4.8 s |" in card
    assert "| Face height, px | 140 (140 to 140) | 140 (140 to 140) |" in card


def test_settings_cannot_break_out_of_their_fence(small: Dataset) -> None:
    card = _card(small, config={"note": "```\n~~~~\n# owned"})
    assert "\n# owned" not in card


def test_description_is_valid_croissant(small: Dataset) -> None:
    described = mlcroissant.Dataset(jsonld=small.folder / "croissant.json")
    assert not described.metadata.issues.errors
    assert not described.metadata.issues.warnings
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


def test_description_is_dated_and_cites_exactly_these_clips(small: Dataset) -> None:
    raw = json.loads((small.folder / "croissant.json").read_text())
    assert raw["datePublished"] == small.info.finished_on
    assert abs((date.today() - date.fromisoformat(raw["datePublished"])).days) <= 1  # noqa: DTZ011
    assert raw["citeAs"].startswith(f"@misc{{Small-talks-{small.digest[:8]},\n")
    assert small.digest in raw["citeAs"]


def test_date_is_that_of_the_first_time_with_the_same_content(small: Dataset) -> None:
    before = small.info.model_copy(update={"finished_on": "2001-02-03"})
    (small.folder / "dataset.json").write_text(before.model_dump_json())
    same = make_dataset(small.folder, small.clips(None))
    assert same.info.finished_on == "2001-02-03"
    split_dataset(small.folder, test_share=0.5, seed=0)
    assert Dataset.open(small.folder).info.finished_on == "2001-02-03"
    grown = make_dataset(small.folder, [*small.clips(None), kept("d_kept")])
    assert grown.info.finished_on != "2001-02-03"


@pytest.mark.parametrize("name", ["Dr. {Evil} \\input{x} 100% & #_$", "\u4e2d\u6587", "a~b^c"])
def test_citation_is_one_entry_whatever_the_name(small: Dataset, name: str) -> None:
    entry = citation(small.info.model_copy(update={"name": name}))
    assert entry.count("{") == entry.count("}")
    assert "\\input" not in entry
    assert entry.startswith("@misc{")
    assert entry.splitlines()[0].isascii()


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


def _load(folder: Path, *config: str, cache: Path) -> Mapping[str, Any]:
    loaded: Mapping[str, Any] = datasets.load_dataset(str(folder), *config, cache_dir=str(cache))
    return loaded


def test_unsplit_dataset_loads_as_rows(small: Dataset, tmp_path: Path) -> None:
    loaded = _load(small.folder, cache=tmp_path / "cache")
    assert list(loaded) == ["whole"]
    assert loaded["whole"]["clip_id"] == ["a_kept", "b_kept"]
    row = loaded["whole"][0]
    assert (small.folder / row["file_name"]).read_bytes() == b"clipsa_kept"
    assert (small.folder / row["pose_file_name"]).is_file()
    assert (small.folder / row["keypoints_path"]).is_file()
    assert row["file_name"] == "clips/29/a_kept.mp4"
    assert row["m_face_height_px"] == 140.0

    candidates = _load(small.folder, "candidates", cache=tmp_path / "cache")["whole"]
    assert candidates["clip_id"] == ["a_kept", "b_kept", "broken", "c_rejected"]
    assert candidates[3]["reject_codes"] == ["face.too_small"]


def test_tables_of_a_grown_earlier_dataset_name_each_file_where_it_lies(
    small: Dataset, tmp_path: Path
) -> None:
    as_before(small.folder)
    make_dataset(small.folder, [*small.clips(None), kept("d_kept")])
    rows = _load(small.folder, cache=tmp_path / "cache")["whole"]
    assert list(rows["file_name"]) == [
        "clips/a_kept.mp4", "clips/b_kept.mp4", "clips/c1/d_kept.mp4",
    ]  # fmt: skip
    for column in ("file_name", "pose_file_name", "keypoints_path"):
        assert all((small.folder / path).is_file() for path in rows[column])


@pytest.mark.parametrize("earlier", [True, False])
def test_description_includes_every_file_in_either_layout(small: Dataset, *, earlier: bool) -> None:
    if earlier:
        as_before(small.folder)
    raw = json.loads((small.folder / "croissant.json").read_text())
    sets = [item for item in raw["distribution"] if item["@type"] == "cr:FileSet"]
    included = [
        path for item in sets for one in item["includes"] for path in small.folder.glob(one)
    ]
    assert len(included) == len(set(included)) == 6
    nodes = mlcroissant.Dataset(jsonld=small.folder / "croissant.json").metadata.distribution
    assert {tuple(n.includes) for n in nodes if hasattr(n, "includes")} == {
        tuple(item["includes"]) for item in sets
    }


def test_split_dataset_loads_by_its_sides(small: Dataset, tmp_path: Path) -> None:
    split_dataset(small.folder, test_share=0.5, seed=0)
    loaded = _load(small.folder, cache=tmp_path / "cache")
    assert {side: list(rows["clip_id"]) for side, rows in loaded.items()} == {
        side: [clip.clip_id for clip in small.clips() if clip.split == side]
        for side in ("train", "test")
    }
    assert not (small.folder / "clips-whole.parquet").exists()


def test_a_side_that_became_empty_is_left_out(small: Dataset, tmp_path: Path) -> None:
    split_dataset(small.folder, test_share=0.5, seed=0)
    left = [row for row in read_clips(small.folder) if row.split != "test"]
    make_dataset(small.folder, left)
    assert list(_load(small.folder, cache=tmp_path / "cache")) == ["train"]
    assert not (small.folder / "clips-test.parquet").exists()


def test_dataset_without_kept_clips_loads_its_candidates(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "talks", [rejected(), FAILED])
    loaded = _load(dataset.folder, cache=tmp_path / "cache")
    assert loaded["whole"]["status"] == ["failed", "rejected"]


@pytest.mark.parametrize("split", [True, False])
def test_code_in_the_card_loads_rows_candidates_and_videos(
    small: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, split: bool
) -> None:
    if split:
        split_dataset(small.folder, test_share=0.5, seed=0)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    code = (small.folder / "README.md").read_text().partition("```python\n")[2].partition("```")[0]
    made: dict[str, Any] = {}
    exec(code.replace("FOLDER", str(small.folder)), made)  # noqa: S102 - our own card

    clips = Dataset.open(small.folder).clips(split="test" if split else None)
    assert list(made["rows"]["clip_id"]) == [clip.clip_id for clip in clips]
    assert len(made["candidates"]) == 4
    videos = made["videos"]
    for column, path_of in (("video", small.clip_path), ("pose", small.pose_path)):
        assert isinstance(videos.features[column], datasets.Video)
        videos = videos.cast_column(column, datasets.Video(decode=False))
        paths = [row["path"] for row in videos[column]]
        assert paths == [str(path_of(clip)) for clip in clips]
    assert list(videos["clip_id"]) == [clip.clip_id for clip in clips]
