"""What Ray costs on this machine: the same short videos, by local workers and by those of Ray.

`python -m benchmarks.bench_ray [--videos 60] [--rounds 3]` cuts short videos from the sample talks
of ../shared (or the demo's) and extracts them in turn with two local workers and with two under a
Ray of this machine: MediaPipe's skeletons. The work is timed from when both workers, their models
loaded, have been given a video, to the last outcome; videos that were done by then are added at the
speed of the others. What comes before is the start: of Ray, of the workers, and the look at the
videos. The datasets must be equal, and so must the scores of `warp`,
evaluated both ways on the first one, byte for byte.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from unittest.mock import patch

from benchmarks.material import write_short
from tests.talks import short_settings
from tpbench.benchmark.evaluate import evaluate
from tpbench.dataset import Dataset
from tpbench.extraction.run import extract
from tpbench.work import IN_WORK, Engine, Progress, usable_cores

_ENGINES: Final = (Engine(), Engine(name="ray"))
_FRAMES: Final = 60
_WORKERS: Final = 2
_FILES: Final = ("scores.json", "frames.parquet")
_METRICS: Final = ("psnr", "ssim", "l1")
_MIN_FRAMES: Final = 24
_MOST: Final = 1.3
"""Times what local workers take; more is not wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """What an extraction took."""

    start_s: float
    work_s: float
    digest: str


@dataclass(kw_only=True)
class _Seen:
    """When all workers had a video, and when the last one was done."""

    workers: set[str] = field(default_factory=set)
    done: int = 0
    done_before: int = 0
    total: int = 0
    both_s: float = 0.0
    last_s: float = 0.0

    def note_given(self, worker: str) -> None:
        """Note that a worker is given a video."""
        self.workers.add(worker)
        if len(self.workers) == _WORKERS and not self.both_s:
            self.both_s, self.done_before = time.perf_counter(), self.done

    def note_progress(self, state: Progress) -> None:
        """Note how many videos are done."""
        if state.done > self.done:
            self.done, self.total, self.last_s = state.done, state.total, time.perf_counter()


def main() -> None:
    """Print each round, the medians, and what is equal."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--videos", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    print(
        f"{asked.videos} videos of {_FRAMES} frames, {_WORKERS} workers, "
        f"{usable_cores()} cores\n\n"
        "| round | local start, s | local work, s | Ray start, s | Ray work, s | Ray / local |\n"
        f"|{' --- |' * 6}",
        flush=True,
    )
    with tempfile.TemporaryDirectory(prefix="tpbench-ray-") as folder:
        root = Path(folder)
        write_short(
            root / "talks",
            [f"talk{number:03d}" for number in range(asked.videos)],
            n_frames=_FRAMES,
        )
        rounds = [_round(root, number) for number in range(1, asked.rounds + 1)]
        _summarise(rounds)
        _require_equal_scores(root)
    print(f"scores of warp are equal by both, byte for byte: {', '.join(_FILES)}")


def _round(root: Path, number: int) -> tuple[Timed, Timed]:
    """Extract by both, the other one first in every second round."""
    order = _ENGINES if number % 2 else _ENGINES[::-1]
    done = {engine.name: _extracted(root, f"{engine.name}{number}", engine) for engine in order}
    local, ray = done["local"], done["ray"]
    times = (local.start_s, local.work_s, ray.start_s, ray.work_s)
    cells = [str(number), *(f"{seconds:.1f}" for seconds in times)]
    print(f"| {' | '.join(cells)} | {ray.work_s / local.work_s:.2f} |", flush=True)
    return local, ray


def _extracted(root: Path, name: str, engine: Engine) -> Timed:
    seen = _Seen()
    begin = IN_WORK.begin

    def on_begin(key: str, *, where: str, node: str = "") -> None:
        seen.note_given(where)
        begin(key, where=where, node=node)

    began_s = time.perf_counter()
    with patch.object(IN_WORK, "begin", on_begin):
        dataset = extract(
            root / "talks",
            root / name,
            name="talks",
            preset=short_settings(),
            skeleton="mediapipe",
            workers=_WORKERS,
            engine=engine,
            on_progress=seen.note_progress,
        )
    work_s = seen.last_s - seen.both_s
    return Timed(
        start_s=seen.both_s - began_s,
        work_s=work_s * seen.total / (seen.total - seen.done_before),
        digest=dataset.digest,
    )


def _summarise(rounds: Sequence[tuple[Timed, Timed]]) -> None:
    digests = {timed.digest for pair in rounds for timed in pair}
    assert len(digests) == 1, f"the datasets differ: {digests}"
    ratio = statistics.median(ray.work_s / local.work_s for local, ray in rounds)
    verdict = "at most" if ratio <= _MOST else "MORE THAN"
    print(f"\nmedian of Ray / local: {ratio:.2f}, {verdict} {_MOST}")
    print(f"datasets are equal by both: sha256 {digests.pop()}")


def _require_equal_scores(root: Path) -> None:
    data = root / "local1"
    kept = sum(clip.status == "kept" for clip in Dataset.open(data).clips())
    assert kept, "no clip was kept, so there is nothing to score"
    found = []
    for engine in _ENGINES:
        done = evaluate(
            "warp",
            data,
            split="all",
            metrics=_METRICS,
            min_frames=_MIN_FRAMES,
            workers=_WORKERS,
            out=root / f"runs-{engine.name}",
            engine=engine,
        )
        found.append([(done.runs[0].folder.path / name).read_bytes() for name in _FILES])
    assert found[0] == found[1], "the scores of warp differ"


if __name__ == "__main__":
    main()
