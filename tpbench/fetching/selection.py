"""Which videos of a list are wanted: what is excluded, removed, or under another licence.

People's wish to be left out comes first: a video that a list excludes, or that was removed from a
dataset, is not asked for, whatever else is known of it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from tpbench.dataset.removal import REMOVALS_NAME, Removals
from tpbench.errors import ConfigError
from tpbench.fetching.lists import ListedVideo, read_list

Licence = Literal["cc-by"]

_MARKS: Final = ("dataset.json", REMOVALS_NAME)
"""One of these is in every dataset and pack."""
_CC_BY: Final = re.compile(
    r"""creativecommons\.org/licenses/by/ | \bcc[\s-]?by\b | \bcreative\s+commons
    [\s:,\-\u2013]+ (licen[cs]e [\s:,-]+)? (\(?cc[\s-]by\)?|attribution) \b""",
    re.VERBOSE | re.IGNORECASE,
)
_MORE: Final = re.compile(
    r"""non[\s-]?commercial | no[\s-]?deriv | share[\s-]?alike
    | \b by [\s/-]* (nc|nd|sa) \b""",
    re.VERBOSE | re.IGNORECASE,
)


def is_cc_by(licence: str | None) -> bool:
    """Whether a licence, as a host words it, is Creative Commons Attribution and asks nothing more.

    >>> is_cc_by("Creative Commons Attribution license (reuse allowed)"), is_cc_by("CC BY-NC 4.0")
    (True, False)
    """
    return licence is not None and bool(_CC_BY.search(licence)) and not _MORE.search(licence)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What a run wants of a list."""

    excluded: frozenset[str] = frozenset()
    """Video ids."""
    removals: tuple[Removals, ...] = ()
    licence: Licence | None = None

    def excludes(self, video: ListedVideo, *, sha256: str | None = None) -> bool:
        """Whether a video must not be fetched, or not be kept once its bytes are known."""
        if video.video_id in self.excluded:
            return True
        return any(
            removals.removes_source(url=video.url, video_id=video.video_id, sha256=sha256)
            for removals in self.removals
        )

    def allows(self, licence: str | None) -> bool:
        """Whether a video under this licence is wanted; a host that states none states no CC BY."""
        return self.licence is None or is_cc_by(licence)


def require_datasets(folders: Sequence[Path]) -> None:
    """Refuse folders that are no dataset or pack: a misspelt one would leave nothing out.

    Raises:
        ConfigError: one of them is none.
    """
    for folder in folders:
        if not any((folder / name).is_file() for name in _MARKS):
            raise ConfigError(
                f"--removals {folder}: no dataset here (neither {' nor '.join(_MARKS)}); "
                "name the folder of a dataset or a pack"
            )


def read_selection(
    *, exclude: Path | None, datasets: Sequence[Path], licence: Licence | None
) -> Selection:
    """Read what is to be left out.

    Args:
        exclude: a list of ids or addresses.
        datasets: folders whose removed sources are left out; those that don't exist yet removed
            nothing.
        licence: keep only videos under this one.

    Raises:
        ConfigError: the list can't be read.
        DatasetError: the removals of a dataset can't be read.
    """
    excluded = () if exclude is None else read_list(exclude).videos
    return Selection(
        excluded=frozenset(video.video_id for video in excluded),
        removals=tuple(Removals.read(folder) for folder in datasets),
        licence=licence,
    )
