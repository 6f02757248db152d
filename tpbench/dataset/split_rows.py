"""The rows that a split is made of: one for all clips of a source that it treats alike.

A split looks at sources, identities and uploaders, and at single clips only where one is named.
Of a million rows, some ten thousand are looked at; columns hold the rest.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from tpbench.dataset.info import Clip, SplitName
from tpbench.dataset.manifest import COLUMNS, rows_of, storable
from tpbench.dataset.strata import TRAITS, Population

Table = Any

_TREATED_ALIKE: Final = ("source_id", "identity", "uploader", "split")
"""Rows that share these, and are kept or not, get the same identity and side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitRows:
    """Rows of a manifest, and those that stand for them."""

    table: Table
    """All rows, each column in one piece."""
    clips: Sequence[Clip]
    """Those that stand for all, in the order of their first clip id. Their measurements are theirs
    alone: what is measured of all is in `population`."""
    row_of: NDArray[np.int64]
    """(rows of the table,) which of `clips` stands for each."""
    population: Population
    """The kept ones."""

    @classmethod
    def of(cls, table: Table, *, each: bool, alone: Collection[str] = ()) -> Self:
        """Find the rows that stand for those of a manifest.

        Args:
            table: the manifest, sorted by clip id.
            each: every row stands for itself.
            alone: ids of clips that do, whatever others do.
        """
        import pyarrow as pa

        table = table.combine_chunks()
        n_rows = len(table)
        firsts = row_of = np.arange(n_rows, dtype=np.int64)
        if not each:
            firsts, row_of = _groups(table, alone)
        is_kept = np.flatnonzero(_codes(table["status"], only="kept"))
        return cls(
            table=table,
            clips=rows_of(table if each else table.select([*COLUMNS]).take(pa.array(firsts))),
            row_of=row_of,
            population=Population(
                row_of=row_of[is_kept],
                values=tuple(trait.values(table)[is_kept] for trait in TRAITS),
            ),
        )

    def settled(self, clips: Sequence[Clip]) -> Table:
        """Return the table with the identities and sides that `clips` have now, in their order."""
        import pyarrow as pa

        table, rows = self.table, pa.array(self.row_of)
        for name in ("identity", "split"):
            values = pa.array([storable(getattr(clip, name)) for clip in clips], pa.string())
            at = table.schema.get_field_index(name)
            table = table.set_column(at, table.schema.field(at), values.take(rows))
        return table


def on_side(table: Table, side: SplitName) -> Iterator[tuple[str, str | None]]:
    """Yield the clip id and the identity of all clips on a side."""
    import pyarrow.compute as pc

    rows = table.select(["clip_id", "identity", "split"]).filter(pc.equal(table["split"], side))
    yield from zip(rows["clip_id"].to_pylist(), rows["identity"].to_pylist(), strict=True)


def _codes(column: Any, *, only: str | None = None) -> NDArray[np.int64]:  # noqa: ANN401 - Arrow's
    """Return a number for each row, equal where values are; with `only`, 1 for that value."""
    import pyarrow.compute as pc

    if only is not None:
        return np.asarray(pc.equal(column, only).to_numpy(zero_copy_only=False)).astype(np.int64)
    coded = column.combine_chunks().dictionary_encode(null_encoding="encode")
    return np.asarray(coded.indices.to_numpy()).astype(np.int64)


def _are_in(column: Any, values: Collection[str]) -> NDArray[np.bool_]:  # noqa: ANN401 - Arrow's
    import pyarrow as pa
    import pyarrow.compute as pc

    found = pc.is_in(column, value_set=pa.array(sorted(values), pa.string()))
    return np.asarray(found.to_numpy(zero_copy_only=False), dtype=bool)


def _groups(table: Table, alone: Collection[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first row of each group of rows that are treated alike, and each row's group."""
    codes = _codes(table["status"], only="kept")
    if alone:
        codes = np.where(_are_in(table["clip_id"], alone), np.arange(len(table)) + 2, codes)
    for name in _TREATED_ALIKE:
        further = _codes(table[name])
        codes = codes * (int(further.max(initial=0)) + 1) + further
        # Numbered anew, so that products stay small.
        codes = np.unique(codes, return_inverse=True)[1].astype(np.int64)
    _, firsts, groups = np.unique(codes, return_index=True, return_inverse=True)
    order = np.argsort(firsts)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return firsts[order].astype(np.int64), place[groups].astype(np.int64)
