from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dataset.rows import FAILED, kept, make_dataset
from tpbench.dataset import (
    Clip,
    Dataset,
    SplitInfo,
    SplitName,
    assign_split,
    empty_side_warning,
    finalise,
    read_clips,
    split_dataset,
)
from tpbench.dataset.finishing import fill_empty_side, write_split_lists
from tpbench.errors import ConfigError, DatasetError
from tpbench.foreign import from_spreadsheet_safe

names = st.text(min_size=1, max_size=20)
shares = st.floats(min_value=0.001, max_value=0.999)
seeds = st.integers(min_value=-(2**31), max_value=2**31)


def test_side_is_that_of_the_documented_hash() -> None:
    value = int(hashlib.sha256(b"3:ann").hexdigest(), 16) / 2**256
    assert assign_split("ann", test_share=value + 1e-6, seed=3) == "test"
    assert assign_split("ann", test_share=value - 1e-6, seed=3) == "train"


@given(identity=names, low=shares, high=shares, seed=seeds)
def test_a_larger_share_only_adds_to_the_test_side(
    identity: str, low: float, high: float, seed: int
) -> None:
    low, high = sorted((low, high))
    if assign_split(identity, test_share=low, seed=seed) == "test":
        assert assign_split(identity, test_share=high, seed=seed) == "test"


@given(share=st.floats(min_value=0.05, max_value=0.95), seed=seeds)
def test_share_is_met_within_chance(share: float, seed: int) -> None:
    people = 2000
    sides = [assign_split(f"talk{i}", test_share=share, seed=seed) for i in range(people)]
    # Six standard deviations of a binomial count: no seed of a fair hash gets there.
    spread = 6 * (people * share * (1 - share)) ** 0.5
    assert abs(sides.count("test") - people * share) < spread


@given(seed=seeds)
def test_another_seed_draws_other_people(seed: int) -> None:
    def test_side(seed: int) -> set[int]:
        return {i for i in range(200) if assign_split(str(i), test_share=0.5, seed=seed) == "test"}

    assert test_side(seed) != test_side(seed + 1)


def test_only_an_empty_side_is_worth_a_warning() -> None:
    both = SplitInfo(test_share=0.5, seed=0, train_clips=1, test_clips=1)
    none = SplitInfo(test_share=0.5, seed=0)
    assert empty_side_warning(both) is None
    assert "no clip is on the train and test side" in (empty_side_warning(none) or "")


@pytest.mark.parametrize(
    "identity", ["=HYPERLINK(1)", "+1+1", "@SUM(1)", "-2+3", "\tx", "\rx", "'x"]
)
def test_no_identity_becomes_a_formula_and_all_are_read_as_they_were(
    tmp_path: Path, identity: str
) -> None:
    clip = Clip(
        clip_id="clip",
        status="kept",
        source_id="clip",
        source_path="clip.mp4",
        n_frames=1,
        fps_num=25,
        fps_den=1,
        identity=identity,
        split="test",
        clip_sha256="0" * 64,
        keypoints_sha256="0" * 64,
        pose_sha256="0" * 64,
    )

    path = next(path for path in write_split_lists(tmp_path, [clip]) if path.stem == "test")

    with path.open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert not row["identity"].startswith(("=", "+", "-", "@", "\t", "\r"))
    assert from_spreadsheet_safe(row["identity"]) == identity


def _people(count: int) -> list[Clip]:
    return [
        kept(f"p{person:02d}_{clip}", identity=f"p{person:02d}", source_id=f"p{person:02d}")
        for person in range(count)
        for clip in range(3)
    ]


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


def test_split_puts_whole_identities_on_one_side_and_writes_it_down(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "d", [*_people(20), FAILED])

    info = split_dataset(dataset.folder, test_share=0.3, seed=7)

    opened = Dataset.open(dataset.folder)
    test, train = opened.clips(split="test"), opened.clips(split="train")
    assert {clip.identity for clip in test}.isdisjoint({clip.identity for clip in train})
    assert (len(train), len(test)) == (info.train_clips, info.test_clips)
    assert info.train_clips + info.test_clips == 60
    assert info.test_identities == len({clip.identity for clip in test}) > 0
    assert opened.info.split == info
    assert opened.digest == dataset.digest
    for side, clips in (("test", test), ("train", train)):
        text = (dataset.folder / "splits" / f"{side}.csv").read_bytes().decode()
        assert text == "clip_id,identity\n" + "".join(f"{c.clip_id},{c.identity}\n" for c in clips)
    assert opened.clip("broken").split is None


def test_split_holds_when_clips_are_added(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    make_dataset(folder, _people(10))
    split_dataset(folder, test_share=0.4, seed=1)
    before = {clip.clip_id: clip.split for clip in read_clips(folder)}
    grown = make_dataset(folder, _people(15))
    after = {clip.clip_id: clip.split for clip in grown.clips()}
    assert before == {name: side for name, side in after.items() if name in before}
    assert set(after.values()) == {"train", "test"}
    assert grown.info.split is not None
    assert grown.info.split.test_clips == sum(side == "test" for side in after.values())


@pytest.mark.parametrize(("share", "few"), [(0.001, "test"), (0.999, "train")])
def test_no_side_is_left_empty(small: Dataset, share: float, few: SplitName) -> None:
    info = split_dataset(small.folder, test_share=share, seed=0)
    assert (info.train_clips, info.test_clips) == (1, 1)
    assert list(info.placed.values()) == [few]
    (clip,) = Dataset.open(small.folder).clips(split=few)
    assert [clip.identity] == list(info.placed)
    assert split_dataset(small.folder, test_share=share, seed=0) == info


@given(people=st.sets(names, min_size=2, max_size=6), share=shares, seed=seeds)
def test_only_what_the_empty_side_needs_is_placed(
    people: set[str], share: float, seed: int
) -> None:
    hashed = {name: assign_split(name, test_share=share, seed=seed) for name in people}
    placed = fill_empty_side(people, test_share=share, seed=seed)
    assert len(set((hashed | placed).values())) == 2
    assert len(placed) == (len(set(hashed.values())) == 1)


def test_a_placed_identity_stays_when_clips_are_added(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    make_dataset(folder, _people(2))
    first = split_dataset(folder, test_share=0.1, seed=0)
    assert first.placed
    before = {clip.clip_id: clip.split for clip in read_clips(folder)}
    make_dataset(folder, _people(40))
    second = split_dataset(folder, test_share=0.1, seed=0)
    after = {clip.clip_id: clip.split for clip in read_clips(folder)}
    assert before == {name: side for name, side in after.items() if name in before}
    assert second.test_identities > 1


def test_another_seed_forgets_what_was_placed(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    make_dataset(folder, _people(2))
    assert split_dataset(folder, test_share=0.1, seed=0).placed
    make_dataset(folder, _people(40))
    assert not split_dataset(folder, test_share=0.1, seed=1).placed


@pytest.mark.parametrize(
    ("people", "said"), [(1, "all its clips are of one identity"), (0, "it has no kept clips")]
)
def test_fewer_than_two_identities_are_not_split(tmp_path: Path, people: int, said: str) -> None:
    folder = tmp_path / "d"
    make_dataset(folder, [*_people(people), FAILED])
    with pytest.raises(DatasetError, match=f"{said}, and a split by identity needs two") as caught:
        split_dataset(folder, test_share=0.5, seed=0)
    assert ("--split all" in str(caught.value)) == (people == 1)
    assert not (folder / "splits").exists()


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 10, float("nan")])
def test_share_outside_0_to_1_is_refused(small: Dataset, share: float) -> None:
    with pytest.raises(ConfigError, match="want a number between 0 and 1"):
        split_dataset(small.folder, test_share=share, seed=0)
    assert not (small.folder / "splits").exists()


def test_unfinished_folder_is_not_split(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no dataset here"):
        split_dataset(tmp_path, test_share=0.1, seed=0)


def test_a_failed_write_leaves_the_former_dataset_readable(
    small: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tpbench.dataset.finishing.render_card", full)
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
