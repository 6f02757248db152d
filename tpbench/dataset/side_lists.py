"""The lists in `splits/`: both sides, the side of every identity, and frozen test splits.

splits/{train,test}.csv    clip_id, identity, of the present split
splits/placed.csv          identity, side: what keeps identities where they are
splits/<version>.csv       clip_id, identity: a test split that got a name, and never changes
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, get_args

from tpbench.dataset.info import SplitName
from tpbench.dataset.tables import csv_text, read_table_rows
from tpbench.errors import ConfigError, DatasetError
from tpbench.files import atomic_write_text
from tpbench.foreign import spreadsheet_safe

SPLITS_FOLDER: Final = "splits"
_PLACED: Final = "placed"
PLACED_NAME: Final = f"{_PLACED}.csv"
_VERSION_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_RESERVED: Final = frozenset({*get_args(SplitName), "all", "whole", _PLACED})
_SIDES: Final = get_args(SplitName)


def write_split_lists(
    folder: Path, sides: Mapping[SplitName, Iterable[tuple[str, str | None]]]
) -> list[Path]:
    """Write `splits/train.csv` and `splits/test.csv`: clip_id, identity; sorted; LF line ends.

    Args:
        folder: the dataset.
        sides: clip ids and identities of each side.

    An identity that a spreadsheet would run as a formula is prefixed with `'`. Clip ids are not:
    their characters can't form a formula, and they serve as keys in table joins.
    """
    paths = []
    for side in _SIDES:
        listed = {clip_id: identity or "" for clip_id, identity in sides.get(side, ())}
        path = _path(folder, side)
        _write(path, ("clip_id", "identity"), _listed(listed))
        paths.append(path)
    return paths


def read_placed(folder: Path) -> dict[str, SplitName]:
    """Return the side of every identity placed so far; empty if there is no split.

    Where `placed.csv` is missing (in datasets of before), the two lists tell the same.

    Raises:
        DatasetError: a list is damaged.
    """
    path = _path(folder, _PLACED)
    if not path.is_file():
        return {
            row["identity"]: side
            for side in _SIDES
            if (listed := _path(folder, side)).is_file()
            for _, row in read_table_rows(listed, required=("clip_id", "identity"))
        }
    placed: dict[str, SplitName] = {}
    for line, row in read_table_rows(path, required=("identity", "side")):
        for side in _SIDES:
            if row["side"] == side:
                placed[row["identity"]] = side
        if row["identity"] not in placed:
            raise DatasetError(
                f"{path} line {line}: want the side train or test, got {row['side']!r}; delete "
                "the file, and the sides are read from train.csv and test.csv beside it"
            )
    return placed


def write_placed(folder: Path, placed: Mapping[str, SplitName]) -> None:
    """Write `splits/placed.csv`: identity, side; sorted."""
    rows = ((spreadsheet_safe(identity), side) for identity, side in placed.items())
    _write(_path(folder, _PLACED), ("identity", "side"), rows)


def check_version_name(name: str) -> str:
    """Return a name that a test split can be frozen under.

    Raises:
        ConfigError: it can't be the name of a file, or is taken by something else.
    """
    if not _VERSION_NAME.fullmatch(name):
        raise ConfigError(
            f"--version-name {name!r}: want up to 40 of the characters a-z 0-9 _ -, such as test-v1"
        )
    if name in _RESERVED:
        raise ConfigError(f"--version-name {name!r} means something else; take test-v1 or the like")
    return name


def read_version(folder: Path, name: str) -> dict[str, str]:
    """Return clip id -> identity of a frozen test split, as they were then.

    Raises:
        DatasetError: its list is missing or damaged.
    """
    rows = read_table_rows(
        _path(folder, check_version_name(name)), required=("clip_id", "identity")
    )
    return {row["clip_id"]: row["identity"] for _, row in rows}


def write_version(folder: Path, name: str, listed: Mapping[str, str]) -> None:
    """Write the list of a frozen test split.

    Args:
        folder: of the dataset.
        name: of the version.
        listed: clip id -> identity.

    Raises:
        DatasetError: there is a list of that name with other clips.
    """
    path = _path(folder, check_version_name(name))
    if path.exists():
        frozen = read_version(folder, name)
        if frozen.keys() != listed.keys():
            raise DatasetError(
                f"{path}: '{name}' is frozen with {len(frozen):,} clips, and the test side has "
                f"{len(listed):,} now; choose another name"
            )
        return
    _write(path, ("clip_id", "identity"), _listed(listed))


def _path(folder: Path, name: str) -> Path:
    return folder / SPLITS_FOLDER / f"{name}.csv"


def _write(path: Path, heads: tuple[str, str], rows: Iterable[tuple[str, str]]) -> None:
    atomic_write_text(path, csv_text(heads, rows))


def _listed(listed: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(clip_id, spreadsheet_safe(identity)) for clip_id, identity in listed.items()]
