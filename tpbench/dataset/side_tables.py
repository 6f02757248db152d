"""Tables beside the manifest: rows about clips that are no longer in the dataset are dropped.

Whatever a table is for, its columns tell what a row is about: `clip_id`, `source_id`, `identity`,
or the sha256 of a clip's file.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tpbench.dataset.info import Clip
from tpbench.dataset.manifest import MANIFEST_NAME
from tpbench.dataset.removal import Removals
from tpbench.errors import DatasetError
from tpbench.files import atomic_write, atomic_write_text, is_temporary
from tpbench.foreign import from_spreadsheet_safe

_FOLDERS: Final = (".", "splits")
"""Below the dataset: where tables lie."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    """What is no longer in a dataset."""

    removals: Removals
    gone: Sequence[Clip]
    """Rows that were removed just now."""
    kept: Sequence[Clip]
    """Clips that stay."""

    def tests(self) -> Mapping[str, Callable[[str], bool]]:
        """Return column -> whether a row with this value must go."""
        removals = self.removals
        clip_ids = {row.clip_id for row in self.gone}
        people = {row.identity for row in self.gone}
        kept_people = {row.identity for row in self.kept}
        kept_sha256 = {row.clip_sha256 for row in self.kept}

        def person(name: str) -> bool:
            name = from_spreadsheet_safe(name)
            if removals.removes_identity(name):
                return True
            # Without a better name, an identity has that of a source.
            left = name in people or removals.removes_source(source_id=name)
            return left and name not in kept_people

        return {
            "clip_id": lambda name: name in clip_ids or removals.removes_clip_id(name),
            "source_id": lambda name: removals.removes_source(source_id=name),
            "identity": person,
            "own_identity": person,
            "clip_sha256": lambda sha256: sha256 not in kept_sha256,
        }


def drop_rows(folder: Path, leaving: Leaving) -> list[Path]:
    """Drop rows from all CSV and Parquet tables of a dataset but the manifest and its copies.

    A row about a person goes if the person was removed, or has no clips left after a removal.

    Returns:
        The files that were written anew.

    Raises:
        DatasetError: a table can't be read.
    """
    return [path for path in _tables(folder) if _drop(path, leaving)]


def _tables(folder: Path) -> Iterator[Path]:
    for name in _FOLDERS:
        home = folder / name
        for path in sorted(home.iterdir()) if home.is_dir() and not home.is_symlink() else ():
            if path.is_file() and not path.is_symlink() and not is_temporary(path):
                yield path


def _drop(path: Path, leaving: Leaving) -> bool:
    if path.suffix == ".csv":
        return _drop_from_csv(path, leaving)
    is_copy = path.name == MANIFEST_NAME or path.match("clips-*.parquet")
    return path.suffix == ".parquet" and not is_copy and _drop_from_parquet(path, leaving)


def _drop_from_csv(path: Path, leaving: Leaving) -> bool:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise DatasetError(
            f"{path}: not readable as CSV ({error}); mend or delete it and repeat this"
        ) from error
    tests = leaving.tests()
    columns = [
        (at, tests[name]) for at, name in enumerate(rows[0] if rows else ()) if name in tests
    ]

    def goes(row: Sequence[str]) -> bool:
        return any(at < len(row) and test(row[at]) for at, test in columns)

    stay = [row for row in rows[1:] if not goes(row)]
    if len(stay) == len(rows[1:]):
        return False
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([rows[0], *stay])
    atomic_write_text(path, text.getvalue())
    return True


def _drop_from_parquet(path: Path, leaving: Leaving) -> bool:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        line = str(error).splitlines()[0]
        raise DatasetError(
            f"{path}: not readable as Parquet ({line}); delete it and repeat this"
        ) from error
    stays = [True] * len(table)
    for name, test in leaving.tests().items():
        if name in table.schema.names:
            values = table[name].to_pylist()
            stays = [
                so_far and not (isinstance(value, str) and test(value))
                for so_far, value in zip(stays, values, strict=True)
            ]
    if all(stays):
        return False
    with atomic_write(path) as temporary:
        pq.write_table(table.filter(pa.array(stays)), temporary, compression="zstd")
    return True
