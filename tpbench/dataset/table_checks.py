"""Whether the tables of a dataset agree with its manifest: dataset.json, split lists, clip tables.

And whether the split keeps identities apart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, get_args

from tpbench.dataset.cards import PATH_COLUMNS, WHOLE, clip_tables
from tpbench.dataset.folder import CLIP_FILES, Dataset
from tpbench.dataset.identities import IDENTITIES_NAME, read_members
from tpbench.dataset.info import INFO_NAME, Clip, SplitName, content_digest, count
from tpbench.dataset.manifest import MANIFEST_NAME, Table, manifest_file, read_table
from tpbench.dataset.parts import PARTS_FOLDER, PARTS_INDEX, read_index
from tpbench.dataset.problems import Code, Problem, relative, some
from tpbench.dataset.removal import REMOVALS_NAME, Removals
from tpbench.dataset.side_lists import PLACED_NAME, SPLITS_FOLDER, read_placed
from tpbench.dataset.tables import read_table_rows
from tpbench.errors import DatasetError
from tpbench.files import require_regular, sha256_of
from tpbench.foreign import ForeignFileError, read_json
from tpbench.spread import entries

CROISSANT_NAME: Final = "croissant.json"


def table_problems(dataset: Dataset, clips: Sequence[Clip]) -> Iterator[Problem]:
    """Yield where the tables of a dataset disagree with the rows of its manifest.

    Args:
        dataset: theirs.
        clips: all rows, kept or not.
    """
    kept = [clip for clip in clips if clip.status == "kept"]
    yield from _info_problems(dataset, clips)
    yield from _identity_problems(kept)
    for side in get_args(SplitName):
        yield from _list_problems(dataset, side, kept)
    for name in dataset.info.split.versions if dataset.info.split is not None else ():
        yield from _version_problems(dataset, name, kept)
    yield from _kept_table_problems(dataset)
    yield from _clip_table_problems(dataset)
    yield from _card_problems(dataset)
    yield from _part_problems(dataset)


def _info_problems(dataset: Dataset, clips: Sequence[Clip]) -> Iterator[Problem]:
    info = dataset.info
    digest = content_digest(clips)
    if digest != info.digest:
        what = f"has digest {info.digest[:8]}, the rows of {MANIFEST_NAME} have {digest[:8]}"
        yield Problem(code="table.manifest", where=INFO_NAME, what=what)
    elif (counted := count(clips)) != info.counts:
        names = [name for name, n in counted if getattr(info.counts, name) != n]
        what = f"counts other {', '.join(names)} than {MANIFEST_NAME} has rows"
        yield Problem(code="table.manifest", where=INFO_NAME, what=what)
    if info.split is None:
        return
    for side in get_args(SplitName):
        n_clips = sum(clip.split == side for clip in clips)
        stated = info.split.train_clips if side == "train" else info.split.test_clips
        if n_clips != stated:
            what = f"states {stated:,} {side} clips, {MANIFEST_NAME} has {n_clips:,}"
            yield Problem(code="table.split", where=INFO_NAME, what=what)
    if nowhere := [c.clip_id for c in clips if c.status == "kept" and c.split is None]:
        what = f"has {some(nowhere)} on neither side of the split"
        yield Problem(code="table.split", where=MANIFEST_NAME, what=what)


def _part_problems(dataset: Dataset) -> Iterator[Problem]:
    index = read_index(dataset.folder)
    for part in () if index is None else index.parts:
        path = dataset.folder / PARTS_FOLDER / part.name
        if sha256_of(path) != part.sha256:
            where = relative(dataset.folder, path)
            what = f"is not the file that {PARTS_INDEX} names (sha256 differs)"
            yield Problem(code="table.manifest", where=where, what=what)


def _identity_problems(kept: Sequence[Clip]) -> Iterator[Problem]:
    sides: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for clip in kept:
        sides[clip.identity or ""].setdefault(clip.split or "none", clip.clip_id)
    for identity, found in sides.items():
        if len(found) > 1:
            named = ", ".join(f"{clip_id} ({side})" for side, clip_id in sorted(found.items()))
            what = f"identity {identity} is on both sides of the split: {named}"
            yield Problem(code="split.identity", where=MANIFEST_NAME, what=what)


def _list_problems(dataset: Dataset, side: SplitName, kept: Sequence[Clip]) -> Iterator[Problem]:
    path = dataset.folder / SPLITS_FOLDER / f"{side}.csv"
    where = f"{SPLITS_FOLDER}/{path.name}"

    def problem(what: str) -> Problem:
        return Problem(code="table.split", where=where, what=what)

    if dataset.info.split is None:
        if path.exists():
            yield problem("is there, though the dataset is not split")
        return
    expected = {clip.clip_id: clip.identity or "" for clip in kept if clip.split == side}
    try:
        listed = _read_list(path)
    except ValueError as error:
        yield problem(str(error))
        return
    if missing := expected.keys() - listed.keys():
        yield problem(f"lacks {some(missing)} that the manifest has on the {side} side")
    if more := listed.keys() - expected.keys():
        yield problem(f"names {some(more)} that the manifest does not have on the {side} side")
    shared = expected.keys() & listed.keys()
    if other := {clip_id for clip_id in shared if expected[clip_id] != listed[clip_id]}:
        yield problem(f"names other identities than the manifest for {some(other)}")


def _kept_table_problems(dataset: Dataset) -> Iterator[Problem]:
    """Yield what is wrong with the tables that the next extraction or split goes by."""
    tables: tuple[tuple[Callable[[Path], object], str, Code], ...] = (
        (read_members, IDENTITIES_NAME, "table.identities"),
        (read_placed, f"{SPLITS_FOLDER}/{PLACED_NAME}", "table.split"),
    )
    for read, name, code in tables:
        path = dataset.folder / name
        if not path.is_file():
            continue
        try:
            read(dataset.folder)
        except DatasetError as error:
            what = str(error).removeprefix(f"{path}").lstrip(": ")
            yield Problem(code=code, where=name, what=what)


def removed_problems(dataset: Dataset, clips: Sequence[Clip]) -> Iterator[Problem]:
    """Yield where something that was removed for good is in the dataset all the same.

    Raises:
        DatasetError: `removals.json` can't be read.
    """
    removals = Removals.read(dataset.folder)
    if not removals:
        return
    back = {clip.clip_id for clip in clips if removals.removes_row(clip)}
    if back:
        what = f"holds {some(back)} that {REMOVALS_NAME} lists"
        yield Problem(code="removed.present", where=MANIFEST_NAME, what=what)
    known = {clip.clip_id for clip in clips}
    for kind in CLIP_FILES:
        for path in entries(kind.home(dataset.folder)):
            if path.stem not in known and removals.removes_clip_id(path.stem):
                what = f"is of a clip that {REMOVALS_NAME} lists"
                where = relative(dataset.folder, path)
                yield Problem(code="removed.present", where=where, what=what)
    for path in sorted((dataset.folder / SPLITS_FOLDER).glob("*.csv")):
        yield from _removed_from_list(path, removals)


def _removed_from_list(path: Path, removals: Removals) -> Iterator[Problem]:
    try:
        rows = [row for _, row in read_table_rows(path)]
    except DatasetError:
        return  # said where the list is compared with the manifest
    names = {row["clip_id"] for row in rows if removals.removes_clip_id(row.get("clip_id", ""))}
    names |= {row["identity"] for row in rows if removals.removes_identity(row.get("identity", ""))}
    if names:
        what = f"names {some(names, 'clip or identity')} that {REMOVALS_NAME} lists"
        where = f"{SPLITS_FOLDER}/{path.name}"
        yield Problem(code="removed.present", where=where, what=what)


def _version_problems(dataset: Dataset, name: str, kept: Sequence[Clip]) -> Iterator[Problem]:
    """Compare a frozen test split with those who are for training now."""
    where = f"{SPLITS_FOLDER}/{name}.csv"
    try:
        frozen = _read_list(dataset.folder / where)
    except ValueError as error:
        yield Problem(code="table.split", where=where, what=str(error))
        return
    training = {clip.identity for clip in kept if clip.split == "train"}
    for identity in sorted(set(frozen.values()) & training):
        what = f"identity {identity} is on this frozen test side, and on the train side"
        yield Problem(code="split.identity", where=where, what=what)


def _read_list(path: Path) -> dict[str, str]:
    """Return clip id -> identity of a list of the split.

    Raises:
        ValueError: it is missing or no such list; the message is the end of "<path>: ...".
    """
    if not path.exists():
        raise ValueError("is missing")
    try:
        rows = read_table_rows(path, required=("clip_id", "identity"))
    except DatasetError as error:
        raise ValueError(str(error).removeprefix(str(path)).lstrip(": ")) from error
    listed = {row["clip_id"]: row["identity"] for _, row in rows}
    if len(listed) < len(rows):
        raise ValueError("names a clip twice")
    return listed


def _clip_table_problems(dataset: Dataset) -> Iterator[Problem]:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    manifest = read_table(dataset.folder)
    kept = manifest.filter(pc.equal(manifest["status"], "kept"))
    wanted = clip_tables(dataset.info)
    for name in sorted(path.name for path in dataset.folder.glob("clips-*.parquet")):
        if name not in wanted.values():
            said = "is a table of a side that has no clips"
            yield Problem(code="table.clips", where=name, what=said)
    for side, name in wanted.items():
        rows = kept if side == WHOLE else kept.filter(pc.equal(kept["split"], side))
        path = dataset.folder / name
        what: str | None
        try:
            require_regular(path)
            what = _table_difference(dataset.folder, pq.read_table(path), rows)
        except FileNotFoundError:
            what = "is missing"
        except (pa.ArrowException, OSError) as error:
            what = f"can't be read as Parquet ({str(error).splitlines()[0]})"
        if what:
            yield Problem(code="table.clips", where=name, what=what)


def _table_difference(folder: Path, table: Table, rows: Table) -> str | None:
    """Return how a table of clips differs from the rows of the manifest; None if it doesn't."""
    if "clip_id" not in table.schema.names:
        return "has no column clip_id"
    listed, expected = table["clip_id"].to_pylist(), rows["clip_id"].to_pylist()
    if listed != expected:
        missing, more = set(expected) - set(listed), set(listed) - set(expected)
        if not missing and not more:
            return "has its rows in another order than the manifest, or twice"
        return f"lacks {some(missing)} of the manifest, and names {some(more)} besides"
    for name in rows.schema.names:
        if name not in table.schema.names or not table[name].equals(rows[name]):
            return f"has another column {name} than the manifest"
    for name, kind in PATH_COLUMNS.items():
        paths = [relative(folder, kind.path(folder, clip_id)) for clip_id in listed]
        if name not in table.schema.names or table[name].to_pylist() != paths:
            return f"has other paths in the column {name} than the files of its clips"
    return None


def _card_problems(dataset: Dataset) -> Iterator[Problem]:
    """Compare the checksum of the manifest that croissant.json states."""

    def problem(what: str) -> Problem:
        return Problem(code="table.card", where=CROISSANT_NAME, what=what)

    try:
        described = read_json(dataset.folder / CROISSANT_NAME)
        stated = {row.get("@id"): row.get("sha256") for row in described["distribution"]}
    except FileNotFoundError:
        yield problem("is missing")
        return
    except (OSError, ForeignFileError, KeyError, TypeError, AttributeError) as error:
        yield problem(f"can't be read ({error})")
        return
    manifest = manifest_file(dataset.folder)
    if stated.get(manifest.name) != sha256_of(manifest):
        yield problem(f"states another sha256 of {manifest.name}")
