"""A dataset in a bucket is read like one in a folder, without the network once it was fetched."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.storage.buckets import filled, keys
from tests.talks import short_settings
from tpbench.benchmark.request import data_folder
from tpbench.cli.main import app
from tpbench.dataset import Dataset, remote
from tpbench.dataset.remote import local_dataset
from tpbench.errors import DatasetError
from tpbench.extraction.run import extract
from tpbench.storage import objects
from tpbench.storage.addresses import Address

TALKS = {"a.mp4": "a two", "b.mp4": "b"}


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    """Each test is a process of its own: it has asked no bucket yet."""
    remote._copied.cache_clear()
    yield
    remote._copied.cache_clear()


@pytest.fixture
def dataset(bucket: Address, quick: None) -> Address:
    """Three clips of two sources."""
    filled(bucket.below("raw"), TALKS)
    extract(f"{bucket}/raw", f"{bucket}/set", preset=short_settings(), skeleton="mediapipe")
    return bucket.below("set")


def next_process() -> None:
    remote._copied.cache_clear()


def test_tables_are_fetched_alone_and_clips_where_they_are_read(dataset: Address) -> None:
    opened = Dataset.open(str(dataset))
    assert len(opened.clips()) == 3
    assert len(opened.missing()) == 9
    assert not list(opened.folder.glob(".records*"))
    assert Dataset.open(local_dataset(str(dataset), with_clips=True)).verify() == []


def test_a_damaged_clip_is_fetched_again_and_a_changed_one_refused(dataset: Address) -> None:
    folder = local_dataset(str(dataset), with_clips=True)
    next(folder.rglob("*.npz")).write_text("damaged here")
    next_process()
    assert Dataset.open(local_dataset(str(dataset), with_clips=True)).verify() == []

    (first, *_) = sorted(key for key in keys(dataset) if key.endswith(".npz"))
    filled(dataset, {first: "changed there"})
    (folder / first).unlink()
    next_process()
    with pytest.raises(objects.UnreachableError, match="sha256 differs"):
        local_dataset(str(dataset), with_clips=True)


def test_what_was_fetched_is_used_without_the_network(
    dataset: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TPBENCH_DATA", str(dataset))
    folder = data_folder(None)

    def lost(address: Address) -> None:
        raise objects.UnreachableError(f"{address}: can't be reached")

    monkeypatch.setattr(objects, "list_objects", lost)
    next_process()
    assert data_folder(None) == folder
    assert Dataset.open(folder).verify() == []


def test_a_dataset_that_was_extended_is_read_anew(dataset: Address, bucket: Address) -> None:
    assert len(Dataset.open(str(dataset)).clips()) == 3
    filled(bucket.below("raw"), {"c.mp4": "c"})
    extract(f"{bucket}/raw", f"{bucket}/set", preset=short_settings(), skeleton="mediapipe")
    next_process()
    assert len(Dataset.open(str(dataset)).clips()) == 4


def test_what_is_no_dataset_is_told(bucket: Address) -> None:
    filled(bucket, {"raw/a.mp4": "a"})
    with pytest.raises(DatasetError, match="is this a dataset that"):
        Dataset.open(f"{bucket}/raw")


def test_inspect_reads_a_bucket(dataset: Address, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["inspect", str(dataset), "--verify", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["problems"] == []
