"""Nothing finished is ever deleted: damaged, lost and older records, links, `--redo` that stops."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.talks import short_settings
from tpbench.canonical import settings_digest
from tpbench.dataset import Dataset, split_dataset
from tpbench.errors import DatasetError, TPBenchError
from tpbench.extraction import run
from tpbench.extraction.config import ExtractionConfig
from tpbench.extraction.run import extract

SETTINGS = short_settings()
OTHER = SETTINGS.model_copy(update={"clip": SETTINGS.clip.model_copy(update={"margin_share": 0.3})})
HOMES = ("clips", "keypoints", "poses")


pytestmark = pytest.mark.usefixtures("quick_clips")


@pytest.fixture
def talks(tmp_path: Path) -> Path:
    """Two sources, one of which gives two clips."""
    folder = tmp_path / "talks"
    write(folder / "a.mp4", "a two")
    write(folder / "b.mp4", "b")
    return folder


@pytest.fixture
def new(tmp_path: Path) -> Path:
    """A folder with one more source."""
    return write(tmp_path / "new" / "e.mp4", "e").parent


@pytest.fixture(scope="module")
def finished(quick_clips: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished dataset of three clips. Tests copy it and leave it as it is."""
    folder = tmp_path_factory.mktemp("finished")
    write(folder / "talks" / "a.mp4", "a two")
    write(folder / "talks" / "b.mp4", "b")
    extracted(folder / "dataset", folder / "talks")
    return folder / "dataset"


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """A dataset whose sources lie where they can't be changed."""
    return shutil.copytree(finished, tmp_path / "dataset")


@pytest.fixture
def dataset(talks: Path, tmp_path: Path) -> Path:
    """A finished dataset of three clips."""
    extracted(tmp_path / "dataset", talks)
    return tmp_path / "dataset"


def write(path: Path, words: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(words)
    return path


def extracted(
    out: Path,
    *inputs: Path,
    settings: ExtractionConfig = SETTINGS,
    redo: bool = False,
    retry_failed: bool = False,
) -> Dataset:
    return extract(
        inputs, out, preset=settings, skeleton="mediapipe", workers=1, redo=redo,
        retry_failed=retry_failed,
    )  # fmt: skip


def files(folder: Path) -> dict[str, bytes]:
    """The files of all clips."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for home in HOMES
        for path in sorted((folder / home).glob("*/*"))
    }


def home(folder: Path) -> Path:
    return folder / ".records"


def record(folder: Path) -> Path:
    """The record of a source with two kept clips."""
    (path,) = (home(folder) / "sources").glob("*/a-*.json")
    return path


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def other(path: Path, old: str, new: str, *, sealed: bool = False) -> None:
    """Change a record; `sealed`: with a digest that fits, as a faulty program might."""
    text = path.read_text()
    assert old in text
    content = json.loads(text.replace(old, new))
    if sealed:
        del content["digest"]
        content["digest"] = settings_digest(content)
    path.write_text(json.dumps(content))


def emptied(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def folder_in_place_of(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES: dict[str, Callable[[Path], object]] = {
    "gone": lambda folder: shutil.rmtree(home(folder)),
    "empty": lambda folder: emptied(home(folder)),
    "no settings": lambda folder: (home(folder) / "settings.json").unlink(),
    "settings without a word": lambda folder: (home(folder) / "settings.json").write_bytes(b""),
    "no record": lambda folder: shutil.rmtree(home(folder) / "sources"),
    "a record less": lambda folder: record(folder).unlink(),
    "half a record": lambda folder: half(record(folder)),
    "no JSON": lambda folder: record(folder).write_text("x" * 9000),
    "no JSON object": lambda folder: record(folder).write_text("[]"),
    "a folder": lambda folder: folder_in_place_of(record(folder)),
    "another state": lambda folder: other(record(folder), '"done"', '"dome"', sealed=True),
    "a flipped letter": lambda folder: other(record(folder), '"done"', '"failed"'),
    "another version": lambda folder: other(
        record(folder), '"schema_version": 1', '"schema_version": 99', sealed=True
    ),
    "a source without a path": lambda folder: other(
        record(folder), '"path"', '"paths"', sealed=True
    ),
    "a time that is a text": lambda folder: other(
        record(folder), '"cpu_s": ', '"cpu_s": "long", "was": ', sealed=True
    ),
    "another clip": lambda folder: other(
        record(folder), '"clip_id": "a-', '"clip_id": "x-', sealed=True
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_records_that_are_damaged_are_one_line_and_cost_nothing(
    damage: str, copy: Path, new: Path
) -> None:
    DAMAGES[damage](copy)
    before, manifest = files(copy), (copy / "manifest.parquet").read_bytes()
    for redo in (False, True):
        with pytest.raises(DatasetError) as refused:
            extracted(copy, new, redo=redo)
        assert "\n" not in str(refused.value)
        assert "back" in str(refused.value)
        assert "copy" in str(refused.value)
        assert files(copy) == before
        assert (copy / "manifest.parquet").read_bytes() == manifest


def test_the_advice_for_damaged_records_works(dataset: Path, talks: Path, new: Path) -> None:
    records = dataset / ".records"
    shutil.copytree(records, dataset.parent / "copy")
    half(record(dataset))
    with pytest.raises(DatasetError, match="put back a copy of the folder"):
        extracted(dataset, new)
    shutil.rmtree(records)
    shutil.copytree(dataset.parent / "copy", records)
    assert extracted(dataset, new).info.counts.kept == 4
    assert Dataset.open(dataset).verify() == []


def test_records_that_are_older_than_the_manifest_are_refused(
    dataset: Path, talks: Path, new: Path, tmp_path: Path
) -> None:
    shutil.copytree(dataset / ".records", tmp_path / "older")
    extracted(dataset, new)
    shutil.rmtree(dataset / ".records")
    shutil.copytree(tmp_path / "older", dataset / ".records")
    before = files(dataset)
    with pytest.raises(DatasetError, match="has no record of 1 of the 4 clips"):
        extracted(dataset, talks)
    assert files(dataset) == before


@pytest.mark.usefixtures("workers")
def test_a_copy_made_file_by_file_in_mid_run_is_whole(
    talks: Path, new: Path, tmp_path: Path
) -> None:
    out, copy = tmp_path / "dataset", tmp_path / "copy"
    write(talks / "z.mp4", "z sleep")
    seen: list[object] = []

    def copy_and_stop(state: object) -> None:
        if getattr(state, "done", 0) == 2 and not seen:
            seen.append(state)
            shutil.copytree(out, copy)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(
            [talks], out, preset=SETTINGS, skeleton="mediapipe", workers=1,
            on_progress=copy_and_stop,
        )  # fmt: skip

    assert len(files(copy)) == 9
    assert extracted(copy, new).info.counts.kept == 4
    assert len(files(copy)) == 12


def test_clips_that_nobody_knows_are_moved_aside_and_not_deleted(
    copy: Path, new: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stray = copy / "clips" / "gone-12345678_00000000_00001200.mp4"
    stray.write_text("hours of work")
    extracted(copy, new)
    assert (copy / ".leftovers" / "clips" / stray.name).read_text() == "hours of work"
    assert "moved to" in caplog.text
    assert Dataset.open(copy).verify() == []


@pytest.mark.usefixtures("workers")
def test_a_redo_that_is_stopped_keeps_what_is_not_done_again(dataset: Path, talks: Path) -> None:
    before = files(dataset)
    old = {clip.clip_id: clip for clip in Dataset.open(dataset).clips()}

    def stop(state: object) -> None:
        if getattr(state, "done", 0) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(
            [talks], dataset, preset=OTHER, skeleton="mediapipe", workers=1, redo=True,
            on_progress=stop,
        )  # fmt: skip

    stopped = Dataset.open(dataset)
    assert files(dataset).keys() == before.keys()
    assert stopped.verify() == []
    assert stopped.info.sources_pending == 1
    same = [clip.clip_id for clip in stopped.clips() if clip == old[clip.clip_id]]
    assert len(same) == 1, "the source that was not done again has its old clip"

    extracted(dataset, talks, settings=OTHER)

    assert Dataset.open(dataset).verify() == []
    assert Dataset.open(dataset).info.sources_pending == 0
    assert all(clip != old[clip.clip_id] for clip in Dataset.open(dataset).clips())


def test_a_redo_keeps_clips_whose_videos_are_gone_and_says_so(
    dataset: Path, talks: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = files(dataset)
    (talks / "a.mp4").unlink()
    done = extracted(dataset, talks, settings=OTHER, redo=True)
    assert files(dataset).keys() == before.keys()
    assert done.verify() == []
    assert done.info.sources_pending == 1
    assert "1 sources to be reprocessed are not among the inputs (talks/a.mp4)" in caplog.text


def test_a_source_that_changed_into_a_broken_file_keeps_its_clips(
    dataset: Path, talks: Path
) -> None:
    before = files(dataset)
    write(talks / "a.mp4", "bad")
    done = extracted(dataset, talks)
    assert files(dataset) == before
    assert (done.info.counts.kept, done.info.counts.failed) == (3, 1)
    write(talks / "a.mp4", "whole again")
    done = extracted(dataset, talks)
    assert (done.info.counts.kept, done.info.counts.failed) == (2, 0)
    assert done.verify() == []


def test_a_link_into_another_dataset_is_refused(
    dataset: Path, talks: Path, new: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    extracted(other, new)
    shutil.rmtree(other / "clips")
    (other / "clips").symlink_to(dataset / "clips")
    before = files(dataset)
    with pytest.raises(DatasetError, match="a link into another dataset"):
        extracted(other, talks)
    assert files(dataset) == before


def test_nothing_is_cleared_away_behind_a_link(copy: Path, new: Path, tmp_path: Path) -> None:
    """Clips may lie on a bigger disk, where others keep theirs."""
    disk = tmp_path / "disk"
    (copy / "clips").rename(disk)
    (copy / "clips").symlink_to(disk)
    stray = disk / "gone-12345678_00000000_00001200.mp4"
    stray.write_text("somebody's")
    assert extracted(copy, new).info.counts.kept == 4
    assert stray.read_text() == "somebody's"


def test_a_damaged_dataset_json_is_found_before_any_work(
    dataset: Path, talks: Path, new: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split_dataset(dataset, test_share=0.5, seed=0)
    (dataset / "dataset.json").write_text('{"name": ')
    with monkeypatch.context() as patch:
        patch.setattr(run, "run_items", lambda *_, **__: pytest.fail("work was begun"))
        with pytest.raises(DatasetError, match=r"delete it and run again: no clip is lost") as told:
            extracted(dataset, new)
    assert "--name" in str(told.value)
    assert "tpbench split" in str(told.value)
    (dataset / "dataset.json").unlink()
    assert extracted(dataset, new).info.counts.kept == 4
    assert Dataset.open(dataset).verify() == []


def test_a_damaged_manifest_is_written_anew_from_the_records(copy: Path, new: Path) -> None:
    (copy / "manifest.parquet").write_text("no Parquet")
    assert extracted(copy, new).info.counts.kept == 4
    assert Dataset.open(copy).verify() == []


def test_a_damaged_manifest_is_not_written_anew_from_records_that_know_less(
    copy: Path, new: Path
) -> None:
    (copy / "manifest.parquet").write_bytes(b"")
    record(copy).unlink()
    with pytest.raises(DatasetError, match=r"has no record of 2 of the 3 clips that dataset\.json"):
        extracted(copy, new)


def test_clips_that_are_gone_are_made_again_where_their_video_moved(
    dataset: Path, talks: Path
) -> None:
    before = files(dataset)
    for home in HOMES:
        for path in (dataset / home).glob("*/a-*"):
            path.unlink()
    talks.rename(talks.with_name("moved"))
    extracted(dataset, talks.with_name("moved"))
    assert files(dataset) == before
    assert Dataset.open(dataset).missing() == []


def test_clips_that_are_gone_are_made_again_where_their_video_was_renamed(
    dataset: Path, talks: Path
) -> None:
    for path in (dataset / "poses").glob("*/b-*"):
        path.unlink()
    (talks / "b.mp4").rename(talks / "c.mp4")
    done = extracted(dataset, talks)
    assert (done.info.counts.kept, done.verify()) == (3, [])
    assert extracted(dataset, talks).info.counts.kept == 3


def test_clips_that_are_gone_for_good_are_told(copy: Path, new: Path) -> None:
    lost = next((copy / "clips").glob("*/a-*"))
    lost.unlink()
    done = extracted(copy, new)
    assert done.missing() == [lost]


@pytest.mark.usefixtures("workers")
def test_removing_the_dataset_in_mid_run_is_an_error_and_makes_nothing(
    dataset: Path, talks: Path
) -> None:
    write(talks / "z.mp4", "z")

    def remove(state: object) -> None:
        if getattr(state, "done", 0) == 2:
            shutil.rmtree(dataset)

    with pytest.raises(TPBenchError, match="was removed or replaced during the run"):
        extract(
            [talks], dataset, preset=SETTINGS, skeleton="mediapipe", workers=1,
            on_progress=remove,
        )  # fmt: skip

    assert not dataset.exists()


@pytest.mark.usefixtures("workers")
def test_replacing_the_dataset_in_mid_run_is_an_error_and_touches_nothing(
    dataset: Path, talks: Path
) -> None:
    write(talks / "z.mp4", "z")
    copy = shutil.copytree(dataset, dataset.parent / "copy")

    def swap(state: object) -> None:
        if getattr(state, "done", 0) == 2 and copy.exists():
            dataset.rename(dataset.parent / "aside")
            copy.rename(dataset)

    with pytest.raises(TPBenchError, match="was removed or replaced"):
        extract(
            [talks], dataset, preset=SETTINGS, skeleton="mediapipe", workers=1, on_progress=swap
        )

    assert len(files(dataset)) == 9
    assert Dataset.open(dataset).verify() == []


def test_split_waits_for_nobody_and_takes_no_old_rows(dataset: Path, talks: Path) -> None:
    write(talks / "z.mp4", "z")
    refused: list[object] = []

    def split_now(state: object) -> None:
        if getattr(state, "done", 0) == 2 and not refused:
            with pytest.raises(DatasetError, match=rf"in use by process {os.getpid()} ") as error:
                split_dataset(dataset, test_share=0.5, seed=0)
            refused.append(error)

    extract(
        [talks], dataset, preset=SETTINGS, skeleton="mediapipe", workers=1, on_progress=split_now
    )

    assert refused
    split_dataset(dataset, test_share=0.5, seed=0)
    assert len(Dataset.open(dataset).clips()) == 4


def test_a_dataset_without_records_is_split_and_gets_none(copy: Path) -> None:
    shutil.rmtree(copy / ".records")
    split_dataset(copy, test_share=0.5, seed=0)
    assert not (copy / ".records").exists()


def test_no_name_of_the_machine_stays_in_the_lock(copy: Path) -> None:
    assert (copy / ".records" / ".lock").read_bytes() == b""
