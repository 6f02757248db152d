"""Files are written aside, in the same folder, and renamed: readers see the old or the new one."""

from __future__ import annotations

import hashlib
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file's bytes in lower-case hex, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; it becomes `path` when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text_aside(path: Path, text: str) -> None:
    """Write UTF-8 text with LF line ends, aside and renamed."""
    with written_aside(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
