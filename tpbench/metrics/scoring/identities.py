"""Who is seen in which clip, from a table.

A table that could be read in two ways would make two people one, or one two, and intervals are over
people. So there is one form: UTF-8, commas, one line a clip, as many fields as the head has.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NoReturn

from tpbench.errors import ConfigError
from tpbench.files import read_bounded
from tpbench.foreign import from_spreadsheet_safe, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from tpbench.metrics.scoring.pairing import Pairing

_COLUMNS: Final = ("clip", "identity")
_MAX_BYTES: Final = 64 << 20

_LINE_END: Final = re.compile(r"\r\n|\n|\r")
_FIELD: Final = r'(?:"(?:[^"]|"")*"|[^",]*)'
_RECORD: Final = re.compile(rf"{_FIELD}(?:,{_FIELD})*")
"""One line with its quotes in pairs and around whole fields (RFC 4180, without line ends)."""

_OTHER_DELIMITERS: Final = {";": "';'", "\t": "tabs", "|": "'|'"}


def read_identities(path: Path) -> dict[str, str]:
    """Read a CSV table with the columns `clip` and `identity`; others are passed over.

    Clips and identities are in Unicode's composed form (NFC), without blanks at their ends.

    Raises:
        ConfigError: it can't be read, lacks a column, or can be read in more than one way: names
            the line.
    """
    return _Table(path).identities()


def with_identities(pairing: Pairing, identities: Mapping[str, str], path: Path) -> Pairing:
    """Return the pairs with the identities of a table.

    What the table says of clips that are not there becomes a note, and so do identities that differ
    in upper and lower case only.

    Raises:
        ConfigError: the table lacks a clip.
    """
    lacking = [pair.clip_id for pair in pairing.pairs if _composed(pair.clip_id) not in identities]
    if lacking:
        msg = f"{path}: has no identity for {len(lacking)} clips, the first is '{lacking[0]}'"
        raise ConfigError(msg)
    pairs = tuple(
        replace(pair, identity=identities[_composed(pair.clip_id)]) for pair in pairing.pairs
    )
    known = {_composed(pair.clip_id) for pair in pairs} | set(map(_composed, pairing.missing))
    unknown = sorted(identities.keys() - known)
    notes = []
    if unknown:
        more = f" and {len(unknown) - 1:,} more" if len(unknown) > 1 else ""
        notes.append(f"{path.name} names clips that are not there: '{unknown[0]}'{more}")
    notes += _look_alikes({pair.identity for pair in pairs if pair.identity})
    return replace(pairing, pairs=pairs, notes=(*pairing.notes, *notes))


def _look_alikes(identities: Iterable[str]) -> Iterator[str]:
    forms: dict[str, str] = {}
    for identity in sorted(identities):
        form = " ".join(identity.casefold().split())
        if form in forms:
            yield f"identities '{forms[form]}' and '{identity}' count as two people"
        forms[form] = identity


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


class _Table:
    """A table being read; it knows the line that it is at."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._line = 1

    def identities(self) -> dict[str, str]:
        lines = _LINE_END.split(self._text())
        head = self._head(lines[0])
        places = [head.index(name) for name in _COLUMNS]
        found: dict[str, str] = {}
        for self._line, line in enumerate(lines[1:], start=2):
            if not line:
                continue
            fields = self._fields(line)
            if len(fields) < len(head):
                clip = fields[places[0]] if places[0] < len(fields) else ""
                self._refuse(f"clip '{clip}' lacks a name: {_count(fields, head)}")
            if len(fields) > len(head):
                told = "put a field that has a comma in it between double quotes"
                self._refuse(f"{_count(fields, head)}: {told}")
            clip, identity = (fields[place] for place in places)
            if not clip or not identity:
                self._refuse(f"clip '{clip}' lacks a name")
            if clip in found:
                self._refuse(f"clip '{clip}' comes twice")
            found[clip] = from_spreadsheet_safe(identity)
        return found

    def _text(self) -> str:
        try:
            raw = read_bounded(self._path, _MAX_BYTES)
        except OSError as error:
            msg = f"{self._path}: no table that can be read ({error.strerror or error})"
            raise ConfigError(msg) from error
        if b"\0" in raw:
            self._line = raw[: raw.index(b"\0")].count(b"\n") + 1
            self._refuse("no table that can be read (a NUL byte: save it as UTF-8)")
        try:
            return raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            self._line = raw[: error.start].count(b"\n") + 1
            self._refuse(f"no table that can be read (no UTF-8: {error.reason}; save it as that)")

    def _head(self, line: str) -> list[str]:
        marks = [name for mark, name in _OTHER_DELIMITERS.items() if mark in line]
        if marks and "," not in line:
            self._refuse(f"fields are separated by {marks[0]}: save it with commas")
        head = self._fields(line)
        if not set(_COLUMNS) <= set(head):
            found = ", ".join(head) if line else "none"
            self._refuse(f"want the columns 'clip' and 'identity', found {found}")
        forms = [name.casefold() for name in head]
        for at, form in enumerate(forms):
            if not form:
                self._refuse(f"column {at + 1} has no name")
            if form in forms[:at]:
                self._refuse(f"two columns are called '{head[at]}': keep one")
        return head

    def _fields(self, line: str) -> list[str]:
        # Blanks beside commas make nobody another person, but may stand before a quote.
        if not _RECORD.fullmatch(line):
            told = "quotes go around a whole field, and a quote in it is doubled"
            self._refuse(f"has a double quote that can be read in two ways: {told}")
        fields = [_composed(field.strip()) for field in next(csv.reader([line], strict=True), [""])]
        for field in fields:
            if printable(field) != field:
                self._refuse(f"'{printable(field)}' has a character that can't be seen in it")
        return fields

    def _refuse(self, reason: str) -> NoReturn:
        msg = f"{self._path}, line {self._line}: {reason}"
        raise ConfigError(msg)


def _count(fields: Sequence[str], head: Sequence[str]) -> str:
    return f"{len(fields)} fields, where the head has {len(head)}"
