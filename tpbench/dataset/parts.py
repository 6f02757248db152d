"""A manifest of many rows, in parts: which there are, and how they are replaced.

    DATASET/
      manifest.json              which parts there are, in the order of their clip ids
      manifest/<sha16>.parquet   the rows of a stretch of clip ids, named by the file's own sha256

A part holds the clip ids from its first one up to that of the next part, so rows that are added
change the part in which they belong and no other: those that stay equal are not written. New parts
are written beside the old ones; then `manifest.json` is renamed into its place, and what it does
not name is deleted. Whoever reads sees all of the old rows or all of the new ones.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from tpbench.canonical import Count
from tpbench.dataset.info import read_versioned
from tpbench.errors import DatasetError
from tpbench.files import atomic_write, atomic_write_text, is_temporary, sha256_of

Table = Any

PARTS_INDEX: Final = "manifest.json"
PARTS_FOLDER: Final = "manifest"
ROWS_OF_A_PART: Final = 50_000
"""A manifest of more rows is in parts; a part of twice as many is divided."""
_VERSION: Final = 1
_NEW: Final = ".new.parquet"
_OURS: Final = re.compile(rf"[0-9a-f]{{16}}\.parquet|{re.escape(_NEW)}")


class Part(BaseModel):
    """One file of a manifest in parts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    first: str
    """Its smallest clip id."""
    rows: Count
    sha256: str = Field(pattern="^[0-9a-f]{64}$")

    @property
    def name(self) -> str:
        """Of the file, in the folder of the parts."""
        return f"{self.sha256[:16]}.parquet"


class PartsIndex(BaseModel):
    """The content of `manifest.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = _VERSION
    parts: tuple[Part, ...] = Field(min_length=1)


def read_index(folder: Path) -> PartsIndex | None:
    """Read `manifest.json`; None if the manifest of the dataset is a single file.

    Raises:
        DatasetError: it is of another version, or broken.
    """
    return read_versioned(folder / PARTS_INDEX, PartsIndex, version=_VERSION)


def write_parts(
    folder: Path, table: Table, *, part_rows: int, read: Callable[[Path], Table]
) -> list[Path]:
    """Write rows in parts; parts whose rows are there already stay as they are.

    Args:
        folder: the dataset.
        table: all rows, sorted by clip id, each column in one piece; at least one.
        part_rows: rows of a part that is new.
        read: reads a part of before; any error means that it is written again.

    Returns:
        The files that were written, without `manifest.json`.
    """
    former = _former_parts(folder)
    home = folder / PARTS_FOLDER
    home.mkdir(exist_ok=True)
    parts, written = [], []
    for begin, end in _pieces(table, [part.first for part in former], part_rows):
        piece = table.slice(begin, end - begin)
        first = piece["clip_id"][0].as_py()
        part = next((one for one in _near(former, first, len(piece))), None)
        if part is None or not _holds(home / part.name, piece, read):
            path = _write(home, piece)
            part = Part(first=first, rows=len(piece), sha256=sha256_of(path))
            path = path.replace(home / part.name)
            written.append(path)
        parts.append(part)
    index = PartsIndex(parts=tuple(parts))
    atomic_write_text(folder / PARTS_INDEX, json.dumps(index.model_dump(), indent=2) + "\n")
    _delete_others(home, {part.name for part in parts})
    return written


def delete_parts(folder: Path) -> None:
    """Delete the parts of before, once the manifest is a single file again."""
    (folder / PARTS_INDEX).unlink(missing_ok=True)
    home = folder / PARTS_FOLDER
    if home.is_dir():
        _delete_others(home, set())
        if not any(home.iterdir()):
            home.rmdir()


def _former_parts(folder: Path) -> Sequence[Part]:
    try:
        index = read_index(folder)
    except DatasetError:
        return ()
    return () if index is None else index.parts


def _pieces(table: Table, firsts: Sequence[str], part_rows: int) -> Iterator[tuple[int, int]]:
    """Yield the rows of each part: the stretches of before, divided where they have become long."""
    ids = table["clip_id"]
    # What comes before all of before belongs to its first part.
    later = sorted({*firsts})[1:]
    numbers = range(len(ids))
    starts = [bisect_left(numbers, first, key=lambda at: ids[at].as_py()) for first in later]
    for begin, end in pairwise([0, *starts, len(ids)]):
        rows = end - begin
        n = 1 if rows < 2 * part_rows else -(-rows // part_rows)
        cuts = [_between_sources(table, begin + rows * at // n, end) for at in range(1, n)]
        for one, other in pairwise([begin, *cuts, end]):
            if one < other:
                yield one, other


def _between_sources(table: Table, at: int, end: int) -> int:
    """Return the first row from `at` on at which another source begins."""
    sources = table["source_id"]
    before = sources[at - 1].as_py()
    while at < end and sources[at].as_py() == before:
        at += 1
    return at


def _near(former: Sequence[Part], first: str, rows: int) -> Iterator[Part]:
    return (part for part in former if part.first == first and part.rows == rows)


def _holds(path: Path, piece: Table, read: Callable[[Path], Table]) -> bool:
    try:
        return bool(read(path).equals(piece)) and sha256_of(path)[:16] == path.stem
    except Exception:  # noqa: BLE001 - whatever is wrong with it, it is written again
        return False


def _write(home: Path, piece: Table) -> Path:
    import pyarrow.parquet as pq

    path = home / _NEW
    with atomic_write(path) as temporary:
        pq.write_table(piece, temporary, compression="zstd")
    return path


def _delete_others(home: Path, names: set[str]) -> None:
    """Delete parts of before, and what killed processes left; nothing that is not ours."""
    for path in home.iterdir():
        is_ours = bool(_OURS.fullmatch(path.name)) or is_temporary(path)
        if is_ours and path.name not in names and not path.is_dir():
            path.unlink(missing_ok=True)
