"""`tpbench fetch` and `tpbench extract --fetch` as a user meets them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import invoke
from tests.fetching.server import Site, running_site, write_list
from tpbench.cli.fetch import list_address
from tpbench.errors import ConfigError
from tpbench.fetching.request import Pace

TALK = b"a talk"


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("no_proxy", "*")
    quick = Pace(network_waits_s=(), doubt_waits_s=(), block_waits_s=(), retry_s=0)
    monkeypatch.setattr("tpbench.fetching.run.Pace", lambda: quick)
    with running_site() as site:
        yield site


def row(printed: str, outcome: str) -> str:
    """Return a row of the table, without its gaps."""
    rows = (" ".join(line.split()) for line in printed.splitlines())
    return next(line for line in rows if line.startswith(f"{outcome} "))


def test_a_list_is_fetched_and_told(site: Site, tmp_path: Path) -> None:
    url = site.put("/talk.mp4", TALK)
    path = write_list(tmp_path / "ids.csv", "url", url, url)
    done = invoke("fetch", path, "--out", tmp_path / "raw", "--pause", "0")
    assert done.exit_code == 0
    assert "ids.csv: 1 video in 2 rows, 1 row of them repeated" in done.stdout
    assert "fetched in this run: 1 video (6 bytes)" in done.stdout
    assert row(done.stdout, "ok") == "ok 1 fetched"
    assert done.stdout.endswith(f"table: {tmp_path / 'raw/fetched.parquet'}\n")


def test_a_video_that_is_gone_is_exit_code_3(site: Site, tmp_path: Path) -> None:
    path = write_list(tmp_path / "ids.txt", site.put("/a.mp4", TALK), site.put("/b.mp4", 404))
    done = invoke("fetch", path, "--out", tmp_path / "raw", "--pause", "0", "--json")
    assert done.exit_code == 3
    assert json.loads(done.stdout)["outcomes"] == {"ok": 1, "gone": 1}


def test_a_block_is_told_with_what_is_pending(site: Site, tmp_path: Path) -> None:
    rows = [site.put(f"/{n}.mp4", 429) for n in range(3)]
    done = invoke(
        "fetch", write_list(tmp_path / "ids.txt", *rows), "--out", tmp_path / "raw", "--pause", "0"
    )
    assert done.exit_code == 3
    assert "stopped with 2 videos pending: the host refuses this machine" in done.stderr


def test_a_dry_run_is_exit_code_0(site: Site, tmp_path: Path) -> None:
    path = write_list(tmp_path / "ids.txt", site.put("/a.mp4", TALK))
    done = invoke("fetch", path, "--out", tmp_path / "raw", "--dry-run")
    assert done.exit_code == 0
    assert row(done.stdout, "pending") == "pending 1 not tried yet"
    assert site.requests == []


def test_removals_of_no_dataset_are_refused(tmp_path: Path) -> None:
    path = write_list(tmp_path / "ids.txt", "abcdefghijk")
    with pytest.raises(ConfigError, match=r"--removals .*misspelt: no dataset here"):
        invoke("fetch", path, "--out", tmp_path / "raw", "--removals", tmp_path / "misspelt")
    assert not (tmp_path / "raw").exists()


def test_one_slash_is_put_back_into_an_address() -> None:
    assert list_address(Path("https://a.org/ids.csv")) == "https://a.org/ids.csv"
    assert list_address("lists/https/ids.csv") == "lists/https/ids.csv"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--raw", "x"), "--raw goes with --fetch"),
        (("--delete-raw",), "--delete-raw goes with --fetch"),
        (("--licence", "cc-by"), "--licence goes with --fetch"),
        (("--fetch", "--shard", "1/2"), "--fetch and --shard don't go together"),
        (("--fetch", "other.csv"), "--fetch wants one id list, got 2 inputs"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    path = write_list(tmp_path / "ids.txt", "abcdefghijk")
    with pytest.raises(ConfigError, match=message):
        invoke("extract", path, *words, "--out", tmp_path / "data", "--skeleton", "mediapipe")


def test_a_list_that_is_to_be_fetched_is_previewed(site: Site, tmp_path: Path) -> None:
    path = write_list(tmp_path / "ids.txt", site.put("/a.mp4", TALK))
    words = ("--fetch", "--dry-run", "--skeleton", "mediapipe")
    done = invoke("extract", path, "--out", tmp_path / "data", *words)
    assert done.exit_code == 0
    assert row(done.stdout, "pending") == "pending 1 not tried yet"
    assert not (tmp_path / "data").exists()
    assert not (tmp_path / "data-raw").exists()


def test_a_list_that_yields_nothing_is_a_dataset_of_no_clips(site: Site, tmp_path: Path) -> None:
    path = write_list(tmp_path / "ids.txt", site.put("/a.mp4", 404))
    words = ("--fetch", "--pause", "0", "--skeleton", "mediapipe", "--workers", "1")
    done = invoke("extract", path, "--out", tmp_path / "data", *words)
    assert done.exit_code == 3
    assert row(done.stdout, "gone") == "gone 1 removed, or never there"
    again = invoke("extract", path, "--out", tmp_path / "data", *words, "--json")
    assert json.loads(again.stdout)["fetch"]["outcomes"] == {"gone": 1}
