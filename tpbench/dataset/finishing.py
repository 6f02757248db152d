"""The last steps of a dataset: splits, digest, and the order in which its files are written."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, get_args

from tpbench import __version__
from tpbench.dataset.cards import croissant_json, render_card, write_clip_tables
from tpbench.dataset.folder import RECORDS_FOLDER, RECORDS_LOCK, Dataset, write_manifest
from tpbench.dataset.info import (
    INFO_NAME,
    Clip,
    DatasetInfo,
    Measurement,
    RunStats,
    SplitInfo,
    SplitName,
    content_digest,
    count,
    read_info,
    write_info,
)
from tpbench.errors import ConfigError, DatasetError
from tpbench.files import atomic_write_text
from tpbench.foreign import spreadsheet_safe
from tpbench.work.records import locked

SPLITS_FOLDER: Final = "splits"


def assign_split(identity: str, *, test_share: float, seed: int) -> SplitName:
    """Return the side of an identity: test if sha256("<seed>:<identity>") / 2^256 < test_share.

    It depends on nothing else, so adding clips never moves an identity to the other side.
    """
    return "test" if _place(identity, seed) < test_share else "train"


def _place(identity: str, seed: int) -> float:
    return int(hashlib.sha256(f"{seed}:{identity}".encode()).hexdigest(), 16) / 2**256


def fill_empty_side(
    identities: Iterable[str], *, test_share: float, seed: int
) -> dict[str, SplitName]:
    """Return the identity that has to change sides so that no side is empty; {} if none has to.

    With few identities and a small share, the hash often puts all of them on one side. Then the
    identity whose hash lies next to the other side is placed there.
    """
    known = sorted(set(identities), key=lambda identity: (_place(identity, seed), identity))
    sides = {assign_split(identity, test_share=test_share, seed=seed) for identity in known}
    if len(known) < 2 or len(sides) == 2:
        return {}
    return {known[0]: "test"} if sides == {"train"} else {known[-1]: "train"}


def check_test_share(test_share: float) -> None:
    """Reject a share that always leaves one side empty.

    Raises:
        ConfigError: it is not strictly between 0 and 1.
    """
    if not 0 < test_share < 1:
        raise ConfigError(
            f"the test share is {test_share}: want a number between 0 and 1, such as 0.1"
        )


def split_clips(clips: Sequence[Clip], split: SplitInfo) -> list[Clip]:
    """Return the rows with `split` set for kept clips and None for all others."""
    check_test_share(split.test_share)

    def side(identity: str) -> SplitName:
        hashed = assign_split(identity, test_share=split.test_share, seed=split.seed)
        return split.placed.get(identity, hashed)

    return [
        replace(clip, split=side(clip.identity or "") if clip.status == "kept" else None)
        for clip in clips
    ]


def describe_split(clips: Sequence[Clip], split: SplitInfo) -> SplitInfo:
    """Count the clips and identities that `split_clips` put on each side."""
    sides = {side: [clip for clip in clips if clip.split == side] for side in get_args(SplitName)}
    identities = {side: len({clip.identity for clip in rows}) for side, rows in sides.items()}
    return split.model_copy(
        update={
            "train_clips": len(sides["train"]),
            "test_clips": len(sides["test"]),
            "train_identities": identities["train"],
            "test_identities": identities["test"],
        }
    )


def empty_side_warning(info: SplitInfo) -> str | None:
    """Return a warning if a side has no clips; None if both have some.

    `split_dataset` leaves no side empty, but videos may be removed from a dataset later.
    """
    counts = (("train", info.train_clips), ("test", info.test_clips))
    empty = " and ".join(side for side, clips in counts if not clips)
    if not empty:
        return None
    return f"no clip is on the {empty} side of the split; split the dataset again: `tpbench split`"


def write_split_lists(folder: Path, clips: Sequence[Clip]) -> list[Path]:
    """Write `splits/train.csv` and `splits/test.csv`: clip_id, identity; sorted; LF line ends.

    An identity that a spreadsheet would run as a formula is prefixed with `'`. Clip ids are not:
    their characters can't form a formula, and they serve as keys in table joins.
    """
    paths = []
    for side in get_args(SplitName):
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        quoted = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
        writer.writerow(("clip_id", "identity"))
        rows = sorted((c.clip_id, c.identity or "") for c in clips if c.split == side)
        for clip_id, identity in rows:
            # Python before 3.13 doesn't quote a carriage return, but reads it as a line end.
            chosen = quoted if "\r" in identity else writer
            chosen.writerow((clip_id, spreadsheet_safe(identity)))
        path = folder / SPLITS_FOLDER / f"{side}.csv"
        atomic_write_text(path, text.getvalue())
        paths.append(path)
    return paths


def finalise(  # noqa: PLR0913 - each argument is one field of dataset.json
    folder: Path,
    rows: Iterable[Clip],
    *,
    name: str,
    version: str = "1.0.0",
    config: Mapping[str, Any],
    models: Mapping[str, str],
    measurements: Sequence[Measurement],
    run: RunStats | None = None,
    sources_pending: int = 0,
) -> Dataset:
    """Write manifest, splits, tables, cards and `dataset.json` (last) of a dataset.

    Called after every run, with all rows: the result depends only on them, the arguments, and the
    date on which this content was finished first. If the
    dataset was split before, it is split again with the same settings. Hashes in the rows are not
    checked here; `Dataset.verify` compares them with the files.

    Args:
        folder: the dataset, which already contains clips, keypoints and poses.
        rows: all candidates, in any order.
        name: display name.
        version: of the dataset, chosen by its publisher.
        config: the resolved configuration, as plain JSON values.
        models: role ("skeleton", "face", "hand") -> sha256 of the model files.
        measurements: descriptions of the measured columns.
        run: times and counts of the extraction.
        sources_pending: sources still to be processed, after an interrupted run.

    Raises:
        DatasetError: two rows share a clip_id, or an existing `dataset.json` is not readable.
    """
    former = read_info(folder) if (folder / INFO_NAME).is_file() else None
    clips = sorted(rows, key=lambda clip: clip.clip_id)
    digest = content_digest(clips)
    info = DatasetInfo(
        # A folder's name may contain bytes that are no valid text.
        name=name.encode("utf-8", "backslashreplace").decode("utf-8"),
        version=version,
        tool_version=__version__,
        digest=digest,
        finished_on=_finished_on(former, digest),
        counts=count(clips),
        split=former.split if former is not None else None,
        models=dict(models),
        measurements=tuple(measurements),
        config=dict(config),
        run=run,
        sources_pending=sources_pending,
    )
    return _write(folder, clips, info)


def _finished_on(former: DatasetInfo | None, digest: str) -> str:
    """Return today, or the date on which the same content was finished first."""
    if former is not None and former.digest == digest and former.finished_on is not None:
        return former.finished_on
    return datetime.now(UTC).date().isoformat()


def split_dataset(folder: Path, *, test_share: float, seed: int) -> SplitInfo:
    """Split a finished dataset: rewrites the lists, the manifest, the card and `dataset.json`.

    Each side has at least one identity. Where the hash leaves a side empty, the identity nearest to
    it is placed there (`SplitInfo.placed`), and stays there when clips are added. No extraction can
    publish into the dataset during the split, so it covers all clips.

    Raises:
        ConfigError: `test_share` is not strictly between 0 and 1.
        DatasetError: there is no finished dataset in `folder`, another process is using it, or it
            has fewer than two identities.
    """
    check_test_share(test_share)
    Dataset.open(folder)
    records = folder / RECORDS_FOLDER
    # An extraction into the dataset holds this lock; without records it can't be extended.
    with locked(records / RECORDS_LOCK) if records.is_dir() else nullcontext():
        dataset = Dataset.open(folder)
        clips = dataset.clips(None)
        wanted = _planned_split(dataset, clips, SplitInfo(test_share=test_share, seed=seed))
        split = _write(folder, clips, dataset.info.model_copy(update={"split": wanted})).info.split
    assert split is not None  # noqa: S101 - `wanted` was given, `_write` only fills in its counts
    return split


def _planned_split(dataset: Dataset, clips: Sequence[Clip], wanted: SplitInfo) -> SplitInfo:
    """Return `wanted` with the identities that must be placed so that no side is empty."""
    identities = {clip.identity or "" for clip in clips if clip.status == "kept"}
    if len(identities) < 2:
        kept = dataset.info.counts.kept
        have = "all its clips are of one identity" if kept else "it has no kept clips"
        advice = "add videos of other people with `tpbench extract`"
        if kept:
            advice += ", or evaluate on all clips: `tpbench eval --split all`"
        raise DatasetError(
            f"{dataset.folder}: {have}, and a split by identity needs two identities; {advice}"
        )
    former = dataset.info.split
    if former is not None and (former.test_share, former.seed) == (wanted.test_share, wanted.seed):
        wanted = wanted.model_copy(update={"placed": former.placed})
        counted = describe_split(split_clips(clips, wanted), wanted)
        if counted.train_clips and counted.test_clips:
            return wanted
    filled = fill_empty_side(identities, test_share=wanted.test_share, seed=wanted.seed)
    return wanted.model_copy(update={"placed": filled})


def _write(folder: Path, clips: Sequence[Clip], info: DatasetInfo) -> Dataset:
    if info.split is not None:
        clips = split_clips(clips, info.split)
        info = info.model_copy(update={"split": describe_split(clips, info.split)})
        write_split_lists(folder, clips)
    manifest = write_manifest(folder, clips)
    write_clip_tables(folder, info)
    atomic_write_text(folder / "croissant.json", croissant_json(info, manifest))
    atomic_write_text(folder / "README.md", render_card(info))
    write_info(folder, info)
    return Dataset(folder=folder, info=info)
