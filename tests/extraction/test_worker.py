from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from tpbench.errors import MediaError
from tpbench.extraction.pipeline import SourcePipeline, SourceResult
from tpbench.extraction.sources import Source, find_sources
from tpbench.extraction.worker import ExtractionTask


@dataclass
class FakePipeline:
    """Reads 120 frames, or raises."""

    error: Exception | None = None
    done: list[Source] = field(default_factory=list)

    def run(self, source: Source, on_frame: Callable[[int], None]) -> SourceResult:
        self.done.append(source)
        for number in range(120):
            on_frame(number + 1)
        if self.error is not None:
            raise self.error
        return SourceResult(
            source_sha256="1", clips=(), n_frames=120, duration_s=4.8, stage_s={"decode": 1.0}
        )


@pytest.fixture
def source(tmp_path: Path) -> Source:
    (tmp_path / "talks").mkdir()
    (tmp_path / "talks" / "a.mp4").write_bytes(b"a")
    (found,) = find_sources([tmp_path / "talks"], excluded=tmp_path / "out")
    return found


def task_with(pipeline: FakePipeline) -> ExtractionTask:
    return ExtractionTask(pipeline=cast("SourcePipeline", pipeline))


def ignore(_: object) -> None:
    pass


def test_a_source_survives_its_way_through_json(source: Source) -> None:
    assert Source.from_json(source.to_json()) == source


def test_progress_is_told_now_and_then(source: Source) -> None:
    told: list[Any] = []
    result = task_with(FakePipeline())(source.to_json(), told.append)
    assert told == [{"frames": 50}, {"frames": 100}]
    assert result["n_frames"] == 120


def test_an_error_names_the_file_as_the_user_did(source: Source) -> None:
    task = task_with(FakePipeline(MediaError(source.path, "is empty")))
    with pytest.raises(MediaError, match=r"^talks/a\.mp4: is empty$"):
        task(source.to_json(), ignore)


def test_an_error_of_another_file_stays_as_it_is(source: Source, tmp_path: Path) -> None:
    error = MediaError(tmp_path / "clip.mp4", "is short")
    task = task_with(FakePipeline(error))
    with pytest.raises(MediaError) as raised:
        task(source.to_json(), ignore)
    assert raised.value is error


def test_a_duplicate_is_a_row_and_no_work(source: Source) -> None:
    pipeline = FakePipeline()
    payload = source.to_json() | {"duplicate_of": "talks/0.mp4", "sha256": "f" * 64}
    result = task_with(pipeline)(payload, ignore)
    assert pipeline.done == []
    assert [clip["reject_codes"] for clip in result["clips"]] == [["source.duplicate"]]
    assert result["source_sha256"] == "f" * 64
