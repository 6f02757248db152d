"""The metrics: what each number means, and from what it is made.

The rows are data: `definitions/<family>.yaml`, in the order in which tables show them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final, Literal

from tpbench.errors import ConfigError, did_you_mean
from tpbench.metrics.row_files import LazyTable, by_id, checked_rows, read_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

Family = Literal["pixels", "features", "motion", "drift", "regions", "pose", "disco"]

Direction = Literal["higher", "lower", "target", "none"]
"""What is better; target: the nearer to `target`; none: it judges nothing."""

Reduction = Literal[
    "mean",
    "ratio",
    "slope",
    "end_minus_start",
    "lasting",
    "difference",
    "set",
]
"""How per-frame columns become one value per clip; see `REDUCTIONS`."""

REDUCTIONS: Final[Mapping[Reduction, str]] = {
    "mean": "mean over frames, and over all columns, of the finite values",
    "ratio": "sum of the first column / sum of the second, on frames where both are measured",
    "slope": "Theil-Sen slope over the frames, per 100 frames",
    "end_minus_start": "mean of the last 15 % of the frames minus mean of the first 15 %",
    "lasting": "frames before the level is missed for some time / all frames; 1 if it is not",
    "difference": "mean of the first column minus mean of the second",
    "set": "none: all clips give one value together",
}
"""What each does, for readers. With two columns, the curve of slope, end_minus_start and lasting is
their ratio, frame by frame."""

FAMILIES: Final[tuple[Family, ...]] = (
    "pixels",
    "features",
    "motion",
    "regions",
    "pose",
    "drift",
    "disco",
)
"""In the order in which tables show them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRow:
    """One metric: a column of a results table."""

    id: str
    """Letters, digits, underscores: the name of the column."""

    version: int
    """1 or more; raised whenever a value can change."""

    title: str
    """A few words, for headers."""

    family: Family

    direction: Direction

    target: float | None = None
    """The best value; only with direction "target"."""

    unit: str
    """As it stands behind a value: "dB", "px per 100 frames"; "" where there is none."""

    low: float | None
    """The least value there can be; None: unbounded."""

    high: float | None
    """The greatest value there can be; None: unbounded."""

    paired: bool
    """Whether each generated frame is held against its own clip's real frame of the same index;
    if not, sets of frames or windows are compared."""

    weights: tuple[str, ...] = ()
    """Model files it needs, as `tpbench weights list` names them; those of the skeleton detector
    are the protocol's choice and not among them."""

    needs: tuple[Literal["pose"], ...] = ()
    """`pose` if skeletons are detected for it."""

    columns: tuple[str, ...] = ()
    """Per-frame columns it is computed from; none for "set", but for restricted lasting."""

    reduction: Reduction

    lag_frames: int = 0
    """Frames between those that are compared with each other; 0: each is measured by itself."""

    blank: str = ""
    """Why a clip with enough frames may have no value; empty where it always has one."""

    failure_of: str = ""
    """Of restricted lasting: the metric whose failure ends a clip."""

    horizon_frames: int = 0
    """Of restricted lasting: up to where it is followed; 0 for everything else."""

    definition: str
    """What it says, in a sentence or two."""

    formula: str
    source: str
    """Paper, package or script that it follows, and where it departs from it."""

    pitfalls: str
    """What whoever reads a table should know."""


@cache
def _metrics() -> Mapping[str, MetricRow]:
    by_family = read_folder("definitions")
    values = [{"family": family, **row} for family in FAMILIES for row in by_family[family]]
    return by_id(checked_rows(MetricRow, values))


METRICS: Final[Mapping[str, MetricRow]] = LazyTable(_metrics)
"""All metrics by id. Reads its files on first use."""


@cache
def _retired() -> Mapping[str, MetricRow]:
    rows = checked_rows(MetricRow, read_folder("retired")["metrics"])
    return {f"{row.id}@{row.version}": row for row in rows}


RETIRED: Final[Mapping[str, MetricRow]] = LazyTable(_retired)
"""What metrics were in earlier versions, by `id@version`: to read older scores by, not to score."""


def metric_at(metric_id: str, version: int) -> MetricRow | None:
    """Return a metric as it was in some version, this or an earlier one; None if it is unknown."""
    row = METRICS.get(metric_id)
    if row is not None and row.version == version:
        return row
    return RETIRED.get(f"{metric_id}@{version}")


def metric(metric_id: str) -> MetricRow:
    """Return the metric of that id.

    Raises:
        ConfigError: there is none.
    """
    try:
        return METRICS[metric_id]
    except KeyError:
        msg = f"no metric is called '{metric_id}'{did_you_mean(metric_id, METRICS)}"
        raise ConfigError(msg) from None
