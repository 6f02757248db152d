"""The columns of `leaderboard.csv`: what each is, in words for machines, and how a row fills it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from tpbench.benchmark.leaderboard.model import Cell, Leaderboard, Row
from tpbench.benchmark.leaderboard.ties import METHOD
from tpbench.metrics.registry import Direction, MetricRow

SCHEMA_VERSION: Final = 2

Dtype = Literal["str", "int64", "float64"]
"""As pandas reads the column without options. One that is blank in all rows reads as float64."""

Value = str | int | float | None
"""None: blank."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column."""

    name: str
    dtype: Dtype
    title: str
    """A few words, for headers."""

    description: str
    direction: Direction = "none"
    target: float | None = None
    unit: str = ""
    metric: str | None = None
    """Of the columns of a metric: its id."""

    version: int | None = None
    """Of the metric."""

    fill: Callable[[Leaderboard, Row], Value]
    """What stands in it."""

    def to_json(self) -> dict[str, Any]:
        """Return all that is said of the column."""
        silent = ("name", "fill")
        return {key: getattr(self, key) for key in self.__slots__ if key not in silent}


def columns_of(board: Leaderboard) -> tuple[Column, ...]:
    """Return the columns in the order in which they stand."""
    return (
        *_FIRST,
        *(column for metric in board.metrics for column in _of_metric(metric)),
        *_LAST,
    )


def schema_of(board: Leaderboard) -> dict[str, Any]:
    """Return what is to be known to read the CSV, as JSON values."""
    protocol, dataset, task = board.protocol, board.dataset, board.task
    return {
        "schema_version": SCHEMA_VERSION,
        "task": {"id": task.id, "version": task.version, "min_frames": task.min_frames},
        "protocol": {
            "id": protocol.id,
            "version": protocol.version,
            "digest": protocol.digest,
            # Protocols that don't state it took the mean over clips.
            "frames_to_clip": protocol.settings.get("frames_to_clip", "reduction"),
            "clips_to_set": protocol.settings.get("clips_to_set", "mean_of_clips"),
        },
        "dataset": {
            "name": dataset.name,
            "digest": dataset.digest,
            "split": dataset.split,
            "n_clips": dataset.n_clips,
            "n_identities": dataset.n_identities,
        },
        "encoding": "UTF-8, LF, comma, decimal point, unrounded",
        "blank": "not measured, or not known; never 0",
        "infinity": "inf",
        "apostrophe": (
            "stands before text that a spreadsheet would run as a formula, or a reader take for a "
            "number or a blank"
        ),
        "marks": METHOD,
        "order": "no ranking: measured models by name, then the anchors",
        "columns": {column.name: column.to_json() for column in columns_of(board)},
    }


def schema_text(board: Leaderboard) -> str:
    """Return the schema as text; equal leaderboards give equal text."""
    return json.dumps(schema_of(board), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _of_metric(metric: MetricRow) -> Iterator[Column]:
    ends = {
        "": ("", f"{metric.definition}"),
        "_lo": (", lower end", "Lower end of the 95 % interval over identities; blank: none."),
        "_hi": (", upper end", "Upper end of the 95 % interval over identities; blank: none."),
        "_n": (", clips", "Clips with a finite value, of which the value is made."),
    }
    if metric.target is not None and metric.reduction != "set":
        off = f"|value - {metric.target:g}|"
        ends |= {
            "_distance": (", distance", f"Mean over clips of {off}: what is judged."),
            "_distance_lo": (", distance, lower end", f"Of the 95 % interval of the mean {off}."),
            "_distance_hi": (", distance, upper end", f"Of the 95 % interval of the mean {off}."),
        }
    for ending, (title, description) in ends.items():
        counts, off_target = ending == "_n", "distance" in ending
        yield Column(
            name=metric.id + ending,
            dtype="int64" if counts else "float64",
            title=metric.title + title,
            description=" ".join(description.split()),
            direction="none" if counts else "lower" if off_target else metric.direction,
            target=None if counts or off_target else metric.target,
            unit="clips" if counts else metric.unit,
            metric=metric.id,
            version=metric.version,
            fill=_filler(metric.id, ending),
        )


def _filler(metric_id: str, ending: str) -> Callable[[Leaderboard, Row], Value]:
    read: dict[str, Callable[[Cell], Value]] = {
        "": lambda cell: cell.value,
        "_lo": lambda cell: cell.low,
        "_hi": lambda cell: cell.high,
        "_n": lambda cell: cell.n_clips,
        "_distance": lambda cell: cell.distance,
        "_distance_lo": lambda cell: cell.distance_low,
        "_distance_hi": lambda cell: cell.distance_high,
    }
    return lambda _board, row: read[ending](row.cells[metric_id])


_FIRST: Final = (
    Column(
        name="model",
        dtype="str",
        title="Model",
        description="Its id, with its variant; one row each.",
        fill=lambda _, row: row.id,
    ),
    Column(
        name="display_name",
        dtype="str",
        title="Name",
        description="For people.",
        fill=lambda _, row: row.display_name,
    ),
    Column(
        name="kind",
        dtype="str",
        title="Kind",
        description="measured: a model. anchor: calibrates the metrics, and is not to be ranked.",
        fill=lambda _, row: row.kind,
    ),
    Column(
        name="task",
        dtype="str",
        title="Task",
        description="What was animated; its version stands in this file.",
        fill=lambda board, _: board.task.id,
    ),
    Column(
        name="protocol",
        dtype="str",
        title="Protocol",
        description="How it was scored; its digest stands in this file.",
        fill=lambda board, _: board.protocol.id,
    ),
    Column(
        name="split",
        dtype="str",
        title="Split",
        description="Of the dataset: test, train or all.",
        fill=lambda board, _: board.dataset.split,
    ),
    Column(
        name="dataset_digest",
        dtype="str",
        title="Dataset",
        description="sha256 over its content.",
        fill=lambda board, _: board.dataset.digest,
    ),
    Column(
        name="n_clips",
        dtype="int64",
        title="Clips",
        description="Clips with scores, from one seed at least.",
        unit="clips",
        fill=lambda _, row: row.n_clips,
    ),
    Column(
        name="n_identities",
        dtype="int64",
        title="Identities",
        description="People in these clips.",
        unit="identities",
        fill=lambda _, row: row.n_identities,
    ),
    Column(
        name="coverage",
        dtype="float64",
        title="Coverage",
        description=(
            "Scored over expected clips, over all seeds. Below 1, clips failed, and the values are "
            "those of the others."
        ),
        unit="share",
        fill=lambda _, row: row.coverage,
    ),
    Column(
        name="seeds",
        dtype="str",
        title="Seeds",
        description=(
            "A JSON list. Values are means over seeds per clip, then over clips; of metrics that "
            "all clips give together, means over seeds."
        ),
        fill=lambda _, row: json.dumps(row.seeds),
    ),
)

_LAST: Final = (
    Column(
        name="params_b",
        dtype="float64",
        title="Parameters",
        description="Of all networks that run.",
        unit="10^9",
        fill=lambda _, row: row.params_b,
    ),
    Column(
        name="gen_fps",
        dtype="float64",
        title="Speed",
        description="Frames that one worker makes a second, on the machine it was run on.",
        unit="frames/s",
        fill=lambda _, row: row.gen_fps,
    ),
    Column(
        name="peak_gpu_gb",
        dtype="float64",
        title="GPU memory",
        description="The most that torch held on one GPU; blank where none was used.",
        unit="10^9 bytes",
        fill=lambda _, row: row.peak_gpu_gb,
    ),
    Column(
        name="licence_code",
        dtype="str",
        title="Licence of the code",
        description='"not stated" where nobody says.',
        fill=lambda _, row: row.licence_code,
    ),
    Column(
        name="licence_weights",
        dtype="str",
        title="Licence of the weights",
        description='"no weights" where there are none.',
        fill=lambda _, row: row.licence_weights,
    ),
    Column(
        name="run_digest",
        dtype="str",
        title="Run",
        description=(
            "sha256 over what the run is and the digest of its scores; with several seeds, over "
            "those of the runs, one a line, without a line end at the end."
        ),
        fill=lambda _, row: row.run_digest,
    ),
    Column(
        name="verified",
        dtype="str",
        title="Verified",
        description=(
            "none; digest: the sha256 of every file was right; rerun: the scores were computed "
            "again and agreed. By `tpbench verify`, where the leaderboard was built."
        ),
        fill=lambda _, row: row.verified,
    ),
    Column(
        name="verified_by_maker",
        dtype="str",
        title="Verified by its maker",
        description=(
            "The same, as a file in the run says that whoever made it found. It proves nothing to "
            "anybody else."
        ),
        fill=lambda _, row: row.claimed,
    ),
    Column(
        name="date",
        dtype="str",
        title="Date",
        description="Day (UTC) on which its last clip was made.",
        fill=lambda _, row: row.date,
    ),
)
