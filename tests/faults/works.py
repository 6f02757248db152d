"""What drivers do on a stage: extract its videos, generate its clips, score them, or both."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from tpbench.benchmark.run_folder import ClipRecord
from tpbench.dataset import Dataset, clip_path
from tpbench.extraction.records import read_records
from tpbench.files import sha256_of
from tpbench.work.records import RecordError

States = dict[str, tuple[str, str]]
"""Item -> its state in the records and its error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A command, and how its results are read."""

    name: str
    arguments: Callable[[Path, Path], list[str]]
    """From the folder of a stage and that of the results: the command line, but for options."""
    states: Callable[[Path], States]
    """What is recorded of each item below the results; nothing if there are none yet."""
    content: Callable[[Path, str | None], dict[str, Any]]
    """What must be equal to an undisturbed run, but for one item."""
    records: str
    """Pattern of the record of an item below the results, with `{item}` in it."""
    redoes_broken: bool = True
    """Whether an item whose record is broken is simply done again; else the user has to decide."""
    source: Callable[[Path, str], Path] = lambda root, item: root / "talks" / f"{item}.mp4"
    """From the folder of a stage and an item: the video that it is made of."""
    when_gone: str = "postponed"
    """State of an item whose video can't be read; the next run tries it again."""
    limit_s: int = 2
    """After which an item without progress is given up, where it takes no time at all."""
    obeys: str = ""
    """Start of the factory of the tasks that obey orders; empty: all do."""


def _sources(out: Path) -> States:
    if not (out / ".records" / "settings.json").exists():
        return {}
    return {Path(r.item).stem: (r.state, r.error or "") for r in read_records(out)}


def _dataset(out: Path, poison: str | None) -> dict[str, Any]:
    """Return rows of the manifest, and the files of clips."""
    table = Dataset.open(out).manifest()
    rows = json.loads(table.to_json(orient="records"))
    found: dict[str, Any] = {
        row["clip_id"]: row for row in rows if Path(row["source_path"]).stem != poison
    }
    for home in ("clips", "keypoints", "poses", ".work", ".leftovers"):
        found |= _files(out, home)
    return found


def _made(out: Path) -> States:
    return {path.stem: _state(path) for path in _finished(out, "*/*/*/*/records/*.json")}


def _state(path: Path) -> tuple[str, str]:
    try:
        record = ClipRecord.read(path)
    except RecordError:  # it was done, and then its record was damaged
        return "done", ""
    return record.status, record.reason or ""


def _run(out: Path, poison: str | None) -> dict[str, Any]:
    """Return the files of clips."""
    found = _files(_run_of(out), "generated") | _files(_run_of(out), "preview")
    return {name: sha for name, sha in found.items() if Path(name).stem != poison}


def _run_of(out: Path) -> Path:
    (run,) = out.glob("*/*/*/seed42")
    return run


def _scored_run(out: Path) -> States:
    return _scored(_run_of(out)) if list(out.glob("*/*/*/seed42")) else {}


def _evaluated(out: Path, poison: str | None) -> dict[str, Any]:
    """Return the files of clips, and the scores to the last byte."""
    scores = _run_of(out) / "scores.json"
    return _run(out, poison) | {"scores.json": scores.read_text()}


def _scored(out: Path) -> States:
    done = {path.stem.rpartition("-")[0]: ("done", "") for path in _finished(out, ".scoring/*.npz")}
    scores = out / "scores.json"
    failed = json.loads(scores.read_text())["coverage"]["failed"] if scores.exists() else {}
    return done | {name: ("quarantined", error) for name, error in failed.items()}


def _scores(out: Path, poison: str | None) -> dict[str, Any]:
    """Return all values, and what frames they come from."""
    scores = json.loads((out / "scores.json").read_text())
    clips = {name: clip for name, clip in scores["clips"].items() if name != poison}
    kept = ("protocol", "policies", "real", "metrics", "frames_sha256")
    return {"clips": clips} | {name: scores[name] for name in kept}


def _files(out: Path, home: str) -> dict[str, str]:
    return {
        str(path.relative_to(out)): sha256_of(path)
        for path in sorted((out / home).rglob("*"))
        if path.is_file()
    }


def _finished(out: Path, pattern: str) -> Iterator[Path]:
    return (path for path in out.glob(pattern) if not path.name.startswith("."))


EXTRACTION: Final = Work(
    name="extract",
    arguments=lambda root, out: [
        "extract", str(root / "talks"), "--out", str(out), "--name", "talks",
    ],
    states=_sources,
    content=_dataset,
    records=".records/sources/*/{item}-*.json",
    redoes_broken=False,
)  # fmt: skip
GENERATION: Final = Work(
    name="generate",
    arguments=lambda root, out: ["generate", "--data", str(root / "talks"), "--out", str(out)],
    states=_made,
    content=_run,
    records="*/*/*/*/records/{item}.json",
    source=lambda root, item: clip_path(root / "talks", item),
    when_gone="failed",
    limit_s=15,
)
SCORING: Final = Work(
    name="score",
    arguments=lambda root, out: [
        "score", "--real", str(root / "talks"), "--generated", str(root / "generated"),
        "--out", str(out),
    ],
    states=_scored,
    content=_scores,
    records=".scoring/{item}-*.npz",
    source=lambda root, item: root / "generated" / f"{item}.mkv",
    when_gone="quarantined",  # in scores.json, all that failed are alike
    limit_s=15,
)  # fmt: skip
EVALUATION_AT_GENERATING: Final = Work(
    name="eval, while it generates",
    arguments=lambda root, out: ["eval", "--data", str(root / "talks"), "--out", str(out)],
    states=_made,
    content=_evaluated,
    records="*/*/*/*/records/{item}.json",
    limit_s=15,
    obeys="tpbench.benchmark.making",
)
EVALUATION_AT_SCORING: Final = replace(
    EVALUATION_AT_GENERATING,
    name="eval, while it scores",
    states=_scored_run,
    records="*/*/*/*/.scoring/{item}-*.npz",
    obeys="tpbench.metrics.scoring",
)
