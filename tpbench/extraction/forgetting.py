"""`remove`: clips, sources or people are taken out of a dataset for good.

The tombstones are written first, so that nothing comes back whatever happens then. Pictures are
deleted next, while the manifest still names them; all that describes the dataset follows.
Each step finds its work by the tombstones: a removal that was killed is finished by repeating it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tpbench.dataset import Clip, Dataset, empty_side_warning, read_clips
from tpbench.dataset.finishing import finalise_fewer
from tpbench.dataset.folder import RECORDS_FOLDER, RECORDS_LOCK
from tpbench.dataset.rebuilt import count_again
from tpbench.dataset.removal import Removals, Tombstone
from tpbench.dataset.side_tables import Leaving, drop_rows
from tpbench.extraction.leftovers import sweep
from tpbench.extraction.naming import Wanted, tombstones_of
from tpbench.extraction.old_ledger import convert_ledger
from tpbench.extraction.records import FAILED_STATES, row_of_failure, stored_records
from tpbench.extraction.removed_files import (
    clip_files,
    delete_clip_files,
    forget_records,
    forget_thumbnails,
)
from tpbench.extraction.report import REPORT_NAME, write_report
from tpbench.extraction.sources import plain_path
from tpbench.work.locks import locked


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """What was removed, or would be."""

    folder: Path
    tombstones: tuple[Tombstone, ...]
    """The new ones; a source that is removed with a person has its own."""
    before: tuple[Tombstone, ...]
    """What was asked for and had been removed before."""
    kept_clips: int
    """Clips of the dataset that go."""
    other_rows: int
    """Rows of rejected stretches and failed sources that go."""
    files: int
    """Clips, keypoints and pose videos that are deleted."""
    version: str
    """Of the dataset, after it."""
    digest: str
    clips_left: int
    warning: str | None = None
    """What the user should do about the split."""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "removed": [stone.model_dump(exclude_none=True) for stone in self.tombstones],
            "removed_before": [stone.model_dump(exclude_none=True) for stone in self.before],
            "kept_clips": self.kept_clips,
            "other_rows": self.other_rows,
            "files": self.files,
            "version": self.version,
            "digest": self.digest,
            "clips_left": self.clips_left,
            "warning": self.warning,
        }


def remove(
    folder: Path,
    wanted: Sequence[Wanted],
    *,
    elsewhere: Removals | None = None,
    reason: str = "",
    dry_run: bool = False,
) -> Removed:
    """Remove clips, sources or people from a dataset, and keep them out of it.

    Files, rows, thumbnails, fingerprints, records and logs of what is removed are deleted, the
    report is written anew, and the version of the dataset moves on. All else stays as it was. What
    was removed before is removed again as far as something of it is left.

    Args:
        folder: the dataset, with or without its records.
        wanted: what to remove.
        elsewhere: what was removed from another copy of the dataset; may be unknown here.
        reason: published in `removals.json`; it should name nobody.
        dry_run: only find out what would go; nothing is written.

    Raises:
        ConfigError: nothing is asked for, or an id is unknown; nothing is changed then.
        DatasetError: there is no dataset, another process is using it, or a file of it is damaged.
    """
    folder = plain_path(folder)
    Dataset.open(folder)
    others = () if elsewhere is None else elsewhere.tombstones
    if dry_run:
        return _Removal.planned(folder, wanted, others, reason).told()
    convert_ledger(folder)
    with _locked(folder):
        return _Removal.planned(folder, wanted, others, reason).carried_out()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep extractions and splits out. A dataset without records can't be extracted into."""
    records = folder / RECORDS_FOLDER
    if not records.is_dir():
        yield
        return
    with locked(records / RECORDS_LOCK):
        yield


@dataclass(frozen=True, slots=True, kw_only=True)
class _Removal:
    """A planned removal."""

    folder: Path
    new: tuple[Tombstone, ...]
    before: tuple[Tombstone, ...]
    removals: Removals
    """With the new tombstones."""
    gone: tuple[Clip, ...]
    """Rows that go, of the manifest and of the records."""
    stay: tuple[Clip, ...]
    """Rows of the manifest that stay."""

    @classmethod
    def planned(
        cls, folder: Path, wanted: Sequence[Wanted], others: Sequence[Tombstone], reason: str
    ) -> _Removal:
        known = Removals.read(folder)
        listed = read_clips(folder)
        rows = [*listed, *_rows_of_records(folder, {row.clip_id for row in listed})]
        before: tuple[Tombstone, ...] = ()
        new = tuple(one for one in others if known.find(one.kind, one.id) is None)
        if wanted or not others:
            before, asked = tombstones_of(wanted, rows, known, folder=folder, reason=reason)
            new = Removals().joined([*new, *asked]).tombstones
        removals = known.joined(new)
        return cls(
            folder=folder,
            new=new,
            before=before,
            removals=removals,
            gone=tuple(row for row in rows if removals.removes_row(row)),
            stay=tuple(removals.without_removed(listed)),
        )

    def told(self) -> Removed:
        """Return what would be removed."""
        info = Dataset.open(self.folder).info
        kept = sum(row.status == "kept" for row in self.gone)
        return Removed(
            folder=self.folder,
            tombstones=self.new,
            before=self.before,
            kept_clips=kept,
            other_rows=len(self.gone) - kept,
            files=len(list(clip_files(self.folder, self.removals, self._gone_ids()))),
            version=info.version,
            digest=info.digest,
            clips_left=sum(row.status == "kept" for row in self.stay),
        )

    def carried_out(self) -> Removed:
        """Remove everything, in an order that can be repeated after a kill at any point."""
        told = self.told()
        folder, removals, gone = self.folder, self.removals, self._gone_ids()
        removals.write(folder)
        sweep(folder)
        delete_clip_files(folder, removals, gone)
        forget_thumbnails(folder, removals, gone)
        kept = [row for row in self.stay if row.status == "kept"]
        # Before, while the manifest still tells whose clips go; after, as people may be renamed.
        drop_rows(folder, Leaving(removals=removals, gone=self.gone, kept=kept))
        dataset = finalise_fewer(folder, self.stay)
        drop_rows(folder, Leaving(removals=removals, gone=self.gone, kept=dataset.clips()))
        count_again(folder, dataset.digest)
        forget_records(folder, removals)
        if (folder / REPORT_NAME).is_file():
            write_report(folder)
        split = dataset.info.split
        return replace(
            told,
            version=dataset.info.version,
            digest=dataset.info.digest,
            warning=None if split is None else empty_side_warning(split),
        )

    def _gone_ids(self) -> frozenset[str]:
        return frozenset(row.clip_id for row in self.gone)


def _rows_of_records(folder: Path, listed: Set[str]) -> Iterator[Clip]:
    """Yield rows that an interrupted run has recorded and not published."""
    for _, record in stored_records(folder):
        clips = [] if record.result is None else record.result["clips"]
        for row in clips:
            if row["clip_id"] not in listed:
                yield Clip.from_json(row)
        if record.state in FAILED_STATES and (row := row_of_failure(record)).clip_id not in listed:
            yield row
