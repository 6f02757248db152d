"""`import`: existing clips become squares with keypoints, all of them, and a run continues."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.conftest import MediaMaker
from tests.talks import N_FRAMES, write_talk
from tpbench.dataset import Dataset, SplitRequest, make_split
from tpbench.errors import ConfigError, DatasetError
from tpbench.extraction import importing, squares
from tpbench.extraction.forgetting import remove
from tpbench.extraction.importing import ImportRequest, import_clips
from tpbench.extraction.naming import Wanted
from tpbench.extraction.squares import square_of, squared
from tpbench.video import probe, read_frames
from tpbench.wholebody import LEFT_SHOULDER, NOSE, RIGHT_SHOULDER
from tpbench.work import InThisProcess, Progress

SIZE_PX = (64, 48)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clips are made in this process, as small squares."""
    monkeypatch.setattr(importing, "Pool", lambda **_: InThisProcess(build=squares.build))
    monkeypatch.setattr(squares, "OUT_SIZE_PX", 128)


def write_poses(path: Path, n_frames: int) -> None:
    """Write keypoints of a person whose nose is at (10 + frame, 20) px."""
    points = np.zeros((n_frames, 133, 2), np.float32)
    points[:] = (30, 30)
    points[:, NOSE] = np.column_stack([10 + np.arange(n_frames), np.full(n_frames, 20)])
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, keypoints=points, scores=np.ones((n_frames, 133), np.float32))


def write_frames(folder: Path, images: Sequence[NDArray[np.uint8]]) -> None:
    folder.mkdir(parents=True)
    for number, image in enumerate(images):
        cv2.imwrite(str(folder / f"{number:05d}.png"), image[..., ::-1])


@pytest.fixture
def given(tmp_path: Path) -> ImportRequest:
    """A set of two videos, with sound in one, and a folder of frames; all with keypoints."""
    root, poses = tmp_path / "SET", tmp_path / "POSES"
    (root / "b").mkdir(parents=True)
    media = MediaMaker(root)
    media.cfr("a.mp4", n=6)
    media.with_audio("b/c.mp4", n=8, bursts_s=[0.1])
    write_frames(root / "frames", [MediaMaker.image(number) for number in range(5)])
    for name, n_frames in {"a": 6, "b/c": 8, "frames": 5}.items():
        write_poses(poses / f"{name}.npz", n_frames)
    return ImportRequest(folder=root, out=tmp_path / "DATASET", poses=poses)


def by_name(dataset: Dataset) -> dict[str, str]:
    """Path of the source -> clip id."""
    return {clip.source_path: clip.clip_id for clip in dataset.clips()}


def numbers(dataset: Dataset, clip_id: str, *, rows: slice) -> list[int]:
    clip = dataset.clip(clip_id)
    frames = read_frames(dataset.clip_path(clip))
    return [MediaMaker.frame_number(np.ascontiguousarray(frame.image[rows])) for frame in frames]


def test_every_clip_becomes_a_square_of_all_its_frames(given: ImportRequest) -> None:
    dataset = import_clips(given)
    assert dataset.verify() == []
    found = by_name(dataset)
    assert sorted(found) == ["SET/a.mp4", "SET/b/c.mp4", "SET/frames"]
    middle = slice(16, 112)  # bars of an eighth, above and below
    for path, n_frames in {"SET/a.mp4": 6, "SET/b/c.mp4": 8, "SET/frames": 5}.items():
        assert numbers(dataset, found[path], rows=middle) == list(range(n_frames))
        clip = dataset.clip(found[path])
        info = probe(dataset.clip_path(clip))
        assert (info.width_px, info.height_px, float(info.fps)) == (128, 128, 25.0)
        assert info.has_audio == (path == "SET/b/c.mp4")
        assert probe(dataset.pose_path(clip)).frame_count == n_frames
        assert clip.source_id.endswith((clip.source_sha256 or "")[:8])
        assert (clip.crop_x0, clip.crop_x1) == (0, 1)
        assert [clip.crop_y0, clip.crop_y1] == pytest.approx([-1 / 6, 7 / 6])
    assert dataset.info.config["fit"] == "pad"


def test_given_keypoints_move_with_the_pictures(given: ImportRequest) -> None:
    dataset = import_clips(given)
    pose = dataset.load_pose(dataset.clip(by_name(dataset)["SET/a.mp4"]))
    # Twice the size, and 8 px of bars above.
    wanted = np.column_stack([2 * (10.5 + np.arange(6)) - 0.5, np.full(6, 2 * 28.5 - 0.5)])
    np.testing.assert_allclose(pose.keypoints[:, NOSE], wanted)
    assert (pose.width_px, pose.height_px, pose.source) == (128, 128, "dwpose")


def test_crop_cuts_to_the_middle(given: ImportRequest) -> None:
    dataset = import_clips(replace(given, fit="crop"))
    clip = dataset.clip(by_name(dataset)["SET/a.mp4"])
    assert [clip.crop_x0, clip.crop_x1] == pytest.approx([1 / 8, 7 / 8])
    (frame, *_) = read_frames(dataset.clip_path(clip))
    whole = MediaMaker.image(0)[:, 8:56]
    assert np.abs(frame.image[64, 64].astype(int) - whole[24, 24]).max() < 20
    pose = dataset.load_pose(clip)
    np.testing.assert_allclose(
        pose.keypoints[0, NOSE], (2.5 * 128 / 48 - 0.5, 20.5 * 128 / 48 - 0.5)
    )


def test_the_table_gives_split_identity_and_rate(given: ImportRequest, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("clip,split,identity,fps\na,train,Ann,\nc,train,Ann,\nframes,test,,30\n")
    dataset = import_clips(replace(given, table=table))
    rows = {clip.source_path: clip for clip in dataset.clips()}
    assert [rows[path].split for path in sorted(rows)] == ["train", "train", "test"]
    assert [rows[path].identity for path in sorted(rows)][:2] == ["Ann", "Ann"]
    assert rows["SET/frames"].identity == rows["SET/frames"].source_id
    assert rows["SET/frames"].fps == 30
    assert len(dataset.clips(split="test")) == 1


def test_a_later_split_stays(given: ImportRequest, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("clip,split\na,train\nc,train\nframes,test\n")
    request = replace(given, table=table)
    import_clips(request)
    make_split(given.out, SplitRequest(test_share=0.5, seed=1))
    before = {clip.clip_id: clip.split for clip in Dataset.open(given.out).clips()}
    assert {clip.clip_id: clip.split for clip in import_clips(request).clips()} == before


def test_folders_of_frames_have_the_rate_that_is_given(given: ImportRequest) -> None:
    dataset = import_clips(replace(given, fps=Fraction(30000, 1001)))
    rows = {clip.source_path: clip for clip in dataset.clips()}
    assert (rows["SET/frames"].fps_num, rows["SET/frames"].fps_den) == (30000, 1001)
    assert rows["SET/a.mp4"].fps == 25


def test_a_clip_that_fails_has_a_row_and_the_others_are_kept(given: ImportRequest) -> None:
    MediaMaker(given.folder).truncated("broken.mp4")
    odd = given.folder / "odd"
    write_frames(odd, [MediaMaker.image(0), MediaMaker.image(1, width_px=32, height_px=32)])
    assert given.poses is not None
    write_poses(given.poses / "broken.npz", 3)
    write_poses(given.poses / "odd.npz", 2)
    write_poses(given.poses / "a.npz", 7)
    dataset = import_clips(given)
    failed = {clip.source_path: clip.error or "" for clip in dataset.clips("failed")}
    assert sorted(failed) == ["SET/a.mp4", "SET/broken.mp4", "SET/odd"]
    assert "has keypoints of 7 frames, and the clip has 6" in failed["SET/a.mp4"]
    assert "cut off or damaged" in failed["SET/broken.mp4"]
    assert "is 32x32 px, the first picture 64x48 px" in failed["SET/odd"]
    assert not any(str(given.folder.parent) in line for line in failed.values())
    assert sorted(by_name(dataset)) == ["SET/b/c.mp4", "SET/frames"]
    write_poses(given.poses / "a.npz", 6)
    assert "SET/a.mp4" in by_name(import_clips(given))  # its keypoints have changed


def interrupting(after: int) -> Iterator[None]:
    for _ in range(after):
        yield
    raise KeyboardInterrupt


def test_an_interrupted_import_continues_and_equals_one_without_a_break(
    given: ImportRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = import_clips(replace(given, out=tmp_path / "WHOLE"))
    made = squares.ImportTask._made
    with monkeypatch.context() as patch:
        stop = interrupting(after=1)

        def stopping(*args: object) -> dict[str, object]:
            next(stop)
            return made(*args)  # type: ignore[arg-type]  # passed on

        patch.setattr(squares.ImportTask, "_made", stopping)
        with pytest.raises(KeyboardInterrupt):
            import_clips(given)
    part = Dataset.open(given.out)
    assert (part.info.counts.kept, part.info.sources_pending) == (1, 2)
    seen: list[Progress] = []
    dataset = import_clips(given, seen.append)
    assert (seen[0].before, seen[-1].done) == (1, 3)
    assert dataset.digest == whole.digest
    assert dataset.info.sources_pending == 0
    seen.clear()
    import_clips(given, seen.append)
    assert seen[0].before == 3


def test_the_card_and_errors_name_the_command_that_made_it(given: ImportRequest) -> None:
    dataset = import_clips(given)
    assert dataset.info.made_by == "tpbench import"
    card = (dataset.folder / "README.md").read_text(encoding="utf-8")
    assert "Clips of an existing set" in card
    assert "tpbench extract" not in card
    (dataset.folder / "dataset.json").write_text(
        dataset.info.model_copy(update={"digest": "0" * 64}).model_dump_json()
    )
    with pytest.raises(DatasetError, match="run `tpbench import` into it again"):
        Dataset.open(dataset.folder).clips()


def test_a_clip_whose_file_is_gone_is_made_again(given: ImportRequest) -> None:
    dataset = import_clips(given)
    clip = dataset.clips()[0]
    dataset.clip_path(clip).unlink()
    assert import_clips(given).digest == dataset.digest
    assert dataset.verify() == []


def test_other_settings_are_refused_without_redo(given: ImportRequest) -> None:
    import_clips(given)
    with pytest.raises(DatasetError, match=r"another config \(fit pad is now crop\)"):
        import_clips(replace(given, fit="crop"))
    dataset = import_clips(replace(given, fit="crop", redo=True))
    assert dataset.clips()[0].crop_x0 == pytest.approx(1 / 8)
    assert dataset.verify() == []


def test_the_same_bytes_twice_are_two_clips(given: ImportRequest) -> None:
    assert given.poses is not None
    for name in ("x y", "x-y"):
        shutil.copy(given.folder / "a.mp4", given.folder / f"{name}.mp4")
        write_poses(given.poses / f"{name}.npz", 6)
    dataset = import_clips(given)
    assert len(dataset.clips()) == 5
    assert dataset.verify() == []


def test_a_folder_of_other_things_and_wrong_numbers_are_refused(given: ImportRequest) -> None:
    with pytest.raises(ConfigError, match="--workers must be at least 1"):
        import_clips(replace(given, workers=0))
    with pytest.raises(ConfigError, match="--item-timeout: want seconds"):
        import_clips(replace(given, item_timeout_s=-1))
    given.out.mkdir()
    (given.out / "notes.txt").touch()
    with pytest.raises(DatasetError, match="holds files but no dataset of tpbench"):
        import_clips(given)


def test_keypoints_are_detected_where_none_are_given(tmp_path: Path) -> None:
    write_talk(tmp_path / "SET" / "talk.mp4")
    dataset = import_clips(
        ImportRequest(
            folder=tmp_path / "SET",
            out=tmp_path / "DATASET",
            fit="crop",
            skeleton="mediapipe",
            offline=True,
        )
    )
    (clip,) = dataset.clips()
    pose = dataset.load_pose(clip)
    assert len(pose) == clip.n_frames == N_FRAMES
    assert clip.pose_source == "mediapipe"
    assert clip.skeleton_digest == dataset.info.models["skeleton"]
    nose, left, right = (pose.keypoints[:, at] for at in (NOSE, LEFT_SHOULDER, RIGHT_SHOULDER))
    assert np.all(nose[:, 1] < left[:, 1])
    assert np.all(right[:, 0] < nose[:, 0])
    assert np.all(nose[:, 0] < left[:, 0])
    assert (dataset.folder / "report.html").is_file()


@pytest.mark.parametrize("fit", ["pad", "crop"])
@pytest.mark.parametrize("size_px", [(64, 48), (48, 64), (50, 50), (49, 64), (1, 2)])
def test_a_square_lies_in_or_around_the_middle_of_a_picture(
    fit: squares.Fit, size_px: tuple[int, int]
) -> None:
    width_px, height_px = size_px
    image = np.full((height_px, width_px, 3), 7, np.uint8)
    box = square_of(width_px, height_px, fit)
    found = squared(image, box)
    assert found.shape == (box.side_px, box.side_px, 3)
    area = min(size_px) ** 2 if fit == "crop" else width_px * height_px
    assert np.count_nonzero(found[..., 0] == 7) == area
    assert box.side_px == (min(size_px) if fit == "crop" else max(size_px))


def test_a_removed_clip_is_not_imported_again_and_leaves_nothing(given: ImportRequest) -> None:
    dataset = import_clips(given)
    gone = by_name(dataset)["SET/a.mp4"]
    remove(dataset.folder, [Wanted(kind="clip", id=gone)])
    (given.folder / "a.mp4").rename(given.folder / "renamed.mp4")
    assert given.poses is not None
    (given.poses / "a.npz").rename(given.poses / "renamed.npz")
    again = import_clips(given)
    assert sorted(by_name(again)) == ["SET/b/c.mp4", "SET/frames"]
    assert again.verify() == []
    assert again.info.sources_pending == 0
    held = [path.read_bytes() for path in dataset.folder.rglob("*") if path.is_file()]
    assert not [data for data in held if b"renamed.mp4" in data or b"SET/a.mp4" in data]


def test_a_person_who_was_removed_is_not_imported_under_a_new_clip(
    given: ImportRequest, tmp_path: Path
) -> None:
    table = tmp_path / "table.csv"
    table.write_text("clip,identity\na,Ann\n")
    request = replace(given, table=table)
    dataset = import_clips(request)
    remove(dataset.folder, [Wanted(kind="identity", id="Ann")])
    table.write_text("clip,identity\na,Ann\nframes,Ann\n")
    again = import_clips(request)
    assert sorted(by_name(again)) == ["SET/b/c.mp4"]
    assert again.verify() == []
    held = [path.read_bytes() for path in dataset.folder.rglob("*") if path.is_file()]
    assert not [data for data in held if b"SET/frames" in data]
