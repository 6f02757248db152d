"""Datasets whose home is a bucket: equal to local ones, resumed, one driver at a time."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest
import yaml

from tests.extraction import racing_driver
from tests.processes import started, wait_while_running
from tests.storage.buckets import downloaded, filled, keys, local_copy_of
from tests.talks import short_settings
from tpbench.benchmark.status import status_of
from tpbench.dataset import Dataset
from tpbench.dataset.folder import RECORDS_FOLDER
from tpbench.dataset.remote import local_dataset
from tpbench.errors import ConfigError, DatasetError
from tpbench.extraction.preview import preview_extraction
from tpbench.extraction.records import read_records
from tpbench.extraction.run import ExtractionRequest, extract, run_shard
from tpbench.storage import objects
from tpbench.storage.addresses import Address
from tpbench.storage.lease import leased
from tpbench.storage.mirror import Mirror, copies_home
from tpbench.work.faults import HaltError
from tpbench.work.records import Shard

SETTINGS = short_settings()
TALKS = {f"{name}.mp4": f"{name} two" if name in "ac" else name for name in "abcdefghij"}


def run_on(inputs: Path | str, out: Path | str, *, redo: bool = False) -> Dataset:
    return extract(inputs, out, preset=SETTINGS, skeleton="mediapipe", workers=1, redo=redo)


def records_in(address: Address) -> dict[str, bytes]:
    """The records of finished sources."""
    home = address.below(f"{RECORDS_FOLDER}/sources")
    return {
        one.address.name: objects.read(one.address) or b"" for one in objects.list_objects(home)
    }


@pytest.fixture
def local(quick: None, tmp_path: Path) -> Dataset:
    """The dataset that a run in a folder makes."""
    return run_on(local_copy_of(TALKS, tmp_path / "raw"), tmp_path / "talks")


@pytest.mark.usefixtures("quick")
def test_a_run_into_a_bucket_gives_the_dataset_of_a_folder(
    bucket: Address, local: Dataset, tmp_path: Path
) -> None:
    filled(bucket.below("raw"), TALKS)
    made = run_on(f"{bucket}/raw", f"{bucket}/talks")
    assert made.digest == local.digest
    assert made.info.name == "talks"
    assert made.missing() == []

    there = Dataset.open(downloaded(bucket.below("talks"), tmp_path / "there"))

    assert there.digest == local.digest
    assert there.verify() == []
    assert {p.name for p in tmp_path.glob("there/*")} >= {"manifest.parquet", "README.md"}
    clips = copies_home(bucket.below("talks")) / "run" / "talks" / "clips"
    assert all(not path.stat().st_size for path in clips.rglob("*.mp4")), "none stays here"
    before = records_in(bucket.below("talks"))
    assert run_on(f"{bucket}/raw", f"{bucket}/talks").digest == local.digest
    assert records_in(bucket.below("talks")) == before, "nothing is done twice"


@pytest.mark.usefixtures("quick")
def test_replaced_clips_are_deleted_and_lost_ones_made_again(
    bucket: Address, tmp_path: Path
) -> None:
    filled(bucket.below("raw"), {"a.mp4": "a two", "b.mp4": "b"})
    out = bucket.below("talks")
    run_on(f"{bucket}/raw", str(out))
    filled(bucket.below("raw"), {"a.mp4": "other"})
    objects.delete(next(one.address for one in objects.list_objects(out.below("poses"))))
    made = run_on(f"{bucket}/raw", str(out))
    assert len([key for key in keys(out) if key.startswith("clips/")]) == len(made.clips()) == 2
    assert Dataset.open(downloaded(out, tmp_path / "there")).verify() == []


@pytest.mark.usefixtures("quick")
def test_shards_into_a_bucket_give_the_same_dataset(bucket: Address, local: Dataset) -> None:
    filled(bucket.below("raw"), TALKS)
    request = ExtractionRequest(
        inputs=[f"{bucket}/raw"], out=f"{bucket}/talks", preset=SETTINGS, skeleton="mediapipe",
        workers=1,
    )  # fmt: skip
    done = [run_shard(request, Shard.parse(f"{number}/2")).done for number in (1, 2)]
    assert sum(done) == len(TALKS)
    before = records_in(bucket.below("talks"))
    assert len(before) == len(TALKS)
    assert run_on(f"{bucket}/raw", f"{bucket}/talks").digest == local.digest
    assert records_in(bucket.below("talks")) == before


@pytest.mark.usefixtures("quick")
def test_a_dry_run_looks_into_the_bucket_and_writes_nothing(bucket: Address) -> None:
    filled(bucket.below("raw"), TALKS)
    filled(bucket.below("other"), {"a.mp4": "a"})
    run_on(f"{bucket}/raw/a.mp4", f"{bucket}/talks")
    before = keys(bucket)
    request = ExtractionRequest(
        inputs=[f"{bucket}/raw"], out=f"{bucket}/talks", preset=SETTINGS, skeleton="mediapipe"
    )
    found = preview_extraction(request)
    assert (found.videos, found.videos_left, found.problems) == (len(TALKS), len(TALKS) - 1, ())
    assert found.folder == f"{bucket}/talks"
    assert keys(bucket) == before


@pytest.mark.usefixtures("quick")
def test_foreign_folders_whole_buckets_and_other_settings_are_refused_by_address(
    bucket: Address,
) -> None:
    filled(bucket.below("raw"), {"a.mp4": "a"})
    with pytest.raises(ConfigError, match="name a folder in the bucket"):
        run_on(f"{bucket}/raw", str(bucket))
    filled(bucket.below("other"), {"notes.txt": "mine"})
    with pytest.raises(DatasetError, match=f"{bucket}/other: holds files but no dataset"):
        run_on(f"{bucket}/raw", f"{bucket}/other")
    assert keys(bucket) == {"raw/a.mp4", "other/notes.txt"}


def test_a_cache_that_can_keep_no_copy_is_named(
    bucket: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(bucket.below("raw"), {"a.mp4": "a"})
    (tmp_path / "file").touch()
    monkeypatch.setenv("TPBENCH_CACHE", str(tmp_path / "file"))
    told = f"{tmp_path}/file/.*: no copy of {bucket}/talks can be kept here .*set TPBENCH_CACHE"
    with pytest.raises(ConfigError, match=told):
        run_on(f"{bucket}/raw", f"{bucket}/talks")
    with pytest.raises(ConfigError, match=told):
        local_dataset(f"{bucket}/talks", with_clips=False)
    assert keys(bucket) == {"raw/a.mp4"}


@pytest.mark.usefixtures("quick")
def test_a_bucket_that_goes_stops_the_run_and_what_is_recorded_is_there(
    bucket: Address, local: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(bucket.below("raw"), TALKS)
    put, count = Mirror.put, iter(range(100))

    def failing(mirror: Mirror, files: list[str]) -> None:
        if next(count) > 4:
            raise objects.UnreachableError(f"{bucket}: can't be reached")
        put(mirror, files)

    monkeypatch.setattr(Mirror, "put", failing)
    with pytest.raises(HaltError, match="can't be reached"):
        run_on(f"{bucket}/raw", f"{bucket}/talks")
    monkeypatch.setattr(Mirror, "put", put)
    assert run_on(f"{bucket}/raw", f"{bucket}/talks").digest == local.digest
    assert Dataset.open(downloaded(bucket.below("talks"), tmp_path / "there")).verify() == []


def test_a_killed_driver_is_followed_on_another_machine_and_nothing_is_done_twice(
    bucket: Address, local: Dataset, tmp_path: Path
) -> None:
    filled(bucket.below("raw"), TALKS)
    out = bucket.below("talks")
    preset = tmp_path / "short.yaml"
    preset.write_text(yaml.safe_dump(SETTINGS.model_dump(mode="json")))
    command = [
        str(racing_driver.__file__), "extract", f"{bucket}/raw", "--out", str(out),
        "--skeleton", "mediapipe", "--preset", str(preset), "--workers", "1",
    ]  # fmt: skip
    with started(*command) as process:
        wait_while_running(process, lambda: len(records_in(out)) >= 2)
        process.send_signal(signal.SIGKILL)
        process.wait()
    before = records_in(out)
    assert 2 <= len(before) < len(TALKS)
    assert f"{RECORDS_FOLDER}/settings.json" in keys(out)
    # The working copy is gone, as on another machine; that its lease is dead was noted.
    note = (copies_home(out) / "run" / ".holder").read_text()
    shutil.rmtree(copies_home(out))
    (copies_home(out) / "run").mkdir(parents=True)
    (copies_home(out) / "run" / ".holder").write_text(note)

    with started(*command) as process:
        shown, told = process.communicate(timeout=100)
        assert process.returncode == 0, told
    assert f"report: {out}/report.html" in shown

    there = Dataset.open(downloaded(out, tmp_path / "there"))
    after = {record.item: record for record in read_records(there.folder)}
    assert there.digest == local.digest
    assert there.verify() == []
    assert len(after) == len(TALKS)
    assert {name: records_in(out)[name] for name in before} == before, "something was done twice"
    assert not any(key.startswith(".leases") for key in keys(out))


@pytest.mark.slow
def test_a_real_talk_from_and_to_a_bucket_has_the_digest_of_a_local_run(
    bucket: Address, tmp_path: Path
) -> None:
    from tests.talks import darkness, mirrored, write_talk

    write_talk(tmp_path / "raw/a.mp4")
    write_talk(tmp_path / "raw/b.mp4", mirrored())
    write_talk(tmp_path / "raw/c.mp4", darkness())
    for path in (tmp_path / "raw").iterdir():
        objects.put(path, bucket.below(f"raw/{path.name}"))
    local = run_on(tmp_path / "raw", tmp_path / "talks")
    made = run_on(f"{bucket}/raw", f"{bucket}/talks")
    assert made.info.counts.kept == 2
    assert made.digest == local.digest
    there = Dataset.open(downloaded(bucket.below("talks"), tmp_path / "there"))
    assert there.verify() == []
    assert "data:image/jpeg" in (there.folder / "report.html").read_text()


@pytest.mark.usefixtures("quick")
def test_how_far_a_bucket_is_stands_in_its_leases_and_in_what_ended_drivers_left(
    bucket: Address, tmp_path: Path
) -> None:
    filled(bucket.below("raw"), TALKS)
    run_on(f"{bucket}/raw", f"{bucket}/talks")
    (ended,) = status_of(f"{bucket}/talks").parts
    assert ended.state == "finished"
    assert ended.driver is not None
    assert ended.driver.counts["kept"] == len(TALKS)

    with leased(bucket.below("talks"), Shard.parse("2/2"), note=tmp_path / "note") as lease:
        before = keys(bucket)
        first, second = status_of(f"{bucket}/talks", sleep=lambda _: None).parts
        assert (first.state, second.state) == ("not started", "starting")
        lease.say(ended.driver.model_copy(update={"ending": "", "part": "2/2"}).model_dump())
        objects.write(lease.address, lease._content())
        _, second = status_of(f"{bucket}/talks", sleep=lambda _: None).parts
        assert (second.state, second.total) == ("silent", len(TALKS))
        assert keys(bucket) == before
    with pytest.raises(ConfigError, match="no dataset of tpbench"):
        status_of(f"{bucket}/raw")
