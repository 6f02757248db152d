"""Sources of a pack are fetched by their address, if they are not there yet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fetching.server import Site, running_site
from tests.films import Filmed, write_filmed
from tpbench.dataset import Dataset, finalise
from tpbench.dataset.pack import Pack, write_pack
from tpbench.errors import ConfigError
from tpbench.extraction import rebuild_task, rebuilding
from tpbench.extraction.pack_sources import fetch_sources
from tpbench.extraction.rebuilding import rebuild
from tpbench.work import InThisProcess

pytest.importorskip("yt_dlp")


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(rebuilding, "Pool", lambda **_: InThisProcess(build=rebuild_task.build))
    monkeypatch.setattr(rebuilding, "write_report", lambda _: None)
    with running_site() as site:
        yield site


def with_urls(filmed: Filmed, urls: dict[str, str]) -> Dataset:
    """Write the addresses of sources into the manifest, by the first letter of their ids."""
    dataset = filmed.dataset
    rows = [replace(row, url=urls.get(row.source_id[0])) for row in dataset.clips(None)]
    return finalise(
        dataset.folder,
        rows,
        name="Films",
        config={},
        models={},
        measurements=dataset.info.measurements,
    )


def packed(folder: Path, site: Site) -> tuple[Filmed, Pack]:
    """Two films on a host, one of which is gone there, and the pack of their dataset."""
    filmed = write_filmed(folder / "filmed", ("a", "b"))
    urls = {
        "a": site.put("/films/a.mp4", (filmed.raw / "a.mp4").read_bytes()),
        "b": site.put("/films/b.mp4", 404),
    }
    return filmed, write_pack(with_urls(filmed, urls), folder / "pack")


def test_missing_sources_are_fetched_and_rebuilt(tmp_path: Path, site: Site) -> None:
    _, pack = packed(tmp_path, site)
    raw, out = tmp_path / "raw", tmp_path / "out"
    found = fetch_sources(pack, raw, out, pause_s=0)
    assert found is not None
    assert (found.outcomes.get("ok"), found.outcomes.get("gone")) == (1, 1)
    result = rebuild(pack, raw, out)
    assert result.rebuilt.outcomes["identical"] == 2
    assert result.rebuilt.outcomes["source gone"] == 2


def test_what_is_there_is_not_fetched(tmp_path: Path, site: Site) -> None:
    filmed, pack = packed(tmp_path, site)
    assert fetch_sources(pack, filmed.raw, tmp_path / "out") is None
    assert site.asked() == []


def test_sources_without_an_address_are_named(tmp_path: Path) -> None:
    filmed = write_filmed(tmp_path / "filmed", ("a", "b"))
    pack = write_pack(filmed.dataset, tmp_path / "pack")
    with pytest.raises(ConfigError, match=r"names no address of the sources .* such as a\.mp4"):
        fetch_sources(pack, tmp_path / "raw", tmp_path / "out")
