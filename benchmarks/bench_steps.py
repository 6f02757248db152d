"""What each step of an extraction costs by itself: networks, encoders, drawing, resize, hashing.

    python -m benchmarks.bench_steps [--quick] [VIDEO]

Each step runs alone on the same frames, in one process and then in two at the same time. Processor
time is that of all threads of a process; where two processes take much more wall time than one, the
step waits for memory or for cores. The networks are MediaPipe's files, called directly on one
thread: the least that detection can cost.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from benchmarks.material import sample_talks
from benchmarks.sides import Spent, print_table, run_together


def main() -> None:
    """Run the benchmark and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video", nargs="?", type=Path)
    parser.add_argument("--quick", action="store_true", help="fewer frames")
    options = parser.parse_args()
    video = options.video or sample_talks().videos[-1]
    n_frames = 32 if options.quick else 192
    command = ["once_steps.py", str(video), "--frames", str(n_frames)]
    one, two = run_together([command]), run_together([command] * 2)
    print(f"{video.name}, {n_frames} frames, milliseconds")
    print_table(
        ["step", "per", "CPU, 1 process", "wall", "CPU, 2 processes", "wall"], rows(one, two)
    )
    calls = one.said[0]["calls"]
    if calls:
        listed = ", ".join(f"{name} {number:.2f}" for name, number in sorted(calls.items()))
        print(f"networks called directly, calls a frame: {listed}\n")


def rows(one: Spent, two: Spent) -> list[list[str]]:
    """Return the cells of each step; of two processes, the mean."""
    table = []
    for at, alone in enumerate(one.said[0]["steps"]):
        both = [said["steps"][at] for said in two.said]
        cells = [alone["cpu_ms"], alone["wall_ms"]]
        cells += [statistics.mean(step[key] for step in both) for key in ("cpu_ms", "wall_ms")]
        table.append([alone["name"], alone["per"], *(f"{cell:.2f}" for cell in cells)])
    return table


if __name__ == "__main__":
    main()
