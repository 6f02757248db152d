"""What must hold of cores that share GPUs, whatever a frame costs."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.simulate_cluster import Assumptions, Calibration
from benchmarks.simulate_stages import Minutes, simulate_stages

FPS = 25.0
MINUTES = Minutes.made_up(2000, Assumptions(), Calibration.read(), seed=2)
GPU_S = MINUTES.kept.sum() * 60 * FPS * 5e-3
CORE_S = MINUTES.core_s.sum()


def test_one_worker_takes_the_sum_of_both_stages() -> None:
    found = simulate_stages(MINUTES, workers=1, gpus=1, gpu_ms=5.0, fps=FPS)
    assert found.wall_s == pytest.approx(CORE_S + GPU_S)
    assert found.cores_busy + found.gpus_busy == pytest.approx(1)


def test_with_many_workers_the_gpu_is_the_limit_and_with_many_gpus_the_cores_are() -> None:
    crowded = simulate_stages(MINUTES, workers=64, gpus=1, gpu_ms=5.0, fps=FPS)
    assert crowded.wall_s == pytest.approx(GPU_S, rel=0.02)
    assert crowded.gpus_busy == pytest.approx(1, abs=0.02)
    alone = simulate_stages(MINUTES, workers=4, gpus=4, gpu_ms=5.0, fps=FPS)
    assert alone.wall_s == pytest.approx((CORE_S + GPU_S) / 4, rel=0.02)


@pytest.mark.parametrize("workers", [1, 3, 16])
def test_without_time_on_the_gpu_cores_are_never_idle(workers: int) -> None:
    equal = Minutes(core_s=np.full(48, 2.0), kept=np.ones(48, np.bool_))
    found = simulate_stages(equal, workers=workers, gpus=1, gpu_ms=0.0, fps=FPS)
    assert found.wall_s == pytest.approx(96 / workers)
    assert found.cores_busy == pytest.approx(1)
    assert found.gpus_busy == 0


def test_neither_more_workers_nor_more_gpus_are_slower() -> None:
    by_workers = [
        simulate_stages(MINUTES, workers=n, gpus=1, gpu_ms=5.0, fps=FPS).wall_s
        for n in (1, 2, 4, 8, 16, 32)
    ]
    by_gpus = [
        simulate_stages(MINUTES, workers=32, gpus=n, gpu_ms=5.0, fps=FPS).wall_s for n in (1, 2, 4)
    ]
    assert by_workers == sorted(by_workers, reverse=True)
    assert by_gpus == sorted(by_gpus, reverse=True)
