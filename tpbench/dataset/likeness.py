"""Whether two videos show the same pictures: coarse marks of sampled frames, and a distance.

A frame is averaged to 16 x 16 cells of brightness. Its marks are the signs of strong differences
between neighbouring cells, and of strong changes of a cell since the frame sampled before. They are
bits, two per difference, and no picture. Encoding at another bitrate, size or colour range turns
hardly any sign round; other pictures don't have them. The changes over time tell another moment
of the same talk apart, in which most of the picture is the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from tpbench.video import decode_frames, probe

GRID: Final = 16
"""Cells of a frame in each direction."""
N_SHAPE: Final = 2 * GRID * (GRID - 1)
"""Differences between neighbouring cells: to the right, then downwards."""
N_MOTION: Final = GRID * GRID
_STRONG_LEVELS: Final = 6.0
"""Differences below this are not marked: encoding may turn them round."""
_CONFIRMED_LEVELS: Final = 2.0
"""A marked difference is confirmed if it has the same sign and at least this size."""
_LEAST_MOTION: Final = 32
"""With fewer marked changes over the whole clip, motion says nothing: the person stands still."""
_SAMPLES_PER_S: Final = 2
_MOST_SAMPLES: Final = 64
_READ_PX: Final = 128
"""Size to which frames of a video are shrunk before they are averaged."""
_LUMA: Final = np.array([0.299, 0.587, 0.114], dtype=np.float32)

SAME_LIMIT: Final = 0.15
"""Up to this distance, pictures are the same, encoded again.

Measured on clips of 100 frames of two real talks at 23 frames a second. Encoded again, H.264 at crf
23 to 35, VP9 at crf 40, or 256 px wide: at most 0.004; at 144 px 0.04; at crf 45, where faces are
blocks, 0.11. The same talk a frame later 0.01 to 0.06, 5 frames later 0.19 to 0.42, a second later
0.53 to 0.80; the other talk 0.74 to 0.92.
"""


def sampled_frames(n_frames: int, fps: Fraction) -> range:
    """Return the numbers of the frames that are marked: two a second, at most 64 in all.

    >>> list(sampled_frames(40, Fraction(25)))
    [0, 12, 24, 36]
    """
    step = max(1, int(fps / _SAMPLES_PER_S), -(-n_frames // _MOST_SAMPLES))
    return range(0, n_frames, step)


def grid_of(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the mean brightness of 16 x 16 cells of a (H, W, 3) uint8 RGB image, 0..255."""
    cells = cv2.resize(image, (GRID, GRID), interpolation=cv2.INTER_AREA)
    return np.asarray(cells.astype(np.float32) @ _LUMA, dtype=np.float32)


def grids_of(path: Path) -> Iterator[NDArray[np.float32]]:
    """Yield `grid_of` the sampled frames of a video.

    Raises:
        MediaError: it can't be read.
    """
    info = probe(path)
    wanted = sampled_frames(info.frame_count, info.fps)
    for frame in decode_frames(path, info=info):
        if frame.index in wanted:
            yield grid_of(frame.to_rgb(max_side_px=_READ_PX))


def _shape(grid: NDArray[np.float32]) -> NDArray[np.float32]:
    right, down = np.diff(grid, axis=1), np.diff(grid, axis=0)
    return np.concatenate([right.ravel(), down.ravel()])


def _signs(differences: NDArray[np.float32]) -> NDArray[np.int8]:
    strong = np.abs(differences) >= _STRONG_LEVELS
    return np.asarray(np.where(strong, np.sign(differences), 0), dtype=np.int8)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Marks:
    """The marks of a clip's sampled frames."""

    shape: NDArray[np.int8]
    """(n, 480) -1, 0 or 1: the neighbouring cell is darker, about as bright, or brighter."""
    motion: NDArray[np.int8]
    """(n, 256) -1, 0 or 1: the cell became darker, hardly changed, or brighter since the frame
    before; 0 in the first frame."""

    def __len__(self) -> int:
        return len(self.shape)

    @classmethod
    def of(cls, grids: Iterable[NDArray[np.float32]]) -> Marks:
        """Mark frames.

        Args:
            grids: `grid_of` each sampled frame, in order.
        """
        shape: list[NDArray[np.int8]] = []
        motion: list[NDArray[np.int8]] = []
        before: NDArray[np.float32] | None = None
        for grid in grids:
            shape.append(_signs(_shape(grid)))
            motion.append(_signs((grid - (grid if before is None else before)).ravel()))
            before = grid
        return cls(
            shape=np.array(shape, dtype=np.int8).reshape(-1, N_SHAPE),
            motion=np.array(motion, dtype=np.int8).reshape(-1, N_MOTION),
        )

    def to_bytes(self) -> bytes:
        """Return the marks as two planes of bits per frame: which are positive, which negative."""
        rows = np.concatenate([self.shape, self.motion], axis=1)
        return np.packbits(np.concatenate([rows > 0, rows < 0], axis=1), axis=1).tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> Marks:
        """Read what `to_bytes` wrote.

        Raises:
            ValueError: the length fits no number of frames.
        """
        width = N_SHAPE + N_MOTION
        if not data or len(data) % (2 * width // 8):
            raise ValueError(f"{len(data)} bytes are no marks of frames")
        packed = np.frombuffer(data, np.uint8).reshape(-1, 2 * width // 8)
        bits = np.unpackbits(packed, axis=1).astype(np.int8)
        rows = bits[:, :width] - bits[:, width:]
        return cls(shape=rows[:, :N_SHAPE], motion=rows[:, N_SHAPE:])


class Comparison:
    """Compares frames with the marks of a clip, one at a time.

    Args:
        marks: of the clip.
    """

    def __init__(self, marks: Marks) -> None:
        self._marks = marks
        self._before: NDArray[np.float32] | None = None
        self._next = 0
        self._lost = {"shape": 0, "motion": 0}
        self._marked = {"shape": 0, "motion": 0}

    def add(self, grid: NDArray[np.float32]) -> None:
        """Compare the next sampled frame, given as `grid_of` does; further ones are ignored."""
        if self._next >= len(self._marks):
            return
        self._count("shape", self._marks.shape[self._next], _shape(grid))
        if self._before is not None:
            self._count("motion", self._marks.motion[self._next], (grid - self._before).ravel())
        self._before = grid
        self._next += 1

    def _count(self, what: str, signs: NDArray[np.int8], seen: NDArray[np.float32]) -> None:
        self._marked[what] += int(np.count_nonzero(signs))
        self._lost[what] += int(np.count_nonzero((signs != 0) & (signs * seen < _CONFIRMED_LEVELS)))

    @property
    def distance(self) -> float:
        """Share of the marks that the frames do not confirm, 0..1: of shapes or of motion.

        The larger of both; see `SAME_LIMIT`. 1 if frames are missing or nothing is marked.
        """
        if self._next < len(self._marks) or not self._marked["shape"]:
            return 1.0
        shape = self._lost["shape"] / self._marked["shape"]
        if self._marked["motion"] < _LEAST_MOTION:
            return shape
        return max(shape, self._lost["motion"] / self._marked["motion"])


def distance_of(path: Path, marks: Marks) -> float:
    """Return the `Comparison.distance` of a video from the marks of a clip.

    Raises:
        MediaError: it can't be read.
    """
    comparison = Comparison(marks)
    for grid in grids_of(path):
        comparison.add(grid)
    return comparison.distance
