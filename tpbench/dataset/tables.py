"""Tables that a user gives: who is who, and which side of the split somebody is on."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, get_args

from tpbench.dataset.info import Clip, SplitName
from tpbench.errors import ConfigError, DatasetError, did_you_mean
from tpbench.foreign import ForeignFileError, from_spreadsheet_safe, printable, read_bytes

_MAX_BYTES: Final = 256 << 20
_SUBJECTS: Final = ("clip_id", "source_id", "url", "identity")
"""Columns by which a row can say of whom it speaks; the first one that a table has is used."""
_SIDES: Final = get_args(SplitName)
_LONG_HINT: Final = 200

Row = Mapping[str, str]


def read_table_rows(
    path: Path,
    *,
    required: Collection[str] = (),
    by_user: bool = False,
) -> list[tuple[int, Row]]:
    """Read a CSV file with a header: UTF-8, commas, names of columns in any case.

    Args:
        path: of the file.
        required: columns that it must have.
        by_user: whether a user wrote it. Then blanks at both ends of cells don't count, and what is
            wrong is a `ConfigError`.

    Returns:
        The rows that are not empty, each with the number of its line.

    Raises:
        DatasetError: it can't be read, is no CSV file, or lacks a required column.
        ConfigError: the same, of a user's file.
    """
    error = ConfigError if by_user else DatasetError
    try:
        text = read_bytes(path, max_bytes=_MAX_BYTES).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError, ForeignFileError) as problem:
        reason = getattr(problem, "strerror", None) or problem
        raise error(f"{path}: can't be read as a table ({reason})") from problem
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[tuple[int, Row]] = []
    heads: list[str] = []
    try:
        for cells in reader:
            values = [from_spreadsheet_safe(cell.strip() if by_user else cell) for cell in cells]
            if not any(values):
                continue
            if not heads:
                heads = [value.lower() for value in values]
                continue
            if len(values) != len(heads):
                raise error(
                    f"{path} line {reader.line_num}: has {len(values)} cells, and the header has "
                    f"{len(heads)}"
                )
            rows.append((reader.line_num, dict(zip(heads, values, strict=True))))
    except csv.Error as problem:
        raise error(f"{path} line {reader.line_num}: {problem}") from problem
    for name in required:
        if name not in heads:
            found = ", ".join(map(printable, heads)) or "none"
            raise error(f"{path}: want a column {name!r} in the first line; there are: {found}")
    return rows


def csv_text(heads: Sequence[str], rows: Iterable[tuple[str, ...]]) -> str:
    """Return a CSV file as text: LF line ends, sorted, cells quoted where they have to be."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    quoted = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(heads)
    for row in sorted(rows):
        # Python before 3.13 doesn't quote a carriage return, but reads it as a line end.
        (quoted if any("\r" in cell for cell in row) else writer).writerow(row)
    return text.getvalue()


class Subjects:
    """Of whom a row of a table can speak: clips, sources, URLs and identities of a dataset.

    Args:
        clips: all rows, with joined identities.
        own: the same rows in the same order, with identities without joins.
    """

    def __init__(self, clips: Sequence[Clip], own: Sequence[Clip]) -> None:
        self._known: dict[str, dict[str, list[Clip]]] = {
            name: defaultdict(list) for name in _SUBJECTS
        }
        for clip, plain in zip(clips, own, strict=True):
            names = {("identity", clip.identity), ("identity", plain.identity)}
            names |= {("clip_id", clip.clip_id), ("source_id", clip.source_id), ("url", clip.url)}
            for kind, name in names:
                if name:
                    self._known[kind][name].append(clip)

    def find(self, kind: str, name: str) -> list[Clip]:
        """Return the rows that a name stands for; empty if it is unknown."""
        return self._known[kind].get(name, [])

    def hint(self, kind: str, name: str) -> str:
        """Return "; did you mean 'x'?" for an unknown name, if something is close to it."""
        hint = did_you_mean(name, self._known[kind])
        return hint if len(hint) < _LONG_HINT else ""


def read_identity_table(path: Path, subjects: Subjects) -> dict[str, str]:
    """Read a table of who is who: `source_id`, `clip_id` or `url`, and `identity`.

    Returns:
        Source id -> identity.

    Raises:
        ConfigError: a row names nothing in the dataset or no identity, or a source has two
            identities.
    """
    rows = read_table_rows(path, required=("identity",), by_user=True)
    kind = _subject(path, rows, _SUBJECTS[:3])
    found: dict[str, tuple[str, int]] = {}
    for line, row in rows:
        name, identity = row[kind], row["identity"]
        if not identity:
            raise ConfigError(f"{path} line {line}: no identity is given for {name!r}")
        clips = subjects.find(kind, name)
        if not clips:
            what = kind.removesuffix("_id")
            raise ConfigError(
                f"{path} line {line}: the dataset has no {what} {name!r}{subjects.hint(kind, name)}"
            )
        for source in sorted({clip.source_id for clip in clips}):
            other, where = found.setdefault(source, (identity, line))
            if other != identity:
                raise ConfigError(
                    f"{path}: source {source!r} has two identities, {other!r} (line {where}) and "
                    f"{identity!r} (line {line}); a source shows one person"
                )
    return {source: identity for source, (identity, _) in found.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedSides:
    """The sides that lists give."""

    sides: Mapping[str, SplitName]
    """Identity -> side."""
    unknown: Sequence[str]
    """Rows that name nothing in the dataset, as `<file> line <n>: <name>`."""
    unused: int
    """Rows that name clips or sources without kept clips."""


def read_side_lists(paths: Iterable[Path], subjects: Subjects) -> ImportedSides:
    """Read lists of who is on which side.

    A list has a column `clip_id`, `source_id`, `url` or `identity`, and a column `side` or `split`
    with `train` or `test`. Without the latter, its name says the side: `train.csv`, `test.csv`.

    Raises:
        ConfigError: a list can't be read, no row of any list names a kept clip, or an identity is
            on both sides; the message names both rows.
    """
    sides: dict[str, tuple[SplitName, str]] = {}
    unknown: list[str] = []
    unused, where = 0, ""
    for path in paths:
        rows = read_table_rows(path, by_user=True)
        kind = _subject(path, rows, _SUBJECTS)
        for line, row in rows:
            where = f"{path} line {line}"
            side, name = _side(path, where, row), row[kind]
            clips = subjects.find(kind, name)
            kept = sorted({clip.identity or "" for clip in clips if clip.status == "kept"})
            if not clips:
                unknown.append(f"{where}: {name}")
            unused += bool(clips) and not kept
            for identity in kept:
                other, there = sides.setdefault(identity, (side, f"{where} ({name})"))
                if other != side:
                    raise ConfigError(
                        f"{where} ({name}) puts {identity!r} on the {side} side, and {there} on "
                        f"the {other} side; a person is on one side only"
                    )
    if not sides:
        raise ConfigError(
            f"{where or 'the lists'}: no row names a kept clip of this dataset; want a column "
            f"{', '.join(_SUBJECTS[:-1])} or {_SUBJECTS[-1]}"
        )
    return ImportedSides(
        sides={identity: side for identity, (side, _) in sorted(sides.items())},
        unknown=unknown,
        unused=unused,
    )


def _subject(path: Path, rows: Sequence[tuple[int, Row]], kinds: Sequence[str]) -> str:
    if not rows:
        raise ConfigError(f"{path}: has no rows below its header")
    for kind in kinds:
        if kind in rows[0][1]:
            return kind
    found = ", ".join(map(printable, rows[0][1]))
    raise ConfigError(
        f"{path}: want a column {', '.join(kinds[:-1])} or {kinds[-1]} in the first line; "
        f"there are: {found}"
    )


def _side(path: Path, where: str, row: Row) -> SplitName:
    given = row.get("side", row.get("split"))
    named = path.stem.lower() if given is None else given.lower()
    for side in _SIDES:
        if named == side:
            known: SplitName = side
            return known
    if given is None:
        raise ConfigError(
            f"{path}: want a column 'side' with train or test, or a file named train.csv or "
            "test.csv"
        )
    raise ConfigError(f"{where}: want the side train or test, got {given!r}")
