"""Id lists: rows of YouTube ids or addresses, with or without a header and times.

Published lists come in many shapes. All are read by one rule: the first row is a header if it names
a known column or holds no video; the video of a row is in the column that the header names, else in
the first one that holds an id or an address. Several rows of one video are one item.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit, urlunsplit

from tpbench.errors import ConfigError
from tpbench.fetching.list_tables import table_rows
from tpbench.files import sha256_of
from tpbench.foreign import (
    JSON_LIMIT_BYTES,
    ForeignFileError,
    from_spreadsheet_safe,
    printable,
    read_bytes,
    read_json,
)

LIST_LIMIT_BYTES: Final = JSON_LIMIT_BYTES
YOUTUBE_WATCH: Final = "https://www.youtube.com/watch?v="
"""Before an id: the full address of its video."""
_YOUTUBE_ID: Final = re.compile(r"[A-Za-z0-9_-]{11}")
_ADDRESS: Final = re.compile(r"https?://[^\s/]+\S*", re.IGNORECASE)
_BARE_YOUTUBE: Final = re.compile(r"((www|m|music)\.)?(youtube\.com|youtu\.be)/", re.IGNORECASE)
_CLOCK: Final = re.compile(r"(?:(?:(?P<h>\d+):)?(?P<m>\d{1,2}):)?(?P<s>\d+(?:\.\d*)?)")

# fmt: off
_URL_NAMES: Final = frozenset(
    {
        "url", "urls", "link", "links", "address", "video_url", "video_urls", "video_link",
        "youtube_url", "youtube_link", "webpage_url", "source_url", "href",
    }
)
_ID_NAMES: Final = frozenset(
    {
        "id", "ids", "video", "videos", "video_id", "video_ids", "videoid", "youtube_id",
        "youtube_ids", "youtubeid", "yt_id", "ytid", "ytb_id", "vid",
    }
)
_START_NAMES: Final = frozenset(
    {
        "start", "start_s", "start_sec", "start_secs", "start_seconds", "start_time", "begin",
        "from", "start_ms", "start_frame",
    }
)
_END_NAMES: Final = frozenset(
    {
        "end", "end_s", "end_sec", "end_secs", "end_seconds", "end_time", "stop", "to",
        "end_ms", "end_frame",
    }
)
_RATE_NAMES: Final = frozenset({"fps", "frame_rate"})
# fmt: on
_KNOWN_NAMES: Final = _URL_NAMES | _ID_NAMES | _START_NAMES | _END_NAMES | _RATE_NAMES
_MANIFEST: Final = "manifest.parquet"
_PARTS_INDEX: Final = "manifest.json"
_PARTS_FOLDER: Final = "manifest"
_SHOWN_CHARS: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A part of a video."""

    start_s: float
    end_s: float
    """Greater than `start_s`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedVideo:
    """A video that a list names, however often."""

    video_id: str
    """The YouTube id; for another address a name made of it. The stem of its files."""
    url: str
    """Full address, so that an id that begins with `-` is never taken for an option."""
    rows: int = 1
    """Rows of the list that name it."""
    spans: tuple[Span, ...] = ()
    """The parts that the list names, in its order, each once; empty: the whole video."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdList:
    """A list as it was read."""

    name: str
    """Of its file, without folders."""
    sha256: str
    videos: tuple[ListedVideo, ...]
    """In the order of the list, each once."""
    rows: int
    """Rows that name a video."""
    repeated: int
    """Rows that say nothing new: video and span stand in an earlier one."""


def read_list(source: Path | str, *, sha256: str | None = None) -> IdList:
    """Read an id list: CSV, TSV or TXT, from a file or an http(s) address, or a Parquet table.

    A folder stands for its `manifest.parquet`, so that the sources of a dataset or pack can be
    fetched. Of a table with a column `status`, only rows that are `kept` count.

    In a TXT file, columns are separated by white space; otherwise by comma, semicolon or tab. Times
    are seconds or `h:mm:ss`; columns named `*_ms` and `*_frame`, and `start` and `end` beside a
    column `fps`, are in milliseconds and frames.

    Args:
        source: path or address.
        sha256: of the list, if its publisher names it.

    Raises:
        ConfigError: the list can't be read, has another checksum, names no video, or has a row
            that can't be understood; the message names the line.
    """
    name = _name_of(source)
    table = _table_path(source)
    raw = b"" if table is not None else _content(source, name)
    found = hashlib.sha256(raw).hexdigest() if table is None else _sha256_of_table(table)
    if sha256 is not None and found != sha256.strip().lower():
        raise ConfigError(
            f"{name}: another list than expected: its sha256 is {found}, not {sha256}; "
            "download it again, or leave out --list-sha256"
        )
    if table is not None:
        rows: list[tuple[int, list[str]]] = []
        for part in _parts(table):
            found_rows = table_rows(part, columns=_KNOWN_NAMES, needed=_URL_NAMES | _ID_NAMES)
            rows += found_rows[1:] if rows else found_rows  # the header once
        return _listed(rows, name=name, sha256=found)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name}: no list of ids: not UTF-8 text (byte {error.start})") from error
    return _listed(list(_rows(text, name)), name=name, sha256=found)


def youtube_id(url: str) -> str | None:
    """Return the YouTube id in an address; None for other addresses.

    >>> youtube_id("https://youtu.be/-abcdefghi_?t=3"), youtube_id("https://x.org/watch?v=a")
    ('-abcdefghi_', None)
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    path = [part for part in parts.path.split("/") if part]
    candidate = ""
    if host == "youtu.be" and path:
        candidate = path[0]
    elif host.removeprefix("www.").removeprefix("m.").removeprefix("music.") in {
        "youtube.com",
        "youtube-nocookie.com",
    }:
        if path[:1] == ["watch"]:
            candidate = next(iter(parse_qs(parts.query).get("v", [])), "")
        elif len(path) > 1 and path[0] in {"shorts", "embed", "live", "v"}:
            candidate = path[1]
    return candidate if _YOUTUBE_ID.fullmatch(candidate) else None


def listed_video(text: str) -> ListedVideo | None:
    """Return the video that an id or an address stands for; None if it is neither.

    >>> listed_video("-abcdefghi_").url
    'https://www.youtube.com/watch?v=-abcdefghi_'
    """
    text = from_spreadsheet_safe(text.strip())
    if _YOUTUBE_ID.fullmatch(text):
        return _of_youtube(text)
    if _BARE_YOUTUBE.match(text):
        text = f"https://{text}"
    if not _ADDRESS.fullmatch(text):
        return None
    try:
        known = youtube_id(text)
        parts = urlsplit(text)
        host = parts.hostname
    except ValueError:  # such as a half-open bracket
        return None
    if not host:
        return None
    if known is not None:
        return _of_youtube(known)
    user, sign, place = parts.netloc.rpartition("@")
    netloc = f"{user}{sign}{place.lower()}"
    url = urlunsplit((parts.scheme.lower(), netloc, parts.path, parts.query, ""))
    return ListedVideo(video_id=_made_name(parts.path, url), url=url)


def _of_youtube(video_id: str) -> ListedVideo:
    return ListedVideo(video_id=video_id, url=f"{YOUTUBE_WATCH}{video_id}")


def _made_name(path: str, url: str) -> str:
    """Return the end of an address, made safe, and 8 digits that tell it from others."""
    last = re.sub(r"\.\w{1,5}$", "", path.rstrip("/").rpartition("/")[2])
    safe = re.sub(r"[^A-Za-z0-9_-]+", "-", last)[:60].strip("-") or "video"
    return f"{safe}-{hashlib.sha256(url.encode()).hexdigest()[:8]}"


def _name_of(source: Path | str) -> str:
    text = str(source)
    if _ADDRESS.match(text):
        try:
            parts = urlsplit(text)
        except ValueError as error:  # such as a half-open bracket
            raise ConfigError(f"{printable(text)}: no address of a list: {error}") from error
        return printable(parts.path.rpartition("/")[2] or parts.hostname)
    return printable(Path(text).name)


def _content(source: Path | str, name: str) -> bytes:
    text = str(source)
    if _ADDRESS.match(text):
        return _downloaded(text, name)
    try:
        return read_bytes(Path(source), max_bytes=LIST_LIMIT_BYTES)
    except FileNotFoundError as error:
        raise ConfigError(f"{text}: no such list; name a file or an address") from error
    except ForeignFileError as error:
        raise ConfigError(f"{text}: no list of ids: {error}") from error
    except OSError as error:
        raise ConfigError(f"{text}: can't be read: {error.strerror}") from error


def _downloaded(url: str, name: str) -> bytes:
    import requests

    try:
        with requests.get(url, timeout=60, stream=True) as answer:
            if not answer.ok:
                raise ConfigError(
                    f"{name}: the list can't be downloaded (HTTP {answer.status_code}); look "
                    "whether its address is still right, or name a file"
                )
            content = b""
            for piece in answer.iter_content(1 << 16):
                content += piece
                if len(content) > LIST_LIMIT_BYTES:
                    raise ConfigError(
                        f"{name}: no list of ids: more than {LIST_LIMIT_BYTES:,} bytes"
                    )
            return content
    except requests.RequestException as error:
        raise ConfigError(
            f"{name}: the list can't be downloaded ({type(error).__name__}); check the network, "
            "or name a file"
        ) from error


def _table_path(source: Path | str) -> Path | None:
    """Return the Parquet table that a list is; None for text."""
    if _ADDRESS.match(str(source)):
        return None
    path = Path(source)
    for name in (_PARTS_INDEX, _MANIFEST):
        if path.is_dir() and (path / name).is_file():
            return path / name
    return path if path.suffix.lower() == ".parquet" else None


def _parts(table: Path) -> list[Path]:
    """Return the files of a table: itself, or the parts of a dataset's manifest."""
    if table.name != _PARTS_INDEX:
        return [table]
    try:
        marks = [part["sha256"][:16] for part in read_json(table)["parts"]]
    except (OSError, ForeignFileError, KeyError, TypeError) as error:
        raise ConfigError(f"{table}: no index of a manifest's parts ({error})") from error
    if not all(re.fullmatch("[0-9a-f]{16}", mark) for mark in marks):
        raise ConfigError(f"{table}: no index of a manifest's parts: it names other files")
    return [table.parent / _PARTS_FOLDER / f"{mark}.parquet" for mark in marks]


def _sha256_of_table(path: Path) -> str:
    try:
        return sha256_of(path)
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such list; name a file or an address") from error
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}") from error


def _listed(rows: Sequence[tuple[int, list[str]]], *, name: str, sha256: str) -> IdList:
    header = _header(rows[0][1]) if rows else None
    body = rows if header is None else rows[1:]
    if not body:
        what = "is empty" if not rows else "has a header and nothing else"
        raise ConfigError(f"{name}: the list {what}; it names no video")
    columns = _Columns.find(header, body[0][1])
    videos: dict[str, ListedVideo] = {}
    n_rows, repeated = 0, 0
    for line, cells in body:
        video = columns.video(cells, where=f"{name}, line {line}")
        if video is None:
            continue
        span = columns.span(cells, where=f"{name}, line {line}")
        n_rows += 1
        known = videos.get(video.video_id)
        if known is None:
            videos[video.video_id] = replace(video, spans=() if span is None else (span,))
            continue
        is_new = span is not None and bool(known.spans) and span not in known.spans
        # A row without times asks for the whole video, which then includes all parts.
        spans = () if span is None else (*known.spans, span) if is_new else known.spans
        repeated += not is_new
        videos[video.video_id] = replace(known, rows=known.rows + 1, spans=spans)
    if not videos:
        raise ConfigError(f"{name}: the list names no video; its cells are all empty")
    return IdList(
        name=name, sha256=sha256, videos=tuple(videos.values()), rows=n_rows, repeated=repeated
    )


def _rows(text: str, name: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the line number and the cells of each row that is not blank or a comment."""
    if name.lower().endswith(".txt"):
        for number, line in enumerate(text.splitlines(), start=1):
            if line.strip() and not line.lstrip().startswith("#"):
                yield number, line.split()
        return
    first = next((line for line in text.splitlines() if line.strip()), "")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(first))
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, cells
    except csv.Error as error:
        raise ConfigError(f"{name}, line {reader.line_num}: no CSV ({error})") from error


def _delimiter(line: str) -> str:
    if listed_video(line) is not None:  # an address may hold commas and semicolons
        return ","
    return max(",;\t", key=line.count)


def _plain(cell: str) -> str:
    return re.sub(r"[\s-]+", "_", cell.strip().lower())


def _header(cells: Sequence[str]) -> list[str] | None:
    names = [_plain(cell) for cell in cells]
    if any(name in _URL_NAMES | _ID_NAMES for name in names):
        return names
    return None if any(listed_video(cell) for cell in cells) else names


@dataclass(frozen=True, slots=True, kw_only=True)
class _Columns:
    """Where a row has what."""

    videos: tuple[int, ...]
    """The first of them that is not empty counts."""
    start: int | None
    end: int | None
    rate: int | None
    header: tuple[str, ...]

    @classmethod
    def find(cls, header: Sequence[str] | None, first: Sequence[str]) -> _Columns:
        """Find the columns by the header, if there is one, and by the first row."""
        holding = tuple(at for at, cell in enumerate(first) if listed_video(cell) is not None)
        if header is None:
            after = holding[0] + 1 if holding else 1
            timed = len(first) > after + 1 and all(
                _CLOCK.fullmatch(cell.strip()) for cell in first[after : after + 2]
            )
            start, end = (after, after + 1) if timed else (None, None)
            return cls(videos=holding[:1] or (0,), start=start, end=end, rate=None, header=())
        named = [at for names in (_URL_NAMES, _ID_NAMES) for at in _at(header, names)]
        if named and not set(named) & set(holding):
            named = [*holding, *named]  # a column `id` of row numbers, beside one with ids
        return cls(
            videos=tuple(named) or holding or (0,),
            start=_time_column(header, _START_NAMES),
            end=_time_column(header, _END_NAMES),
            rate=next(iter(_at(header, _RATE_NAMES)), None),
            header=tuple(header),
        )

    def video(self, cells: Sequence[str], *, where: str) -> ListedVideo | None:
        """Return the video of a row; None if its cells are empty.

        Raises:
            ConfigError: a cell holds something else.
        """
        given = [cells[at] for at in self.videos if at < len(cells) and cells[at].strip()]
        found = next((video for cell in given if (video := listed_video(cell))), None)
        if found is None and given:
            shown = printable(given[0].strip())[:_SHOWN_CHARS]
            raise ConfigError(
                f"{where}: '{shown}' is neither a YouTube id (11 characters) nor an http(s) address"
            )
        return found

    def span(self, cells: Sequence[str], *, where: str) -> Span | None:
        """Return the part of the video that a row names; None: all of it.

        Raises:
            ConfigError: one of the times is missing or no time, or the part is empty.
        """
        ends = (self.start, self.end)
        texts = ["" if at is None or at >= len(cells) else cells[at].strip() for at in ends]
        if not any(texts):
            return None
        units_s = [self._unit_s(at, cells, where) for at in ends]
        times_s = [
            _seconds(text, where) * unit_s for text, unit_s in zip(texts, units_s, strict=True)
        ]
        if not times_s[0] < times_s[1]:
            raise ConfigError(f"{where}: a part from {texts[0]} to {texts[1]} is empty")
        return Span(start_s=times_s[0], end_s=times_s[1])

    def _unit_s(self, at: int | None, cells: Sequence[str], where: str) -> float:
        """Return how many seconds one unit of a column of times is."""
        name = self.header[at] if self.header and at is not None else ""
        if name.endswith("_ms"):
            return 1e-3
        in_frames = name.endswith("_frame") or (self.rate is not None and name in {"start", "end"})
        if not in_frames:
            return 1.0
        if self.rate is None:
            raise ConfigError(f"{where}: times in frames need a column fps")
        rate = _seconds(cells[self.rate].strip() if self.rate < len(cells) else "", where)
        if rate <= 0:
            raise ConfigError(f"{where}: {rate:g} frames a second are no rate")
        return 1 / rate


def _time_column(header: Sequence[str], names: frozenset[str]) -> int | None:
    """Return a column of times; of several, one in seconds."""
    found = _at(header, names)
    return min(found, key=lambda at: header[at].endswith(("_ms", "_frame")), default=None)


def _at(header: Sequence[str], names: frozenset[str]) -> list[int]:
    return [at for at, name in enumerate(header) if name in names]


def _seconds(text: str, where: str) -> float:
    match = _CLOCK.fullmatch(text)
    if match is None:
        shown = printable(text)[:_SHOWN_CHARS]
        raise ConfigError(f"{where}: '{shown}' is no time; want seconds or h:mm:ss, start and end")
    parts: Mapping[str, str | None] = match.groupdict()
    value = sum(float(parts[unit] or 0) * of for unit, of in (("h", 3600), ("m", 60), ("s", 1)))
    if not math.isfinite(value):
        raise ConfigError(f"{where}: a time of {text[:_SHOWN_CHARS]} is too large")
    return value
