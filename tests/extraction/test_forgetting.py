"""`remove`: nothing is left, nothing comes back, and a removal that was killed is finished."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.dataset.rows import FAILED, kept, make_dataset, rejected
from tests.talks import short_settings
from tpbench.dataset import Clip, Dataset, split_dataset
from tpbench.dataset.removal import REMOVALS_NAME, Removals
from tpbench.errors import ConfigError, DatasetError
from tpbench.extraction.config import ExtractionConfig
from tpbench.extraction.forgetting import Removed, remove
from tpbench.extraction.naming import Wanted
from tpbench.extraction.report import write_report
from tpbench.extraction.run import extract
from tpbench.work.locks import locked

SETTINGS = short_settings()
OTHER = SETTINGS.model_copy(update={"clip": SETTINGS.clip.model_copy(update={"margin_share": 0.3})})

pytestmark = pytest.mark.usefixtures("quick_clips")


def extracted(
    out: Path, *inputs: Path, settings: ExtractionConfig = SETTINGS, redo: bool = False
) -> Dataset:
    return extract(inputs, out, preset=settings, skeleton="mediapipe", workers=1, redo=redo)


def write(path: Path, words: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(words)
    return path


@pytest.fixture(scope="module")
def talks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source of two clips, one of one clip, and a broken one. No test changes them."""
    folder = tmp_path_factory.mktemp("talks") / "talks"
    write(folder / "a.mp4", "a two")
    write(folder / "b.mp4", "b")
    write(folder / "broken.mp4", "bad")
    return folder


@pytest.fixture(scope="module")
def finished(quick_clips: None, talks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A split dataset of them, with all that lies beside it. Tests copy it."""
    out = tmp_path_factory.mktemp("finished") / "dataset"
    extracted(out, talks)
    split_dataset(out, test_share=0.5, seed=0)
    name = source_of(out, "a")
    pictures = {f"{name}_0000{at}000_00009000": {"frame": at, "jpeg": ""} for at in (0, 3)}
    write(out / ".thumbnails" / f"{name}.json", json.dumps({"thumbnails": pictures}))
    write(out / ".records" / "workers.log", "talks/a.mp4:\nTraceback\n")
    (out / ".leftovers").mkdir()
    write(out / ".leftovers" / "clips" / f"{name}_00000000_00002000.mp4", "an older clip")
    people = f"source_id,identity,why,own_identity\n{name},{name},uploader: Ann,{name}\n"
    write(out / "identities.csv", people)
    write_report(out)
    return out


@pytest.fixture
def data(finished: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(finished, tmp_path / "dataset")


def source_of(folder: Path, stem: str) -> str:
    rows = Dataset.open(folder).clips(None)
    return next(row.source_id for row in rows if row.source_id.startswith(f"{stem}-"))


def ids(folder: Path) -> set[str]:
    """What the dataset lists, by the stems of its sources and the start of each clip."""
    rows = Dataset.open(folder).clips(None)
    return {f"{row.source_id.split('-')[0]} {row.start_s}" for row in rows}


def removed(folder: Path, *wanted: Wanted, dry_run: bool = False) -> Removed:
    return remove(folder, wanted, reason="asked", dry_run=dry_run)


def source(folder: Path, stem: str = "a") -> Wanted:
    return Wanted(kind="source", id=source_of(folder, stem))


def first_clip(folder: Path) -> Wanted:
    return Wanted(kind="clip", id=f"{source_of(folder, 'a')}_00000000_00001000")


def contents(folder: Path) -> dict[str, bytes]:
    """All files, the lock left out."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def traces(folder: Path, *words: str) -> Iterator[str]:
    """Yield where one of these words stands, in names of files and in them, Parquet decoded."""
    for name, data in contents(folder).items():
        is_table = name.endswith(".parquet")
        decoded = repr(pq.read_table(folder / name).to_pydict()).encode() if is_table else b""
        held = name.encode() + data + decoded
        yield from (f"{name}: {word}" for word in words if word.encode() in held)


def hashes(rows: list[Clip]) -> list[str]:
    named = ("clip_sha256", "keypoints_sha256", "pose_sha256", "source_sha256")
    return [value for row in rows for name in named if (value := getattr(row, name))]


def test_of_a_source_only_its_id_is_left(data: Path, talks: Path) -> None:
    gone = [row for row in Dataset.open(data).clips(None) if row.source_id == source_of(data, "a")]
    before = Dataset.open(data)
    words = [*hashes(gone), "a.mp4", "uploader: Ann", gone[0].clip_id[len("a-") :]]
    assert {trace.split(": ")[1] for trace in traces(data, *words)} == {
        word.split(": ")[0] for word in words
    }

    found = removed(data, source(data))

    assert list(traces(data, *words)) == []
    assert list(traces(data, gone[0].source_id)) == [f"{REMOVALS_NAME}: {gone[0].source_id}"]
    assert (found.kept_clips, found.other_rows, found.files) == (2, 0, 7)
    after = Dataset.open(data)
    assert after.verify() == []
    assert ids(data) == {"b 0.0", "broken None"}
    assert (after.info.version, found.version) == ("1.0.1", "1.0.1")
    assert after.digest == found.digest != before.digest


def test_other_clips_keep_their_files_and_their_side(data: Path) -> None:
    rows = {row.clip_id: row for row in Dataset.open(data).clips(None)}
    before = contents(data)
    removed(data, first_clip(data))
    left = Dataset.open(data).clips(None)
    assert [rows[row.clip_id] for row in left] == left
    assert len(left) == len(rows) - 1
    for row in left:
        for name in (name for name in before if row.clip_id in name):
            assert contents(data)[name] == before[name]
    listed = "".join((data / "splits" / f"{side}.csv").read_text() for side in ("train", "test"))
    assert sum(row.clip_id in listed for row in rows.values()) == 2


def test_of_one_clip_its_pictures_hashes_and_rows_go_and_its_source_stays(data: Path) -> None:
    (gone,) = [r for r in Dataset.open(data).clips() if r.clip_id == first_clip(data).id]
    words = [*hashes([gone])[:3], gone.clip_id]
    found = removed(data, first_clip(data))
    assert list(traces(data, *words)) == [f"{REMOVALS_NAME}: {gone.clip_id}"]
    assert (found.kept_clips, found.files) == (1, 4)
    assert ids(data) == {"a 1.0", "b 0.0", "broken None"}
    (thumbnails,) = (data / ".thumbnails").rglob("*.json")
    assert "_00003000_" in thumbnails.read_text()


@pytest.mark.parametrize("redo", [False, True])
def test_no_extraction_brings_a_source_back_under_any_name(
    data: Path, talks: Path, tmp_path: Path, *, redo: bool
) -> None:
    words = hashes([row for row in Dataset.open(data).clips() if row.source_id.startswith("a-")])
    removed(data, source(data))
    (tmp_path / "new").mkdir()
    shutil.copy(talks / "a.mp4", tmp_path / "new" / "copy.mp4")
    settings = OTHER if redo else SETTINGS
    done = extracted(data, talks, tmp_path / "new", settings=settings, redo=redo)
    assert ids(data) == {"b 0.0", "broken None"}
    assert done.verify() == []
    assert done.info.sources_pending == 0
    assert done.info.version == "1.0.1"
    assert list(traces(data, *words, "a.mp4", "copy.mp4")) == []


def test_no_extraction_brings_a_stretch_back_with_other_ids(
    data: Path, talks: Path, tmp_path: Path
) -> None:
    removed(data, first_clip(data))
    moved = shutil.copytree(talks, tmp_path / "moved")
    (moved / "a.mp4").rename(moved / "c.mp4")
    done = extracted(data, moved, settings=OTHER, redo=True)
    assert "c 1.0" in ids(data)
    assert not {"a 0.0", "c 0.0"} & ids(data)
    assert done.verify() == []
    assert not list((data / ".leftovers").rglob("*.mp4"))


def test_a_removed_source_that_lies_there_is_told(
    data: Path, talks: Path, caplog: pytest.LogCaptureFixture
) -> None:
    removed(data, source(data))
    extracted(data, talks)
    assert "1 video left out, as removed from it before (removals.json)" in caplog.text


def test_a_person_is_removed_from_all_sources_and_others_there_stay(tmp_path: Path) -> None:
    rows = [
        kept("a1", identity="ann", source_id="a"),
        kept("b1", identity="ann", source_id="b", start_s=0.0, end_s=4.0),
        kept("b2", identity="bob", source_id="b", start_s=4.0, end_s=8.0),
        rejected("a2", identity="a", source_id="a"),
        FAILED,
    ]
    data = make_dataset(tmp_path / "talks", rows)
    found = removed(data.folder, Wanted(kind="identity", id="ann"))
    assert {(stone.kind, stone.id) for stone in found.tombstones} == {
        ("identity", "ann"), ("source", "a"), ("clip", "b1"),
    }  # fmt: skip
    assert {row.clip_id for row in Dataset.open(data.folder).clips(None)} == {"b2", "broken"}
    assert Dataset.open(data.folder).verify() == []
    make_dataset(data.folder, [*rows, kept("c1", identity="ann", source_id="c")])
    assert {row.clip_id for row in Dataset.open(data.folder).clips(None)} == {"b2", "broken"}


def test_a_published_copy_without_records_is_enough(finished: Path, tmp_path: Path) -> None:
    private = shutil.ignore_patterns(".records", ".thumbnails", ".leftovers", "report.html")
    copy = shutil.copytree(finished, tmp_path / "copy", ignore=private)
    words = hashes([row for row in Dataset.open(copy).clips() if row.source_id.startswith("a-")])
    assert removed(copy, source(copy)).kept_clips == 2
    assert list(traces(copy, *words)) == []
    assert not any(path.name.startswith((".", "report")) for path in copy.iterdir())
    assert Dataset.open(copy).verify() == []


def test_a_dry_run_tells_the_same_and_writes_nothing(data: Path) -> None:
    before = contents(data)
    told = removed(data, source(data), dry_run=True)
    assert contents(data) == before
    done = removed(data, source(data))
    assert (told.kept_clips, told.files) == (done.kept_clips, done.files) == (2, 7)


def test_a_source_that_failed_is_removed_with_its_record(data: Path, talks: Path) -> None:
    assert list(traces(data, "broken.mp4"))
    removed(data, source(data, "broken"))
    assert list(traces(data, "broken.mp4")) == []
    extracted(data, talks)
    assert ids(data) == {"a 0.0", "a 1.0", "b 0.0"}


def test_what_a_killed_run_recorded_and_did_not_publish_is_removed(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = write(tmp_path / "new" / "e.mp4", "e").parent

    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("tpbench.extraction.run.finalise", fail)
        with pytest.raises(KeyboardInterrupt):
            extracted(data, new)
    (made,) = (data / "clips").rglob("e-*.mp4")
    found = removed(data, Wanted(kind="source", id=made.name.split("_")[0]))
    assert (found.kept_clips, found.files) == (1, 3)
    assert list(traces(data, "e.mp4")) == []
    assert not made.exists()


UNKNOWN = {
    "a clip": (Wanted(kind="clip", id="a-00000000_00000000_00001000"), "did you mean 'a-"),
    "a video id": (Wanted(kind="source", id="a"), "did you mean 'a-"),
    "a person": (Wanted(kind="identity", id="nobody at all"), "no identity 'nobody at all'"),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_an_unknown_id_is_one_line_with_a_known_one_and_changes_nothing(
    case: str, data: Path
) -> None:
    before = contents(data)
    wanted, said = UNKNOWN[case]
    with pytest.raises(ConfigError, match="nothing was removed") as told:
        removed(data, source(data, "b"), wanted)
    assert said in str(told.value)
    assert "\n" not in str(told.value)
    assert contents(data) == before


def test_an_id_of_another_kind_is_told_so(data: Path) -> None:
    with pytest.raises(ConfigError, match=r"it is a source: --source a-"):
        removed(data, Wanted(kind="clip", id=source_of(data, "a")))
    broken = next(row for row in Dataset.open(data).clips(None) if row.status == "failed")
    with pytest.raises(ConfigError, match=r"a whole one; remove it with --source broken-"):
        removed(data, Wanted(kind="clip", id=broken.clip_id))


def test_nothing_asked_for_and_a_long_reason_are_refused(data: Path) -> None:
    with pytest.raises(ConfigError, match="nothing to remove"):
        remove(data, [])
    with pytest.raises(ConfigError, match="a few words are enough"):
        remove(data, [source(data)], reason="because " * 100)
    with pytest.raises(DatasetError, match="no dataset here"):
        remove(data / "nowhere", [Wanted(kind="clip", id="a")])


def test_a_reason_has_no_paths(data: Path) -> None:
    remove(data, [source(data)], reason="mail in\n/home/me/mails/7.eml")
    (stone,) = Removals.read(data).tombstones
    assert stone.reason == "mail in 7.eml"


def test_an_extraction_at_the_same_time_is_in_the_way(data: Path) -> None:
    before = contents(data)
    for shared in (False, True):
        with (
            locked(data / ".records" / ".lock", shared=shared),
            pytest.raises(DatasetError, match="in use by"),
        ):
            removed(data, source(data))
    assert contents(data) == before


def _failing(method: str, number: int) -> Callable[..., object]:
    """Return a method of paths that fails from its nth call on, as after a kill."""
    real = getattr(Path, method)
    calls = count(1)

    def fail(*args: object, **options: object) -> object:
        if next(calls) >= number:
            raise OSError(28, "No space left on device")
        return real(*args, **options)

    return fail


def _killed(copy: Path, wanted: Wanted, method: str, number: int) -> bool:
    """Remove something, killed at a step; return whether it had so many steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, method, _failing(method, number))
        try:
            removed(copy, wanted)
        except OSError:
            return True
    return False


@pytest.mark.parametrize(("method", "number"), [("unlink", 4), ("unlink", 14), ("replace", 9)])
def test_a_removal_that_was_killed_is_finished_by_the_same_command(
    method: str, number: int, data: Path, tmp_path: Path
) -> None:
    wanted = source(data)
    undisturbed = shutil.copytree(data, tmp_path / "undisturbed")
    removed(undisturbed, wanted)
    assert _killed(data, wanted, method, number)
    removed(data, wanted)
    assert contents(data) == contents(undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["unlink", "replace"])
@pytest.mark.parametrize("kind", ["source", "clip"])
def test_a_removal_may_be_killed_at_any_step(
    method: str, kind: str, data: Path, talks: Path, tmp_path: Path
) -> None:
    wanted = source(data) if kind == "source" else first_clip(data)
    undisturbed = shutil.copytree(data, tmp_path / "undisturbed")
    removed(undisturbed, wanted)
    number, killed = 0, True
    while killed:
        number += 1
        copy = shutil.copytree(data, tmp_path / str(number))
        killed = _killed(copy, wanted, method, number)
        if killed and (copy / REMOVALS_NAME).exists():
            extracted(shutil.copytree(copy, tmp_path / f"{number} extracted"), talks)
            assert "a 0.0" not in ids(tmp_path / f"{number} extracted")
        removed(copy, wanted)
        assert contents(copy) == contents(undisturbed), f"killed at {method} {number}"
    assert number > 5


def test_links_are_unlinked_and_what_they_lead_to_stays(data: Path, tmp_path: Path) -> None:
    clip = next((data / "clips").rglob("a-*.mp4"))
    elsewhere = shutil.move(clip, tmp_path / "elsewhere.mp4")
    clip.symlink_to(elsewhere)
    removed(data, source(data))
    assert not clip.is_symlink()
    assert os.path.exists(elsewhere)  # noqa: PTH110


def test_removing_everything_leaves_an_empty_dataset(data: Path) -> None:
    found = removed(data, *(source(data, stem) for stem in ("a", "b", "broken")))
    assert found.clips_left == 0
    assert Dataset.open(data).clips(None) == []
    assert found.warning is not None
    assert "split the dataset again" in found.warning


def _joined(folder: Path) -> Dataset:
    """Two sources of one uploader, joined to one person, and two of others; split."""
    rows = [
        kept(f"{name}_1", identity=f"{name}-0000000{at}", source_id=f"{name}-0000000{at}")
        for at, name in enumerate("abcd")
    ]
    rows[:2] = [replace(row, uploader="Ann Uploader") for row in rows[:2]]
    make_dataset(folder, rows)
    split_dataset(folder, test_share=0.5, seed=0)
    joined = Dataset.open(folder)
    assert [row.identity for row in joined.clips()][:2] == ["a-00000000"] * 2
    assert list(traces(folder, "uploader: Ann Uploader"))
    return joined


def test_a_joined_person_is_removed_with_all_sources_and_joins(tmp_path: Path) -> None:
    data = _joined(tmp_path / "data")
    sides = {row.clip_id: row.split for row in data.clips()}
    removed(data.folder, Wanted(kind="identity", id="a-00000000"))
    left = Dataset.open(data.folder)
    assert {row.clip_id: row.split for row in left.clips()} == {
        name: side for name, side in sides.items() if name in {"c_1", "d_1"}
    }
    assert list(traces(data.folder, "Ann Uploader", "b_1")) == []
    found = {trace.split(": ")[0] for trace in traces(data.folder, "a-00000000", "b-00000001")}
    assert found == {REMOVALS_NAME}


def test_who_gave_a_joined_person_the_name_leaves_and_the_others_keep_their_side(
    tmp_path: Path,
) -> None:
    data = _joined(tmp_path / "data")
    sides = {row.clip_id: row.split for row in data.clips()}
    removed(data.folder, Wanted(kind="source", id="a-00000000"))
    left = Dataset.open(data.folder)
    assert {row.clip_id: row.split for row in left.clips()} == {
        name: side for name, side in sides.items() if name != "a_1"
    }
    assert left.clip("b_1").identity == "b-00000001"
    found = {trace.split(": ")[0] for trace in traces(data.folder, "a-00000000")}
    assert found == {REMOVALS_NAME}
