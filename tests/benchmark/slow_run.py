"""A run of slow clips in a process of its own: `slow_run.py DATASET RUNS WORKERS`."""

import sys
from pathlib import Path

from tests.benchmark.conftest import MODULE
from tpbench.benchmark.generate import RunSpec, generate_run

if __name__ == "__main__":
    data, out, workers = sys.argv[1:]
    spec = RunSpec(
        model=f"{MODULE}:Numbered", data=Path(data), options={"pause_s": "0.003", "shade": "0"}
    )
    generate_run(spec, Path(out), workers=int(workers))
