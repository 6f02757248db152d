"""A small dataset of real files, and runs on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.benchmark.generators import Numbered
from tests.conftest import MediaMaker
from tests.datasets import clip_files, kept_row
from tpbench.benchmark.generate import generate_run
from tpbench.benchmark.request import EvalRequest
from tpbench.benchmark.run_folder import ClipRecord, Run
from tpbench.dataset import Clip, Dataset, finalise
from tpbench.files import sha256_of
from tpbench.video import CLIP, VideoWriter
from tpbench.wholebody import WholeBodyPose, save_pose

LENGTHS = {"a": 101, "b": 104, "c": 102, "short": 100}
"""Clip -> frames; the task `self` wants more than 100."""

WIDTH_PX, HEIGHT_PX = 48, 32

FIRST_NUMBER = 2
"""Of a clip's first picture; the bit of 1 lies where our generators write."""


def write_dataset(folder: Path, lengths: Mapping[str, int] = LENGTHS) -> Dataset:
    """Write clips whose pictures carry their own number, poses with them, and the manifest."""
    rows = [_write_clip(folder, name, n) for name, n in lengths.items()]
    return finalise(folder, rows, name="Small talks", config={}, models={}, measurements=())


def _write_clip(folder: Path, name: str, n: int) -> Clip:
    clip, keypoints, drawing = clip_files(folder, name)
    with VideoWriter(
        clip, width_px=WIDTH_PX, height_px=HEIGHT_PX, fps=Fraction(25), encoding=CLIP
    ) as writer:
        for number in range(n):
            image = MediaMaker.image(number + FIRST_NUMBER, width_px=WIDTH_PX, height_px=HEIGHT_PX)
            writer.write(image)
    points = np.full((n, 133, 2), 7, np.float32)
    points[:, 0, 0] = np.arange(n)
    save_pose(
        keypoints,
        WholeBodyPose(
            keypoints=points,
            scores=np.ones((n, 133), np.float32),
            width_px=WIDTH_PX,
            height_px=HEIGHT_PX,
            source="mediapipe",
            model_digest="0" * 64,
        ),
    )
    drawing.write_bytes(b"pose")
    return kept_row(folder, name, n_frames=n, identity=f"person {name}")


@pytest.fixture(scope="session")
def talks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a dataset that no test may change."""
    folder = tmp_path_factory.mktemp("benchmark") / "talks"
    write_dataset(folder)
    return folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Maker:
    """Makes runs of one dataset in one folder."""

    data: Path
    out: Path

    def __call__(self, generator: object | None = None, **said: Any) -> Run:  # noqa: ANN401 - passed on
        """Make a run; in this process with `Numbered` unless a model or an object is given."""
        listener = said.pop("on_progress", None)
        if generator is None and "model" not in said:
            generator = Numbered()
        arguments = {"model": "mine", "data": self.data, "out": self.out, **said}
        return generate_run(EvalRequest(generator=generator, **arguments), listener)  # type: ignore[arg-type]  # a part of one is enough


@pytest.fixture
def make(talks: Path, tmp_path: Path) -> Maker:
    return Maker(data=talks, out=tmp_path / "runs")


def content(run: Run) -> dict[str, str]:
    """File -> sha256, of all generated clips and previews."""
    folder = run.folder.path
    return {
        str(path.relative_to(folder)): sha256_of(path)
        for name in ("generated", "preview")
        for path in sorted((folder / name).glob("*"))
    }


def edit_record(record: Path, **changes: Any) -> None:  # noqa: ANN401 - fields of a record
    """Write a clip's record with other values in some fields, as if it had been made so."""
    ClipRecord.read(record).model_copy(update=changes).write(record)


def births(run: Run) -> dict[str, tuple[int, int]]:
    """Clip -> when its record was written, and as which file: changes when it is made again."""
    paths = (run.folder.path / "records").glob("*.json")
    return {path.stem: (path.stat().st_mtime_ns, path.stat().st_ino) for path in paths}
