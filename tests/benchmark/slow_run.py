"""A run of slow clips in a process of its own: `slow_run.py DATASET RUNS WORKERS`."""

import sys

from tests.benchmark.generators import MODULE
from tpbench.benchmark.generate import generate_run
from tpbench.benchmark.request import EvalRequest

if __name__ == "__main__":
    data, out, workers = sys.argv[1:]
    request = EvalRequest(
        model=f"{MODULE}:Numbered",
        data=data,
        options={"pause_s": "0.003", "shade": "0"},
        out=out,
        workers=int(workers),
    )
    generate_run(request)
