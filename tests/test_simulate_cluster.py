"""What must hold of the simulated cluster, whatever a frame costs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.simulate_cluster import Assumptions, Calibration, Way, divided, simulate

CALM = replace(Assumptions(), workers_per_node=4, node_spread=0.0).without_failures()
each_way = pytest.mark.parametrize("way", ["shards", "ray"])


@each_way
@pytest.mark.parametrize("nodes", [1, 2, 8])
def test_equal_items_without_failures_take_the_work_divided_by_the_workers(
    way: Way, nodes: int
) -> None:
    costs_s = np.full(320, 10.0)
    found = simulate(costs_s, costs_s, nodes=nodes, way=way, given=CALM)
    assert found.wall_s == pytest.approx(3200 / (4 * nodes))
    assert found.utilisation == pytest.approx(1)
    assert (found.redone_s, found.tail_s) == (0, 0)


@each_way
def test_more_nodes_are_never_slower_and_work_is_conserved(way: Way) -> None:
    talks = Calibration.read().talks(500, CALM, seed=3)
    found = [simulate(*talks, nodes=n, way=way, given=CALM) for n in (1, 2, 4, 16, 64)]
    walls_s = [one.wall_s for one in found]
    assert walls_s == sorted(walls_s, reverse=True)
    assert [one.work_s for one in found] == [pytest.approx(talks[0].sum())] * 5
    assert walls_s[-1] >= talks[0].max(), "no talk is divided"


@each_way
def test_failures_cost_time_and_lose_no_item(way: Way) -> None:
    given = replace(
        CALM, worker_killed_per_h=1.0, node_lost_per_h=0.1, driver_restarted_per_h=0.2,
        max_attempts=1000,
    )  # fmt: skip
    talks = Calibration.read().talks(300, CALM, seed=4)
    calm = simulate(*talks, nodes=4, way=way, given=CALM)
    found = simulate(*talks, nodes=4, way=way, given=given, seed=5)
    assert found.work_s == pytest.approx(calm.work_s)
    assert found.redone_s > 0
    assert found.wall_s > calm.wall_s
    assert found == simulate(*talks, nodes=4, way=way, given=given, seed=5), "a seed repeats"


def test_an_item_that_fails_every_time_is_given_up_after_its_attempts() -> None:
    given = replace(CALM, worker_killed_per_h=1e6)
    found = simulate(np.full(5, 100.0), np.full(5, 100.0), nodes=1, way="ray", given=given)
    assert (found.quarantined, found.work_s) == (5, 0)


def test_shards_have_equal_hours_and_every_item_once() -> None:
    lengths_s = np.random.default_rng(0).lognormal(6, 0.5, 1000)
    parts = divided(lengths_s, 7)
    assert sorted(np.concatenate(parts).tolist()) == list(range(1000))
    loads_s = [lengths_s[part].sum() for part in parts]
    assert max(loads_s) - min(loads_s) < lengths_s.max()
