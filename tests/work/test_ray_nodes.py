"""Nodes that join, GPUs that are shared, and why an actor was lost; Ray's nodes are made here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.work.test_pool import final, pair, workers
from tpbench.work import Engine, JsonObject, Outcome, TaskSpec

pytest.importorskip("ray")
import ray
from ray.cluster_utils import Cluster

from tpbench.work.crew import ReportListener
from tpbench.work.ray_pool import RayPool, why_lost


@contextmanager
def cluster_of(**head: int) -> Iterator[Any]:
    """Start a cluster of one node, and connect to it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        cluster = Cluster(initialize_head=True, head_node_args={"include_dashboard": False, **head})
        try:
            with Engine(name="ray", ray_address=cluster.address).session():
                yield cluster
        finally:
            cluster.shutdown()


def run_pair(
    task: TaskSpec, *, gpu_share: float = 0.0, on_report: ReportListener | None = None
) -> dict[str, Outcome]:
    """Do two items that wait for one another, so that two workers have to take part."""
    pool = RayPool(num_workers=2, gpu_share=gpu_share)
    with closing(pool.run(task, pair(), on_report=on_report)) as outcomes:
        return final(list(outcomes))


@pytest.mark.slow
@pytest.mark.timeout(100)
def test_a_node_that_joins_in_the_middle_of_a_run_gets_work(task: TaskSpec, folder: Path) -> None:
    with cluster_of(num_cpus=1) as cluster:

        def join(_key: str, _report: JsonObject) -> None:
            if len(ray.nodes()) == 1:
                cluster.add_node(num_cpus=1)

        outcomes = run_pair(task, on_report=join)
    assert {(one.kind, one.attempts) for one in outcomes.values()} == {("done", 1)}
    assert len(workers(folder)) == 2


@pytest.mark.slow
def test_two_workers_share_a_gpu_and_see_no_other(task: TaskSpec, folder: Path) -> None:
    with cluster_of(num_cpus=2, num_gpus=1):
        assert Engine(name="ray").num_gpus() == 1
        outcomes = run_pair(task, gpu_share=0.5)
    assert [one.result["gpus"] for one in outcomes.values() if one.result] == ["0", "0"]
    assert len(workers(folder)) == 2


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (
            "1 worker(s) were killed due to the node running low on memory. On 10.0.0.7",
            "Ray ended it because its node ran out of memory",
        ),
        ("The actor died because its node has died: 10.0.0.7", "its node died"),
        (
            "The actor died on 10.0.0.7; it may have been killed by the OOM killer",
            "its Ray actor died",
        ),
    ],
)
def test_why_an_actor_was_lost_is_said_in_plain_words_that_name_no_machine(
    words: str, why: str
) -> None:
    assert why_lost(ray.exceptions.RayActorError(error_msg=words)) == why


def test_an_actor_that_is_ended_for_want_of_memory_is_told_apart() -> None:
    error = ray.exceptions.OutOfMemoryError("ended")
    assert why_lost(error) == "Ray ended it because its node ran out of memory"
