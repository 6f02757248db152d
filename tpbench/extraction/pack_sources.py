"""`rebuild --fetch`: sources of a pack that are not on this disk yet, fetched by their address."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tpbench.dataset.pack import Pack
from tpbench.dataset.removal import Removals
from tpbench.errors import ConfigError
from tpbench.extraction.raw_files import WantedSource, match_sources, wanted_sources
from tpbench.extraction.sources import find_sources
from tpbench.fetching.lists import listed_video
from tpbench.fetching.request import FetchRequest, FetchResult
from tpbench.fetching.run import run_fetch
from tpbench.work import ProgressListener

_LIST_NAME: Final = "sources.csv"


def fetch_sources(
    pack: Pack,
    raw: Path,
    out: Path,
    *,
    removals: Removals | None = None,
    pause_s: float = 5.0,
    on_progress: ProgressListener | None = None,
) -> FetchResult | None:
    """Fetch the sources of a pack for which `raw` has no video of their id or name.

    Pictures are fetched at the largest height that a source of the pack had. What was removed from
    the pack, or from the dataset, is not fetched.

    Args:
        pack: the pack.
        raw: folder of raw videos; created if needed. An interrupted fetch into it is resumed.
        out: folder of the dataset, which need not exist.
        removals: more that is not fetched.
        pause_s: between two videos.
        on_progress: called after every video.

    Returns:
        What became of them; None if nothing had to be fetched.

    Raises:
        ConfigError: no source that is missing has an address that can be fetched.
        MissingDependencyError, DatasetError, TPBenchError: see `run_fetch`.
    """
    known = pack.removals(out).joined((removals or Removals()).tombstones)
    rows = known.without_removed(pack.rows())
    missing = _missing(wanted_sources(rows), raw, out)
    urls = [source.url for source in missing if source.url and listed_video(source.url)]
    if not missing:
        return None
    if not urls:
        raise ConfigError(
            f"{pack.folder}: names no address of the sources that are not in {raw}, such as "
            f"{missing[0].name}; get them by other means, and leave out --fetch"
        )
    heights = [row.source_height_px for row in rows if row.source_height_px]
    with TemporaryDirectory(prefix="tpbench-") as folder:
        path = Path(folder) / _LIST_NAME
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("url",), *((url,) for url in urls)])
        request = FetchRequest(
            id_list=path,
            out=raw,
            max_height_px=max(heights, default=1080),
            datasets=(pack.folder, out),
            pause_s=pause_s,
        )
        return run_fetch(request, on_progress)


def _missing(wanted: Sequence[WantedSource], raw: Path, out: Path) -> list[WantedSource]:
    try:
        files = find_sources([raw], excluded=out)
    except ConfigError:  # no such folder, or no video in it
        return list(wanted)
    there = match_sources(wanted, files)
    return [source for source in wanted if source.source_id not in there]
