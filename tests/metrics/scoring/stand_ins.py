"""Networks with seeded random weights and a detector of painted people, for tests of the engine.

Workers of their own build them by `FACTORY`, this process puts them in by `put_in`.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from tpbench.detectors.base import Detections, PersonDetection
from tpbench.metrics.scoring import clip_pass, records
from tpbench.metrics.scoring.clip_pass import ClipPass
from tpbench.metrics.scoring.tools import Toolbox
from tpbench.video import Frame
from tpbench.wholebody import FACE, LEFT_HAND, LEFT_SHOULDER, NUM_KEYPOINTS, RIGHT_HAND, PoseSource
from tpbench.work import JsonObject, Process, ProgressReport

if TYPE_CHECKING:  # they load torch, which workers without networks never need
    from tpbench.metrics.i3d import I3DFeatures
    from tpbench.metrics.networks import InceptionFeatures, LpipsDistance

Put = Callable[[Any, str, Any], None]
"""`setattr`, or a test's own that takes it back."""

FACTORY: Final = f"{__name__}:build_in_worker"

PATCH_PX: Final = 4
"""Side of the red square that a painted person is found by."""


def inception(batch_size: int = 16) -> InceptionFeatures:
    """Return a network that sees what colour each of 16 parts of a picture has."""
    import torch

    from tpbench.metrics.networks import InceptionFeatures

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            draw = torch.Generator().manual_seed(1)
            self.weight = torch.nn.Parameter(torch.randn(2048, 48, generator=draw) / 7)

        def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
            parts = torch.nn.functional.adaptive_avg_pool2d(x, (4, 4)).flatten(1)
            return [torch.relu(parts @ self.weight.t())[:, :, None, None]]

    return InceptionFeatures(Network(), batch_size=batch_size)


def i3d(batch_size: int = 2) -> I3DFeatures:
    """Return a network of the published signature, which looks at a few numbers of each frame."""
    import torch

    from tpbench.metrics.i3d import I3DFeatures

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            draw = torch.Generator().manual_seed(2)
            self.weight = torch.nn.Parameter(torch.randn(400, 3 * 16 * 4, generator=draw) / 14)

        def forward(
            self,
            x: torch.Tensor,
            rescale: bool,  # noqa: FBT001 - the published signature
            resize: bool,  # noqa: FBT001 - as above
            return_features: bool,  # noqa: FBT001 - as above
        ) -> torch.Tensor:
            assert rescale
            assert resize
            assert return_features
            quarters = torch.nn.functional.adaptive_avg_pool3d(x / 127.5 - 1, (16, 2, 2))
            return quarters.flatten(1) @ self.weight.t()

    return I3DFeatures(Network(), batch_size=batch_size)


def lpips(backbone: Literal["alex", "vgg"] = "alex") -> LpipsDistance:
    """Return a network that weighs the differences of 64 parts of both pictures."""
    import torch

    from tpbench.metrics.networks import LpipsDistance

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            draw = torch.Generator().manual_seed(3)
            self.weight = torch.nn.Parameter(torch.rand(3, 8, 8, generator=draw))

        def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            gap = torch.nn.functional.adaptive_avg_pool2d((a - b).abs(), (8, 8))
            return (gap * self.weight).mean(dim=(1, 2, 3), keepdim=True)

    return LpipsDistance(Network(), backbone=backbone)


class PaintedPeople:
    """Finds a person where a picture has pure red, in the one pose there is.

    Args:
        looks: counts the frames looked at, and the resets, under the name of the side.
        side: which clips it is asked about.
    """

    source: PoseSource = "mediapipe"
    skeleton_digest = "5" * 64

    def __init__(self, looks: Counter[str] | None = None, *, side: str = "real") -> None:
        self._looks, self._side = looks, side

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """Return nobody, or one person."""
        self._count("frames", len(frames))
        return [_painted_person(frame.image) for frame in frames]

    def reset(self) -> None:
        """Do as detectors do."""
        self._count("resets", 1)

    def close(self) -> None:
        """Do as detectors do."""
        self._count("closed", 1)

    def _count(self, what: str, n: int) -> None:
        if self._looks is not None:
            self._looks[f"{self._side} {what}"] += n


POSE_PX: Final[NDArray[np.float32]] = np.full((NUM_KEYPOINTS, 2), np.nan, dtype=np.float32)
"""(133, 2) px: head and arms, hands and face of a painted person around its red square."""


def _lay_out() -> None:
    def grid(
        n: int, left_px: int, top_px: int, width_px: int, height_px: int
    ) -> NDArray[np.float32]:
        at = np.arange(n)
        columns, rows = at % 7 / 6 * width_px, at // 7 / (-(-n // 7) - 1) * height_px
        return np.stack([left_px + columns, top_px + rows], axis=1).astype(np.float32)

    POSE_PX[FACE] = grid(68, -10, -20, 20, 20)
    POSE_PX[LEFT_HAND] = grid(21, 14, 14, 16, 16)
    POSE_PX[RIGHT_HAND] = grid(21, -30, 14, 16, 16)
    POSE_PX[:5] = [(0, -8), (3, -12), (-3, -12), (8, -12), (-8, -12)]
    POSE_PX[LEFT_SHOULDER : LEFT_SHOULDER + 2] = [(20, 4), (-20, 4)]


_lay_out()


def paint_person(image: NDArray[np.uint8], x_px: int, y_px: int) -> None:
    """Paint what `PaintedPeople` finds: a red square whose first pixel is at (x, y)."""
    image[y_px : y_px + PATCH_PX, x_px : x_px + PATCH_PX] = (255, 0, 0)


def _painted_person(image: NDArray[np.uint8]) -> Detections:
    rows, columns = np.nonzero((image == (255, 0, 0)).all(axis=2))
    if not rows.size:
        return Detections()
    keypoints = POSE_PX + np.array([columns.min(), rows.min()], dtype=np.float32)
    scores = np.where(np.isnan(POSE_PX[:, 0]), 0, 0.9).astype(np.float32)
    return Detections(people=(PersonDetection(keypoints_px=keypoints, scores=scores),))


def put_in(put: Put, looks: Counter[str] | None = None) -> None:
    """Let toolboxes of this process give out stand-ins."""
    put(Toolbox, "inception", lambda _: inception())
    put(Toolbox, "i3d", lambda _: i3d())
    put(Toolbox, "lpips", lambda _, backbone, __: lpips(backbone))
    people = {side: PaintedPeople(looks, side=side) for side in ("real", "generated")}
    put(Toolbox, "suite", lambda _, side: people[side])


def make_ready(put: Put) -> None:
    """Let this process believe that all model files are there."""
    put(records, "_digest", lambda name, **_: f"made-up {name}")
    put(records, "_skeleton_digest", lambda *_, **__: "made-up people")


def build_in_worker(config: JsonObject) -> ClipPass:
    """Return the task of a worker process, with stand-ins."""
    put_in(setattr)
    return clip_pass.build_in_worker(config)


def build_stumbling(config: JsonObject) -> Process:
    """Return the task of a worker process that measures one clip and stumbles over all others."""
    task = clip_pass.build_in_worker(config)

    def process(payload: JsonObject, report: ProgressReport) -> JsonObject:
        if payload["clip_id"] == "clip0":
            return task(payload, report)
        raise LookupError(f"nobody thought of {payload['clip_id']}")

    return process


def build_killing(config: JsonObject) -> Process:
    """Return the task of a worker process that clip1 kills, which leaves a line in its records."""
    task = clip_pass.build_in_worker(config)

    def process(payload: JsonObject, report: ProgressReport) -> JsonObject:
        if payload["clip_id"] == "clip1":
            with (Path(config["records"]) / "killed").open("a") as file:
                file.write("\n")
            os.kill(os.getpid(), signal.SIGKILL)
        return task(payload, report)

    return process
