"""How many processor cores keep a GPU busy: two stages of extraction, simulated on one node.

    python -m benchmarks.simulate_stages --gpu-ms 2 5 10 20 --workers 4 8 16 32 64

Each worker has a core and takes one talk at a time. Of a minute of it, it decodes, screens,
measures, draws and writes on its core, for what a frame cost in the run that calibrated
`simulate_cluster`. If the minute is kept, it then waits for the node's GPUs, which serve one batch
after the other, and holds one for `--gpu-ms` a frame: DWPose. That time is an assumption until it
is measured on a GPU (docs/gpu.md). Nothing fails; all else is as in `simulate_cluster.Assumptions`.
"""

from __future__ import annotations

import argparse
import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.simulate_cluster import Assumptions, Calibration

_MINUTE_S: Final = 60
_HOUR_S: Final = 3600.0
_BATCH_FRAMES: Final = 100
"""For which a worker holds a GPU before another one's turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Minutes:
    """Minutes of talks, in the order in which they are processed."""

    core_s: NDArray[np.float64]
    """(n,) processor seconds of each."""
    kept: NDArray[np.bool_]
    """(n,) whether it is kept, and so goes through the GPU."""

    @classmethod
    def made_up(
        cls, count: int, given: Assumptions, calibration: Calibration, seed: int
    ) -> Minutes:
        """Return as many minutes with the calibrated cost of their frames."""
        chance = np.random.default_rng(seed)
        kept = chance.random(count) < given.kept_share
        costs_ms = (chance.choice(c, count) for c in (calibration.kept_ms, calibration.rejected_ms))
        of_kept_ms, of_rejected_ms = costs_ms
        of_frame_s = np.where(kept, of_kept_ms, of_rejected_ms) / 1e3
        return cls(core_s=of_frame_s * given.fps * _MINUTE_S, kept=kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """How busy the two stages of a node are."""

    wall_s: float
    cores_busy: float
    """Share of all workers' time that went into work on their cores, 0 to 1."""
    gpus_busy: float
    """Share of the GPUs' time that went into batches, 0 to 1."""


def simulate_stages(
    minutes: Minutes, *, workers: int, gpus: int, gpu_ms: float, fps: float
) -> Stages:
    """Simulate a node.

    Args:
        minutes: what there is to do; each worker takes the next.
        workers: each with a core of its own.
        gpus: that serve the batches of all of them, the one that waits longest first.
        gpu_ms: time on a GPU of each kept frame.
        fps: of the videos.
    """
    batch_s = _BATCH_FRAMES * gpu_ms / 1e3
    batches_of_kept = round(_MINUTE_S * fps / _BATCH_FRAMES)
    free_s = [0.0] * gpus
    heapq.heapify(free_s)
    # A worker, when it is next to be served, and how many batches of its minute are left.
    waiting = [(0.0, worker, 0) for worker in range(workers)]
    at, end_s, on_gpus_s = 0, 0.0, 0.0
    while waiting:
        now_s, worker, batches = heapq.heappop(waiting)
        if batches:
            end_of_batch_s = max(now_s, free_s[0]) + batch_s
            heapq.heapreplace(free_s, end_of_batch_s)
            on_gpus_s += batch_s
            heapq.heappush(waiting, (end_of_batch_s, worker, batches - 1))
        elif at < len(minutes.core_s):
            left = batches_of_kept if minutes.kept[at] else 0
            heapq.heappush(waiting, (now_s + float(minutes.core_s[at]), worker, left))
            at += 1
        else:
            end_s = max(end_s, now_s)
    return Stages(
        wall_s=end_s,
        cores_busy=float(minutes.core_s.sum()) / (end_s * workers),
        gpus_busy=on_gpus_s / (end_s * gpus),
    )


def table(gpu_ms: Sequence[float], workers: Sequence[int], *, gpus: int, seed: int) -> None:
    """Print how busy both stages are."""
    given, count = Assumptions(), 20_000
    minutes = Minutes.made_up(count, given, Calibration.read(), seed)
    print(f"{gpus} GPU, {count:,} minutes of talks, of which {minutes.kept.mean():.0%} are kept\n")
    print("| GPU, ms a kept frame | workers | hours of video an hour | cores busy | GPU busy |")
    print("| -------------------: | ------: | ---------------------: | ---------: | -------: |")
    for of_frame_ms in gpu_ms:
        for number in workers:
            found = simulate_stages(
                minutes, workers=number, gpus=gpus, gpu_ms=of_frame_ms, fps=given.fps
            )
            rate = count * _MINUTE_S / found.wall_s
            print(
                f"| {of_frame_ms:g} | {number} | {rate:,.0f} | {found.cores_busy:.0%} "
                f"| {found.gpus_busy:.0%} |"
            )


def main() -> None:
    """Print the table that the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--gpu-ms", type=float, nargs="+", default=[2.0, 5.0, 10.0, 20.0])
    parser.add_argument("--workers", type=int, nargs="+", default=[4, 8, 16, 32, 64])
    parser.add_argument("--gpus", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    table(asked.gpu_ms, asked.workers, gpus=asked.gpus, seed=asked.seed)


if __name__ == "__main__":
    main()
