"""`extract` and `score` over a folder of broken media, good ones among them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from benchmarks.fuzz.clips import VARIANTS, encoded, talk
from benchmarks.fuzz.commands import Finished, Runner
from benchmarks.fuzz.media import MediaCase, intact_clips, media_case
from benchmarks.fuzz.outcomes import Outcome, Sort
from tpbench.extraction.config import load_preset

_SIDE_PX: Final = 256
_N_FRAMES: Final = 36
_ITEM_TIMEOUT_S: Final = 120
_LIMIT_MB: Final = 6000
"""All processes of a command together; beyond, it is ended."""
BOUND_MB: Final = 1500
"""What one process may take over what it has with its models loaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """Broken files on disk, and good ones among them in the order of names."""

    folder: Path
    cases: tuple[MediaCase, ...]
    good: tuple[str, ...]
    """Names of files."""

    def paths(self, *, named: bool = False) -> list[Path]:
        """Return all files; if `named`, only those that a search of the folder passes over."""
        names = [case.name for case in self.cases if not named or case.container == "gif"]
        return [self.folder / name for name in (*names, *(() if named else self.good))]


def write_corpus(folder: Path, *, seed: int, n_cases: int, n_good: int) -> Corpus:
    """Write the broken files of a seed, and good ones in all kinds of containers."""
    folder.mkdir(parents=True)
    clips = intact_clips(talk(_N_FRAMES, _SIDE_PX, _SIDE_PX))
    cases = tuple(media_case(seed, number, clips) for number in range(n_cases))
    for case in cases:
        (folder / case.name).write_bytes(case.data)
    videos = [variant for variant in VARIANTS if variant.container != "gif"]
    good = []
    for number in range(n_good):
        variant = videos[number % len(videos)]
        name = f"{number * n_cases // n_good:04d}-good.{variant.container}"
        # Of other lengths, so that none is the copy of another.
        pictures = talk(_N_FRAMES + 1 + number, _SIDE_PX, _SIDE_PX)
        (folder / name).write_bytes(encoded(variant, pictures))
        good.append(name)
    return Corpus(folder=folder, cases=cases, good=tuple(good))


def write_preset(path: Path) -> Path:
    """Write settings that keep two seconds with a face, and make small clips of them."""
    settings = load_preset("demo").model_dump(mode="json")
    settings["name"] = "fuzz"
    settings["filters"] = dict.fromkeys(settings["filters"]) | {
        "clip.too_short": 24,
        "face.missing": 0.9,
    }
    settings["clip"] |= {"min_s": 1.0, "max_s": 30.0, "out_size_px": 128}
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


def extracted(corpus: Corpus, out: Path, run: Runner, *, workers: int = 2) -> list[Outcome]:
    """Run `extract` over the corpus; return the outcome of each file, and of the command."""
    preset = write_preset(out.with_suffix(".yaml"))
    ended = run(
        [
            "extract",
            str(corpus.folder),
            *map(str, corpus.paths(named=True)),
            *("--out", str(out), "--preset", str(preset), "--skeleton", "mediapipe"),
            *("--workers", str(workers), "--item-timeout", str(_ITEM_TIMEOUT_S)),
        ],
        out.parent,
        limit_s=120 + 10 * len(corpus.cases),
        limit_mb=_LIMIT_MB,
    )
    records = {}
    for path in (out / ".records" / "sources").rglob("*.json"):
        record = json.loads(path.read_bytes())
        records[Path(record["item"]).name] = record
    outcomes = [_command("extract", ended, len(corpus.cases))]
    for case in corpus.cases:
        sort, reason = _extracted(records.get(case.name))
        outcomes.append(_of(case, "extract", sort, reason))
    for name in corpus.good:
        record = records.get(name)
        kept = record is not None and record["state"] == "done"
        clips = record["result"]["clips"] if record is not None and kept else []
        if not any(clip["status"] == "kept" for clip in clips):
            outcomes.append(_lost("extract", name, str(record)[:200]))
    return outcomes


def _extracted(record: dict[str, Any] | None) -> tuple[Sort, str]:
    if record is None:
        return "good file lost", "no record of it"
    if record["error_detail"]:
        return "traceback", record["error_detail"][-300:]
    if record["state"] == "quarantined":
        is_hang = "no progress" in (record["error"] or "")
        return "hang" if is_hang else "crash", record["error"]
    if record["state"] != "done":
        return ("code" if record["state"] == "failed" else "crash"), record["error"]
    clips = record["result"]["clips"]
    unfit = [clip for clip in clips if clip["status"] != "kept"]
    if unfit and all(clip["status"] != "kept" for clip in clips):
        return "code", ",".join(unfit[0]["reject_codes"]) or str(unfit[0].get("error"))
    return "done", ""


def scored(corpus: Corpus, folder: Path, run: Runner, *, broken_side: str) -> list[Outcome]:
    """Run `score` with the corpus as one side, and a good clip of the same name on the other.

    Args:
        corpus: the files.
        folder: for both sides and the results, new.
        run: runs the command.
        broken_side: `generated` or `real`.
    """
    good = encoded(VARIANTS[0], talk(_N_FRAMES, _SIDE_PX, _SIDE_PX))
    sides = {side: folder / side for side in ("generated", "real")}
    for side, place in sides.items():
        place.mkdir(parents=True)
        for path in corpus.paths():
            if side == broken_side:
                shutil.copyfile(path, place / path.name)
            else:
                (place / f"{path.stem}.mp4").write_bytes(good)
    out = folder / "scores"
    ended = run(
        [
            *("score", "--real", "real", "--generated", "generated", "--out", str(out)),
            *("--metrics", "psnr,ssim", "--workers", "2", "--offline"),
            *("--length", "truncate", "--resize", "area", "--rate", "ignore"),
        ],
        folder,
        limit_s=120 + 5 * len(corpus.cases),
        limit_mb=_LIMIT_MB,
    )
    name = f"score, {broken_side} side"
    outcomes = [_command(name, ended, len(corpus.cases))]
    if not (out / "scores.json").is_file():
        return [*outcomes, _lost(name, "all", ended.reason)]
    found = json.loads((out / "scores.json").read_bytes())
    failed = _reasons(found)
    for case in corpus.cases:
        stem = Path(case.name).stem
        reason = failed.get(stem, "")
        was_read = stem in found["clips"] and not reason
        outcomes.append(_of(case, name, "done" if was_read else "code", reason or "not read"))
    outcomes += [
        _lost(name, good_name, failed.get(Path(good_name).stem, "not there"))
        for good_name in corpus.good
        if Path(good_name).stem not in found["clips"] or Path(good_name).stem in failed
    ]
    return outcomes


def _reasons(scores: dict[str, Any]) -> dict[str, str]:
    """Return why clips were not scored, by clip."""
    coverage = scores["coverage"]
    failed = coverage.get("failed") or {}
    return {str(clip): str(reason) for clip, reason in dict(failed).items()}


def _command(name: str, ended: Finished, n_files: int) -> Outcome:
    """The command as a whole: that it ends well, in memory bounds, with a line or two per file."""
    sort = ended.sort()
    if sort == "flood" and len(ended.printed) <= 400 * (n_files + 50):
        sort = "code"
    return Outcome(
        command=name,
        format="all",
        case="the command",
        sort=sort,
        reason=ended.reason,
        peak_mb=ended.peak_mb,
    )


def _of(case: MediaCase, command: str, sort: Sort, reason: str) -> Outcome:
    return Outcome(
        command=command,
        format=case.container,
        case=f"{case.number} ({case.damage})",
        sort=sort,
        reason=reason,
    )


def _lost(command: str, name: str, reason: str) -> Outcome:
    return Outcome(
        command=command,
        format="all",
        case=name,
        sort="good file lost",
        reason=reason,
    )


def faulty(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return those that must not happen."""
    return [one for one in outcomes if one.is_fault]
