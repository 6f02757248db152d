from __future__ import annotations

import logging
import os
import shutil
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.dataset.heads import Filmed, write_heads
from tpbench.dataset import Clip, Dataset, fingerprints, keypoints_path
from tpbench.dataset.fingerprints import (
    FINGERPRINTS_NAME,
    Fingerprint,
    fingerprint_clips,
    near_duplicates,
    read_fingerprints,
    take_fingerprint,
    write_fingerprints,
)
from tpbench.errors import DatasetError, MediaError

TALK = Filmed(clip_id="talk", talk=0, identity="ann")
COPIES = {
    "mirrored": TALK.as_copy(is_mirrored=True),
    "reencoded": TALK.as_copy(is_reencoded=True),
    "cropped": TALK.as_copy(cropped_share=0.05),
    "later": TALK.as_copy(start_s=0.73),
    "slower": TALK.as_copy(fps=24),
    "faster": TALK.as_copy(fps=30),
    "all": TALK.as_copy(
        is_mirrored=True, is_reencoded=True, cropped_share=0.05, start_s=0.31, fps=30
    ),
}


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A talk, copies of it made in every way, and other talks; all said to be of other people."""
    copies = [
        copy.as_copy(clip_id=name, identity=f"uploader of {name}") for name, copy in COPIES.items()
    ]
    others = [
        Filmed(clip_id=f"other{talk}", talk=talk, identity=f"other{talk}") for talk in range(1, 9)
    ]
    # The same person, at a time that shows other pictures.
    again = TALK.as_copy(clip_id="again", identity="ann again", start_s=30.0)
    folder = tmp_path_factory.mktemp("copied") / "data"
    return write_heads(folder, [TALK, *copies, *others, again], is_split=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    clips = [
        Filmed(clip_id=name, talk=at, identity=name, length_s=1.2)
        for at, name in enumerate(("ann", "bob", "cat"))
    ]
    return write_heads(tmp_path_factory.mktemp("small") / "data", clips, is_split=False).folder


@pytest.fixture
def small(made: Path, tmp_path: Path) -> Dataset:
    """Three clips of three people, to be broken."""
    return Dataset.open(shutil.copytree(made, tmp_path / "data"))


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of clips whose fingerprints are computed from here on."""
    ids: list[str] = []

    def noted(dataset: Dataset, clip: Clip) -> Fingerprint:
        ids.append(clip.clip_id)
        return take_fingerprint(dataset, clip)

    monkeypatch.setattr(fingerprints, "take_fingerprint", noted)
    return ids


def test_copies_are_found_and_nothing_else(copied: Dataset) -> None:
    pairs = near_duplicates(copied)
    family = sorted(["talk", *COPIES])
    assert [(pair.first, pair.second) for pair in pairs] == list(combinations(family, 2))
    turned = {"mirrored", "all"}
    for pair in pairs:
        assert pair.is_mirrored == (len({pair.first, pair.second} & turned) == 1)
        assert pair.share > 0.8
        assert pair.apart_bits < 8
    unrelated = [clip for clip in copied.clips() if clip.clip_id not in family]
    assert len(unrelated) * (len(unrelated) - 1) // 2 + len(unrelated) * len(family) > 50


def test_the_shift_is_that_of_the_starts(copied: Dataset) -> None:
    (pair,) = (p for p in near_duplicates(copied) if (p.first, p.second) == ("later", "talk"))
    assert pair.shift_s == pytest.approx(0.73, abs=0.2)


def test_heads_are_hashed_eight_times_a_second(small: Dataset) -> None:
    one = take_fingerprint(small, small.clip("ann"))
    assert one.frames.tolist() == list(range(0, 30, 3))
    assert one.hashes.shape == (10, 2)
    assert one.n_frames == 30


def test_frames_without_a_face_have_no_hash(tmp_path: Path) -> None:
    blank = Filmed(clip_id="ann", talk=1, identity="ann", length_s=1.0, with_face=False)
    other = blank.as_copy(clip_id="bob", identity="bob")
    dataset = write_heads(tmp_path / "data", [blank, other], is_split=False)
    assert len(take_fingerprint(dataset, dataset.clip("ann")).frames) == 0
    assert near_duplicates(dataset) == []


def test_fingerprints_are_computed_once(small: Dataset, taken: list[str]) -> None:
    before = near_duplicates(small)
    assert sorted(taken) == ["ann", "bob", "cat"]
    written = (small.folder / FINGERPRINTS_NAME).read_bytes()
    assert near_duplicates(small) == before
    assert len(taken) == 3
    assert (small.folder / FINGERPRINTS_NAME).read_bytes() == written


def test_what_was_read_is_what_was_written(small: Dataset) -> None:
    made = fingerprint_clips(small, small.clips()).by_clip
    read = read_fingerprints(small.folder)
    assert len(read) == len(made) == 3
    for one in made.values():
        same = read[one.clip_sha256, one.keypoints_sha256]
        assert same.n_frames == one.n_frames
        assert same.frames.tolist() == one.frames.tolist()
        assert same.hashes.tolist() == one.hashes.tolist()


def test_those_of_another_version_are_computed_again(
    small: Dataset, taken: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    near_duplicates(small)
    monkeypatch.setattr(fingerprints, "FINGERPRINTS_VERSION", 2)
    near_duplicates(small)
    assert len(taken) == 6


@pytest.mark.parametrize("column", ["clip_sha256", "keypoints_sha256"])
def test_those_of_other_bytes_are_not_used(small: Dataset, taken: list[str], column: str) -> None:
    near_duplicates(small)
    known = list(read_fingerprints(small.folder).values())
    changed = replace(known[0], **{column: "0" * 64})  # type: ignore[arg-type]
    write_fingerprints(small.folder, [changed, *known[1:]])
    near_duplicates(small)
    assert len(taken) == 4
    assert len(read_fingerprints(small.folder)) == 3


def test_a_broken_file_is_computed_again_with_a_warning(
    small: Dataset, taken: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    (small.folder / FINGERPRINTS_NAME).write_bytes(b"PAR1 but no table")
    near_duplicates(small)
    assert len(taken) == 3
    assert "not readable" in caplog.text
    assert len(read_fingerprints(small.folder)) == 3


@pytest.mark.parametrize(
    "fields",
    [
        {"hashes": b"too short"},
        {"frames": [0, 0, 3, 6, 9, 12, 15, 18, 21, 24]},
        {"frames": [0, 3, 6, 9, 12, 15, 18, 21, 24, 30]},
        {"frames": None},
        {"frames": [0, 3, 6, 9, None, 15, 18, 21, 24, 27]},
        {"n_frames": 29},
    ],
)
def test_a_row_that_can_t_be_one_is_computed_again(
    small: Dataset, taken: list[str], fields: dict[str, object]
) -> None:
    near_duplicates(small)
    path = small.folder / FINGERPRINTS_NAME
    table = pq.read_table(path)
    rows = table.to_pylist()
    rows[1] |= fields
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    near_duplicates(small)
    assert len(taken) == 4


def test_clips_that_left_the_dataset_are_forgotten(small: Dataset) -> None:
    near_duplicates(small)
    fingerprint_clips(small, small.clips()[:2])
    assert len(read_fingerprints(small.folder)) == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_can_t_be_written_is_compared_all_the_same(small: Dataset) -> None:
    small.folder.chmod(0o500)
    try:
        assert near_duplicates(small) == []
    finally:
        small.folder.chmod(0o700)


def test_a_full_disk_stops_no_comparison(
    small: Dataset, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fingerprints, "write_fingerprints", full)
    with caplog.at_level(logging.WARNING):
        assert near_duplicates(small) == []
    assert "can't be stored (No space left on device)" in caplog.text


def test_an_interruption_keeps_what_was_computed(
    small: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop_at_cat(dataset: Dataset, clip: Clip) -> Fingerprint:
        if clip.clip_id == "cat":
            raise KeyboardInterrupt
        return take_fingerprint(dataset, clip)

    monkeypatch.setattr(fingerprints, "take_fingerprint", stop_at_cat)
    with pytest.raises(KeyboardInterrupt):
        near_duplicates(small, workers=1)
    assert len(read_fingerprints(small.folder)) == 2


def test_a_dataset_without_keypoints_is_refused_in_one_line(small: Dataset) -> None:
    shutil.rmtree(small.folder / "keypoints")
    with pytest.raises(DatasetError, match=r"3 clips can't be compared .*`tpbench check") as caught:
        near_duplicates(small)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["clip", "keypoints"])
def test_other_bytes_than_the_manifest_s_are_refused(small: Dataset, kind: str) -> None:
    row = small.clip("ann")
    path = small.clip_path(row) if kind == "clip" else keypoints_path(small.folder, "ann")
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(MediaError, match="not the file that the manifest describes"):
        take_fingerprint(small, row)


def test_another_length_or_rate_than_stated_is_refused(small: Dataset) -> None:
    row = small.clip("ann")
    with pytest.raises(MediaError, match=r"has 30 frames at 25 a second, .* states 31 "):
        take_fingerprint(small, replace(row, n_frames=31))
    with pytest.raises(MediaError, match="states 30 at 30"):
        take_fingerprint(small, replace(row, fps_num=30))
