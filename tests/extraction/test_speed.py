from __future__ import annotations

from pathlib import Path

import pytest

from tpbench import devices
from tpbench.extraction.speed import RunTimes, Tally, gpus_of, read_times, run_file
from tpbench.work import Outcome
from tpbench.work.records import Shard


def outcome(**result: object) -> Outcome:
    return Outcome(key="a", kind="done", attempts=1, result=result, cpu_s=4.0)


def tallied(*outcomes: Outcome, gpus: int = 0) -> Tally:
    tally = Tally(workers=2, gpus=gpus)
    for one in outcomes:
        tally.add(one)
    return tally


DONE = outcome(n_frames=100, duration_s=4.0, stage_s={"decode": 1.0, "detect": 3.0})
LOST = Outcome(key="b", kind="failed", attempts=3, cpu_s=2.0)


def test_the_rates_of_a_run_are_those_of_its_own_sources() -> None:
    run = tallied(DONE, DONE, LOST).stats(5.0)
    assert (run.frames_per_s, run.real_time_factor) == (40.0, 1.6)
    assert run.core_s == 10.0, "what failed took time, too"
    assert run.video_hours_per_core_hour == 0.8
    assert run.video_hours_per_gpu_hour is None, "no GPU was used"
    assert run.stage_shares == {"decode": 0.25, "detect": 0.75}


def test_a_gpu_that_waits_costs_its_hour() -> None:
    assert tallied(DONE, gpus=1).stats(8.0).video_hours_per_gpu_hour == 0.5


def test_a_run_without_anything_to_do_has_no_rates_to_divide_by_zero() -> None:
    run = tallied().stats(0.0)
    assert set(map(repr, run.rates().values())) == {"None", "{}"}


def test_the_latest_runs_are_listed_and_all_count(tmp_path: Path) -> None:
    times, run = RunTimes(), tallied(DONE).stats(2.0)
    for _ in range(103):
        times = times.extended(run)
    times = times.extended(tallied().stats(1.0))
    assert (times.wall_s, len(times.runs)) == (207.0, 100)
    path = run_file(tmp_path, Shard(number=1, count=2))
    path.parent.mkdir()
    times.write(path)
    assert read_times([path, run_file(tmp_path)]) == times


@pytest.mark.parametrize(
    ("skeleton", "device", "expected"),
    [("mediapipe", "auto", 0), ("dwpose", "cpu", 0), ("dwpose", "auto", 1), ("dwpose", "cuda", 1)],
)
def test_only_dwpose_uses_a_gpu(
    monkeypatch: pytest.MonkeyPatch, skeleton: str, device: str, expected: int
) -> None:
    monkeypatch.setattr(devices, "_usable_gpus", lambda _: (1, ""))
    assert gpus_of(skeleton, device) == expected  # type: ignore[arg-type]
