"""`make fuzz`: hundreds of broken files through the commands that read them.

    python -m benchmarks.fuzz [--seed 1] [--cases 600] [--folder FOLDER] [--quick]

Half of the files are media: one `extract` over all of them with good videos in between, and two
`score`, with them as the generated and as the real side. The other half is spread over eleven
formats and the commands that read them, each in a process of its own. A quarter as many again are
files of runs of `eval`, for the commands that read and continue runs. Prints a table by command,
format and outcome, and a line for each fault; ends with 1 if there is one.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from benchmarks.fuzz.commands import in_fork, in_fresh_process
from benchmarks.fuzz.material import write_material, write_runs
from benchmarks.fuzz.media_runs import extracted, scored, write_corpus
from benchmarks.fuzz.outcomes import Outcome, as_markdown, faults_of
from benchmarks.fuzz.places import PLACES, Place
from benchmarks.fuzz.run_places import RUN_PLACES
from benchmarks.fuzz.tables import run_case, table_cases

_GOOD_SHARE = 1 / 15
"""Good videos, as a share of the broken ones."""
_IMPORTED_ONCE = ("tpbench.cli.main", "pandas", "pyarrow.parquet", "pyarrow.compute")
"""Loaded before processes are forked, so that none of them has to."""


def media_outcomes(folder: Path, *, seed: int, n_cases: int) -> list[Outcome]:
    """Run all commands that read media."""
    n_good = max(3, round(n_cases * _GOOD_SHARE))
    corpus = write_corpus(folder / "raw", seed=seed, n_cases=n_cases, n_good=n_good)
    outcomes = extracted(corpus, folder / "dataset", in_fresh_process)
    for side in ("generated", "real"):
        outcomes += scored(corpus, folder / side, in_fresh_process, broken_side=side)
    return outcomes


def table_outcomes(
    folder: Path, places: Sequence[Place], *, seed: int, n_cases: int, quick: bool
) -> list[Outcome]:
    """Run the commands that read other formats, or runs."""
    material = folder / "material"
    if not material.exists():
        write_material(material, in_fresh_process)
    if places is RUN_PLACES:
        write_runs(material, in_fresh_process)
    for name in _IMPORTED_ONCE:
        import_module(name)
    outcomes = []
    for case in table_cases(seed, range(n_cases), material, places=places, only_quick=quick):
        outcome = run_case(case, material, folder / "case", in_fork)
        if outcome.is_fault:
            print(faults_of([outcome])[0], flush=True)
        outcomes.append(outcome)
    return outcomes


def main() -> None:
    """Run everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cases", type=int, default=600)
    parser.add_argument("--folder", type=Path, help="kept; default: a temporary one")
    parser.add_argument("--only", choices=("media", "tables", "runs"), help="one kind")
    parser.add_argument("--quick", action="store_true", help="only commands without workers")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.folder or Path(temporary) / "fuzz"
        folder.mkdir(parents=True, exist_ok=True)
        outcomes = []
        half = asked.cases // 2
        if asked.only in (None, "media"):
            outcomes += media_outcomes(folder / "media", seed=asked.seed, n_cases=half)
        for kind, places, n_cases in (("tables", PLACES, half), ("runs", RUN_PLACES, half // 2)):
            if asked.only in (None, kind):
                outcomes += table_outcomes(
                    folder / "tables", places, seed=asked.seed, n_cases=n_cases, quick=asked.quick
                )
    print(as_markdown(outcomes))
    faults = faults_of(outcomes)
    print(f"\n{len(faults)} faults\n" + "\n".join(faults))
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
