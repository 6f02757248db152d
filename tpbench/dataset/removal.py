"""`removals.json`: what was taken out of a dataset for good, and what belongs to it.

A tombstone names a clip, a source or an identity, and says when and why it was removed. It holds no
hash of a file, no path and no address. Later commands still recognise what must not come back:

- a source by its id, by its bytes under any name (an id ends with the first 8 hex digits of their
  sha256), or by its video id, where an id begins with one: downloaded again, it has other bytes;
- a stretch of a source by its time, as the ids of clips change with the settings;
- an identity by its name.

Eight digits may refuse an innocent video: one in 43,000 where 100,000 videos meet one tombstone.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal, Self
from urllib.parse import parse_qs, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tpbench.canonical import first_problem
from tpbench.dataset.info import Clip
from tpbench.errors import DatasetError
from tpbench.files import atomic_write
from tpbench.foreign import ForeignFileError, read_json

REMOVALS_NAME: Final = "removals.json"
"""In a dataset's folder; public, so that copies of the dataset can follow."""
SCHEMA_VERSION: Final = 1
Kind = Literal["clip", "source", "identity"]

_SOURCE_ID: Final = re.compile(r"(?P<stem>.+)-(?P<digits>[0-9a-f]{8,64})", re.DOTALL)
"""The stem of a file's name, and digits of its sha256: at least `_FEWEST_DIGITS`."""
_FEWEST_DIGITS: Final = 8
_CLIP_ID: Final = re.compile(
    r"(?P<source>.+)_(?P<start>[0-9]{8,12})_(?P<end>[0-9]{8,12})", re.DOTALL
)
"""`<source id>_<start>_<end>`, in ms."""
_ROUNDED_S: Final = 0.001
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_-]+")
_STEM_CHARS: Final = 80
_VIDEO_ID: Final = re.compile(r"[A-Za-z0-9_-]{11}")
"""Of YouTube; names of that form count as video ids."""
_ID_CHARS: Final = 11
_ID_IN_NAME: Final = re.compile(r".*\[(?P<id>[A-Za-z0-9_-]{11})\]", re.DOTALL)
"""`Title [id]`, as yt-dlp names files."""


def name_stem(name: str) -> str:
    """Return a file's stem, or a video id, as source ids begin with it: safe in file names.

    >>> name_stem("Vom Bodensee (1)"), name_stem("-dQw4w9WgXc")
    ('Vom-Bodensee-1', 'dQw4w9WgXc')
    """
    return _UNSAFE.sub("-", name)[:_STEM_CHARS].strip("-") or "video"


def video_id_of_name(stem: str) -> str | None:
    """Return the YouTube id that a file's stem is, or ends with in brackets; None if it has none.

    >>> video_id_of_name("dQw4w9WgXcQ"), video_id_of_name("A talk [dQw4w9WgXcQ]")
    ('dQw4w9WgXcQ', 'dQw4w9WgXcQ')
    >>> video_id_of_name("00001") is None
    True
    """
    if _VIDEO_ID.fullmatch(stem):
        return stem
    match = _ID_IN_NAME.fullmatch(stem)
    return match["id"] if match else None


def video_id_of_url(url: str) -> str | None:
    """Return the id in the address of a video: its parameter `v`, or the last part of its path.

    >>> video_id_of_url("https://www.youtube.com/watch?v=dQw4w9WgXcQ&t=3")
    'dQw4w9WgXcQ'
    >>> video_id_of_url("https://youtu.be/dQw4w9WgXcQ"), video_id_of_url("https://a.org/x/talk.mp4")
    ('dQw4w9WgXcQ', 'talk')
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    named = parse_qs(parts.query).get("v")
    return named[0] if named else Path(parts.path).stem or None


class Tombstone(BaseModel):
    """One removal. Of a clip, it also holds where in its source the clip was."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Kind
    id: str = Field(min_length=1)
    date: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}$")
    """ISO, UTC."""
    reason: str = ""
    source_id: str | None = None
    """Of a clip."""
    start_s: float | None = Field(default=None, ge=0)
    """Of a clip whose time in its source is known."""
    end_s: float | None = Field(default=None, ge=0)
    """Exclusive."""

    @model_validator(mode="after")
    def _has_its_place(self) -> Self:
        if (self.kind == "clip") != (self.source_id is not None):
            raise ValueError("a clip needs source_id, and nothing else has one")
        if (self.start_s is None) != (self.end_s is None):
            raise ValueError("start_s and end_s go together")
        if self.start_s is not None and self.kind != "clip":
            raise ValueError("only a clip has start_s and end_s")
        return self

    @property
    def source(self) -> str | None:
        """Id of the source that it is about; None for an identity."""
        return self.id if self.kind == "source" else self.source_id

    def overlaps(self, start_s: float, end_s: float) -> bool:
        """Whether any time of a stretch is in it; a source is removed at all times."""
        if self.start_s is None or self.end_s is None:
            return self.kind == "source"
        return start_s < self.end_s and self.start_s < end_s


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = SCHEMA_VERSION
    removals: tuple[Tombstone, ...]


def clip_tombstone(clip: Clip, *, reason: str = "", date: str | None = None) -> Tombstone:
    """Return the tombstone of a stretch.

    Args:
        clip: its row. Without times, only its id keeps it out.
        reason: published as it is.
        date: today if not given.
    """
    return Tombstone(
        kind="clip",
        id=clip.clip_id,
        date=date or today(),
        reason=reason,
        source_id=clip.source_id,
        start_s=clip.start_s,
        end_s=clip.end_s,
    )


def today() -> str:
    """Return the date in UTC, as tombstones have it."""
    return datetime.now(UTC).date().isoformat()


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceMarks:
    """What is known of a source that may have been removed; any part may be missing."""

    source_id: str | None = None
    sha256: str | None = None
    """Of its bytes."""
    url: str | None = None
    """Where it comes from."""
    video_id: str | None = None
    """As lists name it."""

    @classmethod
    def of(cls, clip: Clip) -> Self:
        """Return what a row of the manifest tells about its source."""
        return cls(
            source_id=clip.source_id,
            sha256=clip.source_sha256,
            url=clip.url,
            video_id=video_id_of_name(Path(clip.source_path).stem),
        )

    @property
    def digits(self) -> str | None:
        """Its sha256, or the beginning of it."""
        match = None if self.source_id is None else _SOURCE_ID.fullmatch(self.source_id)
        return self.sha256 or (match["digits"] if match else None)

    def video_names(self) -> set[str]:
        """Return its video ids as they stand in source ids."""
        names = {self.video_id, None if self.url is None else video_id_of_url(self.url)}
        if self.source_id is not None and (match := _SOURCE_ID.fullmatch(self.source_id)):
            names.add(video_id_of_name(match["stem"]))
        return {name_stem(name) for name in names if name}


@dataclass(frozen=True, slots=True, kw_only=True)
class Removals:
    """All tombstones of a dataset, and whether something is covered by one of them."""

    tombstones: tuple[Tombstone, ...] = ()
    """One for each kind and id, sorted by both."""
    _ids: dict[Kind, dict[str, Tombstone]] = field(
        default_factory=lambda: defaultdict(dict), init=False, repr=False, compare=False
    )
    """Kind -> id -> its tombstone."""
    _of_source: dict[str, list[Tombstone]] = field(
        default_factory=lambda: defaultdict(list), init=False, repr=False, compare=False
    )
    """Id of a source, the first digits of its sha256, its video ids -> tombstones in it."""

    def __post_init__(self) -> None:
        for stone in self.tombstones:
            self._ids[stone.kind][stone.id] = stone
            if stone.source is not None:
                for key in _keys_of(stone.source):
                    self._of_source[key].append(stone)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the removals of a dataset; none if there is no such file.

        Raises:
            DatasetError: the file can't be read. What it lists might come back without it.
        """
        path = folder / REMOVALS_NAME
        return cls.read_file(path) if path.exists() or path.is_symlink() else cls()

    @classmethod
    def read_file(cls, path: Path) -> Self:
        """Read such a file by its path, like that of another copy of the dataset.

        Raises:
            DatasetError: it is missing or can't be read.
        """
        advice = "put it back from a copy, as what it lists could come back without it"
        try:
            content = _File.model_validate(read_json(path))
        except FileNotFoundError as error:
            raise DatasetError(f"{path}: no such file") from error
        except (OSError, ForeignFileError) as error:
            raise DatasetError(f"{path}: not readable ({error}); {advice}") from error
        except ValidationError as error:
            raise DatasetError(f"{path}: {first_problem(error)}; {advice}") from error
        return cls().joined(content.removals)

    def write(self, folder: Path) -> Path:
        """Write `removals.json`; once this returns, it survives a power failure."""
        path = folder / REMOVALS_NAME
        content = _File(removals=self.tombstones)
        with atomic_write(path, durable=True) as temporary:
            text = content.model_dump_json(indent=1, exclude_none=True) + "\n"
            temporary.write_text(text, encoding="utf-8", newline="\n")
        return path

    def joined(self, others: Iterable[Tombstone]) -> Self:
        """Return these removals and more; of two for the same thing, the first stays."""
        found: dict[tuple[str, str], Tombstone] = {}
        for stone in (*self.tombstones, *others):
            found.setdefault((stone.kind, stone.id), stone)
        return type(self)(tombstones=tuple(found[key] for key in sorted(found)))

    def __bool__(self) -> bool:
        return bool(self.tombstones)

    def find(self, kind: Kind, name: str) -> Tombstone | None:
        """Return the tombstone of exactly this id; None if there is none."""
        return self._ids[kind].get(name)

    def removes_source(
        self,
        *,
        source_id: str | None = None,
        sha256: str | None = None,
        url: str | None = None,
        video_id: str | None = None,
    ) -> bool:
        """Whether a source was removed as a whole; `SourceMarks` says what the arguments are."""
        marks = SourceMarks(source_id=source_id, sha256=sha256, url=url, video_id=video_id)
        return self.removes_source_with(marks)

    def concern(self, marks: SourceMarks) -> bool:
        """Whether a source or any clip of it was removed."""
        return any(True for _ in self._about(marks))

    def removes_source_with(self, marks: SourceMarks) -> bool:
        """Whether a source was removed as a whole."""
        return any(stone.kind == "source" for stone in self._about(marks))

    def removes_span(self, source_id: str, start_s: float, end_s: float) -> bool:
        """Whether any time of a stretch was removed, alone or with all of its source.

        Args:
            source_id: of its source.
            start_s: in seconds from the start of the source.
            end_s: its end, exclusive.
        """
        about = self._about(SourceMarks(source_id=source_id))
        return any(stone.overlaps(start_s, end_s) for stone in about)

    def spans_of(self, marks: SourceMarks) -> list[tuple[float, float]]:
        """Return start and end in seconds of each clip removed from a source, sorted."""
        spans = {
            (stone.start_s, stone.end_s)
            for stone in self._about(marks)
            if stone.start_s is not None and stone.end_s is not None
        }
        return sorted(spans)

    @property
    def of_people(self) -> bool:
        """Whether anybody was removed by the name of an identity."""
        return bool(self._ids["identity"])

    def removes_identity(self, identity: str) -> bool:
        """Whether a person was removed."""
        return identity in self._ids["identity"]

    def removes_row(self, clip: Clip) -> bool:
        """Whether a row must not be in the dataset, for any of these reasons."""
        if not self.tombstones:
            return False
        if clip.clip_id in self._ids["clip"]:
            return True
        if clip.identity is not None and self.removes_identity(clip.identity):
            return True
        # A row without times is of a source as a whole.
        start_s = 0.0 if clip.start_s is None else clip.start_s
        end_s = start_s if clip.end_s is None else clip.end_s
        return any(stone.overlaps(start_s, end_s) for stone in self._about(SourceMarks.of(clip)))

    def removes_clip_id(self, clip_id: str) -> bool:
        """Whether the name of a clip's files tells that it was removed: by its id, or by its time.

        Ids that the extraction gives hold their source and their times.
        """
        if clip_id in self._ids["clip"]:
            return True
        match = _CLIP_ID.fullmatch(clip_id)
        if match is None:
            return False
        # The times are rounded: a neighbour must not seem to overlap.
        start_s, end_s = (
            int(match["start"]) / 1000 + _ROUNDED_S,
            int(match["end"]) / 1000 - _ROUNDED_S,
        )
        return self.removes_span(match["source"], start_s, end_s)

    def without_removed(self, clips: Iterable[Clip]) -> list[Clip]:
        """Return the rows that stay, in their order."""
        return [clip for clip in clips if not self.removes_row(clip)]

    def _about(self, marks: SourceMarks) -> Iterator[Tombstone]:
        """Yield the tombstones of a source and of clips of it."""
        if not self._of_source:
            return
        if marks.source_id is not None:
            yield from self._of_source.get(marks.source_id, ())
        for name in marks.video_names():
            yield from self._of_source.get(_VIDEO + name, ())
        if (digits := marks.digits) is not None:
            for stone in self._of_source.get(_SHA256 + digits[:_FEWEST_DIGITS], ()):
                removed = SourceMarks(source_id=stone.source).digits or ""
                if digits.startswith(removed) or removed.startswith(digits):
                    yield stone


_SHA256: Final = "sha256 "
_VIDEO: Final = "video "
"""Beginnings of keys, with a space, which no source id has."""


def _keys_of(source_id: str) -> set[str]:
    """Return the keys under which a removed source is found."""
    match = _SOURCE_ID.fullmatch(source_id)
    if match is None:
        return {source_id}
    stem = match["stem"]
    keys = {source_id, _SHA256 + match["digits"][:_FEWEST_DIGITS], _VIDEO + stem}
    if stem[:-_ID_CHARS].endswith("-"):  # a title, and the id that was in brackets
        keys.add(_VIDEO + name_stem(stem[-_ID_CHARS:]))
    return keys
