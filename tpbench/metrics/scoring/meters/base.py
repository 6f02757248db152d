"""The seam between the pass over two clips and what is measured on the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import ExitStack
    from fractions import Fraction
    from pathlib import Path

    from numpy.typing import NDArray

    from tpbench.metrics.scoring.toolbox import Toolbox

CHUNK_FRAMES = 16
"""Pairs of frames that are held and handed on at once."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PoseChunk:
    """Skeletons of the frames of a chunk."""

    keypoints: NDArray[np.float32]
    """(n, 133, 2) px; NaN where a point was not found."""

    scores: NDArray[np.float32]
    """(n, 133) in [0, 1]."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrameChunk:
    """Some frames in a row of both clips, of one size."""

    real: Sequence[NDArray[np.uint8]]
    """n pictures (H, W, 3) uint8 RGB. Nobody writes into them, and they are not used again."""

    generated: Sequence[NDArray[np.uint8]]
    """The same n frames of the generated clip."""

    real_pose: PoseChunk | None
    """Skeletons of the real frames; None where no meter needs them."""

    def real_skeletons(self) -> PoseChunk:
        """Return the skeletons of the real frames, for meters whose row says they need them."""
        if self.real_pose is None:
            msg = "no meter of this pass said that it needs skeletons"
            raise RuntimeError(msg)
        return self.real_pose


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClipSetting:
    """What a meter may know of the clip before it starts."""

    n_frames: int
    """Frames that will come."""

    fps: Fraction
    """Of the real clip."""

    cleanup: ExitStack
    """Is closed when the clip ends, however it ends."""

    toolbox: Toolbox
    """Networks and detectors, made when first asked for and shared by all clips of a worker."""

    generated_features: Path
    """Where a meter of features writes those of the generated frames, as one .npy."""

    real_features: Path
    """Where those of the real frames are kept for all runs; content decides the name."""


class Meter(Protocol):
    """Measures one thing of one pair of clips, in order, holding a window of frames at most."""

    def update(self, chunk: FrameChunk) -> None:
        """Take in the next frames."""
        ...

    def finish(self) -> Mapping[str, NDArray[np.float64]]:
        """Return the columns by name, (n_frames,) float64 each; NaN where nothing was measured."""
        ...


class Columns:
    """Collects per-frame values of several names.

    Args:
        names: of the columns, in the order in which values come.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)
        self._rows: list[tuple[float, ...]] = []

    def append(self, *values: float) -> None:
        """Add the values of the next frame, one per name."""
        if len(values) != len(self._names):
            msg = f"want {len(self._names)} values, got {len(values)}"
            raise ValueError(msg)
        self._rows.append(values)

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """Return each column, (n,) float64."""
        table = np.array(self._rows, dtype=np.float64).reshape(-1, len(self._names))
        return {name: table[:, at].copy() for at, name in enumerate(self._names)}
