"""Files of which nothing can be kept, whatever they show, are rejected without decoding them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tpbench.dataset import Clip
from tpbench.detectors.base import Detections
from tpbench.extraction.config import ExtractionConfig
from tpbench.extraction.pipeline import SourcePipeline
from tpbench.extraction.sources import find_sources

if TYPE_CHECKING:
    from tests.conftest import MediaMaker


class Nobody:
    """A detector that sees nobody."""

    def detect(self, frames: list[object]) -> list[Detections]:
        return [Detections() for _ in frames]

    def reset(self) -> None:
        pass


@dataclass
class Extraction:
    """Runs the pipeline of one source, and counts the frames that it decodes."""

    folder: Path
    config: ExtractionConfig
    decoded: list[int] = field(default_factory=list)

    def __call__(self, path: Path, **filters: float | None) -> list[Clip]:
        self.folder.mkdir(exist_ok=True)
        named = {code.replace("__", "."): threshold for code, threshold in filters.items()}
        config = self.config.model_copy(update={"filters": self.config.filters | named})
        detectors: Any = SimpleNamespace(faces=Nobody(), face_digest="f" * 64, on_gpu=False)
        pipeline = SourcePipeline(config=config, detectors=detectors, folder=self.folder)
        (source,) = find_sources([path], excluded=self.folder)
        return list(pipeline.run(source, self.decoded.append).clips)


@pytest.fixture
def extracted(tmp_path: Path, talkingpose: ExtractionConfig) -> Extraction:
    return Extraction(folder=tmp_path / "out", config=talkingpose)


def test_a_small_video_is_one_row_and_is_not_decoded(
    extracted: Extraction, make_media: MediaMaker
) -> None:
    (clip,) = extracted(make_media.cfr("small.mp4", n=120))
    assert (clip.status, clip.reject_codes) == ("rejected", ("source.too_small",))
    assert (clip.start_frame, clip.end_frame, clip.shot_id) == (0, 120, 0)
    assert clip.measurements == {"source_short_side_px": 48, "length_frames": 120}
    assert extracted.decoded == []


def test_a_short_video_is_one_row_and_is_not_decoded(
    extracted: Extraction, make_media: MediaMaker
) -> None:
    (clip,) = extracted(make_media.cfr("short.mp4", n=100), source__too_small=None)
    assert clip.reject_codes == ("clip.too_short",)
    assert extracted.decoded == []


def test_a_video_that_is_small_and_short_says_both(
    extracted: Extraction, make_media: MediaMaker
) -> None:
    (clip,) = extracted(make_media.cfr("both.mp4", n=10))
    assert clip.reject_codes == ("source.too_small", "clip.too_short")


@pytest.mark.parametrize("limit", [None, 48.0])
def test_a_video_that_is_large_enough_is_looked_at(
    extracted: Extraction, make_media: MediaMaker, limit: float | None
) -> None:
    path = make_media.cfr("fit.mp4", n=30)
    clips = extracted(path, source__too_small=limit, clip__too_short=None)
    assert {code for clip in clips for code in clip.reject_codes} >= {"face.missing"}
    assert len(extracted.decoded) >= 30
