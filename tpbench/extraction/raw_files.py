"""Which raw file is the source of which clips: by its bytes, then by its video id or name."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Final

from tpbench.dataset import Clip
from tpbench.dataset.removal import Removals, video_id_of_url
from tpbench.errors import MediaError
from tpbench.extraction.sources import Source, hashed, read_provenance
from tpbench.fetching.lists import listed_video
from tpbench.work.records import Record, RecordError

logger = logging.getLogger(__name__)

_MOST_CANDIDATES: Final = 4
"""Files of the right name that are looked into for one source."""
_BRACKETED: Final = re.compile(r"\[(?P<id>[A-Za-z0-9_-]{4,64})\]$")
"""How yt-dlp puts the id of a video into its default file names: `Title [id].mp4`."""
_SOURCE_MARK: Final = re.compile(r"-[0-9a-f]{8}([0-9a-f]{8}){0,7}$")
"""What `source_id` adds to the stem of a file."""
_HASHES_AT_ONCE: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedSource:
    """A source of a pack, and its clips."""

    source_id: str
    sha256: str | None
    name: str
    """Of its file when the dataset was made."""
    url: str | None
    clips: tuple[Clip, ...]
    """The kept ones."""

    @property
    def names(self) -> frozenset[str]:
        """By which of these a file is recognised: stem, video id, and the stem in its id."""
        stem = PurePosixPath(self.name).stem
        return frozenset({*_names_of(stem, self.url), _SOURCE_MARK.sub("", self.source_id)})


def wanted_sources(rows: Iterable[Clip]) -> list[WantedSource]:
    """Group the kept clips of a pack by source, sorted by its id."""
    by_source: defaultdict[str, list[Clip]] = defaultdict(list)
    for row in rows:
        if row.status == "kept":
            by_source[row.source_id].append(row)
    return [
        WantedSource(
            source_id=source_id,
            sha256=clips[0].source_sha256,
            name=clips[0].source_path,
            url=clips[0].url,
            clips=tuple(clips),
        )
        for source_id, clips in sorted(by_source.items())
    ]


def match_sources(
    wanted: Sequence[WantedSource], files: Sequence[Source]
) -> dict[str, tuple[Source, ...]]:
    """Return, by source id, the files to look into: one with its bytes, else those of its name.

    A source without any has no entry. A file that has the bytes of one source is no candidate for
    another.

    Args:
        wanted: the sources of a pack.
        files: all raw files; those that could be read with their sha256.
    """
    by_sha256 = {file.sha256: file for file in reversed(files) if file.sha256}
    taken = {source.sha256 for source in wanted if source.sha256}
    by_name: defaultdict[str, list[Source]] = defaultdict(list)
    for file in files:
        if file.sha256 not in taken:
            for name in _names_of(file.path.stem, read_provenance(file.path).url):
                by_name[name].append(file)
    found: dict[str, tuple[Source, ...]] = {}
    for source in wanted:
        if source.sha256 in by_sha256:
            found[source.source_id] = (by_sha256[source.sha256],)
            continue
        named = {file.key: file for name in sorted(source.names) for file in by_name.get(name, ())}
        if named:
            found[source.source_id] = tuple(named[key] for key in sorted(named)[:_MOST_CANDIDATES])
    return found


def _names_of(stem: str, url: str | None) -> set[str]:
    names = {stem}
    if (bracketed := _BRACKETED.search(stem)) is not None:
        names.add(bracketed["id"])
    if url is not None:
        names |= {name for name in (video_id_of_url(url), _fetched_name(url)) if name}
    return names


def _fetched_name(url: str) -> str | None:
    """Return the name under which `tpbench fetch` stores the video of an address."""
    video = listed_video(url)
    return None if video is None else video.video_id


class _KnownFiles(Record):
    """The sha256 of raw files, so that each is read for it once."""

    indent = None

    files: dict[str, list[Any]]
    """`Source.key` -> size, modification time, sha256."""


class RawFiles:
    """Hashes raw files, and remembers the result on disk.

    Args:
        path: where it is remembered.
        removals: nothing is remembered of sources that were removed.
    """

    def __init__(self, path: Path, removals: Removals) -> None:
        self._path, self._removals = path, removals
        try:
            self._known: dict[str, list[Any]] = dict(_KnownFiles.read(path).files)
        except RecordError:  # nothing is lost but the time to read the files again
            self._known = {}

    def hashed(
        self, files: Sequence[Source], *, workers: int, on_file: Callable[[Source], None]
    ) -> list[Source]:
        """Return the files with their sha256; one that can't be read stays without.

        Args:
            files: in any order.
            workers: files read at the same time.
            on_file: called with each file that is done.
        """
        done: list[Source] = []
        executor = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="hash")
        try:
            for at in range(0, len(files), _HASHES_AT_ONCE):
                piece = files[at : at + _HASHES_AT_ONCE]
                for file in executor.map(self._one, piece):
                    done.append(file)
                    on_file(file)
                self._remember(done[at:])
        finally:
            executor.shutdown(cancel_futures=True)
        return done

    def _one(self, file: Source) -> Source:
        known = self._known.get(file.key)
        if known is not None and known[:2] == [file.size_bytes, file.mtime_ns]:
            return replace(file, sha256=str(known[2]))
        try:
            return hashed(file)
        except MediaError as error:
            logger.warning("%s", error)
            return file

    def _remember(self, files: Iterable[Source]) -> None:
        news: Mapping[str, list[Any]] = {
            file.key: [file.size_bytes, file.mtime_ns, file.sha256]
            for file in files
            if file.sha256 is not None and not self._removals.removes_source(sha256=file.sha256)
        }
        if any(self._known.get(key) != value for key, value in news.items()):
            self._known |= news
            _KnownFiles(files=self._known).write(self._path)
