"""Builds the folder to publish from runs: `leaderboard.csv` with its schema, and the rest."""

from __future__ import annotations

import csv
import io
import json
import math
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import yaml

from tpbench.baselines.registry import ReportedValue
from tpbench.benchmark.leaderboard.assemble import DATASET, assemble
from tpbench.benchmark.leaderboard.board import METHOD, Leaderboard, Row
from tpbench.benchmark.leaderboard.collect import Only, collect
from tpbench.benchmark.leaderboard.markdown import leaderboard_markdown
from tpbench.benchmark.site import Site
from tpbench.benchmark.tasks import SplitChoice
from tpbench.dataset import Dataset
from tpbench.errors import ConfigError
from tpbench.foreign import is_formula
from tpbench.metrics.registry import MetricRow

SCHEMA_VERSION: Final = 2

CSV_NAME: Final = "leaderboard.csv"
SCHEMA_NAME: Final = "leaderboard.schema.json"
REPORTED_NAME: Final = "reported.csv"
MARKDOWN_NAME: Final = "leaderboard.md"
PAGE_NAME: Final = "index.html"

Value = str | int | float | None
"""None: blank."""
_MISREAD_WORDS: Final = frozenset({
    "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>",
    "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
    "TRUE", "True", "true", "FALSE", "False", "false",
})  # fmt: skip
"""Words that pandas reads as a blank or a boolean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltLeaderboard:
    """A leaderboard and its files."""

    leaderboard: Leaderboard
    files: tuple[Path, ...]
    """Files of this build; the page, if any, is the last."""
    page: Path | None
    """`index.html`; None: not requested."""
    missing_anchors: Mapping[str, str]
    """By missing anchor: the command that generates it on this machine."""


def build_leaderboard(
    runs: Sequence[Path | str],
    out: Path | str,
    *,
    data: Path | str | None = None,
    split: SplitChoice | None = None,
    task: str | None = None,
    page: bool = True,
) -> BuiltLeaderboard:
    """Put runs into one table, and write it as CSV, schema, Markdown and page.

    Equal runs give equal files, whatever their order. Runs that are partial, not scored, or scored
    before their clips were generated again are left out and listed in `leaderboard.left_out`.

    Args:
        runs: folders of runs, or folders that contain such at any depth.
        out: folder to write into; only unchanged files of an older leaderboard are replaced.
        data: folder of a dataset: only its runs are taken, and the page shows its clips and poses;
            the folder recorded in a run is never used.
        split: only runs of this split.
        task: only runs of this task, such as `self`.
        page: also write `index.html` and `media/`.

    Raises:
        ConfigError: a folder is missing, `out` can't be written or holds another file of the same
            name, or `data` is another dataset.
        DatasetError: `data` can't be read.
        SubmissionError: the runs are not comparable, none is left, or a file was tampered with.
    """
    folder, keeper = Path(out), None if data is None else Path(data)
    digest = None if keeper is None else Dataset.open(keeper).digest
    board = assemble(collect(runs, Only(digest=digest, split=split, task=task)), data=keeper)
    texts = {
        CSV_NAME: leaderboard_csv(board),
        SCHEMA_NAME: schema_text(board),
        REPORTED_NAME: reported_csv(board.reported),
        MARKDOWN_NAME: leaderboard_markdown(board),
    }
    index = None
    try:
        site = Site.open(folder)
        site.require_free([*texts, PAGE_NAME] if page else texts)
        if page:
            from tpbench.benchmark.page.build import build_page

            index = build_page(board, site)
        for name, text in texts.items():
            site.write_text(name, text)
        site.finish(sweep=page)
    except OSError as error:
        raise ConfigError(f"{folder}: can't be written ({error.strerror or error})") from error
    place = DATASET if keeper is None else shlex.quote(str(keeper))
    return BuiltLeaderboard(
        leaderboard=board,
        files=(*(folder / name for name in texts), *([index] if index else [])),
        page=index,
        missing_anchors={
            name: line.replace(DATASET, place, 1) for name, line in board.missing_anchors.items()
        },
    )


def leaderboard_csv(board: Leaderboard) -> str:
    """Return `leaderboard.csv`: one row per model, in the leaderboard's order."""
    columns = columns_of(board)
    values = (_values(board, row) for row in board.rows)
    return csv_text(list(columns), ([found[name] for name in columns] for found in values))


def reported_csv(values: Sequence[ReportedValue]) -> str:
    """Return published numbers as CSV, one per row, in their order; blank: not in the source."""
    names = [field.name for field in fields(ReportedValue)]
    return csv_text(names, ([getattr(value, name) for name in names] for value in values))


def csv_text(header: Sequence[str], rows: Iterable[Sequence[Value]]) -> str:
    r"""Return a table as CSV: numbers unrounded, LF, None and NaN blank, infinity `inf`.

    >>> csv_text(["name", "psnr"], [["=1+1", 0.1], ["x", float("inf")], ["y", None]])
    "name,psnr\n'=1+1,0.1\nx,inf\ny,\n"
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_shown(value) for value in row] for row in rows)
    return text.getvalue()


def _shown(value: Value) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"'{value}" if _misread(value) else value
    return repr(value)


def _misread(text: str) -> bool:
    """Whether text would be run as a formula, or read as a number, a boolean or a blank."""
    if is_formula(text) or text in _MISREAD_WORDS:
        return True
    try:
        float(text)
    except ValueError:
        return False
    return True


def _values(board: Leaderboard, row: Row) -> dict[str, Value]:
    """Return the values of a row, by column."""
    content: dict[str, Value] = {
        "model": row.id,
        "task": board.task.id,
        "protocol": str(board.protocol["id"]),
        "split": board.dataset.split,
        "dataset_digest": board.dataset.digest,
        "seeds": json.dumps(row.seeds),
        "verified_by_maker": row.claimed,
    }
    names = [*_COLUMNS["first"], *_COLUMNS["last"]]
    content |= {name: getattr(row, name) for name in names if name not in content}
    for name, score in row.scores.items():
        content |= {
            name: score.value,
            f"{name}_lo": score.low,
            f"{name}_hi": score.high,
            f"{name}_n": score.n_clips,
        }
        found = row.distances.get(name)
        content |= {
            f"{name}_distance": found.mean if found else None,
            f"{name}_distance_lo": found.interval.low if found else None,
            f"{name}_distance_hi": found.interval.high if found else None,
        }
    return content


def columns_of(board: Leaderboard) -> dict[str, dict[str, Any]]:
    """Return the schema of each column, by its name, in the order of the table.

    `dtype` is as pandas reads it without options; a column that is all blank reads as float64.
    """
    of_metrics = (column for metric in board.metrics for column in _of_metric(metric))
    said = {**_COLUMNS["first"], **dict(of_metrics), **_COLUMNS["last"]}
    return {name: {**_BLANK, **column} for name, column in said.items()}


def schema_text(board: Leaderboard) -> str:
    """Return the schema of the CSV as JSON text; equal leaderboards give equal text."""
    protocol, dataset, task = board.protocol, board.dataset, board.task
    schema = {
        "schema_version": SCHEMA_VERSION,
        "task": {"id": task.id, "version": task.version, "min_frames": task.min_frames},
        "protocol": {
            "id": protocol["id"],
            "version": protocol["version"],
            "digest": protocol["digest"],
            # Protocols without these settings took the mean over clips.
            "frames_to_clip": protocol.get("frames_to_clip", "reduction"),
            "clips_to_set": protocol.get("clips_to_set", "mean_of_clips"),
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
            "precedes text that a spreadsheet would run as a formula, or a reader parse as a "
            "number or a blank"
        ),
        "marks": METHOD,
        "order": "no ranking: measured models by name, then the anchors",
        "headline": [metric.id for metric in board.overview],
        "how_to_report": board.how_to_report,
        "columns": columns_of(board),
    }
    return json.dumps(schema, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _of_metric(metric: MetricRow) -> Iterator[tuple[str, dict[str, Any]]]:
    ends = {
        "": ("", metric.definition),
        "_lo": (", lower end", "Lower end of the 95 % interval over identities; blank: none."),
        "_hi": (", upper end", "Upper end of the 95 % interval over identities; blank: none."),
        "_n": (", clips", "Clips with a finite value, which the value is computed from."),
    }
    if metric.target is not None and metric.reduction != "set":
        off = f"|value - {metric.target:g}|"
        ends |= {
            "_distance": (", distance", f"Mean over clips of {off}, by which it is judged."),
            "_distance_lo": (", distance, lower end", f"Of the 95 % interval of the mean {off}."),
            "_distance_hi": (", distance, upper end", f"Of the 95 % interval of the mean {off}."),
        }
    for ending, (title, description) in ends.items():
        counts, off_target = ending == "_n", "distance" in ending
        yield (
            metric.id + ending,
            {
                "dtype": "int64" if counts else "float64",
                "title": metric.title + title,
                "label": metric.label + ending.replace("_", " "),
                "description": " ".join(description.split()),
                "direction": "none" if counts else "lower" if off_target else metric.direction,
                "target": None if counts or off_target else metric.target,
                "unit": "clips" if counts else metric.unit,
                "metric": metric.id,
                "version": metric.version,
            },
        )


_COLUMNS: Final[Mapping[str, Mapping[str, Mapping[str, Any]]]] = yaml.safe_load(
    (files(__package__) / "columns.yaml").read_text("utf-8")
)

_BLANK: Final[Mapping[str, Any]] = {
    "dtype": "str",
    "title": "",
    "label": "",
    "description": "",
    "direction": "none",
    "target": None,
    "unit": "",
    "metric": None,
    "version": None,
}
"""Default schema of a column; gives the order of its keys."""
