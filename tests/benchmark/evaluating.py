"""Short ways to evaluate, for tests: few metrics, none of which needs a network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmark.generators import Numbered
from tpbench.baselines.base import AnimationTask, ClipFailure, GeneratedFrame
from tpbench.benchmark.evaluate import Evaluation, evaluate
from tpbench.benchmark.run_folder import Run

FAST = ("psnr", "l1", "tje_d2", "motion_ratio")
"""What is measured of tiny frames in no time."""


class Noisy(Numbered):
    """Noise of the seed on the reference: other seeds, other scores."""

    def generate(self, tasks: Sequence[AnimationTask]) -> Iterator[GeneratedFrame | ClipFailure]:
        for task in tasks:
            draw = np.random.default_rng([task.seed, len(task.clip_id)])
            for index in range(task.n_frames):
                noise = draw.integers(-9 - task.seed % 7, 10, task.reference.shape)
                image = np.clip(task.reference + noise, 0, 255).astype(np.uint8)
                yield GeneratedFrame(clip_id=task.clip_id, index=index, image=image)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluator:
    """Evaluates on one dataset into one folder, in this process unless told otherwise."""

    data: Path
    out: Path

    def __call__(self, generator: object | None = None, **said: Any) -> Evaluation:  # noqa: ANN401 - passed on
        """Evaluate `Noisy` unless a model or an object is given."""
        if generator is None and "model" not in said:
            generator = Noisy()
        defaults = {"model": "mine", "metrics": FAST, "workers": 1, "device": "cpu"}
        arguments = {**defaults, "offline": True, "out": self.out, **said}
        return evaluate(data=self.data, generator=generator, **arguments)  # type: ignore[arg-type]  # a part of one is enough


def scores_of(run: Run) -> bytes:
    """The bytes of the scores."""
    return (run.folder.path / "scores.json").read_bytes()


def measurements(run: Run) -> dict[str, tuple[int, int]]:
    """Record of a scored clip -> when it was written, and as which file."""
    paths = sorted((run.folder.path / ".scoring").glob("*.npz"))
    return {path.name: (path.stat().st_mtime_ns, path.stat().st_ino) for path in paths}


def flip(path: Path, *, at: float = 0.5) -> None:
    """Change one bit of a file."""
    data = bytearray(path.read_bytes())
    data[int(len(data) * at)] ^= 1
    path.write_bytes(data)
