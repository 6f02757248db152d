"""What a meter is, and what meters share: networks loaded once, skeletons of frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from tpbench.detectors.suite import DetectorSuite
from tpbench.video import Frame
from tpbench.wholebody import NUM_KEYPOINTS, PoseSource

if TYPE_CHECKING:
    from tpbench.metrics.networks import (
        Backbone,
        FedRange,
        I3DFeatures,
        InceptionFeatures,
        LpipsDistance,
    )

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
            raise RuntimeError("no meter of this pass said that it needs skeletons")
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


class ColumnMeter:
    """Leaves columns behind: a function gives the values of each frame of a chunk.

    Args:
        names: of the columns, in the order in which values come.
        rows: of a chunk, one value per name for each of its frames.
    """

    def __init__(
        self, names: Sequence[str], rows: Callable[[FrameChunk], Iterable[Sequence[float]]]
    ) -> None:
        self._names = tuple(names)
        self._rows_of = rows
        self._rows: list[Sequence[float]] = []

    def update(self, chunk: FrameChunk) -> None:
        """See `Meter.update`."""
        for row in self._rows_of(chunk):
            if len(row) != len(self._names):
                raise ValueError(f"want {len(self._names)} values, got {len(row)}")
            self._rows.append(row)

    def finish(self) -> dict[str, NDArray[np.float64]]:
        """See `Meter.finish`."""
        table = np.array(self._rows, dtype=np.float64).reshape(-1, len(self._names))
        return {name: table[:, at].copy() for at, name in enumerate(self._names)}


class SkeletonFinder:
    """Finds the most prominent person in each frame of one clip.

    Args:
        suite: forgets what it followed before.
        fps: of the clip; detectors want to know how much time passes.
    """

    def __init__(self, suite: DetectorSuite, fps: Fraction) -> None:
        suite.reset()
        self._suite, self._fps = suite, fps
        self._n_seen = 0

    def find(self, images: Sequence[NDArray[np.uint8]]) -> PoseChunk:
        """Return the skeletons of the next frames; NaN and 0 where nobody is found."""
        frames = [
            Frame(image=image, index=at, time_s=float(at / self._fps))
            for at, image in enumerate(images, start=self._n_seen)
        ]
        self._n_seen += len(frames)
        keypoints = np.full((len(frames), NUM_KEYPOINTS, 2), np.nan, dtype=np.float32)
        scores = np.zeros((len(frames), NUM_KEYPOINTS), dtype=np.float32)
        for at, found in enumerate(self._suite.detect(frames)):
            if found.people:
                keypoints[at], scores[at] = found.people[0].keypoints_px, found.people[0].scores
        return PoseChunk(keypoints=keypoints, scores=scores)


PoseSide = Literal["real", "generated"]
"""Which of two clips that are looked at in turns: detectors follow a person from frame to frame."""


class Toolbox:
    """Makes each network once.

    Args:
        device: where networks run: "cpu", "cuda", "cuda:1"...
        skeleton: whose skeletons the pose metrics take.
        offline: never fetch model files.
    """

    def __init__(self, *, device: str, skeleton: PoseSource, offline: bool) -> None:
        self.device = device
        self._skeleton: PoseSource = skeleton
        self._offline = offline
        self._lpips: dict[tuple[Backbone, FedRange], LpipsDistance] = {}
        self._inception: InceptionFeatures | None = None
        self._i3d: I3DFeatures | None = None
        self._suites: dict[PoseSide, DetectorSuite] = {}

    def lpips(self, backbone: Backbone, fed: FedRange) -> LpipsDistance:
        """Return LPIPS with its published weights; see `load_lpips`."""
        if (backbone, fed) not in self._lpips:
            from tpbench.metrics.networks import load_lpips

            self._lpips[backbone, fed] = load_lpips(backbone, fed=fed, device=self.device)
        return self._lpips[backbone, fed]

    def inception(self) -> InceptionFeatures:
        """Return the network of FID and KID; see `load_inception`."""
        if self._inception is None:
            from tpbench.metrics.networks import load_inception

            self._inception = load_inception(device=self.device)
        return self._inception

    def i3d(self) -> I3DFeatures:
        """Return the network of FVD; see `load_i3d`."""
        if self._i3d is None:
            from tpbench.metrics.networks import load_i3d

            self._i3d = load_i3d(device=self.device)
        return self._i3d

    def suite(self, side: PoseSide) -> DetectorSuite:
        """Return the detectors for one of the two clips; reset them before a new one."""
        if side not in self._suites:
            from tpbench.detectors.suite import build_suite

            # The detectors know "auto", "cpu" and "cuda", and choose among cards themselves.
            self._suites[side] = build_suite(
                skeleton=self._skeleton,
                device="cuda" if self.device.startswith("cuda") else "cpu",
                offline=self._offline,
            )
        return self._suites[side]

    def close(self) -> None:
        """Give back what the detectors hold."""
        for suite in self._suites.values():
            suite.close()
        self._suites.clear()
