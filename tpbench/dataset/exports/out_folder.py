"""The folder of an export while it is written: which parts are finished, and who may write there.

Until the last part is finished, `.unfinished/` in the folder says which export it is, and has a
record of each finished part. So a run continues what another left, and nothing else.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tpbench.dataset.folder import Dataset
from tpbench.dataset.info import Clip
from tpbench.errors import DatasetError, TPBenchError
from tpbench.files import is_temporary, lies_in, size_text
from tpbench.work.faults import explain_halts
from tpbench.work.locks import locked
from tpbench.work.records import Record, RecordError

UNFINISHED: Final = ".unfinished"
"""Below the folder, while it is being written."""
_MARK: Final = "export.json"
_SPARE: Final = 1.01
"""Space that is wanted for each byte to be written: files fill whole blocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Some files of an export that are written together."""

    name: str
    """Unique in its export; a file name."""
    clips: Sequence[Clip]
    """The clips that are finished with it."""
    n_bytes: int
    """Space that it needs, at most."""
    write: Callable[[], Sequence[Path]]
    """Writes its files, each aside and renamed, and returns their paths."""


class Mark(Record):
    """Which export a folder is going to be."""

    kind: str
    dataset: str
    """Name of the dataset."""
    content: str
    """Digest of all that the files depend on."""


class FinishedPart(Record):
    """The files of a part, once they are on disk."""

    content: str
    """As in the mark."""
    files: dict[str, int]
    """Path below the folder -> bytes."""


class OutFolder:
    """A folder that an export may write to; see `opened_out`."""

    def __init__(self, path: Path, content: str) -> None:
        self.path = path
        self._content = content

    def is_finished(self, part: Part) -> bool:
        """Whether a part was finished by an earlier run, and all its files are still there."""
        return self._files(part) is not None

    def finish(self, part: Part, files: Sequence[Path]) -> None:
        """Note that a part is finished; its files are on disk."""
        sizes = {file.relative_to(self.path).as_posix(): file.stat().st_size for file in files}
        FinishedPart(content=self._content, files=sizes).write(self._record(part))

    def size(self, parts: Sequence[Part]) -> tuple[int, int]:
        """Return number and bytes of all files of finished parts."""
        sizes = [n for part in parts for n in (self._files(part) or {}).values()]
        return len(sizes), sum(sizes)

    def _files(self, part: Part) -> dict[str, int] | None:
        try:
            record = FinishedPart.read(self._record(part))
        except RecordError:
            return None
        there = all(_has_bytes(self.path / name, n) for name, n in record.files.items())
        return record.files if there and record.content == self._content else None

    def _record(self, part: Part) -> Path:
        return self.path / UNFINISHED / f"{part.name}.part.json"


def _has_bytes(path: Path, n_bytes: int) -> bool:
    return path.is_file() and path.stat().st_size == n_bytes


@contextmanager
def opened_out(out: Path, *, kind: str, dataset: Dataset, content: str) -> Iterator[OutFolder]:
    """Lock the folder of an export and mark it as unfinished until the block ends without an error.

    Args:
        out: a new or empty folder, or that of the same export, interrupted.
        kind: format of the export.
        dataset: what is exported.
        content: digest of all that the files depend on.

    Raises:
        DatasetError: the folder holds something else, lies in the dataset, can't be written, or
            another process writes there.
        TPBenchError: the disk is full, or the machine has another fault.
    """
    if lies_in(out, dataset.folder):
        raise DatasetError(f"{out}: lies in the dataset itself; choose a folder beside it")
    mark = Mark(kind=kind, dataset=dataset.info.name, content=content)
    _require_free(out, mark)
    home = out / UNFINISHED
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatasetError(f"{out}: can't write an export here ({error.strerror})") from error
    with locked(home / ".lock"):
        _require_free(out, mark)
        with explain_halts(out):
            if not (home / _MARK).exists():
                mark.write(home / _MARK)
            for path in [path for path in out.rglob(".*") if is_temporary(path)]:
                path.unlink()  # a killed run was writing it
            yield OutFolder(out, content)
            (home / _MARK).unlink()
    shutil.rmtree(home, ignore_errors=True)


def _require_free(out: Path, mark: Mark) -> None:
    """Refuse a folder that holds anything but the same export, unfinished."""
    if out.is_dir():
        found = {path.name for path in out.iterdir()}
        if not found - {UNFINISHED} and not (out / UNFINISHED / _MARK).exists():
            return
    elif not out.exists() and not out.is_symlink():
        return
    try:
        known = Mark.read(out / UNFINISHED / _MARK)
    except RecordError as error:
        raise DatasetError(
            f"{out}: is there already; choose a new folder, or delete it if it is not needed"
        ) from error
    if known.kind != mark.kind:
        raise DatasetError(
            f"{out}: holds an unfinished export to {known.kind}; choose another folder"
        )
    if known != mark:
        raise DatasetError(
            f"{out}: holds an unfinished export of other content ('{known.dataset}', of another "
            "version or with other options); choose another folder, or delete it"
        )


def require_space(out: Path, n_bytes: int) -> None:
    """Refuse to begin what the disk has no space for.

    Raises:
        TPBenchError: there is less free space than that; the message names both sizes.
    """
    free = shutil.disk_usage(out).free
    if n_bytes * _SPARE > free:
        raise TPBenchError(
            f"{out}: needs {size_text(n_bytes)}, and {size_text(free)} are free on that disk; "
            "make room, or choose a folder on another disk"
        )
