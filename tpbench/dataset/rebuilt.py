"""What a rebuilt dataset says of itself: which clips of the pack it has, and how good they are.

    DATASET/
      rebuild.json       sums, and which pack it was rebuilt from
      rebuild.parquet    one row per clip of the pack

A dataset that was extracted has neither.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from tpbench.canonical import Count
from tpbench.dataset.info import Clip, read_versioned
from tpbench.errors import DatasetError
from tpbench.files import atomic_write, atomic_write_text

RebuildOutcome = Literal[
    "identical", "re-encoded", "other pictures", "source gone", "unreadable", "not processed"
]
"""identical: the same bytes. re-encoded: the same pictures, of a source that was encoded again.
other pictures: a video of the right name shows something else. source gone: no such video.
unreadable: the video, or the pack's keypoints, can't be read. not processed: the run was
interrupted before, or its worker was lost."""
OUTCOMES: Final[tuple[RebuildOutcome, ...]] = get_args(RebuildOutcome)
KEPT_OUTCOMES: Final = frozenset({"identical", "re-encoded"})
REBUILD_NAME: Final = "rebuild.json"
REBUILD_TABLE: Final = "rebuild.parquet"
_SCHEMA_VERSION: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuiltClip:
    """What became of one clip of a pack."""

    clip_id: str
    split: str | None = None
    """Its side in the pack; None if the pack is not split."""
    outcome: RebuildOutcome
    distance: float | None = None
    """From the pictures of the pack's clip, 0..1, where they had to be compared; see `likeness`."""
    shift_frames: int | None = None
    """Frames by which it begins later in this source than in the original one; None where that was
    not looked for."""
    raw: str | None = None
    """Name of the video that it was looked for in."""
    raw_sha256: str | None = None
    error: str | None = None
    """One line: why it is not in the dataset."""


class _Side(BaseModel):
    """Clips of one side of the pack's split."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    clips: Count
    outcomes: dict[RebuildOutcome, Count]

    @property
    def n_lacking(self) -> int:
        """Clips of the pack that the dataset lacks."""
        return self.clips - sum(self.outcomes.get(name, 0) for name in ("identical", "re-encoded"))

    @property
    def n_removed(self) -> int:
        """Clips of the pack that were removed from the dataset."""
        return self.clips - sum(self.outcomes.values())


class Rebuilt(BaseModel):
    """The content of `rebuild.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = _SCHEMA_VERSION
    pack_digest: str = Field(pattern="^[0-9a-f]{64}$")
    """Of the pack: see `PackInfo`."""
    original_digest: str = Field(pattern="^[0-9a-f]{64}$")
    """Of the dataset that the pack was made of."""
    digest: str = Field(pattern="^[0-9a-f]{64}$")
    """Of this dataset when it was rebuilt; the original's if all clips are identical."""
    limit: float
    """Largest distance of pictures that count as the same."""
    sides: dict[str, _Side]
    """By side of the pack's split, and "all"."""

    @property
    def outcomes(self) -> dict[RebuildOutcome, int]:
        """Clips of the pack by outcome, in the order of `OUTCOMES`; those without clips too."""
        return {name: self.sides["all"].outcomes.get(name, 0) for name in OUTCOMES}

    @property
    def complete(self) -> bool:
        """Whether every clip of the pack is in the dataset that was not removed from it."""
        return self.sides["all"].n_lacking == self.sides["all"].n_removed

    @property
    def is_original(self) -> bool:
        """Whether the content equals that of the original dataset."""
        return self.digest == self.original_digest

    def coverage_notes(self, side: str) -> tuple[str, ...]:
        """Return what a reader of scores on a side must know; nothing if all clips are identical.

        Args:
            side: "train", "test", or "all"; for a frozen test split, all clips are told.
        """
        side = side if side in self.sides else "all"
        found = self.sides[side]
        if found.outcomes.get("identical", 0) == found.clips:
            return ()
        where = "the pack" if side == "all" else f"the pack's {side} split"
        have = found.clips - found.n_lacking
        said = f"rebuilt dataset: has {have:,} of the {found.clips:,} clips of {where}"
        parts = [
            f"{number:,} {name}" for name in OUTCOMES if (number := found.outcomes.get(name, 0))
        ]
        parts += [f"{found.n_removed:,} removed"] * bool(found.n_removed)
        return (f"{said} ({', '.join(parts)})",)


def sum_up(
    clips: Sequence[RebuiltClip],
    *,
    pack_digest: str,
    original_digest: str,
    digest: str,
    limit: float,
    removed: Sequence[Clip] = (),
) -> Rebuilt:
    """Count the clips of a pack by side and outcome.

    Args:
        clips: all but those that were removed from the dataset.
        pack_digest: see `Rebuilt`.
        original_digest: see `Rebuilt`.
        digest: see `Rebuilt`.
        limit: see `Rebuilt`.
        removed: clips of the pack that were removed; the dataset lacks them.
    """
    sides = {"all": list(clips)}
    lacking = Counter[str](row.split for row in removed if row.split)
    lacking["all"] = len(removed)
    names = {clip.split for clip in clips if clip.split} | set(lacking) - {"all"}
    for name in sorted(names):
        sides[name] = [clip for clip in clips if clip.split == name]
    return Rebuilt(
        pack_digest=pack_digest,
        original_digest=original_digest,
        digest=digest,
        limit=limit,
        sides={
            name: _Side(
                clips=len(rows) + lacking[name],
                outcomes=dict(Counter(clip.outcome for clip in rows)),
            )
            for name, rows in sides.items()
        },
    )


def write_rebuilt(folder: Path, rebuilt: Rebuilt, clips: Iterable[RebuiltClip]) -> None:
    """Write `rebuild.parquet` and `rebuild.json`, atomically."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = ("clip_id", "split", "outcome", "raw", "raw_sha256", "error")
    schema = pa.schema(
        [
            *((name, pa.string()) for name in texts),
            ("distance", pa.float64()),
            ("shift_frames", pa.int64()),
        ]
    )
    table = pa.Table.from_pylist([asdict(clip) for clip in clips], schema=schema)
    with atomic_write(folder / REBUILD_TABLE) as temporary:
        pq.write_table(table.sort_by("clip_id"), temporary, compression="zstd")
    atomic_write_text(folder / REBUILD_NAME, rebuilt.model_dump_json(indent=2) + "\n")


def count_again(folder: Path, digest: str) -> None:
    """Write `rebuild.json` again after rows were dropped from the table: their clips are lacking.

    Args:
        folder: of the dataset; nothing is done if it was not rebuilt.
        digest: of the dataset as it is now.

    Raises:
        DatasetError: a file is broken.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rebuilt = read_rebuilt(folder)
    if rebuilt is None:
        return
    path = folder / REBUILD_TABLE
    try:
        rows = pq.read_table(path, columns=["split", "outcome"]).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise DatasetError(f"{path}: not readable ({str(error).splitlines()[0]})") from error
    sides = {
        name: side.model_copy(
            update={
                "outcomes": dict(
                    Counter(row["outcome"] for row in rows if name in {"all", row["split"]})
                )
            }
        )
        for name, side in rebuilt.sides.items()
    }
    changed = rebuilt.model_copy(update={"sides": sides, "digest": digest})
    atomic_write_text(folder / REBUILD_NAME, changed.model_dump_json(indent=2) + "\n")


def read_rebuilt(folder: Path) -> Rebuilt | None:
    """Read `rebuild.json`; None if the dataset was not rebuilt.

    Raises:
        DatasetError: it is of another version, or broken.
    """
    path = folder / REBUILD_NAME
    found = read_versioned(path, Rebuilt, version=_SCHEMA_VERSION)
    if found is not None and "all" not in found.sides:
        raise DatasetError(f"{path}: sides.all is missing")
    return found


def coverage_notes(folder: Path, side: str) -> tuple[str, ...]:
    """Return the `Rebuilt.coverage_notes` of a dataset; nothing for one that was extracted."""
    rebuilt = read_rebuilt(folder)
    return () if rebuilt is None else rebuilt.coverage_notes(side)
