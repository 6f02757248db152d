"""A pack holds what a rebuild needs, and nothing else; a damaged one is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.films import Filmed, write_filmed
from tpbench.canonical import settings_digest
from tpbench.dataset import Clip, Dataset, SplitRequest, keypoints_path, make_split, read_clips
from tpbench.dataset.cards import card_dataset
from tpbench.dataset.checking import check_dataset
from tpbench.dataset.likeness import Marks, distance_of
from tpbench.dataset.manifest import write_manifest
from tpbench.dataset.pack import Pack, unfit, write_pack
from tpbench.errors import DatasetError, MediaError
from tpbench.extraction.forgetting import remove
from tpbench.extraction.naming import Wanted
from tpbench.files import sha256_of
from tpbench.wholebody import load_pose
from tpbench.work import Progress


@pytest.fixture(scope="module")
def filmed(tmp_path_factory: pytest.TempPathFactory) -> Filmed:
    """Tests leave it as it is."""
    return write_filmed(tmp_path_factory.mktemp("filmed"), ("a", "b"))


@pytest.fixture(scope="module")
def pack(filmed: Filmed, tmp_path_factory: pytest.TempPathFactory) -> Pack:
    """Tests leave it as it is."""
    return write_pack(filmed.dataset, tmp_path_factory.mktemp("packs") / "pack")


@pytest.fixture
def copy(pack: Pack, tmp_path: Path) -> Path:
    """A pack to spoil."""
    return shutil.copytree(pack.folder, tmp_path / "pack")


def kept(pack: Pack) -> list[Clip]:
    return [row for row in pack.rows() if row.status == "kept"]


def test_a_pack_has_rows_keypoints_and_marks_of_every_clip(filmed: Filmed, pack: Pack) -> None:
    assert [row.clip_id for row in pack.rows()] == [c.clip_id for c in filmed.dataset.clips(None)]
    for row in kept(pack):
        original = load_pose(filmed.dataset.keypoints_path(row))
        np.testing.assert_array_equal(pack.pose(row).keypoints, original.keypoints)
        marks = Marks.from_bytes(pack.marks(row))
        assert distance_of(filmed.dataset.clip_path(row), marks) == 0


def test_it_says_what_it_was_made_of(filmed: Filmed, pack: Pack) -> None:
    assert pack.info.dataset_digest == filmed.dataset.digest
    assert pack.info.clips == len(kept(pack))
    assert pack.dataset.counts == filmed.dataset.info.counts
    assert pack.dataset.split == filmed.dataset.info.split
    assert {row.split for row in kept(pack)} == {"train", "test"}
    assert "libavcodec" in pack.info.encoders


def test_it_holds_neither_pictures_nor_paths(filmed: Filmed, pack: Pack) -> None:
    files = [path for path in pack.folder.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {".json", ".parquet", ".npz", ".csv", ".md"}
    for path in files:
        content = path.read_bytes()
        assert str(filmed.raw).encode() not in content
        assert b"raw/a.mp4" not in content
    assert {row.source_path for row in pack.rows()} == {"a.mp4", "b.mp4"}
    assert sum(len(pack.marks(row)) for row in kept(pack)) < 1000 * len(kept(pack))


def test_the_same_dataset_gives_the_same_pack(filmed: Filmed, pack: Pack, tmp_path: Path) -> None:
    again = write_pack(filmed.dataset.folder, tmp_path / "again", workers=2)
    assert again.info.digest == pack.info.digest


def test_a_folder_that_holds_something_is_left_alone(filmed: Filmed, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(DatasetError, match="exists already; choose a new or empty folder"):
        write_pack(filmed.dataset, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_pack_is_not_written_into_its_dataset(filmed: Filmed) -> None:
    inside = filmed.dataset.folder / "pack"
    with pytest.raises(DatasetError, match="lies in the dataset itself"):
        write_pack(filmed.dataset, inside)
    assert not inside.exists()


@pytest.mark.parametrize("kind", ["clip_path", "keypoints_path"])
def test_a_changed_file_of_the_dataset_is_not_packed(
    filmed: Filmed, tmp_path: Path, kind: str
) -> None:
    folder = shutil.copytree(filmed.dataset.folder, tmp_path / "dataset")
    dataset = Dataset.open(folder)
    path: Path = getattr(dataset, kind)(dataset.clips()[0])
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(MediaError, match="not the file that the manifest describes"):
        write_pack(dataset, tmp_path / "pack")
    path.unlink()
    with pytest.raises(DatasetError, match="1 file of kept clips missing, such as"):
        write_pack(dataset, tmp_path / "pack")
    assert [path.name for path in tmp_path.iterdir()] == ["dataset"]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"crop_x0": None}, "lacks its crop_x0"),
        ({"end_frame": 99_999}, "spans"),
        ({"out_size_px": 99_999}, "99999 px wide"),
        ({"crop_x1": 1.5}, "outside its source"),
    ],
)
def test_a_clip_that_cannot_be_made_again_is_named(
    pack: Pack, copy: Path, changes: dict[str, Any], why: str
) -> None:
    row = replace(kept(pack)[0], **changes)
    assert why in str(unfit(row))
    write_manifest(copy, [row])
    spoilt = Pack(folder=copy, info=pack.info, dataset=pack.dataset)
    with pytest.raises(DatasetError, match=f"clip {row.clip_id} .*{why}"):
        spoilt.rows()


def spoil_version(folder: Path) -> None:
    path = folder / "pack.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"schema_version": 2}))


def spoil_digest(folder: Path) -> None:
    path = folder / "pack.json"
    path.write_text(path.read_text().replace('"Films"', '"Filmz"'))


def forget_table(folder: Path) -> None:
    rewrite_files(folder, lambda files: files.pop("marks.parquet"))


def lead_out(folder: Path) -> None:
    rewrite_files(folder, lambda files: files.update({"../secret": "0" * 64}))


def rewrite_files(folder: Path, change: Callable[[dict[str, str]], object]) -> None:
    path = folder / "pack.json"
    content = json.loads(path.read_text())
    change(content["files"])
    content.pop("digest")
    content["digest"] = settings_digest(content)
    path.write_text(json.dumps(content, indent=2) + "\n")


def cut_manifest(folder: Path) -> None:
    path = folder / "manifest.parquet"
    path.write_bytes(path.read_bytes()[:-100])


def link_out(folder: Path) -> None:
    path = folder / "manifest.parquet"
    path.rename(folder.parent / "elsewhere.parquet")
    path.symlink_to(folder.parent / "elsewhere.parquet")


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (
            spoil_version,
            "pack.json: schema version 2, this tpbench reads 1; .*the tpbench that",
        ),
        (spoil_digest, "pack.json: was changed after it was written; copy or download"),
        (forget_table, "lists no marks.parquet"),
        (lead_out, "'../secret' is no file of a pack"),
        (cut_manifest, "manifest.parquet: not the file that was written down"),
        (link_out, "manifest.parquet: leads out of pack"),
        (lambda folder: (folder / "manifest.parquet").unlink(), "manifest.parquet: No such file"),
        (lambda folder: (folder / "pack.json").unlink(), "no pack here .*--to pack` makes one"),
        (shutil.rmtree, "no pack here: no such folder"),
    ],
)
def test_a_damaged_pack_is_refused_in_one_line(
    copy: Path, spoil: Callable[[Path], object], why: str
) -> None:
    spoil(copy)
    with pytest.raises(DatasetError, match=why):
        Pack.open(copy)


def test_a_dataset_with_a_damaged_table_is_not_packed(filmed: Filmed, tmp_path: Path) -> None:
    folder = shutil.copytree(filmed.dataset.folder, tmp_path / "dataset")
    (folder / "removals.json").write_text("[1, 2]")
    with pytest.raises(DatasetError, match=r"removals\.json: want an object with fields; put it"):
        write_pack(folder, tmp_path / "pack")
    assert not (tmp_path / "pack").exists()


@pytest.mark.parametrize("name", ["splits/placed.csv", "identities.csv"])
def test_a_damaged_table_is_noticed_before_a_rebuild_begins(copy: Path, name: str) -> None:
    path = copy / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("rubbish\n")
    rewrite_files(copy, lambda files: files.update({name: sha256_of(path)}))
    with pytest.raises(DatasetError, match=f"{name}.*want a column"):
        Pack.open(copy)


def test_another_number_of_clips_than_stated_is_refused(pack: Pack) -> None:
    other = replace(pack, info=pack.info.model_copy(update={"clips": 99}))
    with pytest.raises(DatasetError, match=r"manifest\.parquet: has \d kept clips.*tells of 99"):
        other.rows()


@pytest.mark.parametrize("place", ["/proc/nowhere/pack", "file/pack"])
def test_a_place_that_can_not_be_written_is_refused_before_the_work(
    filmed: Filmed, tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.chdir(tmp_path)
    seen: list[Progress] = []
    with pytest.raises(DatasetError, match=r"can't write a pack here"):
        write_pack(filmed.dataset, Path(place), on_progress=seen.append)
    assert not seen


def test_a_dataset_is_no_pack(filmed: Filmed) -> None:
    with pytest.raises(DatasetError, match="this is a dataset, not a pack"):
        Pack.open(filmed.dataset.folder)


def test_changed_keypoints_are_not_used(copy: Path) -> None:
    pack = Pack.open(copy)
    row = kept(pack)[0]
    path = keypoints_path(copy, row.clip_id)
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(MediaError, match="sha256 differs"):
        pack.pose(row)
    path.unlink()
    with pytest.raises(MediaError, match="No such file"):
        pack.pose(row)


def test_names_of_folders_are_cut_off_errors(filmed: Filmed, tmp_path: Path) -> None:
    folder = shutil.copytree(filmed.dataset.folder, tmp_path / "dataset")
    failed = Clip(
        clip_id="x_failed",
        status="failed",
        source_id="x",
        source_path="private/x.mp4",
        error="private/x.mp4: is empty",
    )
    write_manifest(folder, [*read_clips(folder), failed])
    made = write_pack(Dataset.open(folder), tmp_path / "pack")
    row = next(row for row in made.rows() if row.clip_id == "x_failed")
    assert (row.source_path, row.error) == ("x.mp4", "x.mp4: is empty")


def test_a_pack_is_not_taken_for_a_dataset(filmed: Filmed, tmp_path: Path) -> None:
    folder = write_pack(filmed.dataset, tmp_path / "pack").folder
    wanted = Wanted(kind="clip", id=filmed.dataset.clips()[0].clip_id)
    commands: list[Callable[[], object]] = [
        lambda: Dataset.open(folder),
        lambda: card_dataset(folder),
        lambda: check_dataset(folder),
        lambda: make_split(folder, SplitRequest()),
        lambda: remove(folder, [wanted]),
    ]
    for command in commands:
        with pytest.raises(DatasetError, match="a pack, not a dataset; make the dataset with"):
            command()
    assert Pack.open(folder).rows()
