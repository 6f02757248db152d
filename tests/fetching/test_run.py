"""The real yt-dlp against a host on this machine."""

from __future__ import annotations

import hashlib
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.conftest import MediaMaker
from tests.fetching.server import CUT_SOCKETS, Answer, Site, write_list
from tpbench.dataset.removal import Removals, Tombstone
from tpbench.errors import ConfigError, DatasetError, MissingDependencyError
from tpbench.extraction.sources import read_provenance
from tpbench.fetching import lists
from tpbench.fetching.lists import listed_video
from tpbench.fetching.outcomes import FETCH_FOLDER, FETCHED_TABLE
from tpbench.fetching.request import FetchRequest, FetchResult, Pace
from tpbench.fetching.run import preview_fetch, run_fetch
from tpbench.work import Progress

pytestmark = CUT_SOCKETS
PACE = Pace(
    network_waits_s=(1, 2), doubt_waits_s=(3,), block_waits_s=(4, 5, 6), max_unreached=3, retry_s=0
)


class Fetching:
    """Fetches lists into one folder, and notes the waits."""

    def __init__(self, folder: Path, site: Site) -> None:
        self.raw = folder / "raw"
        self.waits_s: list[float] = []
        self._folder, self._site = folder, site

    def __call__(self, *rows: str, tell: Callable[[Progress], None] | None = None,
                 **options: object) -> FetchResult:  # fmt: skip
        request = self.request(*rows, **options)
        return run_fetch(request, tell, pace=PACE, wait=self.waits_s.append)

    def request(self, *rows: str, **options: object) -> FetchRequest:
        path = write_list(self._folder / "list.csv", *rows)
        fields = {"id_list": path, "out": self.raw, "pause_s": 0.0} | options
        return FetchRequest(**fields)  # type: ignore[arg-type]

    def files(self) -> dict[str, bytes]:
        return {
            path.name: path.read_bytes()
            for path in self.raw.glob("*")
            if path.is_file() and path.suffix == ".mp4"
        }

    def outcomes(self) -> list[str]:
        return [row["outcome"] for row in pq.read_table(self.raw / FETCHED_TABLE).to_pylist()]


@pytest.fixture
def fetching(tmp_path: Path, site: Site) -> Fetching:
    return Fetching(tmp_path, site)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small video, and enough behind it for a transfer of several blocks."""
    return MediaMaker(tmp_path_factory.mktemp("clip")).cfr(n=20).read_bytes() + bytes(300_000)


CUT = 200_000
"""Bytes after which a connection is cut: in the middle of a block, which is lost."""


def assert_taken_up(wanted: str | None) -> None:
    assert wanted is not None
    assert 0 < int(wanted.removeprefix("bytes=").rstrip("-")) <= CUT


def name_of(url: str) -> str:
    video = listed_video(url)
    assert video is not None
    return video.video_id


def test_the_folder_may_be_named_from_here(
    fetching: Fetching, site: Site, clip: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for out in ("raw", "../there/raw"):
        assert fetching(site.put("/talk.mp4", clip), out=Path(out)).outcomes == {"ok": 1}
        assert [path.read_bytes() for path in Path(out).glob("*.mp4")] == [clip]


def test_a_list_with_all_that_can_happen(
    fetching: Fetching, site: Site, clip: bytes, tmp_path: Path
) -> None:
    one, two = site.put("/one.mp4", clip), site.put("/two.mp4", clip + b"2")
    gone, page = site.put("/gone.mp4", 404), site.put("/page", Answer(kind="text/html"))
    left_out = site.put("/left_out.mp4", clip)
    sound = site.put("/sound.mp3", Answer(content=b"1", kind="audio/mpeg"))
    rows = ("url", one, gone, two, one, left_out, page, sound)
    result = fetching(*rows, exclude=write_list(tmp_path / "exclude.txt", left_out))
    assert fetching.files() == {f"{name_of(one)}.mp4": clip, f"{name_of(two)}.mp4": clip + b"2"}
    assert result.outcomes == {"ok": 2, "gone": 1, "unusable": 2, "excluded": 1}
    assert (result.id_list.rows, result.id_list.repeated) == (7, 1)
    assert fetching.outcomes() == ["ok", "gone", "ok", "excluded", "unusable", "unusable"]
    assert "/left_out.mp4" not in site.asked()
    assert not result.is_complete


def test_a_fetched_video_has_its_origin_and_its_checksum(
    fetching: Fetching, site: Site, clip: bytes
) -> None:
    url = site.put("/one.mp4", clip)
    fetching(url)
    (path,) = fetching.raw.glob("*.mp4")
    assert read_provenance(path).url == url
    assert read_provenance(path).retrieved_at is not None
    (row,) = pq.read_table(fetching.raw / FETCHED_TABLE).to_pylist()
    assert (row["sha256"], row["size_bytes"]) == (hashlib.sha256(clip).hexdigest(), len(clip))
    assert (row["file"], row["title"], row["detail"]) == (path.name, "one", None)


def test_an_id_that_begins_with_a_dash_is_fetched_by_its_address(
    fetching: Fetching, site: Site, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "YOUTUBE_WATCH", f"{site.url}/watch?v=")
    site.put("/watch?v=-bcdefghij_", clip)
    result = fetching("video_id", "-bcdefghij_", "-bcdefghij_")
    assert result.outcomes == {"ok": 1}
    assert fetching.files() == {"-bcdefghij_.mp4": clip}
    assert (fetching.raw / "-bcdefghij_.info.json").is_file()


def test_a_cut_connection_is_taken_up_where_it_broke(
    fetching: Fetching, site: Site, clip: bytes
) -> None:
    url = site.put("/one.mp4", clip, Answer(content=clip, cut_after=CUT), clip)
    assert fetching(url).outcomes == {"ok": 1}
    assert list(fetching.files().values()) == [clip]
    assert [request.range for request in site.requests][:2] == [None, None]
    assert_taken_up(site.requests[2].range)


def test_the_next_run_goes_on_with_half_a_video(
    fetching: Fetching, site: Site, clip: bytes
) -> None:
    url = site.put("/one.mp4", clip, Answer(content=clip, cut_after=CUT), 503)
    assert fetching(url).outcomes == {"network": 1}
    assert fetching.files() == {}
    site.requests.clear()
    site.put("/one.mp4", clip)
    assert fetching(url).outcomes == {"ok": 1}
    assert_taken_up(site.requests[-1].range)
    assert list(fetching.files().values()) == [clip]


def test_a_video_that_was_stopped_at_its_last_byte_is_begun_anew(
    fetching: Fetching, site: Site, clip: bytes
) -> None:
    address = site.put("/talk.mp4", clip)
    video = listed_video(address)
    assert video is not None
    part = fetching.raw / FETCH_FOLDER / "parts" / video.video_id / "mp4.mp4.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(clip)
    assert fetching(address).outcomes == {"ok": 1}
    assert list(fetching.files().values()) == [clip]


def test_a_second_run_asks_for_nothing(fetching: Fetching, site: Site, clip: bytes) -> None:
    rows = (site.put("/one.mp4", clip), site.put("/gone.mp4", 404))
    first = fetching(*rows)
    site.requests.clear()
    seen: list[Progress] = []
    again = fetching(*rows, tell=seen.append)
    assert site.requests == []
    assert again.outcomes == first.outcomes
    assert again.fetched == 0
    assert [(state.before, state.done, state.total) for state in seen] == [(2, 2, 2)]


def test_what_failed_is_retried_if_asked_for(fetching: Fetching, site: Site, clip: bytes) -> None:
    url = site.put("/one.mp4", 404)
    fetching(url)
    site.put("/one.mp4", clip)
    assert fetching(url).outcomes == {"gone": 1}
    assert fetching(url, retry_failed=True).outcomes == {"ok": 1}


@pytest.mark.parametrize("harm", ["deleted", "cut"])
def test_a_file_that_is_gone_or_another_is_fetched_again(
    fetching: Fetching, site: Site, clip: bytes, harm: str
) -> None:
    url = site.put("/one.mp4", clip)
    fetching(url)
    (path,) = fetching.raw.glob("*.mp4")
    path.unlink() if harm == "deleted" else path.write_bytes(clip[:50])
    assert fetching(url).fetched == 1
    assert path.read_bytes() == clip


def test_a_video_that_vanishes_half_way_leaves_nothing(
    fetching: Fetching, site: Site, clip: bytes
) -> None:
    one = site.put("/one.mp4", clip, Answer(content=clip, cut_after=CUT), 404)
    two = site.put("/two.mp4", clip)
    assert fetching(one, two).outcomes == {"ok": 1, "gone": 1}
    assert list(fetching.files()) == [f"{name_of(two)}.mp4"]
    assert not list((fetching.raw / FETCH_FOLDER / "parts").glob("*"))


def test_hosts_that_refuse_everything_end_the_run_and_the_rest_stays_pending(
    fetching: Fetching, site: Site, clip: bytes
) -> None:
    rows = [site.put(f"/{n}.mp4", clip if n == 0 else 403) for n in range(6)]
    result = fetching(*rows)
    assert result.outcomes == {"ok": 1, "blocked": 3, "pending": 2}
    assert result.stopped is not None
    assert "refuses this machine" in result.stopped
    assert not result.is_complete
    assert [wait for wait in fetching.waits_s if wait] == [3, 3, 3]
    for n in range(1, 6):
        site.put(f"/{n}.mp4", clip + bytes([n]))
    assert fetching(*rows).outcomes == {"ok": 6}


def test_a_single_403_ends_nothing(fetching: Fetching, site: Site, clip: bytes) -> None:
    rows = [site.put(f"/{n}.mp4", 403 if n % 2 else clip) for n in range(7)]
    result = fetching(*rows)
    assert result.outcomes == {"ok": 4, "blocked": 3}
    assert result.stopped is None


def test_a_429_is_waited_out_as_long_as_the_host_asks(
    fetching: Fetching, site: Site, clip: bytes
) -> None:
    busy = Answer(status=429, headers=(("Retry-After", "77"),))
    url = site.put("/one.mp4", busy, 429, clip)
    assert fetching(url).outcomes == {"ok": 1}
    assert [wait for wait in fetching.waits_s if wait] == [77, 5]


def test_a_429_that_stays_ends_the_run_at_once(fetching: Fetching, site: Site) -> None:
    result = fetching(site.put("/one.mp4", 429), site.put("/two.mp4", 429))
    assert result.outcomes == {"blocked": 1, "pending": 1}
    assert [wait for wait in fetching.waits_s if wait] == [4, 5, 6]


def test_a_network_that_is_down_ends_the_run(fetching: Fetching, site: Site) -> None:
    result = fetching(*(f"http://127.0.0.1:1/{n}.mp4" for n in range(5)))
    assert result.outcomes == {"network": 3, "pending": 2}
    assert "3 videos in a row could not be reached" in (result.stopped or "")


def test_only_a_stated_licence_counts_and_the_host_is_asked_once(
    fetching: Fetching, site: Site, clip: bytes
) -> None:
    url = site.put("/one.mp4", clip)
    result = fetching(url, licence="cc-by")
    assert result.outcomes == {"licence": 1}
    assert result.is_complete
    assert fetching.files() == {}
    site.requests.clear()
    assert fetching(url, licence="cc-by").outcomes == {"licence": 1}
    assert site.requests == []
    assert fetching(url).outcomes == {"ok": 1}


def test_what_was_removed_from_a_dataset_never_comes_back(
    fetching: Fetching, site: Site, clip: bytes, tmp_path: Path
) -> None:
    by_name, by_bytes = site.put("/one.mp4", clip), site.put("/other.mp4", clip + b"2")
    digits = hashlib.sha256(clip + b"2").hexdigest()[:8]
    stones = tuple(
        Tombstone(kind="source", id=name, date="2026-01-02")
        for name in (f"{name_of(by_name)}-01234567", f"renamed-{digits}")
    )
    Removals(tombstones=stones).write(tmp_path)
    assert fetching(by_name, by_bytes, datasets=(tmp_path,)).outcomes == {"excluded": 2}
    assert "/one.mp4" not in site.asked()
    assert fetching.files() == {}
    assert not list(fetching.raw.glob("*.json"))
    site.requests.clear()
    fetching(by_name, by_bytes, datasets=(tmp_path,))
    assert site.requests == []


def test_files_that_are_excluded_later_are_named_and_left_to_the_user(
    fetching: Fetching, site: Site, clip: bytes, tmp_path: Path
) -> None:
    url = site.put("/one.mp4", clip)
    fetching(url)
    result = fetching(url, exclude=write_list(tmp_path / "exclude.txt", url))
    assert result.left_files == (f"{name_of(url)}.mp4",)
    assert result.outcomes == {"excluded": 1}


def test_cookies_are_sent_and_stand_in_no_file_and_no_log(
    fetching: Fetching, site: Site, clip: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="tpbench")
    value = "v4lue-of-a-session"
    path = tmp_path / "cookies.txt"
    path.write_text(f"127.0.0.1\tFALSE\t/\tFALSE\t0\tSID\t{value}\n")
    before = path.read_bytes()
    fetching(site.put("/one.mp4", clip), site.put("/gone.mp4", 404), cookies=path)
    assert {request.cookie for request in site.requests} == {f"SID={value}"}
    assert path.read_bytes() == before
    for written in fetching.raw.rglob("*"):
        assert written.is_dir() or value.encode() not in written.read_bytes(), written
    assert value not in caplog.text


def test_metadata_holds_no_more_than_where_a_video_is_from(
    fetching: Fetching, site: Site, clip: bytes
) -> None:
    url = site.put("/one.mp4", clip)
    fetching(url.replace("http://", "http://me:pw@"))
    (path,) = fetching.raw.glob("*.info.json")
    content = json.loads(path.read_text())
    assert {"formats", "url", "http_headers", "cookies"}.isdisjoint(content)
    assert content["webpage_url"] == url
    for written in fetching.raw.rglob("*.json"):
        assert "me:pw" not in written.read_text()


def test_the_first_videos_are_a_trial(fetching: Fetching, site: Site, clip: bytes) -> None:
    rows = [site.put(f"/{n}.mp4", clip) for n in range(3)]
    assert fetching(*rows, limit=1).outcomes == {"ok": 1, "pending": 2}


def test_an_interrupted_run_writes_its_table(fetching: Fetching, site: Site, clip: bytes) -> None:
    def interrupt(state: Progress) -> None:
        if state.done == 1:
            raise KeyboardInterrupt

    rows = [site.put(f"/{n}.mp4", clip) for n in range(3)]
    with pytest.raises(KeyboardInterrupt):
        fetching(*rows, tell=interrupt)
    assert fetching.outcomes() == ["ok", "pending", "pending"]
    assert fetching(*rows).fetched == 2


def test_a_preview_writes_nothing_and_asks_no_host(
    fetching: Fetching, site: Site, clip: bytes
) -> None:
    request = fetching.request(site.put("/one.mp4", clip))
    assert preview_fetch(request).outcomes == {"pending": 1}
    assert site.requests == []
    assert not fetching.raw.exists()


def test_a_wrong_list_leaves_no_folder_behind(fetching: Fetching) -> None:
    with pytest.raises(ConfigError, match="another list than expected"):
        fetching("abcdefghijk", list_sha256="0" * 64)
    assert not fetching.raw.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_height_px": 0}, "--max-height"),
        ({"rate_limit_mb_s": 0.0}, "--rate-limit"),
        ({"pause_s": -1.0}, "--pause"),
        ({"rate_limit_mb_s": float("inf")}, "--rate-limit"),
        ({"pause_s": float("nan")}, "--pause"),
        ({"pause_s": float("inf")}, "--pause"),
        ({"limit": 0}, "--limit"),
    ],
)
def test_options_out_of_range_are_named(
    fetching: Fetching, options: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        fetching.request("abcdefghijk", **options)


def test_a_folder_whose_name_yt_dlp_would_replace_is_refused(
    tmp_path: Path, site: Site, clip: bytes
) -> None:
    with pytest.raises(ConfigError, match=r"\$NAMES"):
        Fetching(tmp_path, site)("abcdefghijk", out=tmp_path / "$HOME")
    percent = Fetching(tmp_path, site)
    percent.raw = tmp_path / "100 %(id)s"
    url = site.put("/one.mp4", clip)
    assert percent(url).outcomes == {"ok": 1}
    assert list(percent.files().values()) == [clip]


def test_two_runs_in_one_folder_are_refused(fetching: Fetching, site: Site, clip: bytes) -> None:
    url = site.put("/one.mp4", clip)

    def again(state: Progress) -> None:
        if state.done == 0:
            with pytest.raises(DatasetError, match="in use by process"):
                fetching(url)

    fetching(url, tell=again)


def test_without_yt_dlp_the_extra_is_named(
    fetching: Fetching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "yt_dlp", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'tpbench\[fetch\]'"):
        fetching("abcdefghijk")
