from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.dataset.rows import FAILED, kept, make_dataset, rejected
from tests.datasets import as_before
from tpbench.dataset import (
    Dataset,
    clip_path,
    content_digest,
    keypoints_path,
    manifest,
    pose_path,
    split_dataset,
    write_manifest,
)
from tpbench.errors import DatasetError, MediaError


def test_opened_dataset_gives_kept_clips_and_their_files(small: Dataset) -> None:
    dataset = Dataset.open(str(small.folder))

    assert [clip.clip_id for clip in dataset.clips()] == ["a_kept", "b_kept"]
    assert [clip.clip_id for clip in dataset.clips("rejected")] == ["c_rejected"]
    assert [clip.clip_id for clip in dataset.clips(None)] == [
        "a_kept",
        "b_kept",
        "broken",
        "c_rejected",
    ]
    assert dataset.identities == ("ann", "bob")
    clip = dataset.clip("a_kept")
    assert dataset.clip_path(clip) == small.folder / "clips" / "29" / "a_kept.mp4"
    assert dataset.pose_path(clip) == small.folder / "poses" / "29" / "a_kept.mp4"
    assert np.all(dataset.load_pose(clip).keypoints == 7)
    assert len(dataset.manifest()) == 4


def test_unknown_clip_names_the_closest(small: Dataset) -> None:
    with pytest.raises(DatasetError, match="did you mean 'a_kept'"):
        small.clip("a_kep")
    with pytest.raises(DatasetError, match=r"no clip '\.\./\.\./etc'"):
        small.clip("../../etc")


def test_clips_asked_for_by_id_are_read_once_and_are_those_of_the_list(
    small: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = small.clips(None)
    read_table = manifest.read_table
    read: list[Path] = []

    def counted(folder: Path) -> object:
        read.append(folder)
        return read_table(folder)

    monkeypatch.setattr(manifest, "read_table", counted)

    assert [small.clip(row.clip_id) for row in rows] == rows
    assert read == [small.folder]


def test_a_clip_of_a_manifest_that_belongs_to_another_dataset_json_is_refused(
    small: Dataset,
) -> None:
    kept = small.clips()[1:]
    write_manifest(small.folder, kept)
    with pytest.raises(DatasetError, match="do not belong together"):
        Dataset.open(small.folder).clip("b_kept")


def test_healthy_dataset_verifies(small: Dataset) -> None:
    assert small.verify() == []


def test_verify_names_changed_missing_and_stray_files(small: Dataset) -> None:
    first, second = small.clips()
    small.clip_path(first).write_bytes(b"other")
    small.pose_path(second).unlink()
    stray = small.folder / "keypoints" / "nobody.npz"
    stray.write_bytes(b"")
    assert small.verify() == [
        f"{small.clip_path(first)}: not the file that the manifest describes (sha256 differs)",
        f"{small.pose_path(second)}: missing",
        f"{stray}: belongs to no kept clip",
    ]


def test_missing_keypoints_are_a_media_error(small: Dataset) -> None:
    clip = small.clips()[0]
    small.keypoints_path(clip).unlink()
    with pytest.raises(MediaError, match=r"a_kept\.npz"):
        small.load_pose(clip)


def test_split_that_was_never_made_is_asked_for_in_one_line(small: Dataset) -> None:
    with pytest.raises(DatasetError, match="not split yet; run `tpbench split"):
        small.clips(split="test")


def test_a_split_that_does_not_exist_is_refused_and_not_taken_for_an_empty_one(
    small: Dataset,
) -> None:
    with pytest.raises(DatasetError, match="no split 'val'; known: test, train"):
        small.clips(split="val")


def test_manifest_of_another_run_is_noticed(small: Dataset) -> None:
    rows = small.clips(None)
    write_manifest(small.folder, [replace(rows[0], clip_sha256="f" * 64), *rows[1:]])
    with pytest.raises(DatasetError, match="do not belong together"):
        small.clips()


def test_folder_without_dataset_names_the_command(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "absent"):
        with pytest.raises(DatasetError, match=r"no dataset here.*tpbench extract"):
            Dataset.open(place)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not readable as JSON"),
        ("[]", "schema version None"),
        (
            '{"schema_version": 99}',
            "made by a newer tpbench .schema version 99, this one",
        ),
        ('{"schema_version": 1}', "name: Field required"),
    ],
)
def test_broken_dataset_json_is_one_clear_line(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(DatasetError, match=message) as caught:
        Dataset.open(tmp_path)
    assert "\n" not in str(caught.value)


def test_hand_edited_digest_is_refused(small: Dataset) -> None:
    path = small.folder / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "digest": "abc"}))
    with pytest.raises(DatasetError, match="digest: String should match"):
        Dataset.open(small.folder)


def test_digest_is_that_of_the_documented_json() -> None:
    # printf '[]' | sha256sum
    assert content_digest([]) == "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945"


def test_digest_hangs_on_kept_content_only() -> None:
    clips = [kept("a"), kept("b")]
    digest = content_digest(clips)

    assert digest == content_digest([*clips[::-1], rejected(), FAILED])
    assert digest == content_digest(
        [replace(clip, split="test", source_path="elsewhere", retrieved_at="now") for clip in clips]
    )
    for changed in (
        clips[:1],
        [clips[0], kept("c")],
        [clips[0], kept("b", pose_sha256="f" * 64)],
        [clips[0], kept("b", keypoints_sha256="f" * 64)],
        [clips[0], kept("b", clip_sha256="f" * 64)],
    ):
        assert content_digest(changed) != digest


def test_a_clip_is_found_by_the_beginning_of_its_id(small: Dataset) -> None:
    assert small.find("a_").clip_id == "a_kept"
    assert small.find("c_rejected").clip_id == "c_rejected"
    with pytest.raises(DatasetError, match="no clip 'x'"):
        small.find("x")


def test_a_beginning_of_several_ids_names_them(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "talks", [kept(name) for name in ("a", "ab", "abc")])
    assert dataset.find("a").clip_id == "a"
    many = make_dataset(tmp_path / "many", [kept(f"talk_{index}") for index in range(7)])
    with pytest.raises(DatasetError, match="7 clip ids begin with 'ta'") as caught:
        many.find("ta")
    assert "talk_0, talk_1, talk_2, talk_3, talk_4 and 2 more; give more" in str(caught.value)


def test_a_dataset_prints_in_one_line_and_as_a_table(small: Dataset) -> None:
    line = f"Dataset(name: Small talks, folder: {small.folder}, clips: 2, identities: 2, "
    assert str(small) == repr(small) == line + "length: 9.6 s, split: none)"
    info = small.info.model_copy(update={"name": "<b>&"})
    table = Dataset(folder=small.folder, info=info)._repr_html_()
    assert "<td style='text-align:left'>&lt;b&gt;&amp;</td>" in table
    split_dataset(small.folder, test_share=0.5, seed=0)
    assert "split: 1 train, 1 test" in str(Dataset.open(small.folder))


def test_a_dataset_of_an_earlier_version_is_read(small: Dataset) -> None:
    as_before(small.folder)
    dataset = Dataset.open(small.folder)
    clip = dataset.clip("a_kept")
    assert dataset.clip_path(clip) == small.folder / "clips" / "a_kept.mp4"
    assert dataset.pose_path(clip) == small.folder / "poses" / "a_kept.mp4"
    assert np.all(dataset.load_pose(clip).keypoints == 7)
    assert (dataset.missing(), dataset.verify()) == ([], [])
    dataset.keypoints_path(clip).unlink()
    assert dataset.missing() == [dataset.keypoints_path(clip)]


def test_verify_names_a_file_of_an_earlier_version_beside_the_new_one(small: Dataset) -> None:
    new = small.clip_path(small.clips()[0])
    old = small.folder / "clips" / new.name
    old.write_bytes(b"outdated")
    assert small.verify() == [f"{old}: belongs to no kept clip"]


@pytest.mark.parametrize("clip_id", ["../a", "a/b", "/etc/passwd", "..", "", "a.b", "a\0", "é"])
@pytest.mark.parametrize("path_of", [clip_path, keypoints_path, pose_path])
def test_no_clip_id_leads_out_of_its_folder(
    clip_id: str, path_of: Callable[[Path, str], Path], tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match="can't be a file name"):
        path_of(tmp_path, clip_id)
