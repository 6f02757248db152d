from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.talks import N_FRAMES, short_settings, write_talk
from tpbench.detectors import base
from tpbench.errors import ConfigError, MediaError, TPBenchError
from tpbench.extraction.bench import BenchRequest, bench_extraction, default_workers
from tpbench.extraction.worker import build
from tpbench.work import InThisProcess, JsonObject, ProgressReport


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    return write_talk(tmp_path / "talk.mp4")


@pytest.fixture
def no_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "weights_digest", lambda *_, **__: "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Canned:
    """Processes nothing, and keeps what it was given."""

    seen: list[JsonObject]
    fails: bool = False

    def __call__(self, payload: JsonObject, _report: ProgressReport) -> JsonObject:
        self.seen.append(dict(payload))
        if self.fails:
            raise TPBenchError("is broken")
        clips = [{"status": status} for status in ("kept", "kept", "rejected")]
        return {"clips": clips, "n_frames": 50, "duration_s": 2.0, "stage_s": {"decode": 1.0}}


def in_this_process(canned: Canned) -> Callable[[int], InThisProcess]:
    return lambda _: InThisProcess(build=lambda _config: canned)


@pytest.mark.usefixtures("no_models")
def test_each_worker_gets_the_whole_video_under_a_name_of_its_own(talk: Path) -> None:
    seen: list[JsonObject] = []
    request = BenchRequest(video=talk, workers=[1, 3], skeleton="mediapipe")
    one, three = bench_extraction(request, executor_of=in_this_process(Canned(seen=seen)))
    assert [one.run.workers, three.run.workers] == [1, 3]
    assert [one.run.source_frames, three.run.source_frames] == [50, 150]
    assert (three.kept, three.rejected) == (2, 1)
    paths = [Path(str(payload["path"])) for payload in seen]
    assert len(set(paths[1:])) == 3
    assert {payload["shown_path"] for payload in seen} == {"talk.mp4"}
    assert not any(path.parent.exists() for path in paths), "nothing is left behind"


@pytest.mark.usefixtures("no_models")
def test_the_wall_time_is_that_of_one_worker_at_work(talk: Path) -> None:
    request = BenchRequest(video=talk, workers=[2], skeleton="mediapipe")
    (two,) = bench_extraction(request, executor_of=in_this_process(Canned(seen=[])))
    assert 0 < two.run.wall_s < 1
    assert two.run.frames_per_s == pytest.approx(100 / two.run.wall_s)
    assert two.to_json()["clips_kept"] == 2


@pytest.mark.usefixtures("no_models")
def test_a_video_that_fails_ends_the_bench_with_its_reason(talk: Path) -> None:
    request = BenchRequest(video=talk, workers=[1], skeleton="mediapipe")
    with pytest.raises(TPBenchError, match=r"talk.mp4: is broken"):
        list(bench_extraction(request, executor_of=in_this_process(Canned(seen=[], fails=True))))


@pytest.mark.usefixtures("no_models")
def test_wrong_input_is_refused_before_anything_is_measured(talk: Path, tmp_path: Path) -> None:
    def refused(**settings: object) -> None:
        request = BenchRequest(**{"video": talk, "skeleton": "mediapipe"} | settings)  # type: ignore[arg-type]
        next(bench_extraction(request, executor_of=lambda _: pytest.fail("was started")))

    with pytest.raises(ConfigError, match="want numbers from 1 to 1024, got 0"):
        refused(workers=[2, 0])
    with pytest.raises(ConfigError, match="does not exist"):
        refused(video=tmp_path / "missing.mp4")
    with pytest.raises(ConfigError, match="unknown preset"):
        refused(preset="none")
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(MediaError):
        refused(video=tmp_path / "text.mp4")
    with pytest.raises(ConfigError, match="is a folder of several videos; name one of them"):
        refused(video=tmp_path)


def test_it_measures_what_extract_does(talk: Path) -> None:
    request = BenchRequest(
        video=talk, workers=[1], preset=short_settings(), skeleton="mediapipe", offline=True
    )
    (one,) = bench_extraction(request, executor_of=lambda _: InThisProcess(build=build))
    assert (one.kept, one.rejected) == (1, 0)
    assert one.run.source_frames == N_FRAMES
    assert one.run.core_s > 0
    assert {"screen", "decode", "detect", "write"} <= one.run.stage_shares.keys()


@pytest.mark.parametrize(
    ("cores", "numbers"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8])]
)
def test_numbers_of_workers_double_up_to_the_cores(cores: int, numbers: list[int]) -> None:
    assert default_workers(cores) == numbers
