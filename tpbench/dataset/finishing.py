"""The last steps of a dataset: digest, split, and the order in which its files are written."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

from tpbench import __version__
from tpbench.dataset.cards import write_cards, write_clip_tables
from tpbench.dataset.facts import counts_of
from tpbench.dataset.folder import RECORDS_FOLDER, RECORDS_LOCK, Dataset
from tpbench.dataset.identities import write_members
from tpbench.dataset.info import (
    INFO_NAME,
    Clip,
    DatasetInfo,
    Measurement,
    RunStats,
    SplitInfo,
    SplitName,
    read_info,
    write_info,
)
from tpbench.dataset.manifest import (
    Table,
    digest_of_table,
    each_row,
    manifest_table,
    write_table,
)
from tpbench.dataset.removal import Removals
from tpbench.dataset.side_lists import write_placed, write_split_lists, write_version
from tpbench.dataset.split_rows import SplitRows, on_side
from tpbench.dataset.splitting import (
    Settled,
    SplitRequest,
    SplitResult,
    asks_for_clips,
    named_clips,
    settle,
)
from tpbench.dataset.strata import balance
from tpbench.errors import ConfigError, number_of
from tpbench.work.locks import locked

if TYPE_CHECKING:
    from tpbench.work import ProgressListener

logger = logging.getLogger(__name__)

_FIRST_VERSION: Final = "1.0.0"


def finalise(  # noqa: PLR0913 - each argument is one field of dataset.json
    folder: Path,
    rows: Iterable[Clip] | Table,
    *,
    name: str,
    version: str | None = None,
    config: Mapping[str, Any],
    models: Mapping[str, str],
    measurements: Sequence[Measurement],
    run: RunStats | None = None,
    sources_pending: int = 0,
) -> Dataset:
    """Write manifest, splits, tables, cards and `dataset.json` (last) of a dataset.

    Called after every run, with all rows: the result depends only on them, the arguments, and the
    date on which this content was finished first. Identities are joined as `identities.csv` says,
    and if the dataset was split before, they keep their sides, and new ones get one. Hashes in the
    rows are not checked here; `Dataset.verify` compares them with the files. Rows of what was
    removed from the dataset are left out, wherever they come from.

    Rows are held as columns: a million take about a gigabyte, where they would be several as
    objects.

    Args:
        folder: the dataset, which already contains clips, keypoints and poses.
        rows: all candidates, in any order; or what `manifest_table` made of them.
        name: display name.
        version: of the dataset, chosen by its publisher; by default that of before, or "1.0.0".
        config: the resolved configuration, as plain JSON values.
        models: role ("skeleton", "face", "hand") -> sha256 of the model files.
        measurements: descriptions of the measured columns.
        run: times and counts of the extraction.
        sources_pending: sources still to be processed, after an interrupted run.

    Raises:
        DatasetError: two rows share a clip_id, or an existing `dataset.json` is not readable.
    """
    former = read_info(folder) if (folder / INFO_NAME).is_file() else None
    split = former.split if former is not None else None
    table = _that_stay(folder, _as_table(rows), split)
    digest = digest_of_table(table)
    info = DatasetInfo(
        # A folder's name may contain bytes that are no valid text.
        name=name.encode("utf-8", "backslashreplace").decode("utf-8"),
        version=version or (_FIRST_VERSION if former is None else former.version),
        tool_version=__version__,
        digest=digest,
        finished_on=_finished_on(former, digest),
        counts=counts_of(table),
        split=split,
        models=dict(models),
        measurements=tuple(measurements),
        config=dict(config),
        run=run,
        sources_pending=sources_pending,
    )
    return _write(folder, table, info)


def _as_table(rows: Iterable[Clip] | Table) -> Table:
    import pyarrow as pa

    return rows if isinstance(rows, pa.Table) else manifest_table(rows)


def _that_stay(folder: Path, table: Table, split: SplitInfo | None) -> Table:
    """Return the rows of nothing and nobody that was removed from a dataset."""
    removals = Removals.read(folder)
    if not removals:
        return table
    table = _without_removed(table, each_row(table), removals)
    if not removals.of_people:
        return table
    rows = SplitRows.of(table, each=True)
    return _without_removed(table, settle(folder, rows.clips, split).clips, removals)


def _without_removed(table: Table, clips: Iterable[Clip], removals: Removals) -> Table:
    """Return the rows that stay, by what `clips`, in the same order, say of them."""
    import pyarrow as pa

    stay = [not removals.removes_row(clip) for clip in clips]
    return table if all(stay) else table.filter(pa.array(stay, pa.bool_())).combine_chunks()


def finalise_fewer(folder: Path, clips: Sequence[Clip]) -> Dataset:
    """Write a finished dataset again after rows were removed from it; its version moves on.

    Clips that stay keep their side of the split. Where `dataset.json` already describes these rows,
    its version stays: this can be repeated.

    Args:
        folder: the dataset.
        clips: the rows that stay.

    Raises:
        DatasetError: there is no dataset.
    """
    info = read_info(folder)
    table = manifest_table(clips)
    digest, counts = digest_of_table(table), counts_of(table)
    if (digest, counts) != (info.digest, info.counts):
        info = info.model_copy(
            update={
                "version": next_version(info.version),
                "digest": digest,
                "finished_on": _finished_on(info, digest),
                "counts": counts,
            }
        )
    if info.split is not None:
        identities = {clip.identity for clip in clips if clip.status == "kept"}
        placed = {name: side for name, side in info.split.placed.items() if name in identities}
        info = info.model_copy(update={"split": info.split.model_copy(update={"placed": placed})})
    return _write(folder, table, info)


def next_version(version: str) -> str:
    """Return the version after a small change: the last number goes up, or there is one more.

    >>> next_version("1.0.0"), next_version("2026-09"), next_version("draft")
    ('1.0.1', '2026-10', 'draft.1')
    """
    match = re.fullmatch(r"(.*?)(\d+)", version, re.DOTALL)
    if match is None:
        return f"{version}.1"
    return f"{match[1]}{int(match[2]) + 1:0{len(match[2])}d}"


def _finished_on(former: DatasetInfo | None, digest: str) -> str:
    """Return today, or the date on which the same content was finished first."""
    if former is not None and former.digest == digest and former.finished_on is not None:
        return former.finished_on
    return datetime.now(UTC).date().isoformat()


def split_dataset(
    folder: Path, *, test_share: float | None = None, seed: int | None = None
) -> SplitInfo:
    """Split a finished dataset by identity: the short form of `make_split`."""
    return make_split(folder, SplitRequest(test_share=test_share, seed=seed)).info


def make_split(
    folder: Path, request: SplitRequest, *, listener: ProgressListener | None = None
) -> SplitResult:
    """Split a finished dataset by identity: rewrites lists, manifest, cards and `dataset.json`.

    Each side has at least one identity, and identities that have a side keep it unless the share,
    the seed or lists say otherwise (see `splitting`). No extraction can publish into the dataset
    during the split, so it covers all clips.

    Args:
        folder: the dataset.
        request: what is asked for.
        listener: is told of every clip where near-duplicates are looked for.

    Raises:
        ConfigError: the request, or a table or list that it names, is wrong.
        DatasetError: there is no finished dataset in `folder`, another process is using it, it
            has fewer than two identities, or the name of a version is taken.
    """
    request.check()
    dataset = Dataset.open(folder)
    pairs: Sequence[tuple[str, str]] = ()
    found: tuple[str, ...] = ()
    if "near-duplicates" in request.joins:
        from tpbench.dataset.fingerprints import near_duplicates

        pairs = [(pair.first, pair.second) for pair in near_duplicates(dataset, listener=listener)]
        among = number_of(len(pairs), "pair")
        found = (
            f"near-duplicates: {among} of clips of two identities"
            if pairs
            else "no near-duplicates",
        )
    records = folder / RECORDS_FOLDER
    # An extraction into the dataset holds this lock; without records it can't be extended.
    with locked(records / RECORDS_LOCK) if records.is_dir() else nullcontext():
        dataset = Dataset.open(folder)
        former, removals = dataset.info.split, Removals.read(folder)
        each = asks_for_clips(request) or bool(removals.tombstones)
        rows = SplitRows.of(dataset.table(), each=each, alone=named_clips(folder, former))
        settled = settle(folder, rows.clips, former, request, pairs, rows.population)
        _refuse_removed(folder, settled.clips, removals)
        _write_settled(folder, settled, rows.settled(settled.clips), dataset.info)
    assert settled.split is not None  # noqa: S101 - a request always gives one
    return SplitResult(
        info=settled.split,
        balance=balance(settled.clips, rows.population),
        members=settled.members,
        notes=(*found, *settled.notes),
    )


def _refuse_removed(folder: Path, clips: Sequence[Clip], removals: Removals) -> None:
    """Refuse joins by which clips are of a person who was removed: those are to be removed, too."""
    for clip in clips:
        if removals.removes_row(clip):
            raise ConfigError(
                f"{folder}: {clip.clip_id} would be of {clip.identity!r}, who was removed from the "
                f"dataset; first run `tpbench remove` with --source {clip.source_id}"
            )


def _write(folder: Path, table: Table, info: DatasetInfo) -> Dataset:
    """Write everything but the clips, with the joins and the split of before."""
    rows = SplitRows.of(table, each=False, alone=named_clips(folder, info.split))
    settled = settle(folder, rows.clips, info.split, population=rows.population)
    for note in settled.notes:
        logger.warning("%s", note)
    return _write_settled(folder, settled, rows.settled(settled.clips), info)


def _write_settled(folder: Path, settled: Settled, table: Table, info: DatasetInfo) -> Dataset:
    split = settled.split
    identities = {clip.identity for clip in settled.clips if clip.status == "kept"}
    counts = info.counts.model_copy(update={"identities": len(identities)})
    info = info.model_copy(update={"split": split, "counts": counts})
    # A frozen list may be refused, so it goes first; joins and sides go before what follows from
    # them, so that an interrupted run can't lose them.
    for name, listed in settled.frozen.items():
        write_version(folder, name, listed)
    write_members(folder, settled.members)
    if split is not None:
        write_placed(folder, settled.placed)
        write_split_lists(folder, {side: on_side(table, side) for side in get_args(SplitName)})
    write_table(folder, table)
    write_clip_tables(folder, info, table)
    write_cards(folder, info, table)
    write_info(folder, info)
    return Dataset(folder=folder, info=info)
