"""Raw videos in a bucket: found by the rules of folders, fetched to scratch, deleted after."""

from __future__ import annotations

import errno
import logging
import os
import re
from collections import Counter
from pathlib import Path

import pytest

from tests.storage.buckets import filled, local_copy_of
from tests.talks import short_settings
from tpbench.dataset import Dataset
from tpbench.errors import ConfigError
from tpbench.extraction.preview import preview_extraction
from tpbench.extraction.records import read_records
from tpbench.extraction.remote import at_hand, remote_sources
from tpbench.extraction.run import ExtractionRequest, extract
from tpbench.extraction.sources import Source, find_sources, read_provenance
from tpbench.storage import objects, scratch
from tpbench.storage.addresses import Address
from tpbench.work.faults import HaltError, PostponedError

TALKS = {
    "a.mp4": "a two",
    "deep/b.MKV": "b",
    "deep/c.mp4": "bad",
    "deep/same.mp4": "a two",
    ".hidden/d.mp4": "d",
    "deep/.e.mp4": "e",
    "notes.txt": "no video",
    "a.info.json": '{"license": "CC BY"}',
    "set/.records/settings.json": "{}",
    "set/clips/f.mp4": "f",
}
SETTINGS = short_settings()


def found_in(bucket: Address) -> list[Source]:
    return find_sources([Path(str(bucket))], excluded=Path("/nowhere"))


def no_report(_: object) -> None:
    """Tell nobody."""


def run_on(inputs: Path | str, out: Path) -> Dataset:
    return extract(
        inputs, out, preset=SETTINGS, skeleton="mediapipe", workers=1, name="talks",
        retry_failed=True,
    )  # fmt: skip


def test_videos_are_found_by_the_rules_of_folders(
    bucket: Address, caplog: pytest.LogCaptureFixture
) -> None:
    filled(bucket.below("raw"), TALKS)
    left_out: Counter[str] = Counter()
    with caplog.at_level(logging.WARNING):
        found = list(remote_sources(bucket.below("raw"), None, left_out))
    assert [one.shown_path for one in found] == [
        f"{bucket}/raw/{name}" for name in ("a.mp4", "deep/b.MKV", "deep/c.mp4", "deep/same.mp4")
    ]
    assert all(one.is_remote and one.etag for one in found)
    assert left_out == {".txt": 1}
    assert f"{bucket}/raw/set is a dataset of tpbench" in caplog.text
    assert Source.from_json(found[0].to_json()) == found[0]


def test_an_object_is_used_whatever_its_ending(bucket: Address) -> None:
    filled(bucket, {"raw/talk": "a", "raw/talk2": "b"})
    assert [one.shown_path for one in found_in(bucket.below("raw/talk"))] == [f"{bucket}/raw/talk"]


def test_nothing_and_the_dataset_itself_are_refused(bucket: Address) -> None:
    with pytest.raises(ConfigError, match="raw does not exist"):
        found_in(bucket.below("raw"))
    filled(bucket.below("set"), {"a.mp4": "a"})
    with pytest.raises(ConfigError, match="lies in the dataset"):
        list(remote_sources(bucket.below("set"), bucket.below("set"), Counter()))
    assert list(remote_sources(bucket, bucket.below("set"), Counter())) == []


def test_no_bucket_and_no_access_are_told_in_one_line(
    bucket: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = Address(scheme="s3", bucket=f"{bucket.bucket}-absent", key="raw")
    with pytest.raises(objects.NoObjectError, match="no such bucket; create it"):
        found_in(absent)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(objects, "ATTEMPTS", 1)
    objects._filesystem.cache_clear()
    with pytest.raises(objects.UnreachableError, match="check the network"):
        found_in(bucket)


def test_a_google_that_does_not_answer_is_told_in_one_line_after_two_tries(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from gcsfs.core import GCSFileSystem

    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setattr(objects, "ATTEMPTS", 1)
    tries, set_session = [], GCSFileSystem._set_session

    async def counted(files: object) -> object:
        tries.append(files)
        return await set_session(files)

    monkeypatch.setattr(GCSFileSystem, "_set_session", counted)
    objects._filesystem.cache_clear()
    with pytest.raises(objects.UnreachableError, match="check the network"):
        objects.read(Address(scheme="gs", bucket="talks", key="raw"))
    objects._filesystem.cache_clear()
    assert len(tries) == 2
    assert [record for record in caplog.records if record.name == "gcsfs"] == []


def test_a_source_is_at_hand_with_its_metadata_and_deleted_after(bucket: Address) -> None:
    filled(bucket, TALKS)
    source = found_in(bucket)[0]
    with at_hand(source, no_report) as fetched:
        assert fetched.path.read_text() == "a two"
        assert (fetched.key, fetched.is_remote) == (source.key, False)
        assert fetched.path.stat().st_mtime_ns == source.mtime_ns
        assert read_provenance(fetched.path).licence == "CC BY"
    assert not fetched.path.parent.exists()
    with pytest.raises(ZeroDivisionError), at_hand(source, no_report) as fetched:
        raise ZeroDivisionError
    assert not fetched.path.parent.exists()


def test_an_object_that_changed_or_went_waits_for_the_next_run(bucket: Address) -> None:
    filled(bucket, {"a.mp4": "a", "b.mp4": "b"})
    first, second = found_in(bucket)
    filled(bucket, {"a.mp4": "c"})
    objects.delete(bucket.below("b.mp4"))
    with pytest.raises(PostponedError, match="changed while"), at_hand(first, no_report):
        pytest.fail("it was another one")
    with pytest.raises(PostponedError, match="was removed since"), at_hand(second, no_report):
        pytest.fail("it was there")


@pytest.mark.usefixtures("quick")
def test_a_wrong_scratch_is_told_before_the_first_video_and_costs_none(
    bucket: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(bucket, {"a.mp4": "a"})
    (tmp_path / "file").touch()
    monkeypatch.setenv("TPBENCH_SCRATCH", str(tmp_path / "file"))
    request = ExtractionRequest(
        inputs=[str(bucket)], out=tmp_path / "out", preset=SETTINGS, skeleton="mediapipe"
    )
    told = f"{tmp_path}/file/.*: can't keep fetched files here .*; set TPBENCH_SCRATCH"
    (problem,) = preview_extraction(request).problems
    assert re.match(told, problem)
    with pytest.raises(ConfigError, match=told):
        run_on(str(bucket), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(HaltError, match=told), at_hand(found_in(bucket)[0], no_report):
        pytest.fail("on another machine, too, it is no fault of the video")


def test_a_full_scratch_is_named_and_how_to_choose_another(
    bucket: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(bucket, {"a.mp4": "a"})
    (source,) = found_in(bucket)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(objects, "fetch", full)
    told = f"{tmp_path}/scratch/.*: No space left on device; .*set TPBENCH_SCRATCH"
    with pytest.raises(HaltError, match=told), at_hand(source, no_report):
        pytest.fail("it can't be fetched")


def test_scratch_of_a_killed_process_is_swept(tmp_path: Path) -> None:
    home = tmp_path / "scratch"
    (home / "1-ab").mkdir(parents=True)
    (home / "1-ab" / "talk.mp4").write_text("left")
    (home / "1-ab.lock").touch()
    scratch.sweep(home)
    assert list(home.iterdir()) == []


@pytest.mark.usefixtures("quick")
def test_a_bucket_gives_the_dataset_of_a_folder_and_nothing_is_done_twice(
    bucket: Address, tmp_path: Path
) -> None:
    filled(bucket, TALKS)
    from_folder = run_on(local_copy_of(TALKS, tmp_path / "raw"), tmp_path / "local")
    from_bucket = run_on(str(bucket), tmp_path / "out")
    assert from_bucket.digest == from_folder.digest
    rows = from_bucket.clips(None)
    assert {row.source_path for row in rows} == {
        f"{bucket}/{name}" for name in ("a.mp4", "deep/b.MKV", "deep/c.mp4", "deep/same.mp4")
    }
    assert [row.status for row in rows].count("failed") == 1
    before = {record.item: record.wall_s for record in read_records(tmp_path / "out")}

    # The same bytes written anew are no new video, others are.
    filled(bucket, {"a.mp4": "a two", "deep/b.MKV": "B"})
    again = run_on(str(bucket), tmp_path / "out")

    after = {record.item: record.wall_s for record in read_records(tmp_path / "out")}
    changed = {name.rpartition("/")[2] for name in before if before[name] != after[name]}
    assert changed <= {"b.MKV", "c.mp4"}
    assert again.digest != from_bucket.digest
    assert again.verify() == []
    assert not (tmp_path / "scratch").exists() or not list((tmp_path / "scratch").rglob("*.mp4"))
