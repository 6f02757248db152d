"""Splits: whole people on one side, stable, frozen where asked for, and honest about exceptions."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.dataset.heads import Filmed, write_heads
from tests.dataset.rows import FAILED, kept, make_dataset
from tpbench.dataset import (
    Clip,
    Dataset,
    SplitInfo,
    SplitName,
    SplitRequest,
    SplitResult,
    assign_split,
    content_digest,
    empty_side_warning,
    finalise,
    make_split,
    read_clips,
    split_dataset,
)
from tpbench.dataset.checking import check_dataset
from tpbench.dataset.identities import read_members, write_members
from tpbench.dataset.info import write_info
from tpbench.dataset.side_lists import read_placed, read_version, write_placed, write_version
from tpbench.dataset.splitting import Settled, settle
from tpbench.errors import ConfigError, DatasetError
from tpbench.extraction.former import read_former

names = st.text(min_size=1, max_size=20)
shares = st.floats(min_value=0.001, max_value=0.999)
seeds = st.integers(min_value=-(2**31), max_value=2**31)


def people(count: int, *, first: int = 0, **fields: object) -> list[Clip]:
    """Three clips each of people who are called as their source, as extractions make them."""
    return [
        kept(
            f"p{person:02d}_{clip}",
            **{
                "identity": f"p{person:02d}",
                "source_id": f"p{person:02d}",
                "n_frames": 60 + 30 * clip,
                "measurements": {"face_yaw_deg": float(person % 7 + clip)},
                **fields,
            },
        )
        for person in range(first, first + count)
        for clip in range(3)
    ]


def sides_of(folder: Path) -> dict[str, SplitName | None]:
    return {clip.clip_id: clip.split for clip in read_clips(folder) if clip.status == "kept"}


def sides_by_person(folder: Path) -> dict[str | None, SplitName | None]:
    return {clip.identity: clip.split for clip in read_clips(folder) if clip.status == "kept"}


def table(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


# Hashes, by which datasets of before were split.


def test_side_by_hash_is_that_of_the_documented_hash() -> None:
    value = int(hashlib.sha256(b"3:ann").hexdigest(), 16) / 2**256
    assert assign_split("ann", test_share=value + 1e-6, seed=3) == "test"
    assert assign_split("ann", test_share=value - 1e-6, seed=3) == "train"


@given(identity=names, low=shares, high=shares, seed=seeds)
def test_a_larger_share_only_adds_to_the_test_side_by_hash(
    identity: str, low: float, high: float, seed: int
) -> None:
    low, high = sorted((low, high))
    if assign_split(identity, test_share=low, seed=seed) == "test":
        assert assign_split(identity, test_share=high, seed=seed) == "test"


def by_hash(folder: Path, rows: list[Clip], *, share: float, **fields: object) -> SplitInfo:
    """Make a dataset as earlier versions split it: by hash, with lists and no `placed.csv`."""
    make_dataset(folder, rows)
    info = Dataset.open(folder).info
    split = SplitInfo.model_validate({"test_share": share, "seed": 0, **fields})
    write_info(folder, info.model_copy(update={"split": split}))
    make_dataset(folder, rows)
    (folder / "splits" / "placed.csv").unlink()
    made = Dataset.open(folder).info.split
    assert made is not None
    return made


def test_a_dataset_that_was_split_by_hash_keeps_its_sides_whatever_comes(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    rows = people(12)
    info = by_hash(folder, rows, share=0.3, placed={"p03": "test"})
    before = sides_of(folder)
    hashed = {f"p{n:02d}": assign_split(f"p{n:02d}", test_share=0.3, seed=0) for n in range(12)}
    assert sides_by_person(folder) == hashed | {"p03": "test"}
    assert info.method == "hash"

    grown = make_dataset(folder, people(20))
    after = sides_of(folder)
    assert before == {name: side for name, side in after.items() if name in before}
    assert grown.info.split is not None
    assert grown.info.split.method == "hash"
    for person, side in sides_by_person(folder).items():
        if str(person) > "p11":
            assert side == assign_split(str(person), test_share=0.3, seed=0)

    result = make_split(folder, SplitRequest(version_name="test-v1"))
    assert (result.info.method, result.info.test_share) == ("stratified", 0.3)
    assert sides_of(folder) == after
    make_dataset(folder, people(30))
    assert after == {name: side for name, side in sides_of(folder).items() if name in after}


# New splits.


def test_split_puts_whole_identities_on_one_side_and_writes_it_down(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "d", [*people(20), FAILED])

    info = split_dataset(dataset.folder, test_share=0.3, seed=7)

    opened = Dataset.open(dataset.folder)
    test, train = opened.clips(split="test"), opened.clips(split="train")
    assert {clip.identity for clip in test}.isdisjoint({clip.identity for clip in train})
    assert (len(train), len(test)) == (info.train_clips, info.test_clips) == (42, 18)
    assert info.test_identities == len({clip.identity for clip in test}) == 6
    assert opened.info.split == info
    assert opened.digest == dataset.digest
    for side, clips in (("test", test), ("train", train)):
        text = (dataset.folder / "splits" / f"{side}.csv").read_bytes().decode()
        assert text == "clip_id,identity\n" + "".join(f"{c.clip_id},{c.identity}\n" for c in clips)
    assert opened.clip("broken").split is None
    assert read_placed(dataset.folder) == sides_by_person(dataset.folder)


def test_split_holds_when_clips_are_added(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    make_dataset(folder, people(10))
    split_dataset(folder, test_share=0.4, seed=1)
    before = sides_of(folder)
    grown = make_dataset(folder, people(20))
    after = {clip.clip_id: clip.split for clip in grown.clips()}
    assert before == {name: side for name, side in after.items() if name in before}
    assert grown.info.split is not None
    assert grown.info.split.test_identities == 8
    assert grown.info.split.test_clips == sum(side == "test" for side in after.values())


def test_without_a_share_or_seed_a_split_stays_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    make_dataset(folder, people(10))
    assert split_dataset(folder).test_share == 0.1
    split_dataset(folder, test_share=0.4, seed=3)
    before = sides_of(folder)
    info = split_dataset(folder)
    assert (info.test_share, info.seed, sides_of(folder)) == (0.4, 3, before)


def test_another_share_or_seed_draws_anew_and_says_how_many_moved(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    make_dataset(folder, people(20))
    split_dataset(folder, test_share=0.4, seed=1)
    before = sides_by_person(folder)
    result = make_split(folder, SplitRequest(seed=2))
    after = sides_by_person(folder)
    moved = sum(after[name] != side for name, side in before.items())
    assert moved > 0
    assert result.notes == (f"drawn anew: {moved} identities changed sides",)


@pytest.mark.parametrize(("share", "few"), [(0.001, "test"), (0.999, "train")])
def test_no_side_is_left_empty(small: Dataset, share: float, few: SplitName) -> None:
    result = make_split(small.folder, SplitRequest(test_share=share, seed=0))
    assert (result.info.train_clips, result.info.test_clips) == (1, 1)
    (clip,) = Dataset.open(small.folder).clips(split=few)
    said = f"{clip.identity} was placed on the {few} side, which had no clips otherwise"
    assert result.notes == (said,)
    assert split_dataset(small.folder, test_share=share, seed=0) == result.info


def test_a_side_that_lost_its_people_is_filled_by_the_next_split(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    make_dataset(folder, people(4))
    split_dataset(folder, test_share=0.25, seed=0)
    left = [clip for clip in Dataset.open(folder).clips() if clip.split == "train"]
    info = make_dataset(folder, left).info.split
    assert info is not None
    assert "no clip is on the test side" in (empty_side_warning(info) or "")
    result = make_split(folder, SplitRequest())
    assert (result.info.test_identities, result.info.train_identities) == (1, 2)
    assert result.notes == ("drawn anew: 1 identity changed sides",)
    assert empty_side_warning(result.info) is None


def test_an_identity_without_clips_for_now_comes_back_to_its_side(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    rows = people(6)
    make_dataset(folder, rows)
    split_dataset(folder, test_share=0.5, seed=0)
    before = sides_of(folder)
    failed = [replace(FAILED, clip_id=f"{name}_f", source_id=name) for name in ("p00", "p01")]
    make_dataset(folder, [*rows[6:], *failed])
    make_dataset(folder, rows)
    assert sides_of(folder) == before


def test_who_has_left_is_on_no_list(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    make_dataset(folder, people(6))
    split_dataset(folder, test_share=0.5, seed=0)
    make_dataset(folder, people(5))
    for path in (folder / "splits").iterdir():
        assert "p05" not in path.read_text()


@pytest.mark.parametrize(
    ("count", "said"), [(1, "all its clips are of one identity"), (0, "it has no kept clips")]
)
def test_fewer_than_two_identities_are_not_split(tmp_path: Path, count: int, said: str) -> None:
    folder = tmp_path / "d"
    make_dataset(folder, [*people(count), FAILED])
    with pytest.raises(DatasetError, match=f"{said}, and a split by identity needs two") as caught:
        split_dataset(folder, test_share=0.5, seed=0)
    assert ("--split all" in str(caught.value)) == (count == 1)
    assert not (folder / "splits").exists()


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 10, float("nan")])
def test_share_outside_0_to_1_is_refused(small: Dataset, share: float) -> None:
    with pytest.raises(ConfigError, match="want a number between 0 and 1"):
        split_dataset(small.folder, test_share=share, seed=0)
    assert not (small.folder / "splits").exists()


def test_a_seed_that_could_not_be_read_again_is_refused(small: Dataset) -> None:
    before = (small.folder / "dataset.json").read_bytes()
    with pytest.raises(ConfigError, match="--seed must have at most 63 bits"):
        split_dataset(small.folder, test_share=0.5, seed=2**64)
    assert (small.folder / "dataset.json").read_bytes() == before
    assert not (small.folder / "splits").exists()


def test_unfinished_folder_is_not_split(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no dataset here"):
        split_dataset(tmp_path, test_share=0.1, seed=0)


def test_only_an_empty_side_is_worth_a_warning() -> None:
    both = SplitInfo(test_share=0.5, seed=0, train_clips=1, test_clips=1)
    none = SplitInfo(test_share=0.5, seed=0)
    assert empty_side_warning(both) is None
    assert "no clip is on the train and test side" in (empty_side_warning(none) or "")


# Joins.


def test_uploaders_with_few_sources_are_joined_at_first_and_new_ones_join_them(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "d"
    rows = people(6) + people(2, first=6, uploader="Jane")
    make_dataset(folder, rows)
    result = make_split(folder, SplitRequest(test_share=0.3))
    assert [(row.source_id, row.identity, row.why) for row in result.members] == [
        ("p06", "p06", "the others were joined to it"),
        ("p07", "p06", "uploader: Jane"),
    ]
    assert Dataset.open(folder).info.counts.identities == 7
    grown = make_dataset(folder, rows + people(1, first=8, uploader="Jane"))
    assert grown.info.counts.identities == 7
    assert grown.clip("p08_0").split == grown.clip("p06_0").split
    assert {row.source_id for row in read_members(folder)} == {"p06", "p07", "p08"}


def test_nobody_is_joined_if_none_is_asked_for(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    make_dataset(folder, people(4, uploader="Jane"))
    with pytest.raises(DatasetError, match=r"of one identity, .* `--join none` keeps them apart"):
        make_split(folder, SplitRequest())
    result = make_split(folder, SplitRequest(joins=("none",), test_share=0.5))
    assert result.members == ()
    assert not (folder / "identities.csv").exists()
    make_dataset(folder, people(5, uploader="Jane"))
    assert Dataset.open(folder).info.counts.identities == 5


def joined_across(folder: Path) -> tuple[str, str, SplitResult]:
    """Join a person of the test side with one of the train side; return them, and what was said."""
    by_side = {side: person for person, side in sides_by_person(folder).items()}
    test, train = str(by_side["test"]), str(by_side["train"])
    who = table(folder / "who.csv", f"source_id,identity\n{test},Ann\n{train},Ann\n")
    return test, train, make_split(folder, SplitRequest(identities=who))


def test_a_person_found_on_both_sides_goes_where_the_test_split_stays_clean(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    make_dataset(folder, people(8))
    split_dataset(folder, test_share=0.25, seed=0)
    before = sides_of(folder)

    test, _, result = joined_across(folder)

    assert sides_by_person(folder)["Ann"] == "train"
    moved = {name for name, side in sides_of(folder).items() if side != before[name]}
    assert moved == {f"{test}_{clip}" for clip in range(3)}
    (said,) = result.notes
    assert "are one person (table) and were on two sides" in said
    assert "on the train side, as models may have been trained on them" in said


def test_a_person_of_a_frozen_test_split_goes_to_the_test_side(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    make_dataset(folder, people(8))
    make_split(folder, SplitRequest(test_share=0.25, version_name="test-v1"))
    frozen = read_version(folder, "test-v1")

    _, train, result = joined_across(folder)

    assert sides_by_person(folder)["Ann"] == "test"
    assert Dataset.open(folder).clip(f"{train}_0").split == "test"
    assert "on the test side, as test-v1 holds some of them" in result.notes[0]
    assert read_version(folder, "test-v1") == frozen


def test_near_duplicates_are_joined_by_pairs_of_clips(tmp_path: Path) -> None:
    make_dataset(tmp_path, people(4))
    clips = Dataset.open(tmp_path).clips(None)
    settled = settle(tmp_path, clips, None, SplitRequest(), [("p01_2", "p00_1")])
    assert {clip.identity for clip in settled.clips} == {"p00", "p02", "p03"}
    assert settled.members[1].why == "near-duplicate: p00_1 ~ p01_2"


def test_near_duplicates_across_the_split_are_found_and_joined(tmp_path: Path) -> None:
    talk = Filmed(clip_id="ann", talk=0, identity="ann", side="test")
    copy = talk.as_copy(clip_id="bob", identity="bob", side="train", is_mirrored=True)
    cat = Filmed(clip_id="cat", talk=1, identity="cat", side="test", length_s=1.2)
    dan = Filmed(clip_id="dan", talk=2, identity="dan", side="train", length_s=1.2)
    folder = tmp_path / "data"
    write_heads(folder, [talk, copy, cat, dan])
    assert [one.code for one in check_dataset(folder).problems] == ["split.near_duplicate"]
    steps: set[str] = set()
    result = make_split(
        folder,
        SplitRequest(joins=("near-duplicates",)),
        listener=lambda state: steps.add(state.step),
    )
    assert [row.why for row in result.members] == [
        "the others were joined to it",
        "near-duplicate: ann ~ bob",
    ]
    assert sides_by_person(folder) == {"ann": "train", "cat": "test", "dan": "train"}
    assert result.notes[0] == "near-duplicates: 1 pair of clips of two identities"
    assert "on the train side" in result.notes[1]
    assert "pictures" in steps
    again = make_split(folder, SplitRequest(joins=("near-duplicates",)))
    assert (again.notes, again.members) == (("no near-duplicates",), result.members)
    assert check_dataset(folder).problems == ()


# Lists, and frozen test splits.


def test_lists_give_the_sides_and_go_on_to_do_so(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    make_dataset(folder, people(6))
    split_dataset(folder, test_share=0.5, seed=0)
    test = table(tmp_path / "test.csv", "source_id\np01\np04\ngone\n")
    result = make_split(folder, SplitRequest(lists=(test,)))
    wanted = {f"p{n:02d}": "test" if n in (1, 4) else "train" for n in range(6)}
    assert sides_by_person(folder) == wanted
    assert (result.info.method, result.info.test_share) == ("lists", 1 / 3)
    assert result.notes == (
        "4 identities went to the train side: no list names them",
        f"1 row named nothing in this dataset, the first: {test} line 4: gone",
    )
    make_dataset(folder, people(9))
    assert split_dataset(folder).method == "lists"
    assert sides_by_person(folder) == wanted | dict.fromkeys(("p06", "p07", "p08"), "train")
    assert split_dataset(folder, test_share=0.5, seed=0).method == "stratified"


def test_the_lists_of_a_split_give_that_split_again(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        make_dataset(folder, people(8))
    split_dataset(one, test_share=0.25, seed=5)
    lists = tuple(one / "splits" / f"{side}.csv" for side in ("train", "test"))
    result = make_split(two, SplitRequest(lists=lists))
    assert sides_of(two) == sides_of(one)
    assert result.notes == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("source_id,side\np00,train\n", "these lists leave the test side empty"),
        ("identity,side\np00,test\np01,test\n", "these lists leave the train side empty"),
        ("clip_id,side\np00_0,test\np00_1,train\n", "a person is on one side only"),
    ],
)
def test_lists_that_cannot_be_meant_change_nothing(tmp_path: Path, text: str, said: str) -> None:
    folder = tmp_path / "d"
    make_dataset(folder, people(2))
    split_dataset(folder, test_share=0.5, seed=0)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match=said):
        make_split(folder, SplitRequest(lists=(table(tmp_path / "l.csv", text),)))
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_frozen_test_split_stays_while_the_dataset_grows_and_is_split_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "d"
    rows = people(10)
    make_dataset(folder, rows)
    result = make_split(folder, SplitRequest(test_share=0.3, version_name="test-v1"))
    frozen = Dataset.open(folder).clips(split="test-v1")
    assert frozen == Dataset.open(folder).clips(split="test")
    version = result.info.versions["test-v1"]
    assert (version.clips, version.identities) == (9, 3)
    assert version.digest == content_digest(frozen)
    text = (folder / "splits" / "test-v1.csv").read_bytes()

    make_dataset(folder, people(30))
    with pytest.raises(DatasetError, match="'test-v1' is frozen with 9 clips"):
        make_split(folder, SplitRequest(version_name="test-v1"))
    for seed in range(3):
        make_split(folder, SplitRequest(test_share=0.2, seed=seed, version_name=f"test-s{seed}"))
        # Nobody of a frozen test split is ever trained on.
        train = {clip.identity for clip in Dataset.open(folder).clips(split="train")}
        assert train.isdisjoint({clip.identity for clip in frozen})
    assert (folder / "splits" / "test-v1.csv").read_bytes() == text
    opened = Dataset.open(folder)
    assert [clip.clip_id for clip in opened.clips(split="test-v1")] == [c.clip_id for c in frozen]
    with pytest.raises(DatasetError, match=r"no split 'test-v9'; did you mean 'test-v1'\?"):
        opened.clips(split="test-v9")

    who = str(frozen[0].identity)
    lists = table(tmp_path / "l.csv", f"identity,side\n{who},train\np29,test\n")
    with pytest.raises(ConfigError, match=r"the frozen test split 'test-[sv].' holds it"):
        make_split(folder, SplitRequest(lists=(lists,)))

    make_dataset(folder, [row for row in people(30) if row.clip_id != frozen[0].clip_id])
    with caplog.at_level(logging.WARNING):
        assert len(Dataset.open(folder).clips(split="test-v1")) == 8
    assert "1 of 9 clips of test-v1 are not in the dataset any more" in caplog.text


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (SplitRequest(joins=("faces",)), "--join faces: want one of uploader, near-dup"),
        (SplitRequest(joins=("none", "near-duplicates")), "one after the other"),
        (SplitRequest(lists=(Path("l.csv"),), seed=1), "--test and --seed have nothing to say"),
        (SplitRequest(version_name="train"), "means something else"),
        (SplitRequest(lists=(Path("nowhere.csv"),)), r"nowhere\.csv: can't be read"),
        (SplitRequest(identities=Path("nowhere.csv")), r"nowhere\.csv: can't be read"),
    ],
)
def test_requests_that_cannot_be_meant_are_refused(
    small: Dataset, request_: SplitRequest, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        make_split(small.folder, request_)
    assert not (small.folder / "splits").exists()


@pytest.mark.parametrize("name", ["identities.csv", "splits/placed.csv", "splits/test-v1.csv"])
def test_a_damaged_list_is_found_before_an_extraction_does_any_work(
    tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "d"
    make_dataset(folder, people(4) + people(2, first=4, uploader="Jane"))
    make_split(folder, SplitRequest(test_share=0.5, version_name="test-v1"))
    assert read_former(folder) == Dataset.open(folder).info
    table(folder / name, "what\never\n")
    with pytest.raises(DatasetError, match=rf"{name}: want a column '"):
        read_former(folder)


# Whatever happens to a dataset.


@dataclass
class Store:
    """A dataset of which only joins and sides are on disk."""

    folder: Path
    rows: list[Clip]
    split: SplitInfo | None = None

    def step(self, request: SplitRequest | None = None) -> Settled:
        settled = settle(self.folder, self.rows, self.split, request)
        write_members(self.folder, settled.members)
        write_placed(self.folder, settled.placed)
        for name, listed in settled.frozen.items():
            write_version(self.folder, name, listed)
        self.split = settled.split
        return settled


sources = st.builds(
    lambda uploader, yaws: (uploader, yaws),
    st.sampled_from((None, "Jane", "Joe", "Conference")),
    st.lists(st.sampled_from((0.0, 10.0, 20.0)), min_size=1, max_size=3),
)


def rows_of(found: list[tuple[str | None, list[float]]]) -> list[Clip]:
    return [
        kept(
            f"s{source:02}_{clip}",
            source_id=f"s{source:02}",
            identity=f"s{source:02}",
            uploader=uploader,
            measurements={"face_yaw_deg": yaw},
        )
        for source, (uploader, yaws) in enumerate(found)
        for clip, yaw in enumerate(yaws)
    ]


@settings(max_examples=60, deadline=None)
@given(
    found=st.lists(sources, min_size=4, max_size=16),
    cuts=st.lists(st.integers(2, 16), min_size=1, max_size=4).map(sorted),
    share=shares,
    named=st.lists(st.tuples(st.integers(0, 15), st.sampled_from("XYZ")), max_size=6),
    freezes=st.booleans(),
)
def test_no_identity_is_on_two_sides_and_nothing_moves_but_by_a_join(
    found: list[tuple[str | None, list[float]]],
    cuts: list[int],
    share: float,
    named: list[tuple[int, str]],
    freezes: bool,  # noqa: FBT001
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("grown")
    rows = rows_of(found)
    ids = [f"s{number:02}" for number in range(len(found))]

    def first(n: int) -> list[Clip]:
        return [row for row in rows if row.source_id in ids[:n]]

    who = {number: name for number, name in named if number < cuts[0] and number < len(found)}
    text = "".join(f"{ids[number]},{name}\n" for number, name in who.items())
    request = SplitRequest(
        test_share=share, joins=("uploader",), version_name="v1" if freezes else None
    )
    store = Store(folder, first(cuts[0]))
    if len({row.uploader or row.source_id for row in store.rows}) < 2:
        return
    store.step(request)
    frozen = read_version(folder, "v1") if freezes else {}
    for step, cut in enumerate([*cuts[1:], len(found)]):
        before = read_placed(folder)
        members = {row.source_id: row.identity for row in read_members(folder)}
        store.rows = first(cut)
        asked = None
        if step == 0 and text and len({*who.values()}) + len(store.rows) > 2:
            asked = SplitRequest(
                identities=table(folder / "who.csv", f"source_id,identity\n{text}")
            )
        try:
            settled = store.step(asked)
        except DatasetError:  # the table made one person of all
            assert asked is not None
            continue

        sides: dict[str, set[str | None]] = {}
        for clip in settled.clips:
            sides.setdefault(clip.identity or "", set()).add(clip.split)
        assert all(len(found_sides) == 1 for found_sides in sides.values())
        moved = {
            clip.identity
            for clip in settled.clips
            if before.get(members.get(clip.source_id, clip.source_id), clip.split) != clip.split
        }
        conflicts = [note for note in settled.notes if "were on two sides" in note]
        redrawn = any(note.startswith("drawn anew") for note in settled.notes)
        assert redrawn or len(moved) == len(conflicts)
        trained = {clip.clip_id for clip in settled.clips if clip.split == "train"}
        assert trained.isdisjoint(frozen)


def test_finalising_without_a_split_still_applies_the_joins(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    make_dataset(folder, people(4))
    who = table(tmp_path / "who.csv", "source_id,identity\np00,Ann\np01,Ann\n")
    make_split(folder, SplitRequest(identities=who, test_share=0.5))
    (folder / "dataset.json").unlink()
    rows = people(4)
    made = finalise(folder, rows, name="d", config={}, models={}, measurements=())
    assert made.info.split is None
    assert made.identities == ("Ann", "p02", "p03")
