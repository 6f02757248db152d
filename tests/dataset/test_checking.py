from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.dataset.heads import SIZE_PX, Filmed, write_heads
from tpbench.dataset import (
    Clip,
    Dataset,
    SplitName,
    SplitRequest,
    finalise,
    keypoints_path,
    make_split,
    pose_path,
    read_clips,
    write_manifest,
)
from tpbench.dataset.checking import CheckReport, check_dataset
from tpbench.dataset.problems import REMEDIES, Problem, some
from tpbench.dataset.removal import Removals, Tombstone, clip_tombstone
from tpbench.errors import ConfigError, DatasetError
from tpbench.files import sha256_of
from tpbench.spread import existing_path
from tpbench.video import PREVIEW, VideoWriter
from tpbench.wholebody import FACE, LEFT_HAND, load_pose, save_pose
from tpbench.work import Progress


def people() -> list[Filmed]:
    """Two on each side of the split, and a second clip of one of them."""
    sides: dict[str, SplitName] = {"ann": "test", "bob": "train", "cat": "test", "dan": "train"}
    clips = [
        Filmed(clip_id=name, talk=at, identity=f"{name} of list", side=side, length_s=1.2)
        for at, (name, side) in enumerate(sides.items())
    ]
    return [*clips, clips[0].as_copy(clip_id="ann_again", start_s=9.0)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "data"
    write_heads(folder, people())
    # The fingerprints are computed once, so that most tests need not.
    assert check_dataset(folder).problems == ()
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A dataset with which nothing is wrong, to be broken."""
    return shutil.copytree(whole, tmp_path / "data")


def only(report: CheckReport) -> Problem:
    (problem,) = report.problems
    return problem


def test_nothing_is_wrong_with_a_whole_dataset(whole: Path) -> None:
    report = check_dataset(whole)
    assert report.problems == ()
    assert report.notes == ()
    assert (report.n_clips, report.n_identities, report.n_compared) == (5, 4, 5)


def test_every_step_is_told(whole: Path) -> None:
    told: list[Progress] = []
    check_dataset(whole, listener=told.append)
    ends = {state.step: (state.done, state.total) for state in told}
    assert ends == {"files": (5, 5), "pictures": (5, 5), "pairs": (5, 5)}


@pytest.mark.parametrize("kind", ["clips", "keypoints", "poses"])
def test_a_missing_file_is_named(folder: Path, kind: str) -> None:
    (path,) = (folder / kind).rglob("bob.*")
    path.unlink()
    problem = only(check_dataset(folder))
    assert (problem.code, problem.what) == ("file.missing", "is missing")
    assert problem.where == path.relative_to(folder).as_posix()


@pytest.mark.parametrize("kind", ["clips", "keypoints", "poses"])
def test_a_changed_file_is_named_once(folder: Path, kind: str) -> None:
    (path,) = (folder / kind).rglob("bob.*")
    path.write_bytes(path.read_bytes()[:-10])
    problem = only(check_dataset(folder))
    assert problem.code == "file.changed"
    assert problem.where == path.relative_to(folder).as_posix()


@pytest.mark.parametrize("kind", ["clips", "keypoints", "poses"])
def test_a_folder_in_place_of_a_file_is_no_crash(folder: Path, kind: str) -> None:
    (path,) = (folder / kind).rglob("bob.*")
    path.unlink()
    path.mkdir()
    assert "file.broken" in {problem.code for problem in check_dataset(folder).problems}


def with_other_file(folder: Path, path: Path, column: str) -> None:
    """Make the manifest describe the present file of clip `bob`, and finish the dataset anew."""

    rows = [
        Clip.from_json(row.to_json() | {column: sha256_of(path)}) if row.clip_id == "bob" else row
        for row in read_clips(folder)
    ]
    finalise(folder, rows, name="Heads", config={}, models={}, measurements=())


def test_a_clip_that_can_t_be_decoded_is_named(folder: Path) -> None:
    path = existing_path(folder / "clips", "bob.mp4")
    path.write_bytes(b"no video")
    with_other_file(folder, path, "clip_sha256")
    problem = only(check_dataset(folder))
    assert (problem.code, problem.where) == ("file.broken", path.relative_to(folder).as_posix())
    assert "is not a video" in problem.what


def test_a_clip_cut_off_is_named(folder: Path) -> None:
    path = existing_path(folder / "clips", "bob.mp4")
    path.write_bytes(existing_path(folder / "clips", "cat.mp4").read_bytes()[:-500])
    with_other_file(folder, path, "clip_sha256")
    problem = only(check_dataset(folder))
    assert problem.code == "file.length"
    assert problem.what.startswith("has 29 frames at 25 a second, the manifest states 30")


def test_a_clip_damaged_inside_is_named(folder: Path) -> None:
    path = existing_path(folder / "clips", "bob.mp4")
    damaged = bytearray(path.read_bytes())
    middle = damaged.index(b"mdat") + 4 + len(damaged) // 2
    damaged[middle : middle + 2000] = bytes(2000)
    path.write_bytes(damaged)
    with_other_file(folder, path, "clip_sha256")
    problem = only(check_dataset(folder))
    assert problem.code == "file.broken"
    assert "damaged" in problem.what


@pytest.mark.parametrize(("kind", "column"), [("clips", "clip_sha256"), ("poses", "pose_sha256")])
def test_a_video_of_another_length_is_named(folder: Path, kind: str, column: str) -> None:
    path = existing_path(folder / kind, "bob.mp4")
    with VideoWriter(path, width_px=64, height_px=64, fps=Fraction(25), encoding=PREVIEW) as writer:
        for _ in range(7):
            writer.write(np.zeros((64, 64, 3), np.uint8))
    with_other_file(folder, path, column)
    problem = only(check_dataset(folder))
    assert problem.code == "file.length"
    assert problem.what.startswith("has 7 frames at 25 a second, ")


def test_keypoints_of_another_length_are_named(folder: Path) -> None:
    path = keypoints_path(folder, "bob")
    save_pose(path, load_pose(path).slice_frames(0, 7))
    with_other_file(folder, path, "keypoints_sha256")
    problem = only(check_dataset(folder))
    assert problem.code == "file.length"
    assert "is of 7 frames" in problem.what


def test_keypoints_that_are_none_are_named(folder: Path) -> None:
    path = keypoints_path(folder, "bob")
    path.write_bytes(b"no keypoints")
    with_other_file(folder, path, "keypoints_sha256")
    problem = only(check_dataset(folder))
    assert problem.code == "file.broken"
    assert "not a keypoints file" in problem.what


OUTSIDE: Mapping[str, tuple[slice, float, bool]] = {
    "face": (FACE, SIZE_PX, True),
    "hand far away": (LEFT_HAND, 1.6 * SIZE_PX, True),
    "hand cut off": (LEFT_HAND, 1.2 * SIZE_PX, False),
    "legs": (slice(13, 17), 3.0 * SIZE_PX, False),
}


@pytest.mark.parametrize("case", OUTSIDE)
def test_a_skeleton_outside_the_frame_is_named(folder: Path, case: str) -> None:
    points, to_px, is_wrong = OUTSIDE[case]
    path = keypoints_path(folder, "bob")
    pose = load_pose(path)
    pose.keypoints[3:, points] = to_px
    pose.scores[3:, points] = 1
    save_pose(path, pose)
    with_other_file(folder, path, "keypoints_sha256")
    found = check_dataset(folder).problems
    assert [problem.code for problem in found] == ["keypoints.outside"] * is_wrong
    assert all(problem.what == "is outside the frame in 27 of 30 frames" for problem in found)


def test_files_of_no_clip_are_named(folder: Path) -> None:
    (folder / "clips" / "zoe.mp4").write_bytes(b"")
    problem = only(check_dataset(folder))
    assert (problem.code, problem.where) == ("file.unknown", "clips/zoe.mp4")


def test_a_manifest_of_other_clips_is_named(folder: Path) -> None:
    rows = read_clips(folder)
    write_manifest(folder, [replace(rows[0], clip_sha256="0" * 64), *rows[1:]])
    problems = {problem.code for problem in check_dataset(folder).problems}
    assert problems >= {"table.manifest", "table.clips", "table.card", "file.changed"}


def test_other_counts_are_named(folder: Path) -> None:
    path = folder / "dataset.json"
    info = json.loads(path.read_text())
    info["counts"]["kept_frames"] += 1
    info["split"]["test_clips"] += 1
    path.write_text(json.dumps(info))
    first, second = check_dataset(folder).problems
    assert (first.code, first.where) == ("table.manifest", "dataset.json")
    assert first.what == "counts other kept_frames than manifest.parquet has rows"
    assert second.what == "states 4 test clips, manifest.parquet has 3"


def test_an_identity_on_both_sides_is_named(folder: Path) -> None:
    rows = read_clips(folder)
    write_manifest(
        folder, [replace(row, split="train" if row.clip_id == "ann" else row.split) for row in rows]
    )
    found = check_dataset(folder).problems
    (problem,) = (problem for problem in found if problem.code == "split.identity")
    assert "ann of list" in problem.what
    assert "ann (train)" in problem.what


def test_a_clip_on_neither_side_is_named(folder: Path) -> None:
    rows = read_clips(folder)
    write_manifest(
        folder, [replace(row, split=None if row.clip_id == "bob" else row.split) for row in rows]
    )
    said = [problem.what for problem in check_dataset(folder).problems]
    assert "has 1 clip (bob) on neither side of the split" in said


EDITS: dict[str, tuple[Callable[[list[str]], list[str]], str]] = {
    "lacking": (lambda lines: lines[:-1], r"lacks 1 clip \(cat\) that the manifest has"),
    "more": (lambda lines: [*lines, "zoe,zoe"], r"names 1 clip \(zoe\) that the manifest does not"),
    "twice": (lambda lines: [*lines, lines[-1]], "names a clip twice"),
    "other person": (
        lambda lines: [line.replace("cat of", "zoe of") for line in lines],
        r"names other identities than the manifest for 1 clip \(cat\)",
    ),
    "no head": (lambda lines: lines[1:], "want a column 'clip_id' in the first line"),
    "empty": (lambda _: [], "want a column 'clip_id'"),
    "not text": (lambda _: ["\udcff"], "can't be read"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_list_of_the_split_that_differs_is_named(folder: Path, edit: str) -> None:
    change, said = EDITS[edit]
    path = folder / "splits" / "test.csv"
    lines = change(path.read_text().splitlines())
    path.write_bytes("".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"))
    problem = only(check_dataset(folder))
    assert (problem.code, problem.where) == ("table.split", "splits/test.csv")
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(problem.what)


def test_a_missing_list_of_the_split_is_named(folder: Path) -> None:
    (folder / "splits" / "train.csv").unlink()
    assert only(check_dataset(folder)).what == "is missing"


@pytest.mark.parametrize(
    ("name", "code"), [("identities.csv", "table.identities"), ("splits/placed.csv", "table.split")]
)
def test_a_table_that_later_commands_go_by_is_read(folder: Path, name: str, code: str) -> None:
    (folder / name).write_bytes(b"\xff rubbish")
    problem = only(check_dataset(folder))
    assert (problem.code, problem.where) == (code, name)
    assert "can't be read" in problem.what
    assert name not in problem.what


def test_a_table_of_clips_that_differs_is_named(folder: Path) -> None:
    path = folder / "clips-test.parquet"
    table = pq.read_table(path)
    names = table.schema.names
    for changed, said in (
        (table.slice(1), "lacks 1 clip (ann) of the manifest, and names 0 clips besides"),
        (table.take([1, 0, 2]), "has its rows in another order than the manifest, or twice"),
        (table.drop_columns(["identity"]), "has another column identity than the manifest"),
        (
            table.set_column(names.index("file_name"), "file_name", table["pose_file_name"]),
            "has other paths in the column file_name than the files of its clips",
        ),
        (table.drop_columns(["clip_id"]), "has no column clip_id"),
    ):
        pq.write_table(changed, path)
        problem = only(check_dataset(folder))
        assert (problem.where, problem.what) == ("clips-test.parquet", said)


def test_tables_of_clips_that_are_missing_or_too_many_are_named(folder: Path) -> None:
    (folder / "clips-test.parquet").rename(folder / "clips-whole.parquet")
    more, missing = check_dataset(folder).problems
    assert (more.where, missing.where) == ("clips-whole.parquet", "clips-test.parquet")
    assert missing.what == "is missing"


@pytest.mark.parametrize("name", ["clips-test.parquet", "croissant.json"])
def test_a_table_that_is_none_is_named(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"{} nothing")
    problem = only(check_dataset(folder))
    assert problem.where == name
    assert "can't be read" in problem.what


def test_a_card_of_another_manifest_is_named(folder: Path) -> None:
    path = folder / "croissant.json"
    path.write_text(path.read_text().replace(sha256_of(folder / "manifest.parquet"), "0" * 64))
    assert only(check_dataset(folder)).code == "table.card"


def test_a_near_duplicate_across_the_split_is_named(tmp_path: Path) -> None:
    talk = Filmed(clip_id="ann", talk=0, identity="ann", side="test")
    copy = Filmed(
        clip_id="copy",
        talk=0,
        identity="bob",
        start_s=0.6,
        fps=30,
        is_mirrored=True,
        is_reencoded=True,
        cropped_share=0.05,
    )
    other = Filmed(clip_id="cat", talk=1, identity="cat", side="test", length_s=1.2)
    same_side = talk.as_copy(clip_id="ann_copy", identity="dan", side="test")
    folder = tmp_path / "data"
    write_heads(folder, [talk, copy, other, same_side])
    first, second = check_dataset(folder).problems
    assert (first.code, first.where) == ("split.near_duplicate", "ann, copy")
    assert second.where == "ann_copy, copy"
    assert "are alike, mirrored" in first.what
    assert "--join near-duplicates" in first.remedy
    make_split(folder, SplitRequest(joins=("near-duplicates",), test_share=0.5))
    assert check_dataset(folder).problems == ()


def test_without_a_split_nothing_is_compared_and_that_is_said(tmp_path: Path) -> None:
    talk = Filmed(clip_id="ann", talk=0, identity="ann", length_s=1.2)
    copy = talk.as_copy(clip_id="bob", identity="bob")
    write_heads(tmp_path / "data", [talk, copy], is_split=False)
    report = check_dataset(tmp_path / "data")
    assert report.problems == ()
    assert report.n_compared == 0
    assert report.notes[0].startswith("not split, so no clips were compared")
    (tmp_path / "data" / "splits").mkdir()
    (tmp_path / "data" / "splits" / "test.csv").write_text("clip_id,identity\n")
    assert (
        only(check_dataset(tmp_path / "data")).what == "is there, though the dataset is not split"
    )


def test_a_clip_without_a_face_is_said_not_to_be_compared(tmp_path: Path) -> None:
    bob = Filmed(clip_id="bob", talk=1, identity="bob", length_s=1.2)
    blank = bob.as_copy(clip_id="ann", identity="ann", side="test", with_face=False)
    write_heads(tmp_path / "data", [blank, bob])
    report = check_dataset(tmp_path / "data")
    assert report.problems == ()
    assert report.notes == ("1 clip without a face can't be compared with others",)
    assert report.n_compared == 1


def test_an_unfinished_dataset_is_said_to_be_so(folder: Path) -> None:
    path = folder / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"sources_pending": 2}))
    report = check_dataset(folder)
    assert (report.problems, report.notes) == ((), ("not finished: 2 sources pending",))


def test_what_is_no_dataset_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no dataset here"):
        check_dataset(tmp_path)


def test_a_manifest_that_can_t_be_read_is_an_error(folder: Path) -> None:
    (folder / "manifest.parquet").write_bytes(b"PAR1")
    with pytest.raises(DatasetError, match="not readable as Parquet"):
        check_dataset(folder)


def test_no_workers_are_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="want at least 1"):
        check_dataset(folder, workers=0)


def test_problems_name_the_first_few(whole: Path) -> None:
    assert some({"d", "c", "b", "a"}) == "4 clips (a, b, c, ...)"
    assert all(remedy[0].islower() for remedy in REMEDIES.values())
    assert str(whole) not in json.dumps(check_dataset(whole).to_json())


def test_a_pose_video_damaged_inside_is_named(folder: Path) -> None:
    path = pose_path(folder, "bob")
    path.write_bytes(path.read_bytes().replace(b"avcC", b"junk"))
    with_other_file(folder, path, "pose_sha256")
    assert only(check_dataset(folder)).code == "file.broken"


def test_a_dataset_of_no_kept_clips_is_whole(tmp_path: Path) -> None:

    finalise(tmp_path / "data", [], name="None", config={}, models={}, measurements=())
    report = check_dataset(tmp_path / "data")
    assert report.problems == ()
    assert isinstance(Dataset.open(tmp_path / "data"), Dataset)


def test_a_removed_clip_that_is_back_is_named(folder: Path) -> None:
    rows = read_clips(folder)
    stones = [clip_tombstone(row) for row in rows if row.clip_id == "bob"]
    Removals().joined(stones).write(folder)
    manifest, listed = check_dataset(folder).problems
    assert (manifest.code, manifest.where) == ("removed.present", "manifest.parquet")
    assert manifest.what == "holds 1 clip (bob) that removals.json lists"
    assert listed.where == "splits/train.csv"


def test_files_of_a_removed_clip_are_named_as_such(folder: Path) -> None:
    (folder / "poses" / "zoe-0123abcd_00001000_00005000.mp4").write_bytes(b"")
    stone = Tombstone(kind="source", id="zoe-0123abcd", date="2026-01-31")
    Removals().joined([stone]).write(folder)
    problem = only(check_dataset(folder))
    assert problem.code == "removed.present"
    assert problem.where == "poses/zoe-0123abcd_00001000_00005000.mp4"


def test_a_removed_person_on_a_list_is_named(folder: Path) -> None:
    (folder / "splits" / "test-v1.csv").write_text("clip_id,identity\nold,zoe\n")
    stone = Tombstone(kind="identity", id="zoe", date="2026-01-31")
    Removals().joined([stone]).write(folder)
    problem = only(check_dataset(folder))
    assert (problem.code, problem.where) == ("removed.present", "splits/test-v1.csv")


def test_a_frozen_test_side_of_people_for_training_is_named(folder: Path) -> None:
    make_split(folder, SplitRequest(version_name="test-v1"))
    assert check_dataset(folder).problems == ()
    path = folder / "splits" / "test-v1.csv"
    path.write_text(path.read_text() + "bob,bob of list\n")
    problem = only(check_dataset(folder))
    assert (problem.code, problem.where) == ("split.identity", "splits/test-v1.csv")
    path.unlink()
    assert only(check_dataset(folder)).what == "is missing"
