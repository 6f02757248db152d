"""A rebuilt dataset: the original from the same files, as good as possible from others."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.conftest import MediaMaker
from tests.films import Filmed, combed, dataset_of, encode_again, write_film, write_filmed
from tpbench.dataset import Clip, Dataset, clip_path, finalise, read_clips
from tpbench.dataset.finishing import make_split
from tpbench.dataset.likeness import SAME_LIMIT
from tpbench.dataset.pack import Pack, write_pack
from tpbench.dataset.rebuilt import coverage_notes, read_rebuilt
from tpbench.dataset.removal import Removals
from tpbench.dataset.splitting import SplitRequest
from tpbench.errors import ConfigError, DatasetError
from tpbench.extraction import rebuild_task, rebuilding, writing
from tpbench.extraction.forgetting import remove
from tpbench.extraction.naming import Wanted
from tpbench.extraction.planning import make_folder
from tpbench.extraction.raw_files import match_sources, wanted_sources
from tpbench.extraction.rebuilding import RebuildResult, rebuild
from tpbench.extraction.remaking import frame_numbers
from tpbench.extraction.report import write_report
from tpbench.extraction.sources import find_sources, hashed
from tpbench.extraction.writing import CropBox
from tpbench.metrics.scoring.request import ScoreRequest, open_real
from tpbench.video import CLIP, POSE, probe
from tpbench.work import InThisProcess, Pool, TaskSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """Films, the dataset made of them, and its pack."""

    filmed: Filmed
    pack: Pack

    @property
    def raw(self) -> Path:
        return self.filmed.raw


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Packed:
    """Tests leave all of it as it is."""
    folder = tmp_path_factory.mktemp("packed")
    filmed = write_filmed(folder)
    return Packed(filmed=filmed, pack=write_pack(filmed.dataset, folder / "pack"))


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a worker does is the same in this process, without its start; reports take a second."""
    monkeypatch.setattr(rebuilding, "Pool", lambda **_: InThisProcess(build=rebuild_task.build))
    monkeypatch.setattr(rebuilding, "write_report", lambda _: None)


def outcomes(result: RebuildResult) -> dict[str, int]:
    return {name: number for name, number in result.rebuilt.outcomes.items() if number}


def copies(packed: Packed, folder: Path, **changes: object) -> Path:
    """Encode all films again."""
    for source in sorted(packed.raw.iterdir()):
        encode_again(source, folder / source.name, **changes)  # type: ignore[arg-type]
    return folder


def test_the_same_files_give_the_same_dataset(
    packed: Packed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuilding, "write_report", write_report)
    result = rebuild(packed.pack, packed.raw, tmp_path / "out")
    original = packed.filmed.dataset
    assert outcomes(result) == {"identical": 6}
    assert result.dataset.digest == original.digest
    assert result.rebuilt.is_original
    assert result.dataset.verify() == []
    assert [row.split for row in result.dataset.clips()] == [row.split for row in original.clips()]
    for side in ("train", "test"):
        lists = [
            folder / "splits" / f"{side}.csv" for folder in (tmp_path / "out", original.folder)
        ]
        assert lists[0].read_bytes() == lists[1].read_bytes()
    assert result.dataset.info.counts == original.info.counts
    assert coverage_notes(tmp_path / "out", "test") == ()
    assert not list((tmp_path / "out").rglob(".work/*"))
    assert (tmp_path / "out" / "report.html").is_file()


def test_workers_of_their_own_give_the_same(
    packed: Packed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuilding, "Pool", Pool)
    result = rebuild(packed.pack.folder, packed.raw, tmp_path / "out", workers=2)
    assert result.rebuilt.is_original


def test_a_moved_and_renamed_file_is_found_by_its_bytes(packed: Packed, tmp_path: Path) -> None:
    for number, source in enumerate(sorted(packed.raw.iterdir())):
        target = tmp_path / "raw" / str(number) / f"film {number}.mp4"
        target.parent.mkdir(parents=True)
        shutil.copyfile(source, target)
    result = rebuild(packed.pack, tmp_path / "raw", tmp_path / "out")
    assert result.rebuilt.is_original
    assert {row.source_path for row in result.dataset.clips()} == {
        f"raw/{number}/film {number}.mp4" for number in range(3)
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"crf": 35},
        {"crf": 28, "size_px": (160, 120)},
        {"crf": 28, "size_px": (426, 320), "container": "matroska"},
        {"crf": 28, "fps": Fraction(30)},
        {"crf": 28, "first": 2},
    ],
    ids=str,
)
def test_a_source_encoded_again_gives_the_same_pictures(
    packed: Packed, tmp_path: Path, changes: dict[str, object]
) -> None:
    result = rebuild(packed.pack, copies(packed, tmp_path / "raw", **changes), tmp_path / "out")
    assert outcomes(result) == {"re-encoded": 6}
    distances = [clip.distance for clip in result.clips]
    assert all(distance is not None and distance < SAME_LIMIT / 2 for distance in distances)
    assert {clip.shift_frames for clip in result.clips} == {-int(str(changes.get("first", 0)))}
    assert result.dataset.verify() == []
    assert not result.rebuilt.is_original
    assert coverage_notes(tmp_path / "out", "all") == (
        "rebuilt dataset: has 6 of the 6 clips of the pack (6 re-encoded)",
    )


def test_wrong_videos_of_the_right_names_give_nothing(packed: Packed, tmp_path: Path) -> None:
    for seed, source in enumerate(sorted(packed.raw.iterdir())):
        write_film(tmp_path / "raw" / source.name, 100 + seed)
    result = rebuild(packed.pack, tmp_path / "raw", tmp_path / "out")
    assert outcomes(result) == {"other pictures": 6}
    assert all(clip.distance is not None and clip.distance > 0.4 for clip in result.clips)
    assert result.dataset.info.counts.kept == 0
    assert not list((tmp_path / "out").rglob("*.mp4"))
    assert not list((tmp_path / "out").rglob("*.npz"))
    row = read_clips(tmp_path / "out", status="failed")[0]
    assert "other pictures: " in str(row.error)
    assert "limit 0.15" in str(row.error)


def test_files_that_swapped_names_are_told_apart(packed: Packed, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    shutil.copyfile(packed.raw / "a.mp4", tmp_path / "raw" / "b.mp4")
    shutil.copyfile(packed.raw / "b.mp4", tmp_path / "raw" / "a.mp4")
    result = rebuild(packed.pack, tmp_path / "raw", tmp_path / "out")
    assert outcomes(result) == {"identical": 4, "source gone": 2}
    said = "has 4 of the 6 clips of the pack (4 identical, 2 source gone)"
    assert open_real(ScoreRequest(real=tmp_path / "out")).notes == (f"rebuilt dataset: {said}",)
    with pytest.raises(DatasetError, match="was rebuilt from a pack"):
        make_folder(tmp_path / "out")


def test_a_copy_that_ends_early_lacks_its_last_clip(packed: Packed, tmp_path: Path) -> None:
    encode_again(packed.raw / "a.mp4", tmp_path / "raw" / "a.mp4", first=30)
    result = rebuild(packed.pack, tmp_path / "raw", tmp_path / "out")
    mine = [clip for clip in result.clips if clip.clip_id.startswith("a-")]
    assert [clip.outcome for clip in mine] == ["other pictures", "other pictures"]
    assert "has 2.0 s, and the clip ends at 3.0 s" in str(mine[1].error)


def test_a_broken_file_is_named_and_the_others_are_made(packed: Packed, tmp_path: Path) -> None:
    raw = shutil.copytree(packed.raw, tmp_path / "raw")
    (raw / "a.mp4").write_text("no video\n")
    result = rebuild(packed.pack, raw, tmp_path / "out")
    assert outcomes(result) == {"identical": 4, "unreadable": 2}
    broken = next(clip for clip in result.clips if clip.outcome == "unreadable")
    assert str(broken.error).startswith("raw/a.mp4: is not a video")


def test_keypoints_that_were_changed_are_not_used(packed: Packed, tmp_path: Path) -> None:
    folder = shutil.copytree(packed.pack.folder, tmp_path / "pack")
    path = next(iter(sorted(folder.glob("keypoints/*/*.npz"))))
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    result = rebuild(folder, packed.raw, tmp_path / "out")
    assert outcomes(result) == {"identical": 5, "unreadable": 1}
    path.write_bytes(whole)
    assert rebuild(folder, packed.raw, tmp_path / "out").rebuilt.is_original


def test_more_videos_complete_a_dataset_and_nothing_is_done_twice(
    packed: Packed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    shutil.copyfile(packed.raw / "a.mp4", raw / "a.mp4")
    first = rebuild(packed.pack, raw, tmp_path / "out")
    assert outcomes(first) == {"identical": 2, "source gone": 4}
    made: list[str] = []

    def counted(self: rebuild_task.RebuildTask, payload: dict[str, str], report: object) -> object:
        made.append(payload["source_id"][0])
        return works(self, payload, report)  # type: ignore[arg-type]

    works = rebuild_task.RebuildTask.__call__
    monkeypatch.setattr(rebuild_task.RebuildTask, "__call__", counted)
    for name in ("b.mp4", "c.mp4"):
        shutil.copyfile(packed.raw / name, raw / name)
    assert rebuild(packed.pack, raw, tmp_path / "out").rebuilt.is_original
    assert made == ["b", "c"]
    assert rebuild(packed.pack, raw, tmp_path / "out").rebuilt.is_original
    assert made == ["b", "c"]
    row = packed.filmed.dataset.clips()[-1]
    clip_path(tmp_path / "out", row.clip_id).unlink()
    assert rebuild(packed.pack, raw, tmp_path / "out").dataset.verify() == []
    assert made == ["b", "c", "c"]


def test_an_interrupted_run_keeps_what_is_finished(
    packed: Packed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    works = rebuild_task.RebuildTask.__call__

    def interrupted(self: rebuild_task.RebuildTask, payload: dict[str, str], say: object) -> object:
        if payload["source_id"].startswith("b"):
            raise KeyboardInterrupt
        return works(self, payload, say)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(rebuild_task.RebuildTask, "__call__", interrupted)
        with pytest.raises(KeyboardInterrupt):
            rebuild(packed.pack, packed.raw, tmp_path / "out")
    half = Dataset.open(tmp_path / "out")
    assert (half.info.counts.kept, half.info.sources_pending) == (2, 2)
    rebuilt = read_rebuilt(tmp_path / "out")
    assert rebuilt is not None
    assert rebuilt.outcomes["not processed"] == 4
    assert rebuild(packed.pack, packed.raw, tmp_path / "out").rebuilt.is_original


def test_a_file_that_was_replaced_by_another_film_takes_its_clips_along(
    packed: Packed, tmp_path: Path
) -> None:
    raw = shutil.copytree(packed.raw, tmp_path / "raw")
    rebuild(packed.pack, raw, tmp_path / "out")
    write_film(raw / "a.mp4", 99)
    result = rebuild(packed.pack, raw, tmp_path / "out")
    assert outcomes(result) == {"identical": 4, "other pictures": 2}
    assert result.dataset.verify() == []


def test_another_encoder_is_no_excuse_for_other_pictures(
    packed: Packed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same source, encoded by another version of x264, shows the same pictures."""
    other = replace(CLIP, options={**CLIP.options, "crf": "14"})
    drawing = replace(POSE, options={**POSE.options, "crf": "20"})
    monkeypatch.setattr(writing, "CLIP", other)
    monkeypatch.setattr(writing, "POSE", drawing)
    result = rebuild(packed.pack, packed.raw, tmp_path / "out")
    assert outcomes(result) == {"re-encoded": 6}
    assert {clip.shift_frames for clip in result.clips} == {None}
    assert all((clip.distance or 0) < 0.02 for clip in result.clips)


@pytest.mark.parametrize("name", ["thesis.txt", "clips", ".records"])
def test_a_folder_that_holds_something_else_is_left_alone(
    packed: Packed, tmp_path: Path, name: str
) -> None:
    path = tmp_path / "out" / name / "x" if name == ".records" else tmp_path / "out" / name
    path.parent.mkdir(parents=True)
    path.write_text("years of work")
    with pytest.raises(DatasetError, match="something else than a rebuild of this pack"):
        rebuild(packed.pack, packed.raw, tmp_path / "out")
    assert path.read_text() == "years of work"


def test_a_rebuild_of_another_pack_is_left_alone(packed: Packed, tmp_path: Path) -> None:
    filmed = write_filmed(tmp_path / "other", ("y", "z"))
    other = write_pack(filmed.dataset, tmp_path / "pack")
    rebuild(other, filmed.raw, tmp_path / "out")
    with pytest.raises(DatasetError, match="was rebuilt from another pack"):
        rebuild(packed.pack, packed.raw, tmp_path / "out")
    assert Dataset.open(tmp_path / "out").digest == filmed.dataset.digest


def test_folders_inside_each_other_and_empty_ones_are_refused(
    packed: Packed, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match="lies in the pack"):
        rebuild(packed.pack, packed.raw, packed.pack.folder / "out")
    with pytest.raises(ConfigError, match="no video found"):
        rebuild(packed.pack, packed.pack.folder, tmp_path / "out")
    with pytest.raises(ConfigError, match="--workers must be at least 1"):
        rebuild(packed.pack, packed.raw, tmp_path / "out", workers=0)
    (tmp_path / "file").touch()
    with pytest.raises(DatasetError, match="is a file"):
        rebuild(packed.pack, packed.raw, tmp_path / "file")


@pytest.mark.parametrize(
    ("name", "metadata"),
    [
        ("a.webm", None),
        ("renamed.mp4", {"webpage_url": "https://www.youtube.com/watch?v=abcdefghijk"}),
        ("abcdefghijk.mp4", None),
        ("A talk [abcdefghijk].mp4", None),
    ],
)
def test_another_copy_is_found_by_its_name_or_video_id(
    packed: Packed, tmp_path: Path, name: str, metadata: dict[str, str] | None
) -> None:
    path = tmp_path / name
    path.write_bytes(b"another copy")
    if metadata is not None:
        path.with_suffix(".info.json").write_text(json.dumps(metadata))
    rows = [
        replace(row, url="https://youtu.be/abcdefghijk")
        for row in packed.pack.rows()
        if row.source_id.startswith("a-")
    ]
    files = [hashed(file) for file in find_sources([tmp_path], excluded=tmp_path / "out")]
    found = match_sources(wanted_sources(rows), files)
    assert [file.path for files in found.values() for file in files] == [path]


def test_a_source_that_was_deinterlaced_is_deinterlaced_again(tmp_path: Path) -> None:
    """No row says that it was: the ways of reading it are tried."""
    films = [
        write_film(tmp_path / "raw" / f"{seed}.mp4", seed, crf=1, images=combed(seed))
        for seed in range(2)
    ]
    plain = dataset_of(films, tmp_path / "plain")
    dataset = dataset_of(films, tmp_path / "dataset", interlaced=True)
    assert dataset.digest != plain.digest
    pack = write_pack(dataset, tmp_path / "pack")
    assert rebuild(pack, tmp_path / "raw", tmp_path / "out").rebuilt.is_original


def test_sound_is_the_same_too(make_media: MediaMaker, tmp_path: Path) -> None:
    films = [
        make_media.with_audio(f"{name}.mp4", bursts_s=bursts_s)
        for name, bursts_s in (("a", (0.5, 2.0)), ("b", (1.0, 1.5)))
    ]
    crop = CropBox(x0_px=8, y0_px=0, side_px=48)
    dataset = dataset_of(films, tmp_path / "dataset", crop=crop, size_px=64)
    assert all(probe(dataset.clip_path(row)).has_audio for row in dataset.clips())
    result = rebuild(write_pack(dataset, tmp_path / "pack"), films, tmp_path / "out")
    assert result.rebuilt.is_original


def test_joined_people_and_frozen_splits_stay(packed: Packed, tmp_path: Path) -> None:
    """Even where the clips that they were joined by are not there."""
    folder = shutil.copytree(packed.filmed.dataset.folder, tmp_path / "dataset")
    before = packed.filmed.dataset
    finalise(
        folder,
        [replace(row, uploader="Ann" * (row.source_id[0] < "c")) for row in before.clips(None)],
        name="Films",
        config={},
        models={},
        measurements=before.info.measurements,
    )
    make_split(
        folder,
        SplitRequest(test_share=0.5, seed=3, joins=("uploader",), version_name="test-v1"),
    )
    dataset = Dataset.open(folder)
    rows = {row.clip_id: row for row in dataset.clips()}
    assert len({row.identity for row in rows.values()}) == 2
    (tmp_path / "raw").mkdir()
    for name in ("b.mp4", "c.mp4"):
        shutil.copyfile(packed.raw / name, tmp_path / "raw" / name)
    pack = write_pack(dataset, tmp_path / "pack")
    result = rebuild(pack, tmp_path / "raw", tmp_path / "out")
    assert outcomes(result) == {"identical": 4, "source gone": 2}
    for row in result.dataset.clips():
        then = rows[row.clip_id]
        assert (row.identity, row.split) == (then.identity, then.split)
    lists = [home / "splits" / "test-v1.csv" for home in (folder, tmp_path / "out")]
    assert lists[0].read_bytes() == lists[1].read_bytes()


def test_a_pack_of_a_dataset_with_removals_lacks_them(packed: Packed, tmp_path: Path) -> None:
    folder = shutil.copytree(packed.filmed.dataset.folder, tmp_path / "dataset")
    gone = packed.filmed.dataset.clips()[0]
    remove(folder, [Wanted(kind="source", id=gone.source_id)])
    pack = write_pack(folder, tmp_path / "pack")
    assert gone.source_id not in {row.source_id for row in pack.rows()}
    result = rebuild(pack, packed.raw, tmp_path / "out")
    assert outcomes(result) == {"identical": 4}
    assert Removals.read(tmp_path / "out").removes_source(source_id=gone.source_id)


@pytest.mark.parametrize("named", ["folder", "file"])
def test_what_another_copy_removed_since_is_not_rebuilt(
    packed: Packed, tmp_path: Path, named: str
) -> None:
    newer = shutil.copytree(packed.filmed.dataset.folder, tmp_path / "newer")
    gone = packed.filmed.dataset.clips()[0]
    remove(newer, [Wanted(kind="source", id=gone.source_id)])
    path = newer if named == "folder" else newer / "removals.json"
    result = rebuild(packed.pack, packed.raw, tmp_path / "out", removals=path)
    assert gone.source_id not in {row.source_id for row in result.dataset.clips(None)}
    assert Removals.read(tmp_path / "out").removes_source(source_id=gone.source_id)
    # The next run needs no word of it.
    again = rebuild(packed.pack, packed.raw, tmp_path / "out")
    assert again.rebuilt == result.rebuilt


def test_removals_that_are_missing_stop_a_rebuild_before_it_begins(
    packed: Packed, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match=r"none\.json: no such file"):
        rebuild(packed.pack, packed.raw, tmp_path / "out", removals=tmp_path / "none.json")
    assert not (tmp_path / "out").exists()


def test_the_card_of_a_rebuilt_dataset_says_so(packed: Packed, tmp_path: Path) -> None:
    only = tmp_path / "raw"
    only.mkdir()
    shutil.copyfile(packed.raw / "b.mp4", only / "b.mp4")
    result = rebuild(packed.pack, only, tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    n_same = outcomes(result)["identical"]
    assert f"Of the pack's 6 clips,\n{n_same} have the same bytes as the original's and 0" in card
    assert packed.pack.info.dataset_digest in card
    assert "tpbench rebuild" not in (packed.filmed.dataset.folder / "README.md").read_text()


@pytest.mark.parametrize(
    ("fps", "numbers"),
    [
        (Fraction(25), [5, 6, 7, 8, 9, 10]),
        (Fraction(50), [10, 12, 14, 16, 18, 20]),
        (Fraction(30), [6, 7, 8, 10, 11, 12]),
        (Fraction(25, 2), [2, 3, 3, 4, 4, 5]),
    ],
)
def test_frames_of_another_rate_are_the_nearest_in_time(
    packed: Packed, fps: Fraction, numbers: list[int]
) -> None:
    row: Clip = replace(packed.filmed.dataset.clips()[0], start_frame=5, n_frames=6)
    assert frame_numbers(row, fps, 0).tolist() == numbers


def test_a_task_is_passed_to_workers_as_json(packed: Packed, tmp_path: Path) -> None:
    spec: TaskSpec = rebuild_task.task_spec(
        pack=packed.pack.folder, folder=tmp_path, records_id=(1, 2)
    )
    assert json.loads(json.dumps(spec.config)) == spec.config


def test_what_was_removed_is_not_rebuilt_and_leaves_nothing(packed: Packed, tmp_path: Path) -> None:
    out = tmp_path / "out"
    rebuild(packed.pack, packed.raw, out)
    clips = Dataset.open(out).clips()
    whole, part = clips[0], next(row for row in clips if row.source_id != clips[0].source_id)
    remove(
        out,
        [Wanted(kind="source", id=whole.source_id), Wanted(kind="clip", id=part.clip_id)],
    )
    words = [
        part.clip_sha256,
        part.pose_sha256,
        whole.clip_sha256,
        whole.source_sha256,
        Path(whole.source_path).name,
    ]

    def traces() -> list[str]:
        found = []
        for path in sorted(path for path in out.rglob("*") if path.is_file()):
            decoded = repr(pq.read_table(path).to_pydict()) if path.suffix == ".parquet" else ""
            held = path.read_bytes() + decoded.encode()
            found += [f"{path}: {word}" for word in words if word and word.encode() in held]
        return found

    assert traces() == []
    once = read_rebuilt(out)
    result = rebuild(packed.pack, packed.raw, out)
    assert traces() == []
    assert read_rebuilt(out) == once
    assert not result.rebuilt.is_original
    assert result.rebuilt.sides["all"].n_lacking == 3
    assert result.rebuilt.complete
    assert coverage_notes(out, "all") == (
        "rebuilt dataset: has 3 of the 6 clips of the pack (3 identical, 3 removed)",
    )
    left = {row.clip_id for row in clips if row.source_id != whole.source_id} - {part.clip_id}
    assert {row.clip_id for row in result.dataset.clips()} == left
    assert result.dataset.verify() == []
    assert result.dataset.info.version == "1.0.1"
