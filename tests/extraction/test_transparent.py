"""A transparent source is rejected whole, with its code and what to do about it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np

from tpbench.extraction.config import ExtractionConfig, load_preset
from tpbench.extraction.pipeline import SourcePipeline
from tpbench.extraction.rows import OTHER_CODES, TRANSPARENT_CODE
from tpbench.extraction.sources import find_sources


class NoFaces:
    """A detector that sees nobody."""

    def detect(self, frames: list[object]) -> list[SimpleNamespace]:
        return [SimpleNamespace(faces=()) for _ in frames]

    def reset(self) -> None:
        pass


def _of_any_size(config: ExtractionConfig) -> ExtractionConfig:
    """Return the settings without the filters that need no picture: they come first."""
    sizes = {"source.too_small": None, "clip.too_short": None}
    return config.model_copy(update={"filters": config.filters | sizes})


def test_a_source_that_turns_transparent_is_one_rejected_row(tmp_path: Path) -> None:
    path = tmp_path / "in" / "a.mkv"
    path.parent.mkdir()
    (tmp_path / "out").mkdir()
    with av.open(str(path), "w") as output:
        stream = output.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "bgra"
        for number in range(30):
            image = np.full((48, 64, 4), 255, np.uint8)
            image[:8, :8, 3] = 0 if number == 20 else 255
            output.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgra")))
        output.mux(stream.encode(None))
    detectors: Any = SimpleNamespace(faces=NoFaces())
    pipeline = SourcePipeline(
        config=_of_any_size(load_preset("talkingpose")),
        detectors=detectors,
        folder=tmp_path / "out",
    )
    (source,) = find_sources([path], excluded=tmp_path / "out")

    result = pipeline.run(source, lambda _: None)

    (clip,) = result.clips
    assert (clip.status, clip.reject_codes) == ("rejected", (TRANSPARENT_CODE,))
    assert clip.error == "is transparent in places: lay it over its background first"
    assert clip.source_sha256 == result.source_sha256 != ""
    assert TRANSPARENT_CODE in OTHER_CODES
