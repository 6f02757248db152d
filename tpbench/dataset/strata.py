"""By what a split is balanced: classes of clips, and how often each is on either side.

Clips are divided by length, motion, visible hands and turn of the head, each into four classes of
about equal size (fewer where many clips have one value). What was not measured is a class of its
own. A test split resembles the whole where each class has the same share of the clips in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from tpbench.dataset.info import Clip

Counts = NDArray[np.int64]
Table = Any

_CLASSES: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Trait:
    """A property of clips that both sides of a split should share."""

    name: str
    title: str
    unit: str
    columns: tuple[str, ...]
    """Measurements that tell it, the first one that a clip has; none: the length in seconds."""

    def value(self, clip: Clip) -> float:
        """Return its value, NaN if it was not measured."""
        if not self.columns:
            length_s = clip.duration_s
            return float("nan") if length_s is None else length_s
        found = (clip.measurements.get(name) for name in self.columns)
        return next((value for value in found if value is not None), float("nan"))

    def values(self, table: Table) -> NDArray[np.float64]:
        """Return the same of many rows of a manifest, from its columns."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if self.columns:
            known = [table[f"m_{c}"] for c in self.columns if f"m_{c}" in table.column_names]
            found = pc.coalesce(*known, pa.scalar(float("nan"))) if known else None
        else:
            frames = pc.multiply(table["n_frames"], table["fps_den"]).cast(pa.float64())
            rate = pc.if_else(pc.equal(table["fps_num"], 0), None, table["fps_num"])
            times = pc.subtract(table["end_s"], table["start_s"])
            by_frames = pc.divide(frames, rate.cast(pa.float64()))
            found = pc.coalesce(by_frames, times, pa.scalar(float("nan")))
        if found is None:
            return np.full(len(table), np.nan)
        return np.asarray(found.to_numpy(), dtype=np.float64)


TRAITS: Final = (
    Trait(name="length", title="Length", unit="s", columns=()),
    Trait(name="motion", title="Time in motion", unit="share", columns=("moving_share",)),
    Trait(
        name="hands",
        title="Frames with both hands",
        unit="share",
        columns=("both_hands_share", "one_hand_share"),
    ),
    Trait(name="yaw", title="Head turn", unit="deg", columns=("face_yaw_deg",)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """The kept clips that rows stand for: each for itself, or one for many of its source."""

    row_of: NDArray[np.int64]
    """(clips,) the row that stands for each kept clip."""
    values: tuple[NDArray[np.float64], ...]
    """(clips,) of each trait, in the order of `TRAITS`; NaN: not measured."""

    @classmethod
    def of(cls, clips: Sequence[Clip]) -> Self:
        """Return that of rows of which each stands for itself."""
        rows = [row for row, clip in enumerate(clips) if clip.status == "kept"]
        return cls(
            row_of=np.array(rows, dtype=np.int64),
            values=tuple(
                np.array([trait.value(clips[row]) for row in rows], dtype=np.float64)
                for trait in TRAITS
            ),
        )

    def sizes(self, n_rows: int) -> NDArray[np.int64]:
        """Return (rows,) how many kept clips each row stands for."""
        return np.bincount(self.row_of, minlength=n_rows).astype(np.int64)


class ClassBalance(BaseModel):
    """One class of clips, and its share in the whole and on each side."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trait: str
    title: str
    unit: str
    low: float | None
    """Inclusive; None for the lowest class, and for what was not measured."""
    high: float | None
    """Exclusive; None for the highest class, and for what was not measured."""
    measured: bool
    whole_share: float
    """Share of the kept clips that are in this class, 0..1."""
    train_share: float | None
    """The same among the clips of this side; None if it has none."""
    test_share: float | None

    @property
    def difference(self) -> float | None:
        """Share in the test split minus share in the whole."""
        return None if self.test_share is None else self.test_share - self.whole_share

    @property
    def range_text(self) -> str:
        """Its limits, such as "4.2 to 6" or "at least 12"."""
        if not self.measured:
            return "not measured"
        if self.low is None:
            return "all" if self.high is None else f"below {self.high:.3g}"
        return (
            f"at least {self.low:.3g}"
            if self.high is None
            else f"{self.low:.3g} to {self.high:.3g}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Strata:
    """The kept clips of each identity, counted by class."""

    identities: tuple[str, ...]
    """Sorted."""
    counts: Counts
    """(identities, classes) clips of the identity in the class; classes of a trait lie together."""
    clips: Counts
    """(identities,) clips of each."""
    classes: tuple[tuple[Trait, float | None, float | None, bool], ...]
    """Of each column: its trait, its limits, and whether it was measured."""


def stratify(clips: Sequence[Clip], population: Population | None = None) -> Strata:
    """Divide the kept clips into classes, and count them by identity.

    Args:
        clips: rows with the identities.
        population: the clips for which they stand; None: each for itself.
    """
    whole = Population.of(clips) if population is None else population
    identities = tuple(sorted({clip.identity or "" for clip in clips if clip.status == "kept"}))
    at = {identity: row for row, identity in enumerate(identities)}
    own = np.array([at.get(clip.identity or "", -1) for clip in clips], dtype=np.int64)
    rows = own[whole.row_of]
    columns: list[Counts] = []
    classes: list[tuple[Trait, float | None, float | None, bool]] = []
    for trait, values in zip(TRAITS, whole.values, strict=True):
        limits = _limits(values[np.isfinite(values)])
        belongs = np.where(np.isfinite(values), np.searchsorted(limits, values, side="right"), -1)
        ends = [None, *(float(limit) for limit in limits), None]
        for number, (low, high) in enumerate(pairwise(ends)):
            columns.append(_count(rows, belongs == number, len(identities)))
            classes.append((trait, low, high, True))
        columns.append(_count(rows, belongs == -1, len(identities)))
        classes.append((trait, None, None, False))
    used = [number for number, column in enumerate(columns) if column.any()]
    counts = np.stack([columns[number] for number in used], axis=1) if used else np.zeros((0, 0))
    return Strata(
        identities=identities,
        counts=counts.astype(np.int64),
        clips=_count(rows, np.ones(len(rows), dtype=bool), len(identities)),
        classes=tuple(classes[number] for number in used),
    )


def _limits(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the values at which classes begin: quartiles, each once, none with nothing below."""
    if not values.size:
        return values
    shares = np.arange(1, _CLASSES) / _CLASSES
    # An observed value, so that the same class results on every machine.
    limits: NDArray[np.float64] = np.unique(np.quantile(values, shares, method="higher"))
    above: NDArray[np.bool_] = limits > values.min()
    return limits[above]


def _count(rows: Counts, chosen: NDArray[np.bool_], n: int) -> Counts:
    return np.bincount(rows[chosen], minlength=n).astype(np.int64)


def balance(
    clips: Sequence[Clip], population: Population | None = None
) -> tuple[ClassBalance, ...]:
    """Return the share of each class in the whole and on each side, from the rows' `split`."""
    strata = stratify(clips, population)
    sides = {clip.identity or "": clip.split for clip in clips if clip.status == "kept"}
    on = {
        side: np.array([sides[identity] == side for identity in strata.identities], dtype=bool)
        for side in ("train", "test")
    }
    whole, total = strata.counts.sum(axis=0), int(strata.clips.sum())
    count = {side: strata.counts[chosen].sum(axis=0) for side, chosen in on.items()}
    size = {side: int(strata.clips[chosen].sum()) for side, chosen in on.items()}

    def share(side: str, number: int) -> float | None:
        return float(count[side][number]) / size[side] if size[side] else None

    return tuple(
        ClassBalance(
            trait=trait.name,
            title=trait.title,
            unit=trait.unit,
            low=low,
            high=high,
            measured=measured,
            whole_share=float(whole[number]) / total,
            train_share=share("train", number),
            test_share=share("test", number),
        )
        for number, (trait, low, high, measured) in enumerate(strata.classes)
    )


def largest_difference(rows: Sequence[ClassBalance]) -> ClassBalance | None:
    """Return the class whose share in the test split differs most from that in the whole."""
    compared = [row for row in rows if row.difference is not None]
    return max(compared, key=lambda row: abs(row.difference or 0.0), default=None)
