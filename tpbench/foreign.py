"""Foreign input: text for a terminal, JSON within limits, files that stay in their folder.

Runs, datasets and videos are sent by strangers. Nothing in them is trusted before it was compared
with a digest, and nothing in them may control a terminal, exhaust the machine, or lead out of its
folder.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO, Final, NoReturn

from tpbench.files import UnfitFileError, read_bounded

JSON_LIMIT_BYTES: Final = 64 << 20
JSON_LIMIT_VALUES: Final = 2_000_000
JSON_LIMIT_DEPTH: Final = 64
"""Of lists and objects in one another. What tpbench writes has fewer than ten levels."""
_INTEGER_LIMIT: Final = 2**64
_PIECE_BYTES: Final = 1 << 20
_TOO_DEEP: Final = f"nested deeper than {JSON_LIMIT_DEPTH} levels"

_KEPT_FORMATS: Final = "\u200c\u200d"
"""Joiners, without which Persian, Indic scripts and many emoji are spelt wrong."""
_SHORT_ESCAPES: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


class ForeignFileError(ValueError):
    """A file from outside can't be used; the message says why, without naming it."""


def printable(text: object) -> str:
    r"""Return text as one line that can't control a terminal or reorder the text around it.

    Control characters (C0, C1, DEL, and so all terminal escapes), line and paragraph separators,
    bidirectional overrides, invisible characters and lone surrogates become JSON's escapes, so that
    names can still be recognised and JSON stays JSON. All else stays as it is.

    >>> printable("a\r\x1b[2Jb\u202ec")
    'a\\r\\u001b[2Jb\\u202ec'
    """
    return _escaped(str(text), kept="")


def printable_lines(text: str) -> str:
    """Return text of several lines, each made `printable`; tabs stay."""
    return _escaped(text, kept="\n\t")


def _escaped(text: str, *, kept: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        sign if sign in kept or not _is_harmful(sign) else _escape(sign) for sign in text
    )


def _is_harmful(sign: str) -> bool:
    if sign.isprintable() or sign in _KEPT_FORMATS:
        return False
    # Spaces of other widths and signs newer than this Python are not printable to it, but tame.
    return unicodedata.category(sign) not in {"Zs", "Cn", "Co"}


def _escape(sign: str) -> str:
    if sign in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[sign]
    units = sign.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


_FORMULA: Final = (*"=+-@\t\r'", *"\uff1d\uff0b\uff0d\uff20")
"""Beginnings of a cell that spreadsheets run, or hide; those of full width too."""


def is_formula(text: str) -> bool:
    """Whether a spreadsheet would run or hide a cell instead of showing it."""
    return text.startswith(_FORMULA)


def spreadsheet_safe(text: str) -> str:
    """Return text for a cell of a CSV that no spreadsheet runs: with a `'` before it if need be.

    >>> spreadsheet_safe("=HYPERLINK(1)"), spreadsheet_safe("anna")
    ("'=HYPERLINK(1)", 'anna')
    """
    return f"'{text}" if is_formula(text) else text


def from_spreadsheet_safe(text: str) -> str:
    """Return the text that `spreadsheet_safe` was given.

    >>> from_spreadsheet_safe("'=HYPERLINK(1)"), from_spreadsheet_safe("'twas")
    ('=HYPERLINK(1)', "'twas")
    """
    return text[1:] if text.startswith("'") and is_formula(text[1:]) else text


def read_bytes(path: Path, *, max_bytes: int = JSON_LIMIT_BYTES) -> bytes:
    """Return the content of a regular file.

    Raises:
        ForeignFileError: it is a pipe, a device or a folder, or has more than `max_bytes`.
        OSError: it is not there, or can't be read.
    """
    try:
        return read_bounded(path, max_bytes)
    except UnfitFileError as error:
        raise ForeignFileError(error.strerror) from error


def read_json(
    path: Path,
    *,
    max_bytes: int = JSON_LIMIT_BYTES,
    max_values: int = JSON_LIMIT_VALUES,
    strict: bool = True,
) -> Any:  # noqa: ANN401 - any JSON value
    """Return what a JSON file holds, if it is safe to work with.

    Args:
        path: a regular file.
        max_bytes: of the file.
        max_values: numbers, texts, lists and objects in it, roughly: what decides the memory.
        strict: also refuse values that can't be written again or computed with. False where only a
            few values are used, each of which is checked.

    Raises:
        ForeignFileError: no JSON in UTF-8, or beyond the limits: size, depth; if strict, numbers
            that are not finite or have more than 64 bits, text with half a surrogate pair.
        OSError: it is not there, or can't be read.
    """
    return parse_json(read_bytes(path, max_bytes=max_bytes), max_values=max_values, strict=strict)


def parse_json(
    data: bytes | str, *, max_values: int = JSON_LIMIT_VALUES, strict: bool = True
) -> Any:  # noqa: ANN401 - any JSON value
    """Return what a JSON text holds; see `read_json`."""
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    # Counted before parsing: a few bytes of empty lists become gigabytes of objects.
    if raw.count(b",") + raw.count(b"[") + raw.count(b"{") > max_values:
        raise ForeignFileError(f"more than {max_values:,} values")
    try:
        value = json.loads(raw.decode("utf-8"), parse_constant=_no_number if strict else None)
    except UnicodeDecodeError as error:
        raise ForeignFileError(f"no UTF-8 (byte {error.start})") from error
    except RecursionError as error:
        raise ForeignFileError(_TOO_DEEP) from error
    except json.JSONDecodeError as error:
        raise ForeignFileError(printable(error)) from error
    except ValueError as error:  # among them a number of thousands of digits
        raise ForeignFileError(printable(error).partition(";")[0]) from error
    _check(value, strict=strict)
    return value


def _check(value: object, *, strict: bool) -> None:
    """Refuse values that could be parsed and can't be used."""
    level: list[object] = [value]
    depth = 0
    while level:
        inner: list[object] = []
        for item in level:
            if isinstance(item, dict):
                inner += item.keys()
                inner += item.values()
            elif isinstance(item, list):
                inner += item
            elif strict:
                _check_plain(item)
        level = inner
        depth += 1
        if depth > JSON_LIMIT_DEPTH:
            raise ForeignFileError(_TOO_DEEP)


def _check_plain(item: object) -> None:
    if isinstance(item, str):
        try:
            item.encode("utf-8")
        except UnicodeEncodeError as error:
            half = printable(item[error.start])
            raise ForeignFileError(f"text with half a surrogate pair ({half})") from error
    elif isinstance(item, float) and not math.isfinite(item):
        raise ForeignFileError("holds a number that is not finite")
    elif isinstance(item, int) and abs(item) >= _INTEGER_LIMIT:
        raise ForeignFileError("holds a whole number of more than 64 bits")


def _no_number(name: str) -> NoReturn:
    raise ForeignFileError(f"{name} is no number of JSON")


@contextmanager
def opened_inside(folder: Path, path: Path) -> Iterator[BufferedReader]:
    """Open a regular file for reading that lies in a folder, after all links are resolved.

    From the folder down no link is followed while opening, so that nothing can be exchanged between
    the check and the reading.

    Args:
        folder: may itself be reached by links.
        path: of the file, below `folder`.

    Raises:
        ForeignFileError: it leads out of the folder, or is no regular file.
        OSError: it is not there, or can't be read.
    """
    root = Path(os.path.realpath(folder))
    real = Path(os.path.realpath(path, strict=True))
    if not real.is_relative_to(root) or real == root:
        raise ForeignFileError(f"leads out of {folder.name or folder}")
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    parts = real.relative_to(root).parts
    for at, part in enumerate(parts):
        last = at == len(parts) - 1
        kind = os.O_NONBLOCK if last else os.O_DIRECTORY
        try:
            inner = os.open(
                part, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | kind, dir_fd=descriptor
            )
        finally:
            os.close(descriptor)
        descriptor = inner
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor, no path
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ForeignFileError("not a regular file")
        yield file


def require_own(folder: Path, path: Path, sha256: str | None) -> None:
    """Refuse a file that leads out of its folder, or does not have its recorded checksum.

    Raises:
        ForeignFileError: it is one of these.
        OSError: it is not there, or can't be read.
    """
    with opened_inside(folder, path) as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise ForeignFileError("not the file that was written down (sha256 differs)")


def copy_checked(source: BinaryIO, target: Path, sha256: str) -> bool:
    """Copy an open file to a new one, and return whether its bytes have the digest.

    A wrong copy is deleted. The bytes that are hashed are those that are written.

    Raises:
        FileExistsError: something lies at `target`, be it a link.
    """
    digest = hashlib.sha256()
    with target.open("xb") as file:
        while piece := source.read(_PIECE_BYTES):
            digest.update(piece)
            file.write(piece)
    if digest.hexdigest() == sha256:
        return True
    target.unlink()
    return False
