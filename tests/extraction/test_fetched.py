"""Lists that are fetched and extracted side by side, with clips of a few bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fetching.server import CUT_SOCKETS, Answer, Site, running_site, write_list
from tpbench.dataset import read_clips
from tpbench.dataset.removal import Removals, Tombstone
from tpbench.errors import ConfigError
from tpbench.extraction.fetched import (
    AHEAD,
    FetchedDataset,
    extract_list,
    preview_list,
    raw_folder,
    refuse_shard,
)
from tpbench.extraction.run import ExtractionRequest
from tpbench.fetching.lists import listed_video
from tpbench.fetching.request import FetchRequest, Pace
from tpbench.work import Progress, pool
from tpbench.work.records import Shard

PACE = Pace(network_waits_s=(), doubt_waits_s=(), block_waits_s=(), retry_s=0)
pytestmark = [pytest.mark.usefixtures("quick_clips"), CUT_SOCKETS]


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(pool, "LOOK_AGAIN_S", 0.01)
    with running_site() as site:
        yield site


class Making:
    """Makes a dataset of a list, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.raw = folder / "raw"

    def requests(
        self, rows: list[str], *, out: str, redo: bool, retry_failed: bool
    ) -> tuple[ExtractionRequest, FetchRequest]:
        extraction = ExtractionRequest(
            inputs=[],
            out=self.folder / out,
            skeleton="mediapipe",
            workers=1,
            redo=redo,
            retry_failed=retry_failed,
        )
        path = write_list(self.folder / "list.txt", *rows)
        return extraction, FetchRequest(
            id_list=path, out=self.raw, pause_s=0, retry_failed=retry_failed
        )

    def __call__(
        self,
        *rows: str,
        out: str = "dataset",
        keep_raw: bool = False,
        redo: bool = False,
        retry_failed: bool = False,
        tell: Callable[[Progress], None] | None = None,
    ) -> FetchedDataset:
        extraction, fetch = self.requests(list(rows), out=out, redo=redo, retry_failed=retry_failed)
        return extract_list(extraction, fetch, tell, delete_raw=not keep_raw, pace=PACE)

    def raw_files(self) -> list[Path]:
        return sorted(self.raw.glob("*.mp4")) if self.raw.is_dir() else []


@pytest.fixture
def making(tmp_path: Path) -> Making:
    return Making(tmp_path)


def put(site: Site, count: int, *, first: int = 0) -> list[str]:
    """Offer sources: each says its number."""
    return [site.put(f"/talk{n}.mp4", f"good {n}".encode()) for n in range(first, first + count)]


def test_a_list_becomes_a_dataset_and_its_raw_files_go(making: Making, site: Site) -> None:
    rows = put(site, 3)
    made = making(*rows)
    assert len(read_clips(making.folder / "dataset", status="kept")) == 3
    assert made.fetch.is_complete
    assert making.raw_files() == []
    assert made.kept_raw == ()
    assert made.dataset.info.sources_pending == 0


def test_raw_files_stay_unless_they_are_to_be_deleted(making: Making, site: Site) -> None:
    making(*put(site, 2), keep_raw=True)
    assert len(making.raw_files()) == 2


def test_only_a_few_raw_files_are_there_at_any_time(making: Making, site: Site) -> None:
    most = 0

    def look(_: str) -> None:
        nonlocal most
        most = max(most, len(making.raw_files()))

    site.on_request = look
    making(*put(site, 12))
    assert 1 <= most <= 1 + AHEAD


def test_a_second_run_fetches_and_extracts_nothing(making: Making, site: Site) -> None:
    rows = [*put(site, 3), site.put("/gone.mp4", 404)]
    first = making(*rows)
    site.requests.clear()
    seen: list[Progress] = []
    again = making(*rows, tell=seen.append)
    assert site.requests == []
    assert again.dataset.info.digest == first.dataset.info.digest
    assert (seen[-1].before, seen[-1].total) == (4, 4)


def test_new_rows_of_a_list_are_added(making: Making, site: Site) -> None:
    making(*put(site, 2))
    site.requests.clear()
    making(*put(site, 3))
    assert set(site.asked()) == {"/talk2.mp4"}
    assert len(read_clips(making.folder / "dataset", status="kept")) == 3


def test_a_video_that_cannot_be_had_stops_no_other(making: Making, site: Site) -> None:
    rows = [*put(site, 1), site.put("/gone.mp4", 404), *put(site, 1, first=5)]
    seen: list[Progress] = []
    made = making(*rows, tell=seen.append)
    assert made.fetch.outcomes == {"ok": 2, "gone": 1}
    assert not made.fetch.is_complete
    assert (seen[-1].done, seen[-1].counts["failed"]) == (3, 1)


def test_a_source_that_fails_keeps_its_raw_file_until_it_is_retried(
    making: Making, site: Site
) -> None:
    row = site.put("/bad.mp4", b"bad")
    made = making(row)
    assert made.kept_raw == tuple(path.name for path in making.raw_files())
    assert len(made.kept_raw) == 1
    assert made.dataset.info.counts.failed == 1


def test_a_block_ends_the_run_with_what_there_is_and_the_next_goes_on(
    making: Making, site: Site
) -> None:
    rows = [*put(site, 2), *(site.put(f"/talk{n}.mp4", 429) for n in (2, 3))]
    made = making(*rows)
    assert "refuses this machine" in (made.fetch.stopped or "")
    assert made.fetch.outcomes == {"ok": 2, "blocked": 1, "pending": 1}
    assert made.dataset.info.sources_pending == 2
    put(site, 4)
    site.requests.clear()
    again = making(*rows)
    assert set(site.asked()) == {"/talk2.mp4", "/talk3.mp4"}
    assert again.dataset.info.sources_pending == 0
    assert again.dataset.info.counts.kept == 4


def test_an_interrupted_run_publishes_what_is_finished(making: Making, site: Site) -> None:
    rows = put(site, 4)

    def interrupt(state: Progress) -> None:
        if state.counts.get("kept", 0) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        making(*rows, tell=interrupt)
    assert len(read_clips(making.folder / "dataset", status="kept")) == 2
    made = making(*rows)
    assert made.dataset.info.counts.kept == 4
    assert making.raw_files() == []


def test_another_dataset_fetches_what_was_deleted_again(making: Making, site: Site) -> None:
    rows = put(site, 2)
    one = making(*rows)
    two = making(*rows, out="other")
    assert one.dataset.info.digest == two.dataset.info.digest
    assert two.dataset.info.counts.kept == 2


def test_a_lost_raw_folder_is_no_reason_to_fetch_again(making: Making, site: Site) -> None:
    rows = put(site, 2)
    making(*rows)
    for path in sorted(making.raw.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    site.requests.clear()
    made = making(*rows)
    assert site.requests == []
    assert made.dataset.info.counts.kept == 2


def test_redo_fetches_everything_again(making: Making, site: Site) -> None:
    rows = put(site, 2)
    making(*rows)
    site.requests.clear()
    making(*rows, redo=True)
    assert set(site.asked()) == {"/talk0.mp4", "/talk1.mp4"}


def test_equal_bytes_under_two_addresses_are_fetched_twice_and_never_again(
    making: Making, site: Site
) -> None:
    rows = [site.put(path, b"good same") for path in ("/one.mp4", "/two.mp4")]
    made = making(*rows)
    assert made.dataset.info.counts.kept == 1
    assert making.raw_files() == []
    site.requests.clear()
    assert making(*rows).dataset.info.counts.kept == 1
    assert site.requests == []


def test_a_removed_source_is_not_fetched_again(making: Making, site: Site) -> None:
    rows = put(site, 2)
    video = listed_video(rows[0])
    assert video is not None
    digits = hashlib.sha256(b"good 0").hexdigest()[:8]
    stone = Tombstone(kind="source", id=f"{video.video_id}-{digits}", date="2026-01-02")
    making(*rows[1:])
    Removals(tombstones=(stone,)).write(making.folder / "dataset")
    site.requests.clear()
    made = making(*rows)
    assert site.requests == []
    assert made.fetch.outcomes == {"ok": 1, "excluded": 1}


@pytest.mark.usefixtures("workers")
def test_a_worker_of_its_own_waits_for_videos_to_arrive(making: Making, site: Site) -> None:
    rows = put(site, 3)
    site.put("/talk1.mp4", b"good 1", Answer(content=b"good 1", cut_after=2), b"good 1")
    made = making(*rows)
    assert made.dataset.info.counts.kept == 3
    assert making.raw_files() == []


def test_a_preview_asks_nobody_and_writes_nothing(making: Making, site: Site) -> None:
    extraction, fetch = making.requests(put(site, 2), out="new", redo=False, retry_failed=False)
    found, problems = preview_list(extraction, fetch)
    assert found.outcomes == {"pending": 2}
    assert problems == ()
    assert site.requests == []
    assert not making.raw.exists()
    assert not (making.folder / "new").exists()


def test_raw_videos_lie_beside_the_dataset_and_never_in_it(making: Making, site: Site) -> None:
    assert raw_folder(Path("a/talks")) == Path("a/talks-raw")
    making.raw = making.folder / "dataset/raw"
    with pytest.raises(ConfigError, match="lies in the dataset"):
        making(*put(site, 1))


def test_shards_are_refused_with_the_way_to_have_them() -> None:
    refuse_shard(None)
    with pytest.raises(ConfigError, match=r"run `tpbench fetch LIST --out RAW` first"):
        refuse_shard(Shard(number=1, count=2))
