"""Metrics and protocols as data: definitions/*.yaml, protocol_data/*.yaml, retired/*.yaml."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from importlib.resources import files
from typing import Any, Final, Literal, TypeVar

from tpbench.errors import ConfigError, did_you_mean

ValueT = TypeVar("ValueT")
RowT = TypeVar("RowT")


class LazyTable(Mapping[str, ValueT]):
    """A mapping that is loaded on first use: importing it reads no file.

    Args:
        load: returns the whole mapping; it is called on every access and should cache its result.
    """

    def __init__(self, load: Callable[[], Mapping[str, ValueT]]) -> None:
        self._load = load

    def __getitem__(self, key: str) -> ValueT:
        return self._load()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._load())

    def __len__(self) -> int:
        return len(self._load())


def read_folder(folder: str) -> dict[str, Any]:
    """Return what the YAML files of a folder of `tpbench.metrics` hold, by name without ending."""
    import yaml

    entries = sorted((files("tpbench.metrics") / folder).iterdir(), key=lambda entry: entry.name)
    return {
        entry.name.removesuffix(".yaml"): yaml.safe_load(entry.read_text("utf-8"))
        for entry in entries
        if entry.name.endswith(".yaml")
    }


def checked_rows(row_type: type[RowT], values: Sequence[Mapping[str, Any]]) -> list[RowT]:
    """Return rows of the dataclass given, whose fields are exactly the keys of `values`.

    Args:
        row_type: a dataclass; fields with a default may be left out.
        values: one mapping per row, as YAML has them: lists stand for tuples.

    Raises:
        pydantic.ValidationError: a key is unknown or missing, or a value is of another type.
    """
    from pydantic import ConfigDict, TypeAdapter, with_config

    checked = with_config(ConfigDict(extra="forbid", strict=True, allow_inf_nan=False))(row_type)
    adapter: TypeAdapter[list[RowT]] = TypeAdapter(list[checked])  # type: ignore[valid-type]  # at run time
    # Strict validation of Python input rejects lists for tuples; that of JSON accepts them.
    return adapter.validate_json(json.dumps(values))


Family = Literal["pixels", "features", "motion", "drift", "regions", "pose", "disco"]

Direction = Literal["higher", "lower", "target", "none"]
"""Which values are better; target: those nearer to `target`; none: neither."""
Reduction = Literal["mean", "ratio", "slope", "end_minus_start", "lasting", "difference", "set"]
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


_ARROWS: Final = {"higher": "↑", "lower": "↓"}


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRow:
    """One metric: a column of a results table."""

    id: str
    """Letters, digits, underscores: the name of the column."""
    version: int
    """1 or more; raised whenever a value can change."""
    title: str
    """A few words, for headers."""
    label: str
    """Its name in tables of results, as papers write it: "PSNR"."""
    family: Family
    direction: Direction
    target: float | None = None
    """The best value; only with direction "target"."""
    unit: str
    """As shown after a value: "dB", "px per 100 frames"; "" if it has none."""
    low: float | None
    """The least possible value; None: unbounded."""
    high: float | None
    """The greatest possible value; None: unbounded."""
    paired: bool
    """Whether each generated frame is compared with the real frame of the same index in its clip;
    if not, sets of frames or windows are compared."""
    weights: tuple[str, ...] = ()
    """Model files it needs, as `tpbench weights list` names them; those of the skeleton detector
    are the protocol's choice and not among them."""
    needs: tuple[Literal["pose"], ...] = ()
    """`pose` if skeletons are detected for it."""
    columns: tuple[str, ...] = ()
    """Per-frame columns it is computed from; none for "set", except restricted lasting."""
    reduction: Reduction
    lag_frames: int = 0
    """Distance between frames that are compared with each other; 0: each is measured by itself."""
    blank: str = ""
    """Why a clip with enough frames may have no value; empty if it always has one."""
    failure_of: str = ""
    """Of restricted lasting: the metric whose failure ends a clip."""
    horizon_frames: int = 0
    """Of restricted lasting: the horizon, in frames; 0 for all other metrics."""
    definition: str
    """What it measures, in a sentence or two."""
    formula: str
    source: str
    """Paper, package or script that it follows, and where it departs from it."""
    pitfalls: str
    """What a reader of a table should know."""

    @property
    def arrow(self) -> str:
        """Which values are better, as tables show it: "↑", "↓", "→ 1", or "" for neither."""
        return _ARROWS.get(self.direction, "") if self.target is None else f"→ {self.target:g}"


@cache
def _metrics() -> Mapping[str, MetricRow]:
    by_family = read_folder("definitions")
    values = [{"family": family, **row} for family in FAMILIES for row in by_family[family]]
    return {row.id: row for row in checked_rows(MetricRow, values)}


METRICS: Final[Mapping[str, MetricRow]] = LazyTable(_metrics)
"""All metrics by id. Reads its files on first use."""


@cache
def _retired() -> Mapping[str, MetricRow]:
    rows = checked_rows(MetricRow, read_folder("retired")["metrics"])
    return {f"{row.id}@{row.version}": row for row in rows}


RETIRED: Final[Mapping[str, MetricRow]] = LazyTable(_retired)
"""Earlier versions of metrics, by `id@version`: for reading older scores, not for scoring."""


def metric_at(metric_id: str, version: int) -> MetricRow | None:
    """Return a metric as of a version, the current or an earlier one; None if it is unknown."""
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
        raise ConfigError(
            f"no metric is called '{metric_id}'{did_you_mean(metric_id, METRICS)}"
        ) from None


DEFAULT_PROTOCOL: Final = "tpbench-v2"

RETIRED_PROTOCOLS: Final[Mapping[str, str]] = {"tpbench-v1": "tpbench-v2"}
"""Protocols that are no longer used for scoring, and their successors. A published protocol's
numbers never change under its name, but some of its metrics were redefined. Scores made by it can
still be read, compared with each other and put into a table."""
Pooling = Literal["mean_of_clips", "mean_of_frames"]
"""See `Protocol.clips_to_set`."""
POOLINGS: Final[Mapping[Pooling, str]] = {
    "mean_of_clips": "mean over clips, each weighing the same, with an interval over identities",
    "mean_of_frames": "mean over all frames of all clips, with an interval over identities",
}
"""What each does, for readers."""
_CUSTOM = "+custom"
_SQUASHING = frozenset({"talkingpose"})
_PROSE = frozenset({"title", "description", "headline", "quirks"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """How a set of generated clips is scored."""

    id: str
    """Ends in "+custom" if the metrics are not the protocol's own."""
    version: int
    """1 or more; raised whenever a setting or the list of metrics changes."""
    title: str
    description: str
    metrics: tuple[str, ...]
    """Ids, in the order of a table's columns."""
    headline: tuple[str, ...]
    """Those of them that belong into the table of a paper, in its order; shown first everywhere.
    Like the texts, they don't change a number, and are no part of the digest."""
    length: Literal["fail", "truncate"]
    """If a clip has more or fewer frames than its real clip: an error, or both are compared until
    the shorter one ends."""
    resize: Literal["fail", "area"]
    """If a clip has another size than its real clip: an error, or it is resized to that size by
    averaging areas (OpenCV's INTER_AREA)."""
    rate: Literal["fail", "ignore"]
    """If a clip has another frame rate: an error, or frames are compared by index."""
    frames_to_clip: Literal["reduction"]
    """How the frames of a clip become its value: by each metric's own reduction, which for most is
    the mean over frames (`tpbench metrics show METRIC`, "per clip")."""
    clips_to_set: Pooling
    """How clips become the value of the set, for metrics with a value per clip. "mean_of_clips":
    the mean over clips, all weighted equally. "mean_of_frames": the mean over all frames of all
    clips, so that each clip is weighted by its number of frames; only for metrics whose value per
    clip is a mean over frames, while the others keep the mean over clips. Metrics of all clips
    together (FID, KID, FVD, restricted lasting) pool by their own definition."""
    told_beside: Literal["none", "mean_of_frames"]
    """Which other mean the protocol's source prints; the terminal shows it, too."""
    skeleton: Literal["mediapipe", "dwpose"]
    """The detector for regions and pose accuracy."""
    window_frames: int
    """Length and stride of the windows of FVD; `disco_fvd` has its own stride."""
    fid_window_frames: int
    """Frames of a clip in each window of the drift of FID."""
    levels: Mapping[str, float] = field(hash=False)
    """For each `lasting_*` share the level below which a frame fails, in the unit of the curve;
    the restricted means over clips use the level of their share."""
    hold_frames: int
    """Consecutive measured frames that a failure of `lasting_*` lasts: one second at 25 fps."""
    vote_frames: int
    """A frame misses the level if more than half of this many measured frames around it do."""
    quirks: tuple[str, ...]
    """Its unexpected properties, a sentence each."""

    @property
    def squashes(self) -> bool:
        """Whether clips of another aspect ratio are resized as well, as its source does."""
        return self.id.removesuffix(_CUSTOM) in _SQUASHING

    @property
    def digest(self) -> str:
        """The sha256 of all settings and of the versions of its metrics, 64 hex digits.

        Canonical JSON; neither the order of the metrics nor descriptive texts count.
        """
        settings = {name: value for name, value in asdict(self).items() if name not in _PROSE}
        settings["metrics"] = {name: metric(name).version for name in self.metrics}
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()

    def with_metrics(self, metric_ids: Iterable[str]) -> Protocol:
        """Return the protocol with these metrics instead of its own.

        Args:
            metric_ids: any metrics, in the order of a table's columns; repeated ones count once.

        Returns:
            The protocol itself if these are its own metrics in any order; else a new one, with
            "+custom" appended to its id.

        Raises:
            ConfigError: no metric is given, one is unknown, or one needs a level that the protocol
                doesn't state.
        """
        if isinstance(metric_ids, str):
            raise ConfigError(f"metrics wants a list of names: [{metric_ids!r}]")
        chosen = tuple(dict.fromkeys(metric_ids))
        if not chosen:
            raise ConfigError(f"name at least one metric for protocol '{self.id}'")
        for metric_id in chosen:
            row = metric(metric_id)
            needs = metric_id if row.reduction == "lasting" else row.failure_of
            if needs and needs not in self.levels:
                raise ConfigError(
                    f"metric '{metric_id}' needs a level, and protocol '{self.id}' states none;"
                    f" use {_with_level(needs)}"
                )
        if set(chosen) == set(self.metrics):
            return self
        return replace(
            self,
            id=self.id.removesuffix(_CUSTOM) + _CUSTOM,
            metrics=chosen,
            headline=_within(self.headline, chosen),
        )


@cache
def _protocols() -> Mapping[str, Protocol]:
    files = read_folder("protocol_data")
    # The default comes first wherever they are listed.
    names = sorted(files, key=lambda name: (name != DEFAULT_PROTOCOL, name))
    rows = checked_rows(Protocol, [{"id": name, **files[name]} for name in names])
    return {row.id: row for row in rows}


PROTOCOLS: Final[Mapping[str, Protocol]] = LazyTable(_protocols)
"""All protocols by id, the default first. Reads its files on first use."""


def protocol(protocol_id: str) -> Protocol:
    """Return the protocol of that id.

    Raises:
        ConfigError: there is none, or it is no longer used for scoring.
    """
    if protocol_id in RETIRED_PROTOCOLS:
        raise ConfigError(
            f"nothing is scored by protocol '{protocol_id}' any more, since some of its metrics "
            f"were redefined: use '{RETIRED_PROTOCOLS[protocol_id]}'; existing scores of it can "
            "still be read, compared with each other, and put into a table"
        )
    try:
        return PROTOCOLS[protocol_id]
    except KeyError:
        raise ConfigError(
            f"no protocol is called '{protocol_id}'{did_you_mean(protocol_id, PROTOCOLS)}"
        ) from None


def headline_of(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the metrics of a protocol that are shown first, in the order of a paper's table.

    Args:
        settings: of the protocol, as recorded in `scores.json`. Older ones have no headline: it is
            that of this tpbench's protocol of the same id, or of its successor.
    """
    base = str(settings.get("id")).removesuffix(_CUSTOM)
    known = PROTOCOLS.get(RETIRED_PROTOCOLS.get(base, base))
    headline = settings.get("headline") or (known.headline if known else ())
    return _within(headline, tuple(settings["metrics"]))


def _within(headline: Iterable[str], metrics: tuple[str, ...]) -> tuple[str, ...]:
    """Return the headline metrics that are among these metrics; all of these if none is."""
    return tuple(name for name in headline if name in metrics) or metrics


def as_pooled(row: MetricRow, settings: Mapping[str, object]) -> MetricRow:
    """Return a metric as a protocol pools it.

    If it takes the mean over all frames, all clips give one value together: there is no mean over
    clips that could be compared clip by clip.

    Args:
        row: the metric.
        settings: of the protocol, as recorded in `scores.json`; older ones don't state the pooling,
            which is the mean over clips.
    """
    over_frames = settings.get("clips_to_set") == "mean_of_frames"
    return replace(row, reduction="set") if over_frames and row.reduction == "mean" else row


def protocols_with(metric_id: str) -> tuple[str, ...]:
    """Return the ids of the protocols that hold a metric.

    Raises:
        ConfigError: there is no such metric.
    """
    metric(metric_id)
    return tuple(row.id for row in PROTOCOLS.values() if metric_id in row.metrics)


def _with_level(metric_id: str) -> str:
    return " or ".join(f"'{row.id}'" for row in PROTOCOLS.values() if metric_id in row.levels)
