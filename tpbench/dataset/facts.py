"""What cards and reports state of a manifest: counted on its columns, never row by row.

As Python objects, the rows of a million candidates fill gigabytes; as columns they take about a
kilobyte each, and these counts take seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tpbench.dataset.info import Counts, Measurement
from tpbench.dataset.manifest import Table

Mask = NDArray[np.bool_]
Column = Any
"""An Arrow array; Arrow has no type information."""

_QUARTILES: Final = (0.25, 0.5, 0.75)


def measured_columns(measurements: Iterable[Measurement]) -> list[str]:
    """Return the columns of measurements and their thresholds, as far as a manifest has them."""
    return [f"{prefix}_{item.name}" for item in measurements for prefix in "mt"]


@dataclass(frozen=True, kw_only=True, eq=False)  # without slots, which `cached_property` needs
class Candidates:
    """The columns of a manifest; N rows. Derived columns are computed once, on first use."""

    table: Table

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def column(self, name: str) -> Column:
        """Return a column in one piece."""
        return self.table[name].combine_chunks()

    def is_status(self, status: str) -> Mask:
        """Return which rows are of a status: (N,)."""
        import pyarrow.compute as pc

        return _mask(pc.equal(self.column("status"), status))

    @cached_property
    def kept(self) -> Mask:
        """Which rows are kept clips: (N,)."""
        return self.is_status("kept")

    def values(self, measurement: str) -> NDArray[np.float64]:
        """Return what was measured, NaN where nothing was: (N,)."""
        return self.numbers(f"m_{measurement}")

    def limits(self, measurement: str) -> NDArray[np.float64]:
        """Return the thresholds, NaN where the filter was not applied: (N,)."""
        return self.numbers(f"t_{measurement}")

    def numbers(self, name: str) -> NDArray[np.float64]:
        """Return a column of numbers, NaN where it has none: (N,)."""
        if name not in self.table.schema.names:
            return np.full(len(self), np.nan)
        return np.asarray(self.column(name).to_numpy(zero_copy_only=False), dtype=np.float64)

    @cached_property
    def seconds(self) -> NDArray[np.float64]:
        """Lengths of the rows in seconds, 0 where unknown: (N,)."""
        frames, num, den, start, end = (
            self.numbers(name) for name in ("n_frames", "fps_num", "fps_den", "start_s", "end_s")
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            exact = frames * den / num
        lengths = np.where(np.isfinite(exact), exact, end - start)
        return np.where(np.isfinite(lengths), lengths, 0.0)

    @cached_property
    def codes(self) -> Mapping[str, Mask]:
        """Reject code -> which rows have it, most frequent first: (N,) each."""
        import pyarrow.compute as pc

        lists = self.column("reject_codes")
        row = np.asarray(pc.list_parent_indices(lists).to_numpy(zero_copy_only=False))
        encoded = pc.dictionary_encode(pc.list_flatten(lists))
        index = np.asarray(encoded.indices.to_numpy(zero_copy_only=False))
        found: dict[str, Mask] = {}
        for at, code in enumerate(encoded.dictionary.to_pylist()):
            found[code] = np.zeros(len(self), dtype=bool)
            found[code][row[index == at]] = True
        order = sorted(found, key=lambda code: (-int(found[code].sum()), code))
        return {code: found[code] for code in order}

    def has_code(self, code: str) -> Mask:
        """Return which rows have a reject code: (N,)."""
        return self.codes.get(code, np.zeros(len(self), dtype=bool))

    @cached_property
    def n_codes(self) -> NDArray[np.int64]:
        """Number of reject codes of each row: (N,)."""
        counts = np.zeros(len(self), dtype=np.int64)
        for rows in self.codes.values():
            counts += rows
        return counts


def _mask(column: Column) -> Mask:
    return np.asarray(column.fill_null(False).to_numpy(zero_copy_only=False), dtype=bool)  # noqa: FBT003 - Arrow's own argument


def counts_of(table: Table) -> Counts:
    """Count rows, reject codes, frames and seconds of a manifest, as `count` does of its rows."""
    import pyarrow as pa
    import pyarrow.compute as pc

    candidates = Candidates(table=table)
    kept = candidates.kept
    statuses = _counted(candidates.column("status"))
    codes = _counted(pc.list_flatten(candidates.column("reject_codes")))
    # Added one after the other: the last digit depends on it.
    seconds = np.cumsum(candidates.seconds[kept])
    return Counts(
        sources=len(pc.unique(candidates.column("source_id"))),
        candidates=len(candidates),
        kept=statuses.get("kept", 0),
        rejected=statuses.get("rejected", 0),
        failed=statuses.get("failed", 0),
        quarantined=statuses.get("quarantined", 0),
        kept_frames=int(np.nansum(candidates.numbers("n_frames")[kept])),
        kept_s=round(float(seconds[-1]), 6) if len(seconds) else 0.0,
        identities=len(pc.unique(candidates.column("identity").filter(pa.array(kept)))),
        reject_codes=dict(sorted(codes.items(), key=lambda item: (-item[1], item[0]))),
    )


def _counted(column: Column) -> dict[str, int]:
    """Return each value and how often it occurs."""
    import pyarrow.compute as pc

    return {row["values"]: row["counts"] for row in pc.value_counts(column).to_pylist()}


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterEffect:
    """What one filter, or one other reason, removed from a dataset."""

    code: str
    measurement: Measurement | None
    """None for a reason that is no filter's, such as a dissolve."""
    limits: tuple[float, ...]
    """Its thresholds, ascending: one, unless they differ between the rows; none if not applied."""
    judged: int
    """Rows that it was applied to; for other reasons, those that it removed."""
    removed: int
    removed_s: float
    only: int
    """Rows that it alone removed: no other filter rejected them."""
    only_s: float


def filter_effects(
    candidates: Candidates, measurements: Sequence[Measurement]
) -> list[FilterEffect]:
    """Count what each filter removed, in the order of the filters; other reasons follow.

    A span rejected early is not seen by later filters, so what only one filter removed is the most
    that another threshold of it can bring back.
    """
    described = {item.code: item for item in measurements if item.code}
    codes = [*described, *(code for code in candidates.codes if code not in described)]
    return [_effect(candidates, code, described.get(code)) for code in codes]


def _effect(candidates: Candidates, code: str, measurement: Measurement | None) -> FilterEffect:
    removed = candidates.has_code(code)
    only = removed & (candidates.n_codes == 1)
    judged, limits = int(removed.sum()), ()
    if measurement is not None:
        known = candidates.limits(measurement.name)
        known = known[np.isfinite(known)]
        judged, limits = known.size, tuple(np.unique(known).tolist())
    return FilterEffect(
        code=code,
        measurement=measurement,
        limits=limits,
        judged=judged,
        removed=int(removed.sum()),
        removed_s=float(candidates.seconds[removed].sum()),
        only=int(only.sum()),
        only_s=float(candidates.seconds[only].sum()),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Kept clips that share a value, such as a licence or a side of the split."""

    name: str | None
    """None where the value is not known."""
    clips: int
    sources: int
    identities: int
    seconds: float


def groups_by(candidates: Candidates, column: str) -> list[Group]:
    """Count the kept clips by the value of a column of text, the longest group first."""
    import pyarrow as pa

    table = pa.table(
        {
            "value": candidates.table[column],
            "source_id": candidates.table["source_id"],
            "identity": candidates.table["identity"],
            "seconds": pa.array(candidates.seconds),
        }
    )
    counted = (
        table.filter(pa.array(candidates.kept))
        .group_by("value")
        .aggregate(
            [
                ("source_id", "count"),
                ("source_id", "count_distinct"),
                ("identity", "count_distinct"),
                ("seconds", "sum"),
            ]
        )
        .to_pylist()
    )
    groups = [
        Group(
            name=row["value"] or None,
            clips=row["source_id_count"],
            sources=row["source_id_count_distinct"],
            identities=row["identity_count_distinct"],
            seconds=row["seconds_sum"],
        )
        for row in counted
    ]
    return sorted(groups, key=lambda group: (-group.seconds, group.name or ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class SideSpread:
    """How a measurement is spread over the kept clips of one side of the split."""

    side: str
    quartiles: tuple[float, float, float]
    """25 %, median, 75 %."""
    n_clips: int
    """Clips that have the measurement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """One measurement on all sides of the split."""

    measurement: Measurement
    sides: tuple[SideSpread, ...]


def split_balance(candidates: Candidates, measurements: Sequence[Measurement]) -> list[Balance]:
    """Compare measurements between the sides of the split; empty if there is none."""
    import pyarrow.compute as pc

    column = candidates.column("split")
    sides = sorted(name for name in pc.unique(column).to_pylist() if name)
    rows = {side: _mask(pc.equal(column, side)) & candidates.kept for side in reversed(sides)}
    found = []
    for item in measurements:
        values = candidates.values(item.name)
        spreads = []
        for side, chosen in rows.items():
            known = values[chosen & np.isfinite(values)]
            if known.size:
                low, middle, high = np.quantile(known, _QUARTILES).tolist()
                spreads.append(
                    SideSpread(side=side, quartiles=(low, middle, high), n_clips=known.size)
                )
        if len(spreads) > 1:
            found.append(Balance(measurement=item, sides=tuple(spreads)))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """What the manifest knows of where the sources of the kept clips are from."""

    sources: int
    with_url: int
    with_licence: int
    with_uploader: int
    uploaders: int
    first_retrieved: str | None
    """ISO date; None where no date is known."""
    last_retrieved: str | None


def provenance(candidates: Candidates) -> Provenance:
    """Count the sources of the kept clips by what is known of them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    names = ["source_id", "url", "licence", "uploader", "retrieved_at"]
    kept = candidates.table.select(names).filter(pa.array(candidates.kept))
    groups = kept.group_by("source_id", use_threads=False)
    rows = groups.aggregate([(name, "first") for name in names[1:]])  # the first that is known
    known = {name: rows[f"{name}_first"].drop_null() for name in names[1:]}
    dates = known["retrieved_at"].to_pylist()
    return Provenance(
        sources=rows.num_rows,
        with_url=len(known["url"]),
        with_licence=len(known["licence"]),
        with_uploader=len(known["uploader"]),
        uploaders=len(pc.unique(known["uploader"])),
        first_retrieved=min(dates)[:10] if dates else None,
        last_retrieved=max(dates)[:10] if dates else None,
    )
