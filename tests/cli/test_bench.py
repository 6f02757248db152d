from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.cli.conftest import invoke
from tpbench.dataset import RunStats
from tpbench.errors import ConfigError
from tpbench.extraction import bench
from tpbench.extraction.bench import BenchRequest, Measured


def measured(workers: int, *, kept: int, gpus: int) -> Measured:
    run = RunStats(
        workers=workers,
        gpus=gpus,
        wall_s=10,
        core_s=9.5 * workers,
        source_frames=300 * workers,
        source_s=12 * workers,
        stage_s={"decode": 1.0 * workers, "detect": 3.0 * workers},
    )
    return Measured(run=run, kept=kept, rejected=1)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[BenchRequest]:
    """The requests that were made; a preset of this name decides what is answered."""
    requests: list[BenchRequest] = []

    def answer(request: BenchRequest) -> Iterator[Measured]:
        requests.append(request)
        kept, gpus = int(request.preset != "rejects"), int(request.device == "cuda")
        for workers in request.workers or [1]:
            yield measured(workers, kept=kept, gpus=gpus)

    monkeypatch.setattr(bench, "bench_extraction", answer)
    return requests


def test_the_table_has_a_row_for_each_number_of_workers(asked: list[BenchRequest]) -> None:
    result = invoke("bench", "extract", "a talk.mp4", "--workers", "1,2", "--skeleton", "mediapipe")
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert result.exit_code == 0
    assert lines[:2] == [
        "a talk.mp4: 300 frames; 1 clip kept, 1 part rejected",
        "preset talkingpose, skeletons by mediapipe",
    ]
    assert "workers frames/s real time h per core-h cores busy" in lines
    assert "1 30.0 1.20x 1.26 0.9" in lines
    assert "2 60.0 2.40x 1.26 1.9" in lines
    assert "stage 1 worker 2 workers" in lines
    assert "detect 75% 75%" in lines
    assert asked[0].workers == [1, 2]


def test_hours_per_gpu_hour_stand_where_a_gpu_was_used(asked: list[BenchRequest]) -> None:
    result = invoke("bench", "extract", "talk.mp4", "--workers", "2", "--device", "cuda")
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert "2 60.0 2.40x 1.26 1.9 2.40" in lines
    assert asked[0].device == "cuda"


def test_figures_of_a_rejected_video_are_named_so(asked: list[BenchRequest]) -> None:
    result = invoke("bench", "extract", "talk.mp4", "--preset", "rejects")
    assert "no clip is kept" in result.stdout
    assert asked[0].workers == []


def test_json_has_times_and_rates(asked: list[BenchRequest]) -> None:
    result = invoke("bench", "extract", "talk.mp4", "--workers", "1,2", "--json")
    one, two = json.loads(result.stdout)["measured"]
    assert (one["workers"], one["frames_per_s"], two["real_time_factor"]) == (1, 30.0, 2.4)
    assert one["video_hours_per_gpu_hour"] is None
    assert one["stage_shares"] == {"decode": 0.25, "detect": 0.75}
    assert asked


@pytest.mark.parametrize("text", ["two", "1,,2", "1.5"])
def test_workers_are_whole_numbers(asked: list[BenchRequest], text: str) -> None:
    with pytest.raises(ConfigError, match="want numbers such as 1,2,8, got"):
        invoke("bench", "extract", "talk.mp4", "--workers", text)
    assert not asked
