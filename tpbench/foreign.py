"""Untrusted input: text for a terminal, JSON within limits, files that stay in their folder.

Runs, datasets and videos come from third parties. Nothing in them is trusted until its digest is
verified, and nothing in them may control a terminal, exhaust the machine, or lead out of its
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
"""Levels of nested lists and objects. Files written by tpbench have fewer than ten."""
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
    bidirectional overrides, invisible characters and lone surrogates become JSON's escapes, so
    names stay recognisable and JSON stays valid. All other characters are unchanged.

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
    # Spaces of other widths and characters newer than this Python are harmless, too.
    return unicodedata.category(sign) not in {"Zs", "Cn", "Co"}


def _escape(sign: str) -> str:
    if sign in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[sign]
    units = sign.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


_FORMULA: Final = (*"=+-@\t\r'", *"\uff1d\uff0b\uff0d\uff20")
"""First characters of a cell that spreadsheets execute or hide, full-width forms included."""


def is_formula(text: str) -> bool:
    """Whether a spreadsheet would execute or hide a cell with this text instead of showing it."""
    return text.startswith(_FORMULA)


def spreadsheet_safe(text: str) -> str:
    """Return text for a CSV cell that no spreadsheet executes: prefixed with `'` if necessary.

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
        OSError: it does not exist, or can't be read.
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
    """Return the value in a JSON file, if it is within limits and safe to use.

    Args:
        path: a regular file.
        max_bytes: limit on the file's size.
        max_values: rough limit on numbers, texts, lists and objects, which decide the memory used.
        strict: also refuse values that can't be serialised or computed with. False where only a
            few values are used, each of which is checked.

    Raises:
        ForeignFileError: not JSON in UTF-8, or beyond the limits on size, values or depth; if
            strict, non-finite numbers, integers beyond 64 bits, text with half a surrogate pair.
        OSError: it does not exist, or can't be read.
    """
    return parse_json(read_bytes(path, max_bytes=max_bytes), max_values=max_values, strict=strict)


def parse_json(
    data: bytes | str,
    *,
    max_values: int = JSON_LIMIT_VALUES,
    strict: bool = True,
    file_names: bool = False,
) -> Any:  # noqa: ANN401 - any JSON value
    """Return the value of a JSON text; see `read_json`.

    Args:
        data: the text.
        max_values: see `read_json`.
        strict: see `read_json`.
        file_names: texts may be file names as Python holds them, in which U+DC80 to U+DCFF stand
            for bytes that are no UTF-8.
    """
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    # Counted before parsing, because a small text of empty lists becomes gigabytes of objects.
    if raw.count(b",") + raw.count(b"[") + raw.count(b"{") > max_values:
        raise ForeignFileError(f"more than {max_values:,} values")
    try:
        value = json.loads(raw.decode("utf-8"), parse_constant=_no_number if strict else None)
    except UnicodeDecodeError as error:
        raise ForeignFileError(f"not UTF-8 (byte {error.start})") from error
    except RecursionError as error:
        raise ForeignFileError(_TOO_DEEP) from error
    except json.JSONDecodeError as error:
        raise ForeignFileError(printable(error)) from error
    except ValueError as error:  # such as a number with thousands of digits
        raise ForeignFileError(printable(error).partition(";")[0]) from error
    _check(value, strict=strict, text_errors="surrogateescape" if file_names else "strict")
    return value


def parse_yaml(text: str, *, loader: Any = None) -> Any:  # noqa: ANN401 - YAML, and an untyped class
    """Return the value of a YAML text.

    Args:
        text: of one document.
        loader: PyYAML's class; one that builds plain values only. Default: `yaml.SafeLoader`.

    Raises:
        yaml.YAMLError: it is no YAML, or a value is not what its tag says.
    """
    import yaml

    try:
        return yaml.load(text, Loader=loader or yaml.SafeLoader)  # noqa: S506 - a safe one
    except yaml.YAMLError:
        raise
    except Exception as error:  # PyYAML raises half a dozen kinds for values that tags don't fit
        raise yaml.YAMLError(str(error) or type(error).__name__) from error


def _check(value: object, *, strict: bool, text_errors: str) -> None:
    """Refuse parsed values that can't be used."""
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
                _check_plain(item, text_errors)
        level = inner
        depth += 1
        if depth > JSON_LIMIT_DEPTH:
            raise ForeignFileError(_TOO_DEEP)


def _check_plain(item: object, text_errors: str) -> None:
    if isinstance(item, str):
        try:
            item.encode("utf-8", text_errors)
        except UnicodeEncodeError as error:
            half = printable(item[error.start])
            raise ForeignFileError(f"text with half a surrogate pair ({half})") from error
    elif isinstance(item, float) and not math.isfinite(item):
        raise ForeignFileError("holds a number that is not finite")
    elif isinstance(item, int) and abs(item) >= _INTEGER_LIMIT:
        raise ForeignFileError("holds a whole number of more than 64 bits")


def _no_number(name: str) -> NoReturn:
    raise ForeignFileError(f"{name} is not a JSON number")


@contextmanager
def opened_inside(folder: Path, path: Path) -> Iterator[BufferedReader]:
    """Open a regular file for reading, if it is inside a folder once all links are resolved.

    No link below the folder is followed while opening, so that nothing can be swapped between the
    check and the reading.

    Args:
        folder: may itself be reached by links.
        path: of the file, below `folder`.

    Raises:
        ForeignFileError: it leads out of the folder, or is no regular file.
        OSError: it does not exist, or can't be read.
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
        ForeignFileError: it does one of these.
        OSError: it does not exist, or can't be read.
    """
    with opened_inside(folder, path) as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise ForeignFileError("not the file that was written down (sha256 differs)")


def copy_checked(source: BinaryIO, target: Path, sha256: str) -> bool:
    """Copy an open file to a new one, and return whether its sha256 matches.

    A copy that does not match is deleted. The hashed bytes are those that were written.

    Raises:
        FileExistsError: `target` exists, even if only as a link.
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
