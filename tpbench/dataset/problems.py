"""What can be wrong with a dataset, as values: where, what, and what to do."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

from tpbench.errors import number_of

Code = Literal[
    "file.missing",
    "file.changed",
    "file.broken",
    "file.length",
    "file.unknown",
    "keypoints.outside",
    "table.manifest",
    "table.split",
    "table.identities",
    "table.clips",
    "table.card",
    "split.identity",
    "split.near_duplicate",
    "removed.present",
]

_EXTRACT: Final = "delete the file and run the same `tpbench extract` again"
_FINISH: Final = "run the same `tpbench extract` again, which writes all tables anew"
_SPLIT: Final = "run `tpbench split` again, which writes the lists anew"
REMEDIES: Final[Mapping[Code, str]] = {
    "file.missing": "run the same `tpbench extract` again, or put the file back",
    "file.changed": _EXTRACT,
    "file.broken": _EXTRACT,
    "file.length": _EXTRACT,
    "file.unknown": "move it out of the folder; nothing in the manifest needs it",
    "keypoints.outside": "look at the clip; if its skeleton is wrong, `tpbench remove` it",
    "table.manifest": _FINISH,
    "table.split": _SPLIT,
    "table.identities": "put it back from a copy; or delete it, and run `tpbench split` with the "
    "same --join and --identities again",
    "table.clips": _SPLIT,
    "table.card": _FINISH,
    "split.identity": _SPLIT,
    "split.near_duplicate": "make one identity of both: `tpbench split --join "
    "near-duplicates`; or `tpbench remove` one of them",
    "removed.present": "run the same `tpbench remove` again",
}
"""Code -> what to do about it."""
_MOST_NAMED: Final = 3

assert REMEDIES.keys() == set(get_args(Code))  # noqa: S101 - a code without advice is a bug


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Problem:
    """One thing that is wrong with a dataset."""

    code: Code
    where: str
    """A file relative to the dataset, or ids of clips."""
    what: str
    """What is wrong with it."""

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return REMEDIES[self.code]

    def to_json(self) -> dict[str, str]:
        """Return it as plain JSON values."""
        return {
            "code": self.code,
            "where": self.where,
            "what": self.what,
            "remedy": self.remedy,
        }


def some(ids: Collection[str], noun: str = "clip") -> str:
    """Return how many there are, and the first of them.

    >>> some(["b", "a"]), some([])
    ('2 clips (a, b)', '0 clips')
    """
    if not ids:
        return number_of(0, noun)
    named = ", ".join(sorted(ids)[:_MOST_NAMED])
    more = ", ..." if len(ids) > _MOST_NAMED else ""
    return f"{number_of(len(ids), noun)} ({named}{more})"


def relative(folder: Path, path: Path) -> str:
    """Return the path of a file in a dataset as problems name it: below the folder, with `/`."""
    return path.relative_to(folder).as_posix()
