"""Scoring killed by itself: `dying_scorer.py POINT TIMES WORKERS METRIC,METRIC REAL GEN OUT`.

SIGKILL comes when the point is reached for that many a time.
"""

import importlib
import itertools
import os
import signal
import sys
from pathlib import Path

from tests.metrics.scoring import stand_ins
from tests.metrics.scoring.clips import pairing_of, scored

POINTS = {
    "no frame is measured": ("before", "tpbench.metrics.scoring.clip_pass", "ClipPass.run"),
    "a chunk is measured": (
        "after",
        "tpbench.metrics.scoring.tools",
        "FeatureMeter.update",
    ),
    "features lie there, no record": (
        "before",
        "tpbench.metrics.scoring.records",
        "RecordFolder.write",
    ),
    "half a record is written": ("before", "pathlib", "Path.replace"),
    "a clip is done": ("after", "tpbench.work.progress", "ProgressCounter.finish"),
    "all is measured": ("before", "tpbench.metrics.scoring.run", "write_frames"),
    "no scores.json": ("before", "tpbench.metrics.scoring.run", "write_scores"),
}


def die_at(point: str, times: int) -> None:
    """Replace the function of a point by one that kills this process."""
    when, module, name = POINTS[point]
    owner = importlib.import_module(module)
    *parents, name = name.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    wrapped = getattr(owner, name)
    calls = itertools.count(1)

    def deadly(*arguments: object, **options: object) -> object:
        last = next(calls) == times
        if last and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = wrapped(*arguments, **options)
        if last:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, deadly)


if __name__ == "__main__":
    stand_ins.put_in(setattr)
    stand_ins.make_ready(setattr)
    die_at(sys.argv[1], int(sys.argv[2]))
    metrics = sys.argv[4].split(",")
    real, generated, out = map(Path, sys.argv[5:])
    pairing = pairing_of(real, generated)
    scored(pairing, out, *metrics, workers=int(sys.argv[3]), factory=stand_ins.FACTORY)
