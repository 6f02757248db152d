"""An evaluation of slow clips, alone in its process: `slow_evaluation.py DATASET RUNS WORKERS`."""

import sys

from tests.benchmark.evaluating import FAST
from tests.benchmark.generators import MODULE
from tpbench.benchmark.evaluate import evaluate

if __name__ == "__main__":
    data, out, workers = sys.argv[1:]
    evaluate(
        f"{MODULE}:Numbered",
        data,
        out=out,
        options={"pause_s": "0.003", "shade": "0"},
        metrics=[*FAST, "ssim"],
        workers=int(workers),
        device="cpu",
        offline=True,
    )
