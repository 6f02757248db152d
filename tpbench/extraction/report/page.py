"""What the report shows, put into its template.

Everything is counted on the columns of the manifest, and lists are samples that say so: the page of
a million candidates has the size of that of some thousand.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Final, get_args

import numpy as np
from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from tpbench.dataset import Clip, Dataset, DatasetInfo, Measurement
from tpbench.dataset.facts import (
    Candidates,
    Group,
    Mask,
    filter_effects,
    groups_by,
    measured_columns,
    split_balance,
)
from tpbench.dataset.info import length_text
from tpbench.dataset.manifest import read_table, rows_of
from tpbench.detectors.base import models_by_role
from tpbench.extraction.report.histograms import Histogram, histogram, of_candidates, short
from tpbench.extraction.report.samples import (
    MAX_SAMPLES,
    choose,
    player_of,
    rejections,
    sample_frames,
)
from tpbench.extraction.report.thresholds import dials_of
from tpbench.extraction.rows import OTHER_CODES
from tpbench.extraction.thumbnails import evenly
from tpbench.files import atomic_write_text
from tpbench.wholebody import PoseSource

REPORT_NAME: Final = "report.html"

_COUNTED: Final = (
    "clip_id", "status", "reject_codes", "source_id", "identity", "split", "n_frames", "fps_num",
    "fps_den", "start_s", "end_s",
)  # fmt: skip
"""Columns that the page counts on, besides the measurements."""
MAX_CLIPS: Final = 24
"""Most clips with players; browsers load the beginning of each."""
_MAX_ROWS: Final = 200
"""Most rows of a table, so that phones can scroll them; the manifest holds the rest."""
_FEW_CLIPS: Final = 10
"""Histograms of fewer clips say little: they are folded."""
_LENGTH: Final = Measurement(name="length_s", title="Length", unit="s")
_MOTION: Final = ("motion.static", "motion.camera")
"""Filters whose measurements tell how much a clip moves."""
_COMPARED: Final = (
    "motion.static",
    "motion.camera",
    "face.too_small",
    "face.turned",
    "hands.hidden",
    "hands.rarely_both",
    "skeleton.low_confidence",
)
"""Filters whose measurements are compared between the sides of the split."""
_IDENTITY_CLASSES: Final = ((1, "1"), (2, "2"), (5, "3 to 5"), (10, "6 to 10"), (30, "11 to 30"))
_MAX_IDENTITIES: Final = 8


def write_report(
    folder: Path, *, provide: Callable[[Sequence[Clip]], None] = lambda _: None
) -> Path:
    """Write `folder/report.html` from a finished dataset: one file that downloads nothing.

    Only its players need other files: the clips and pose videos beside it. The one script in it
    moves the dials of thresholds, and the page is whole without it.

    All text of outside origin (names, addresses, errors) is escaped, and a content security policy
    in the page blocks anything that still slips through.

    Args:
        folder: of the dataset.
        provide: called with the clips whose files are read next.

    Raises:
        DatasetError: there is no finished dataset in `folder`.
    """
    dataset = Dataset.open(folder)
    columns = [*_COUNTED, *measured_columns(dataset.info.measurements)]
    candidates = Candidates(table=dataset.table(columns))
    script = _resource("thresholds.js")
    page = _template().render(
        info=dataset.info,
        titles=OTHER_CODES | {row.code: row.title for row in dataset.info.measurements if row.code},
        by_code={row.code: row for row in dataset.info.measurements if row.code},
        max_rows=_MAX_ROWS,
        models=list(_models(dataset.info)),
        config=json.dumps(dataset.info.config, indent=2, ensure_ascii=False),
        file_name=lambda path: Path(path).name,
        style=Markup(_resource("style.css")),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - our own file
        script_hash=_hash_source(script),
        **_pictures(dataset, candidates, provide),
        **_numbers(dataset.info, candidates),
    )
    path = folder / REPORT_NAME
    atomic_write_text(path, page + "\n")
    return path


@cache
def _template() -> Template:
    """Return the page's template, which a process compiles once."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "short": short,
        "number": "{:,}".format,
        "percent": "{:.1%}".format,
        "duration": length_text,
        "clock": clock,
    }
    return environment.from_string(_resource("page.html.j2"))


def _resource(name: str) -> str:
    return resources.files("tpbench.extraction.report").joinpath(name).read_text(encoding="utf-8")


def _hash_source(script: str) -> str:
    """Return what a content security policy calls exactly this script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _pictures(
    dataset: Dataset, candidates: Candidates, provide: Callable[[Sequence[Clip]], None]
) -> dict[str, Any]:
    """Return the parts of the page that show single clips: each is a sample of all."""
    import pyarrow as pa

    identities = candidates.column("identity").filter(pa.array(candidates.kept)).to_pylist()
    kept = np.flatnonzero(candidates.kept)
    rejected = np.flatnonzero(candidates.is_status("rejected"))
    broken = np.flatnonzero(candidates.is_status("failed") | candidates.is_status("quarantined"))
    numbers = (
        [int(kept[at]) for at in choose(identities, MAX_SAMPLES)],
        [int(kept[at]) for at in choose(identities, MAX_CLIPS)],
        evenly(rejected.tolist(), _MAX_ROWS),
        broken[:_MAX_ROWS].tolist(),
    )
    sheet, shown, refused, failed = _clips(dataset.folder, candidates, numbers)
    provide([*sheet, *shown])
    return {
        "samples": list(sample_frames(dataset, sheet)),
        "players": [player_of(dataset, clip) for clip in shown],
        "rejected": list(rejections(dataset.folder, refused)),
        "broken": failed,
    }


def _clips(
    folder: Path, candidates: Candidates, numbers: Sequence[Sequence[int]]
) -> Iterator[list[Clip]]:
    """Yield the rows of each group of row numbers, with all columns: only these are read."""
    clip_ids = candidates.column("clip_id")
    groups = [[clip_ids[number].as_py() for number in group] for group in numbers]
    wanted = {clip_id for group in groups for clip_id in group}
    found = {clip.clip_id: clip for clip in rows_of(read_table(folder, clip_ids=wanted))}
    for group in groups:
        yield [found[clip_id] for clip_id in group]


def _numbers(info: DatasetInfo, candidates: Candidates) -> dict[str, Any]:
    """Return the parts of the page that count all candidates."""
    plots = [plot for item in info.measurements if (plot := of_candidates(item, candidates))]
    effects = filter_effects(candidates, info.measurements)
    compared = [item for item in info.measurements if item.code in _COMPARED]
    sides = groups_by(candidates, "split") if info.split is not None else []
    return {
        "plots": plots,
        "few_clips": max((plot.n_clips for plot in plots), default=0) < _FEW_CLIPS,
        "effects": sorted(
            (effect for effect in effects if effect.removed),
            key=lambda effect: (-effect.removed, effect.code),
        ),
        "idle": [effect for effect in effects if effect.judged and not effect.removed],
        "sides": sorted(sides, key=lambda side: side.name or "", reverse=True),
        "balance": split_balance(candidates, compared),
        "movement": list(_movement(info, candidates)),
        "identities": Identities.of(groups_by(candidates, "identity")),
        "dials": dials_of(candidates, info.measurements),
    }


def _movement(info: DatasetInfo, candidates: Candidates) -> Iterator[Histogram]:
    """Yield histograms of length and motion of the kept clips, by side of the split."""
    import pyarrow.compute as pc

    column = candidates.column("split")
    names = sorted((name for name in pc.unique(column).to_pylist() if name), reverse=True)
    rows: dict[str, Mask] = {
        name: np.asarray(pc.equal(column, name).fill_null(False)) & candidates.kept  # noqa: FBT003
        for name in names
    } or {"kept": candidates.kept}
    motion = [item for item in info.measurements if item.code in _MOTION]
    for item in (_LENGTH, *motion):
        values = candidates.seconds if item is _LENGTH else candidates.values(item.name)
        parts = {name: values[chosen & np.isfinite(values)] for name, chosen in rows.items()}
        # Without its direction: nothing is rejected here.
        drawn = histogram(item.model_copy(update={"direction": "none"}), parts)
        if drawn is not None:
            yield drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class Identities:
    """How the kept clips are spread over people."""

    total: int
    classes: tuple[tuple[str, int], ...]
    """Clips of an identity, as a range -> number of such identities."""
    most: tuple[Group, ...]
    """Those with the most video."""
    most_share: float
    """Share of all video that is theirs."""
    joined: int
    """Identities that are in several sources."""

    @classmethod
    def of(cls, groups: Sequence[Group]) -> Identities:
        """Count groups by identity, which come with the most video first."""
        clips = np.array([group.clips for group in groups], dtype=np.int64)
        classes, above = [], 0
        for limit, name in (*_IDENTITY_CLASSES, (None, f"over {_IDENTITY_CLASSES[-1][0]}")):
            top = clips.max(initial=0) if limit is None else limit
            number = int(((clips > above) & (clips <= top)).sum())
            above = top
            if number:
                classes.append((name, number))
        most = tuple(groups[:_MAX_IDENTITIES])
        total_s = sum(group.seconds for group in groups)
        return cls(
            total=len(groups),
            classes=tuple(classes),
            most=most,
            most_share=sum(group.seconds for group in most) / total_s if total_s else 0.0,
            joined=sum(group.sources > 1 for group in groups),
        )


def _models(info: DatasetInfo) -> Iterator[tuple[str, str, str]]:
    """Yield role, names of the model files, and digest."""
    wanted = info.config.get("skeleton")
    skeletons: tuple[PoseSource, ...] = get_args(PoseSource)
    # Datasets of earlier versions have no such setting.
    names = next((models_by_role(item) for item in skeletons if item == wanted), {})
    for role, digest in info.models.items():
        yield role, ", ".join(names.get(role, ())), digest


def clock(seconds: float) -> str:
    """Return a time in a video as minutes and seconds.

    >>> clock(75.25)
    '1:15.2'
    """
    tenths = int(seconds * 10 + 1e-6)
    return f"{tenths // 600}:{tenths % 600 / 10:04.1f}"
