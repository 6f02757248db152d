"""Train and test sides: by hash of the identity, so that nobody is on both."""

from __future__ import annotations

import csv
import hashlib
import io
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final, get_args

from tpbench.dataset.clip import SplitName
from tpbench.dataset.info import SplitInfo
from tpbench.errors import ConfigError
from tpbench.files import write_text_aside
from tpbench.foreign import spreadsheet_safe

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tpbench.dataset.clip import Clip

_log = logging.getLogger(__name__)

SPLITS_FOLDER: Final = "splits"


def assign_split(identity: str, *, test_share: float, seed: int) -> SplitName:
    """Say on which side an identity is: test if sha256("<seed>:<identity>") / 2^256 < test_share.

    The answer hangs on nothing else, so clips added later move nobody.
    """
    value = int(hashlib.sha256(f"{seed}:{identity}".encode()).hexdigest(), 16)
    return "test" if value / 2**256 < test_share else "train"


def check_test_share(test_share: float) -> None:
    """Refuse a share that leaves one side without anybody by design.

    Raises:
        ConfigError: it is not strictly between 0 and 1.
    """
    if not 0 < test_share < 1:
        msg = f"the test share is {test_share}: want a number between 0 and 1, such as 0.1"
        raise ConfigError(msg)


def split_clips(clips: Sequence[Clip], *, test_share: float, seed: int) -> list[Clip]:
    """Return the rows with `split` set on the kept ones and empty on all others."""
    check_test_share(test_share)
    return [
        replace(
            clip,
            split=assign_split(clip.identity or "", test_share=test_share, seed=seed)
            if clip.status == "kept"
            else None,
        )
        for clip in clips
    ]


def describe_split(clips: Sequence[Clip], *, test_share: float, seed: int) -> SplitInfo:
    """Count what `split_clips` put on each side."""
    sides = {side: [clip for clip in clips if clip.split == side] for side in get_args(SplitName)}
    people = {side: len({clip.identity for clip in rows}) for side, rows in sides.items()}
    return SplitInfo(
        test_share=test_share,
        seed=seed,
        train_clips=len(sides["train"]),
        test_clips=len(sides["test"]),
        train_identities=people["train"],
        test_identities=people["test"],
    )


def empty_side_warning(info: SplitInfo) -> str | None:
    """Say plainly that a side has no clips; None when both have some."""
    if info.train_clips and info.test_clips:
        return None
    identities = info.train_identities + info.test_identities
    empty = " and ".join(
        side
        for side, clips in (("train", info.train_clips), ("test", info.test_clips))
        if not clips
    )
    return (
        f"the {empty} side is empty: {identities} identities at a test share of "
        f"{info.test_share:g} gave {info.train_clips} train and {info.test_clips} test clips; "
        "whole identities go to one side, so add videos, or take another --test or --seed"
    )


def write_split_lists(folder: Path, clips: Sequence[Clip]) -> list[Path]:
    """Write `splits/train.csv` and `splits/test.csv`: clip_id, identity; sorted; LF line ends.

    An identity that a spreadsheet would run has a `'` before it. Clip ids need none: nothing that
    they can be made of computes anything, and others join tables by them.
    """
    paths = []
    for side in get_args(SplitName):
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        quoted = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
        writer.writerow(("clip_id", "identity"))
        rows = sorted((c.clip_id, c.identity or "") for c in clips if c.split == side)
        for clip_id, identity in rows:
            # Python before 3.13 leaves a carriage return without quotes, and reads a line's end.
            chosen = quoted if "\r" in identity else writer
            chosen.writerow((clip_id, spreadsheet_safe(identity)))
        path = folder / SPLITS_FOLDER / f"{side}.csv"
        write_text_aside(path, text.getvalue())
        paths.append(path)
    return paths
