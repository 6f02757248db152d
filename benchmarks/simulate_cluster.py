"""How long extraction takes on 1 to 256 nodes, by shards and under Ray: a simulation on paper.

    python -m benchmarks.simulate_cluster calibrate DATASET    # writes cluster_calibration.json
    python -m benchmarks.simulate_cluster tables --seed 1      # a table of docs/scaling.md
    python -m benchmarks.simulate_cluster tables --seed 1 --talks 1000000 --nodes 64 256
    python -m benchmarks.simulate_cluster check DATASET --workers 2    # against a run that was made

What a frame costs comes from the records of a run; everything else (lengths of talks, the share
that is kept, stragglers, failures, downtimes) is an assumption, a field of `Assumptions`. A worker
takes one video at a time; the driver costs nothing, and neither do disks and networks, which can
make a real cluster slower. Shards are divided by duration before the run, as `extract --shard`
does; under Ray all workers draw from one queue.
"""

from __future__ import annotations

import argparse
import heapq
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

CALIBRATION: Final = Path(__file__).with_name("cluster_calibration.json")
Way = Literal["shards", "ray"]
_HOUR_S: Final = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumptions:
    """What is not measured here."""

    mean_talk_s: float = 12.7 * 60
    """Mean of TED talks in the list of ETRI."""
    spread: float = 0.5
    """Of the logarithm of a talk's length."""
    fps: float = 25.0
    kept_share: float = 0.14
    """Of all stretches of a minute, each kept or rejected for itself."""
    straggler_share: float = 0.01
    straggler_factor: float = 5.0
    """What a talk costs more that is 4K, or on a slow disk."""
    node_spread: float = 0.1
    """Of the logarithm of a node's speed."""
    workers_per_node: int = 16
    worker_killed_per_h: float = 1 / 500
    """For each worker: out of memory, a crash of a library."""
    worker_down_s: float = 5.0
    node_lost_per_h: float = 1 / 1000
    node_down_s: float = 720.0
    """Ten minutes until it is back, and two until its lock is taken over."""
    driver_restarted_per_h: float = 1 / 100
    driver_down_s: float = 60.0
    max_attempts: int = 3

    def without_failures(self) -> Assumptions:
        """Return the same cluster, on which nothing fails."""
        return replace(
            self, worker_killed_per_h=0.0, node_lost_per_h=0.0, driver_restarted_per_h=0.0
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One simulated run."""

    wall_s: float
    work_s: float
    """Of all finished items, at their nodes' speed, each counted once."""
    redone_s: float
    """Spent on attempts that were lost."""
    tail_s: float
    """From when the first worker found no more work to the end."""
    quarantined: int
    utilisation: float
    """Share of all workers' time that went into finished items, 0 to 1."""


def simulate(
    costs_s: NDArray[np.float64],
    lengths_s: NDArray[np.float64],
    *,
    nodes: int,
    way: Way,
    given: Assumptions,
    seed: int = 0,
) -> Result:
    """Simulate one run.

    Args:
        costs_s: (n,) processor seconds of each item.
        lengths_s: (n,) durations, by which shards are divided.
        nodes: of `given.workers_per_node` workers each.
        way: one shard for each node, or one queue for all.
        given: speeds and failures.
        seed: of both.
    """
    chance = np.random.default_rng(seed)
    speeds = np.exp(given.node_spread * chance.standard_normal(nodes))
    parts = divided(lengths_s, nodes) if way == "shards" else [np.arange(len(costs_s))]
    groups = [[node] for node in range(nodes)] if way == "shards" else [list(range(nodes))]
    runs = [
        _Group(costs_s[part], speeds[nodes_of], given, np.random.default_rng([seed, number])).run()
        for number, (part, nodes_of) in enumerate(zip(parts, groups, strict=True))
    ]
    wall_s = max(run.end_s for run in runs)
    work_s = sum(run.work_s for run in runs)
    return Result(
        wall_s=wall_s,
        work_s=work_s,
        redone_s=sum(run.redone_s for run in runs),
        tail_s=wall_s - min(run.first_idle_s for run in runs),
        quarantined=sum(run.quarantined for run in runs),
        utilisation=work_s / (wall_s * nodes * given.workers_per_node) if wall_s else 0.0,
    )


def divided(lengths_s: NDArray[np.float64], count: int) -> list[NDArray[np.int64]]:
    """Return the items of each shard: the longest first, each to the shard with the least."""
    heap = [(0.0, shard) for shard in range(count)]
    parts: list[list[int]] = [[] for _ in range(count)]
    for item in np.argsort(-lengths_s, kind="stable").tolist():
        load_s, shard = heap[0]
        heapq.heapreplace(heap, (load_s + float(lengths_s[item]), shard))
        parts[shard].append(item)
    return [np.sort(np.array(part, np.int64)) for part in parts]


@dataclass(kw_only=True)
class _Times:
    """Moments of failure of one thing, drawn as they are needed."""

    per_h: float
    chance: np.random.Generator
    drawn_s: list[float] = field(default_factory=list)

    def next_after(self, at_s: float) -> float:
        """Return the first failure after a moment; infinite if there is none."""
        if not self.per_h:
            return float("inf")
        while not self.drawn_s or self.drawn_s[-1] <= at_s:
            last_s = self.drawn_s[-1] if self.drawn_s else 0.0
            self.drawn_s.append(last_s + float(self.chance.exponential(_HOUR_S / self.per_h)))
        return self.drawn_s[int(np.searchsorted(self.drawn_s, at_s, side="right"))]


class _Group:
    """The workers of one driver, and the items that they draw from one queue."""

    def __init__(
        self,
        costs_s: NDArray[np.float64],
        speeds: NDArray[np.float64],
        given: Assumptions,
        chance: np.random.Generator,
    ) -> None:
        self._costs_s, self._speeds, self._given, self._chance = costs_s, speeds, given, chance
        self._driver = _Times(per_h=given.driver_restarted_per_h, chance=chance)
        self._nodes = [_Times(per_h=given.node_lost_per_h, chance=chance) for _ in speeds]
        self._again: list[tuple[float, int]] = []
        """Items to try again, and since when."""
        self._attempts: dict[int, int] = {}
        self.end_s = self.work_s = self.redone_s = 0.0
        self.first_idle_s = float("inf")
        self.quarantined = 0

    def run(self) -> _Group:
        """Process all items."""
        fresh, count = 0, len(self._costs_s)
        free = [(0.0, worker) for worker in range(len(self._speeds) * self._given.workers_per_node)]
        while free:
            at_s, worker = heapq.heappop(free)
            if self._again and (self._again[0][0] <= at_s or fresh == count):
                ready_s, item = heapq.heappop(self._again)
                at_s = max(at_s, ready_s)
            elif fresh < count:
                item, fresh = fresh, fresh + 1
            else:
                self.first_idle_s = min(self.first_idle_s, at_s)
                continue
            heapq.heappush(free, (self._attempt(at_s, worker, item), worker))
        return self

    def _attempt(self, at_s: float, worker: int, item: int) -> float:
        """Work on an item; return when its worker is free again."""
        given, node = self._given, worker // self._given.workers_per_node
        end_s = at_s + float(self._costs_s[item] / self._speeds[node])
        killed_s = float("inf")
        if given.worker_killed_per_h:
            killed_s = at_s + float(self._chance.exponential(_HOUR_S / given.worker_killed_per_h))
        stop_s, down_s, costs_attempt = min(
            (killed_s, given.worker_down_s, True),
            (self._nodes[node].next_after(at_s), given.node_down_s, len(self._speeds) > 1),
            (self._driver.next_after(at_s), given.driver_down_s, False),
        )
        if stop_s >= end_s:
            self.end_s = max(self.end_s, end_s)
            self.work_s += end_s - at_s
            return end_s
        self.redone_s += stop_s - at_s
        self._attempts[item] = self._attempts.get(item, 0) + costs_attempt
        if self._attempts[item] >= given.max_attempts:
            self.quarantined += 1
            self.end_s = max(self.end_s, stop_s)
        else:
            heapq.heappush(self._again, (stop_s, item))
        return stop_s + down_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What frames cost, by a run that was made."""

    kept_ms: tuple[float, ...]
    """Processor time per frame of each video that was kept from end to end, ms."""
    rejected_ms: tuple[float, ...]
    """Of each that was rejected."""
    about: str
    """Which run."""

    @classmethod
    def of_run(cls, dataset: Path) -> Calibration:
        """Return what the records of a dataset say; videos kept in part are left out."""
        from tpbench.extraction.records import read_records

        kept, rejected = [], []
        for record in read_records(dataset):
            if record.state == "done" and record.result and record.result["n_frames"]:
                of_frame_ms = round(record.cpu_s / record.result["n_frames"] * 1e3, 3)
                clips = [
                    c["n_frames"] or 0 for c in record.result["clips"] if c["status"] == "kept"
                ]
                if not clips:
                    rejected.append(of_frame_ms)
                elif sum(clips) > 0.95 * record.result["n_frames"]:
                    kept.append(of_frame_ms)
        about = f"{len(kept)} videos kept whole, {len(rejected)} rejected"
        return cls(kept_ms=tuple(kept), rejected_ms=tuple(rejected), about=about)

    @classmethod
    def read(cls) -> Calibration:
        """Return the one beside this file."""
        found: dict[str, Any] = json.loads(CALIBRATION.read_text(encoding="utf-8"))
        return cls(
            kept_ms=tuple(found["kept_ms"]),
            rejected_ms=tuple(found["rejected_ms"]),
            about=str(found["about"]),
        )

    def talks(
        self, count: int, given: Assumptions, seed: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return made-up talks: (n,) processor seconds, (n,) durations in s."""
        chance = np.random.default_rng(seed)
        at = np.log(given.mean_talk_s) - given.spread**2 / 2
        lengths_s = chance.lognormal(at, given.spread, count)
        minutes = np.maximum(1, np.round(lengths_s / 60)).astype(int)
        share = chance.binomial(minutes, given.kept_share) / minutes
        kept_ms, rejected_ms = (chance.choice(c, count) for c in (self.kept_ms, self.rejected_ms))
        of_frame_s = (share * kept_ms + (1 - share) * rejected_ms) / 1e3
        slow = np.where(chance.random(count) < given.straggler_share, given.straggler_factor, 1.0)
        return lengths_s * given.fps * of_frame_s * slow, lengths_s


def tables(seed: int, count: int, nodes: Sequence[int]) -> None:
    """Print the table of one number of talks."""
    given, calibration = Assumptions(), Calibration.read()
    print(f"calibrated by {calibration.about}")
    costs_s, lengths_s = calibration.talks(count, given, seed)
    print(f"{count:,} talks, {lengths_s.sum() / _HOUR_S:,.0f} h of video, ", end="")
    print(f"{costs_s.sum() / _HOUR_S:,.0f} core-hours; seed {seed}\n")
    print("| nodes | by | wall, h | without failures, h | busy | redone, core-h | tail, min |")
    print("| ----: | :- | ------: | ------------------: | ---: | -------------: | --------: |")
    ways: tuple[Way, ...] = ("shards", "ray")
    for number in nodes:
        for way in ways:
            _print_row(costs_s, lengths_s, number, way, given, seed)


def _print_row(
    costs_s: NDArray[np.float64],
    lengths_s: NDArray[np.float64],
    nodes: int,
    way: Way,
    given: Assumptions,
    seed: int,
) -> None:
    found = simulate(costs_s, lengths_s, nodes=nodes, way=way, given=given, seed=seed)
    calm = simulate(
        costs_s, lengths_s, nodes=nodes, way=way, given=given.without_failures(), seed=seed
    )
    print(
        f"| {nodes} | {way} | {found.wall_s / _HOUR_S:,.2f} | {calm.wall_s / _HOUR_S:,.2f} "
        f"| {found.utilisation:.0%} | {found.redone_s / _HOUR_S:,.1f} | {found.tail_s / 60:,.1f} |",
        flush=True,
    )


def check(dataset: Path, workers: int, *, by: Literal["wall", "cpu"]) -> None:
    """Print what the simulation says of a run, and what the run took."""
    from tpbench.extraction.records import read_records
    from tpbench.extraction.speed import read_times, run_file

    records = [record for record in read_records(dataset) if record.result is not None]
    costs_s = np.array([record.wall_s if by == "wall" else record.cpu_s for record in records])
    given = replace(Assumptions(), node_spread=0.0, workers_per_node=workers).without_failures()
    found = simulate(costs_s, costs_s, nodes=1, way="ray", given=given)
    (run,) = read_times([run_file(dataset)]).runs[-1:]
    print(
        f"{len(costs_s)} videos, {workers} workers, by {by}: simulated {found.wall_s:.1f} s, "
        f"took {run.wall_s:.1f} s with the start of its processes"
    )


def main() -> None:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    what = parser.add_subparsers(dest="what", required=True)
    for name in ("calibrate", "check"):
        what.add_parser(name).add_argument("dataset", type=Path)
    what.choices["check"].add_argument("--workers", type=int, default=1)
    what.choices["check"].add_argument("--by", choices=("wall", "cpu"), default="wall")
    shown = what.add_parser("tables")
    shown.add_argument("--seed", type=int, default=1)
    shown.add_argument("--talks", type=int, default=19_339)
    shown.add_argument("--nodes", type=int, nargs="+", default=[1, 4, 16, 64, 256])
    given = parser.parse_args()
    if given.what == "calibrate":
        made = Calibration.of_run(given.dataset)
        fields = {"kept_ms": made.kept_ms, "rejected_ms": made.rejected_ms, "about": made.about}
        CALIBRATION.write_text(json.dumps(fields, indent=1) + "\n", encoding="utf-8")
        print(made.about)
    elif given.what == "check":
        check(given.dataset, given.workers, by=given.by)
    else:
        tables(given.seed, given.talks, given.nodes)


if __name__ == "__main__":
    main()
