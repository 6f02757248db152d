"""Datasets extracted from real clips, once a session."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import tpbench
from tpbench.dataset import Clip, Dataset
from tpbench.doctor import demo_clips
from tpbench.video import LOSSLESS_X264, VideoWriter, read_frames

FPS = 23


@pytest.fixture(scope="session")
def samples(shared_dir: Path) -> dict[str, Path]:
    """The two sample talks, by stem."""
    folder = shared_dir / "data" / "talkingpose_samples"
    return {stem: folder / f"{stem}.mp4" for stem in ("vid1", "vid3")}


@pytest.fixture(scope="session")
def bikes() -> Path:
    """A street scene with cuts at 30, 76, 137, 187 and 242."""
    return next(path for path in demo_clips() if path.stem == "bikes")


@pytest.fixture(scope="session")
def samples_dataset(samples: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Both samples, extracted with the default preset."""
    return tpbench.extract(
        list(samples.values()), tmp_path_factory.mktemp("samples") / "talks", skeleton="mediapipe"
    )


@pytest.fixture(scope="session")
def write_video() -> Callable[[Path, Iterable[NDArray[np.uint8]]], Path]:
    """Writes RGB pictures as a lossless video of the samples' rate."""

    def write(path: Path, images: Iterable[NDArray[np.uint8]]) -> Path:
        writer: VideoWriter | None = None
        try:
            for image in images:
                if writer is None:
                    height_px, width_px = image.shape[:2]
                    writer = VideoWriter(
                        path,
                        width_px=width_px,
                        height_px=height_px,
                        fps=Fraction(FPS),
                        encoding=LOSSLESS_X264,
                    ).__enter__()
                writer.write(image)
        finally:
            if writer is not None:
                writer.__exit__(None, None, None)
        return path

    return write


@pytest.fixture(scope="session")
def frames_of(samples: dict[str, Path]) -> Callable[[str, int, int], list[NDArray[np.uint8]]]:
    """Frames `start` to `end` of a sample as RGB pictures."""

    def frames(stem: str, start: int, end: int) -> list[NDArray[np.uint8]]:
        return [
            frame.image for frame in read_frames(samples[stem], start_frame=start, end_frame=end)
        ]

    return frames


@pytest.fixture(scope="session")
def rows_by_source() -> Callable[[Dataset], dict[str, list[Clip]]]:
    """All rows of a dataset, in time order, by the stem of the source."""

    def rows(dataset: Dataset) -> dict[str, list[Clip]]:
        found: dict[str, list[Clip]] = {}
        for clip in sorted(dataset.clips(status=None), key=lambda clip: clip.start_frame or 0):
            found.setdefault(Path(clip.source_path).stem, []).append(clip)
        return found

    return rows


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Extracting takes minutes where other tests run beside it; it is a fixture's, of the first."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(900))
