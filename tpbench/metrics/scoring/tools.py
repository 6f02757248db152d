"""The meter interface, and what meters share: networks loaded once, skeletons, feature files."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from tpbench.detectors.base import DetectorSuite
from tpbench.errors import MediaError
from tpbench.files import atomic_write, open_regular
from tpbench.metrics.temporal import WINDOW_FRAMES
from tpbench.video import Frame
from tpbench.wholebody import NUM_KEYPOINTS, PoseSource, WholeBodyPose, load_pose, save_pose

if TYPE_CHECKING:
    from tpbench.metrics.i3d import I3DFeatures
    from tpbench.metrics.networks import (
        Backbone,
        FedRange,
        InceptionFeatures,
        LpipsDistance,
    )

T = TypeVar("T")
CHUNK_FRAMES: Final = 16
"""Pairs of frames that are held and processed at once."""
_PIECE_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PoseChunk:
    """Skeletons of the frames of a chunk."""

    keypoints: NDArray[np.float32]
    """(n, 133, 2) px; NaN where a point was not found."""
    scores: NDArray[np.float32]
    """(n, 133) in [0, 1]."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrameChunk:
    """Some consecutive frames of both clips, of one size."""

    real: Sequence[NDArray[np.uint8]]
    """n images (H, W, 3) uint8 RGB. They must not be changed, and their memory is not reused."""
    generated: Sequence[NDArray[np.uint8]]
    """The same n frames of the generated clip."""
    real_pose: PoseChunk | None
    """Skeletons of the real frames; None where no meter needs them."""

    def real_skeletons(self) -> PoseChunk:
        """Return the skeletons of the real frames, for meters whose row has `needs_pose`."""
        if self.real_pose is None:
            raise RuntimeError("no meter of this pass has `needs_pose`")
        return self.real_pose


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClipSetting:
    """What a meter knows about a clip before it starts."""

    n_frames: int
    """Frames to be measured."""
    fps: Fraction
    """Of the real clip."""
    cleanup: ExitStack
    """Closed when the clip ends or fails; files get their final names only on success."""
    toolbox: Toolbox
    """Networks and detectors, created on first use and shared by all clips of a worker."""
    generated_features: Path
    """Where a feature meter writes the features of the generated frames, as one .npy."""
    real_features: Path
    """Where the features of the real frames are cached for all runs, named by content."""


class Meter(Protocol):
    """Measures one quantity of a pair of clips, in order, holding a window of frames at most."""

    def update(self, chunk: FrameChunk) -> None:
        """Process the next frames."""
        ...

    def finish(self) -> Mapping[str, NDArray[np.float64]]:
        """Return the columns by name, (n_frames,) float64 each; NaN where nothing was measured."""
        ...


PairMeasure = Callable[[NDArray[np.uint8], NDArray[np.uint8]], Sequence[float]]
"""Takes the real and the generated image of a frame and returns its values."""


class ColumnMeter:
    """Produces columns: a function returns the values of each frame of a chunk.

    Args:
        names: of the columns, in the order of the values.
        rows: takes a chunk and returns one value per name for each of its frames.
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
            self.append(row)

    def append(self, row: Sequence[float]) -> None:
        """Add the values of the next frame."""
        if len(row) != len(self._names):
            raise ValueError(f"want {len(self._names)} values, got {len(row)}")
        self._rows.append(row)

    def finish(self) -> dict[str, NDArray[np.float64]]:
        """See `Meter.finish`."""
        table = np.array(self._rows, dtype=np.float64).reshape(-1, len(self._names))
        return {name: table[:, at].copy() for at, name in enumerate(self._names)}


class PairMeter(ColumnMeter):
    """Produces columns from each pair of frames by itself, so that threads may share the frames.

    Args:
        names: of the columns, in the order of the values.
        measure: takes the real and the generated image and returns one value per name. Several
            threads may call it at once; `append` then takes its rows in the order of the frames.
    """

    def __init__(self, names: Sequence[str], measure: PairMeasure) -> None:
        super().__init__(names, lambda chunk: map(measure, chunk.real, chunk.generated))
        self.measure = measure


class SkeletonFinder:
    """Finds the most prominent person in each frame of one clip.

    Args:
        suite: the detectors; their tracking is reset.
        fps: of the clip; detectors need time stamps.
    """

    def __init__(self, suite: DetectorSuite, fps: Fraction) -> None:
        suite.reset()
        self._suite, self._fps = suite, fps
        self._n_seen = 0

    def find(self, images: Sequence[NDArray[np.uint8]]) -> PoseChunk:
        """Return the skeletons of the next frames; NaN and 0 where no person is found."""
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
"""Which clip of a pair. Each has its own detectors, which track a person from frame to frame."""


class Toolbox:
    """Creates each network once, on first use.

    Args:
        device: where networks run: "cpu", "cuda", "cuda:1"...
        skeleton: the detector of skeletons for the pose metrics.
        offline: never fetch model files.
    """

    def __init__(self, *, device: str, skeleton: PoseSource, offline: bool) -> None:
        self.device = device
        self._skeleton: PoseSource = skeleton
        self._offline = offline
        self._made: dict[object, Any] = {}

    def lpips(self, backbone: Backbone, fed: FedRange) -> LpipsDistance:
        """Return LPIPS with its published weights; see `load_lpips`."""
        from tpbench.metrics.networks import load_lpips

        return self._once(
            ("lpips", backbone, fed), lambda: load_lpips(backbone, fed=fed, device=self.device)
        )

    def inception(self) -> InceptionFeatures:
        """Return the network of FID and KID; see `load_inception`."""
        from tpbench.metrics.networks import load_inception

        return self._once("inception", lambda: load_inception(device=self.device))

    def i3d(self) -> I3DFeatures:
        """Return the network of FVD; see `load_i3d`."""
        from tpbench.metrics.i3d import load_i3d

        return self._once("i3d", lambda: load_i3d(device=self.device))

    def suite(self, side: PoseSide) -> DetectorSuite:
        """Return the detectors for one of the two clips; reset them before a new clip."""
        from tpbench.detectors.base import build_suite

        # The detectors accept "auto", "cpu" and "cuda", and choose the GPU themselves.
        device: Literal["cuda", "cpu"] = "cuda" if self.device.startswith("cuda") else "cpu"
        return self._once(
            side,
            lambda: build_suite(skeleton=self._skeleton, device=device, offline=self._offline),
        )

    def _once(self, key: object, make: Callable[[], T]) -> T:
        if key not in self._made:
            self._made[key] = make()
        found: T = self._made[key]
        return found

    def close(self) -> None:
        """Close the detectors."""
        for side in ("real", "generated"):
            if side in self._made:
                self._made.pop(side).close()


@contextmanager
def feature_file(
    path: Path, *, n: int, dim: int
) -> Iterator[Callable[[NDArray[np.float32]], None]]:
    """Yield a function that appends vectors (k, dim) to a .npy, which gets its name on success.

    Raises:
        ValueError: vectors of another length, or another number of them than `n`.
        OSError: the disk is full.
    """
    digest, n_written = hashlib.sha256(), 0
    header = io.BytesIO()
    fields = {"descr": "<f4", "fortran_order": False, "shape": (n, dim)}
    np.lib.format.write_array_header_1_0(header, fields)
    with atomic_write(path) as temporary, temporary.open("wb") as file:

        def write(data: bytes) -> None:
            digest.update(data)
            file.write(data)

        def append(rows: NDArray[np.float32]) -> None:
            nonlocal n_written
            if rows.ndim != 2 or rows.shape[1] != dim:
                raise ValueError(f"{path.name}: want (k, {dim}), got {rows.shape}")
            write(np.ascontiguousarray(rows, dtype="<f4").tobytes())
            n_written += len(rows)

        write(header.getvalue())
        yield append
        if n_written != n:
            raise ValueError(f"{path.name}: {n_written} vectors came, not {n}")
        file.write(digest.digest())


def n_windows(n_frames: int, *, stride: int) -> int:
    """Return how many windows of 16 frames a clip has; last frames that fill none are left out."""
    return max(0, (n_frames - WINDOW_FRAMES) // stride + 1)


def read_features(path: Path, *, n: int, dim: int) -> NDArray[np.float32] | None:
    """Return the (n, dim) float32 vectors of a file, memory-mapped.

    None if the file is absent, damaged, or holds another number of vectors: compute it again then.
    """
    try:
        if not _is_complete(path):
            return None
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return found if found.shape == (n, dim) and found.dtype == np.float32 else None


def _is_complete(path: Path) -> bool:
    """Whether a file ends with the sha256 of what precedes it."""
    digest = hashlib.sha256()
    with open_regular(path) as file:
        left = os.fstat(file.fileno()).st_size - digest.digest_size
        while left > 0 and (piece := file.read(min(left, _PIECE_BYTES))):
            digest.update(piece)
            left -= len(piece)
        return left == 0 and file.read() == digest.digest()


def mark_used(path: Path) -> None:
    """Record that an entry was read: the least recently used ones are removed first.

    The access time is set explicitly, since many file systems don't update it.
    """
    with contextlib.suppress(OSError):  # a cache that others share may be read-only
        os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))


Maker = Callable[[Sequence[NDArray[np.uint8]]], NDArray[np.float32]]
"""Takes the next frames of a clip and returns the vectors (k, dim) they complete."""


class FeatureMeter:
    """Computes features of both clips; those of the real clip only if they are not cached.

    The files get their final names after the clip has ended without an error.

    Args:
        setting: of the clip; has the paths of the features.
        n: number of vectors of a clip of this length.
        dim: their length.
        make_maker: returns the maker for one clip; called once for each side.
    """

    def __init__(
        self, setting: ClipSetting, *, n: int, dim: int, make_maker: Callable[[], Maker]
    ) -> None:
        def begun(path: Path) -> Callable[[NDArray[np.float32]], None]:
            return setting.cleanup.enter_context(feature_file(path, n=n, dim=dim))

        self._generated, self._real = begun(setting.generated_features), None
        if read_features(setting.real_features, n=n, dim=dim) is None:
            self._real = begun(setting.real_features)
        else:
            mark_used(setting.real_features)
        self._make_generated, self._make_real = make_maker(), make_maker()

    def update(self, chunk: FrameChunk) -> None:
        """See `Meter.update`."""
        self._generated(self._make_generated(chunk.generated))
        if self._real is not None:
            self._real(self._make_real(chunk.real))

    def finish(self) -> dict[str, NDArray[np.float64]]:
        """There are no columns."""
        return {}


class RealSkeletons:
    """Skeletons of a real clip: detected once, then read again by every scoring against it.

    Args:
        path: where they are cached, named by content: an undamaged file is valid.
        finder: detects them if they are not cached.
        n_frames: of the clip.
        size_px: width and height of the clip.
    """

    def __init__(
        self, path: Path, finder: SkeletonFinder, *, n_frames: int, size_px: tuple[int, int]
    ) -> None:
        self._path, self._finder, self._size_px = path, finder, size_px
        self._kept = _read_skeletons(path, n_frames)
        self._found: list[PoseChunk] = []
        self._at = 0

    def next(self, images: Sequence[NDArray[np.uint8]]) -> PoseChunk:
        """Return the skeletons of the next frames."""
        if self._kept is None:
            self._found.append(self._finder.find(images))
            return self._found[-1]
        part = slice(self._at, self._at + len(images))
        self._at = part.stop
        return PoseChunk(keypoints=self._kept.keypoints[part], scores=self._kept.scores[part])

    def keep(self, suite: DetectorSuite) -> None:
        """Write the detected skeletons to the cache, after the clip has ended."""
        if self._kept is None and self._found:
            pose = WholeBodyPose(
                keypoints=np.concatenate([chunk.keypoints for chunk in self._found]),
                scores=np.concatenate([chunk.scores for chunk in self._found]),
                width_px=self._size_px[0],
                height_px=self._size_px[1],
                source=suite.source,
                model_digest=suite.skeleton_digest,
            )
            save_pose(self._path, pose)


def _read_skeletons(path: Path, n_frames: int) -> WholeBodyPose | None:
    try:
        pose = load_pose(path)
    except MediaError:
        return None
    if len(pose) != n_frames:
        return None
    mark_used(path)
    return pose
