"""Files are spread over sub-folders; datasets of earlier versions, which had none, live on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.datasets import as_before
from tests.talks import short_settings
from tpbench.dataset import Dataset, split_dataset
from tpbench.dataset.folder import CLIP_FILES, RECORDS_FOLDER
from tpbench.errors import DatasetError
from tpbench.extraction.config import ExtractionConfig
from tpbench.extraction.records import read_records
from tpbench.extraction.run import extract
from tpbench.spread import entries, new_path
from tpbench.work import pool

SETTINGS = short_settings()
OTHER = SETTINGS.model_copy(update={"clip": SETTINGS.clip.model_copy(update={"margin_share": 0.3})})
HOMES = tuple(kind.folder_name for kind in CLIP_FILES)
STRAY = "gone-12345678_00000000_00001200.mp4"


pytestmark = pytest.mark.usefixtures("quick_clips")


@pytest.fixture
def talks(tmp_path: Path) -> Path:
    """Two sources, one of which gives two clips."""
    write(tmp_path / "talks" / "a.mp4", "a two")
    write(tmp_path / "talks" / "b.mp4", "b")
    return tmp_path / "talks"


@pytest.fixture
def dataset(talks: Path, tmp_path: Path) -> Path:
    """A finished dataset of three clips."""
    extracted(tmp_path / "dataset", talks)
    return tmp_path / "dataset"


@pytest.fixture
def old(dataset: Path) -> Path:
    """The same, as an earlier version wrote it."""
    as_before(dataset)
    return dataset


def write(path: Path, words: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(words)
    return path


def extracted(
    out: Path, *inputs: Path, settings: ExtractionConfig = SETTINGS, redo: bool = False
) -> Dataset:
    return extract(inputs, out, preset=settings, skeleton="mediapipe", workers=1, redo=redo)


def records(folder: Path) -> list[Path]:
    return list(entries(folder / RECORDS_FOLDER / "sources"))


def directly_in(folder: Path) -> list[str]:
    """The files in the clip folders themselves, and of records, by name."""
    homes = (*(folder / home for home in HOMES), folder / RECORDS_FOLDER / "sources")
    return sorted(path.name for home in homes for path in home.iterdir() if path.is_file())


def test_clips_and_records_lie_in_subfolders_by_the_sha256_of_their_names(dataset: Path) -> None:
    for home, count in (*((name, 3) for name in HOMES), (f"{RECORDS_FOLDER}/sources", 2)):
        files = list(entries(dataset / home))
        assert len(files) == count
        assert files == [new_path(dataset / home, path.name) for path in files]
    assert directly_in(dataset) == []


def test_an_earlier_dataset_goes_on_and_nothing_is_done_again(
    old: Path, talks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "WorkerHandle", lambda *_: pytest.fail("a worker was started"))
    before = directly_in(old)
    done = extracted(old, talks)
    assert (done.info.counts.kept, done.missing(), done.verify()) == (3, [], [])
    assert directly_in(old) == before
    assert len(before) == 3 * 3 + 2


def test_new_clips_of_an_earlier_dataset_go_into_subfolders(
    old: Path, talks: Path, tmp_path: Path
) -> None:
    before = directly_in(old)
    write(talks / "c.mp4", "c")
    done = extracted(old, talks)
    assert (done.info.counts.kept, done.missing(), done.verify()) == (4, [], [])
    assert directly_in(old) == before
    new = {clip.clip_id: done.clip_path(clip) for clip in done.clips()}
    assert [len(path.relative_to(old).parts) for path in new.values()] == [2, 2, 2, 3]
    done = extracted(old, talks)
    assert done.verify() == []
    split_dataset(old, test_share=0.5, seed=0)
    assert Dataset.open(old).missing() == []


def test_a_redo_moves_an_earlier_dataset_into_subfolders(old: Path, talks: Path) -> None:
    done = extracted(old, talks, settings=OTHER, redo=True)
    assert (done.info.counts.kept, done.missing(), done.verify()) == (3, [], [])
    assert directly_in(old) == []
    assert len(records(old)) == 2


def test_a_redo_leaves_clips_in_place_whose_videos_are_gone(old: Path, talks: Path) -> None:
    (talks / "a.mp4").unlink()
    done = extracted(old, talks, settings=OTHER, redo=True)
    assert (done.info.counts.kept, done.verify()) == (3, [])
    assert {name.partition("-")[0] for name in directly_in(old)} == {"a"}


def test_a_source_that_changed_leaves_none_of_its_former_clips(old: Path, talks: Path) -> None:
    write(talks / "a.mp4", "another a")
    done = extracted(old, talks)
    assert (done.info.counts.kept, done.verify()) == (2, [])
    assert {name.partition("-")[0] for name in directly_in(old)} == {"b"}


def test_a_run_killed_between_a_new_file_and_the_old_one_is_cleaned_up(
    old: Path, talks: Path
) -> None:
    """As a kill before the manifest leaves them: the clip and the record are there twice."""
    for home in (*HOMES, f"{RECORDS_FOLDER}/sources"):
        for path in [path for path in (old / home).iterdir() if path.name.startswith("b-")]:
            new = new_path(old / home, path.name)
            write(new, path.read_text())
            write(path, "outdated")
    assert len(list(read_records(old))) == 2
    write(talks / "c.mp4", "c")
    done = extracted(old, talks)
    assert (done.info.counts.kept, done.verify()) == (4, [])
    left = [name for name in directly_in(old) if name.startswith("b-")]
    assert [Path(name).suffix for name in left] == [".json"], "a record is written when it changes"


def test_a_missing_file_of_an_earlier_dataset_is_made_again(old: Path, talks: Path) -> None:
    for path in [path for path in (old / "poses").iterdir() if path.name.startswith("b-")]:
        path.unlink()
    done = extracted(old, talks)
    assert (done.info.counts.kept, done.verify()) == (3, [])
    assert {name.partition("-")[0] for name in directly_in(old)} == {"a"}


def test_an_earlier_source_that_moved_is_known(
    old: Path, talks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "WorkerHandle", lambda *_: pytest.fail("a worker was started"))
    before = directly_in(old)
    talks.rename(talks.with_name("moved"))
    extracted(old, talks.with_name("moved"))
    assert directly_in(old) == before


def test_clips_that_nobody_knows_are_moved_aside_from_subfolders(
    dataset: Path, talks: Path
) -> None:
    write(dataset / "clips" / "5a" / STRAY, "hours of work")
    write(dataset / "clips" / STRAY, "more work")
    foreign = write(dataset / "clips" / "5a" / "mine.mp4", "not ours")
    extracted(dataset, talks)
    aside = dataset / ".leftovers" / "clips"
    assert (aside / "5a" / STRAY).read_text() == "hours of work"
    assert (aside / STRAY).read_text() == "more work"
    assert Dataset.open(dataset).verify() == [f"{foreign}: belongs to no kept clip"]


def test_nothing_is_cleared_away_behind_a_subfolder_that_is_a_link(
    dataset: Path, talks: Path, tmp_path: Path
) -> None:
    stray = write(tmp_path / "disk" / STRAY, "somebody's")
    taken = {path.name for path in (dataset / "clips").iterdir()}
    free = min({f"{number:02x}" for number in range(256)} - taken)
    (dataset / "clips" / free).symlink_to(tmp_path / "disk")
    extracted(dataset, talks)
    assert stray.read_text() == "somebody's"


def test_a_subfolder_that_links_into_another_dataset_is_refused(
    dataset: Path, talks: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(dataset, other)
    subfolder = next((other / "clips").iterdir())
    shutil.rmtree(subfolder)
    subfolder.symlink_to(dataset / "clips" / subfolder.name)
    with pytest.raises(DatasetError, match=rf"{subfolder.name}: a link into another dataset"):
        extracted(other, talks, settings=OTHER, redo=True)
    assert Dataset.open(dataset).verify() == []


def test_a_file_in_the_place_of_a_subfolder_is_found_before_any_work(
    dataset: Path, talks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "WorkerHandle", lambda *_: pytest.fail("a worker was started"))
    subfolder = next((dataset / "poses").iterdir())
    shutil.rmtree(subfolder)
    write(subfolder, "in the way")
    with pytest.raises(DatasetError, match=f"{subfolder.name}: is a file, where a dataset has a"):
        extracted(dataset, talks)


def test_half_written_records_are_swept_from_subfolders(dataset: Path, talks: Path) -> None:
    record = records(dataset)[0]
    half = write(record.with_name(f".{record.name}.0123abcd.tmp"), "{")
    extracted(dataset, talks)
    assert not half.exists()


def test_empty_subfolders_of_a_run_without_results_are_no_obstacle(
    talks: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    (out / "clips" / "5a").mkdir(parents=True)
    assert extracted(out, talks).verify() == []
    write(tmp_path / "other" / "clips" / "5a" / "holiday.mp4", "not ours")
    with pytest.raises(DatasetError, match="holds files but no dataset"):
        extracted(tmp_path / "other", talks)


def test_lost_records_are_noticed_where_clips_lie_in_subfolders(dataset: Path, talks: Path) -> None:
    shutil.rmtree(dataset / RECORDS_FOLDER)
    for name in ("dataset.json", "manifest.parquet"):
        (dataset / name).unlink()
    with pytest.raises(DatasetError, match="a dataset without its records"):
        extracted(dataset, talks)
