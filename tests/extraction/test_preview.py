from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import MediaMaker
from tpbench import weights
from tpbench.detectors.base import models_of
from tpbench.errors import ConfigError
from tpbench.extraction.preview import preview_extraction
from tpbench.extraction.run import ExtractionRequest
from tpbench.work.records import Shard


@pytest.fixture
def talks(tmp_path: Path) -> Path:
    folder = tmp_path / "talks"
    folder.mkdir()
    make = MediaMaker(folder)
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        make.cfr(name, n=5, size=(64, 48))
    return folder


def _request(talks: Path, *, out: Path | None = None, offline: bool = False) -> ExtractionRequest:
    return ExtractionRequest(
        inputs=[talks],
        out=out or talks.parent / "out",
        skeleton="mediapipe",
        workers=2,
        offline=offline,
    )


def test_a_new_dataset_has_everything_left_and_nothing_is_written(talks: Path) -> None:
    before = sorted(talks.parent.rglob("*"))
    found = preview_extraction(_request(talks))
    assert (found.videos, found.videos_left, found.workers) == (3, 3, 2)
    assert found.bytes_left == sum(path.stat().st_size for path in talks.iterdir())
    assert found.problems == ()
    assert sorted(talks.parent.rglob("*")) == before


def test_a_shard_counts_its_own_videos(talks: Path) -> None:
    request = _request(talks)
    shards = [preview_extraction(request, Shard(number=n, count=2)) for n in (1, 2)]
    assert sum(found.videos for found in shards) == 3


def test_a_folder_with_other_files_would_stop_it(talks: Path) -> None:
    other = talks.parent / "other"
    other.mkdir()
    (other / "notes.txt").touch()
    (problem,) = preview_extraction(_request(talks, out=other)).problems
    assert "holds files but no dataset of tpbench" in problem


def test_missing_models_are_listed_and_stop_it_offline(
    talks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TPBENCH_CACHE", str(talks.parent / "cache"))
    missing = tuple(name for name in models_of("mediapipe") if not weights.state(name).usable)
    online = preview_extraction(_request(talks))
    assert (online.models_missing, online.problems) == (missing, ())
    if missing:
        (problem,) = preview_extraction(_request(talks, offline=True)).problems
        assert problem.endswith(", ".join(missing))


def test_wrong_inputs_are_errors_as_of_the_command(talks: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        preview_extraction(_request(talks / "nowhere"))
