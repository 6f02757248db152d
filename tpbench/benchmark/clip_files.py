"""Writing the frames of one clip: lossless, preview, and their digest, in one pass."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from tpbench.files import sha256_of
from tpbench.video import LOSSLESS_X264, PREVIEW, VideoWriter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tpbench.baselines.base import AnimationTask
    from tpbench.benchmark.run_folder import RunFolder

Keep = Literal["lossless", "preview"]
"""lossless: exact frames, which scoring needs, and the preview. preview: that alone."""

ENCODING: Final = LOSSLESS_X264
"""Frames are written once and read by every metric and every check. Against FFV1 it takes a third
of the time to write and half to read (512x512: 2.5 and 4 ms against 8 and 9), for a fifth more
bytes (174 kB against 142 kB a frame)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipFiles:
    """What was written of a whole clip."""

    generated_sha256: str | None
    preview_sha256: str
    frames_sha256: str


class ClipWriter:
    """Writes one clip; nothing has its name before `finish`, and `abandon` leaves nothing.

    Args:
        folder: of the run.
        task: says size, rate and id.
        keep: what is written.
    """

    def __init__(self, folder: RunFolder, task: AnimationTask, keep: Keep) -> None:
        self._folder = folder
        self._clip_id = task.clip_id
        self._shape = (task.height_px, task.width_px, 3)
        self._keep = keep
        self._frames = hashlib.sha256()
        self._stack = ExitStack()
        self.n_frames = 0
        paths = [(folder.preview(task.clip_id), PREVIEW)]
        if keep == "lossless":
            paths.append((folder.generated(task.clip_id), ENCODING))
        self._writers = [
            VideoWriter(
                path,
                width_px=task.width_px,
                height_px=task.height_px,
                fps=task.fps,
                encoding=encoding,
            )
            for path, encoding in paths
        ]

    def problem_with(self, index: int, image: NDArray[np.uint8]) -> str | None:
        """Say in what a frame is not the next one of the clip; None if it is."""
        if index != self.n_frames:
            return f"frame {index} came where frame {self.n_frames} was due"
        shape, dtype = getattr(image, "shape", None), getattr(image, "dtype", None)
        if shape != self._shape or dtype != np.uint8:
            return f"frame {index} is {shape} {dtype}, asked for was {self._shape} uint8"
        return None

    def write(self, image: NDArray[np.uint8]) -> None:
        """Append a frame that `problem_with` has nothing against."""
        if self.n_frames == 0:
            for writer in self._writers:
                writer.path.parent.mkdir(parents=True, exist_ok=True)
                self._stack.enter_context(writer)
        self._frames.update(np.ascontiguousarray(image).data)
        for writer in self._writers:
            writer.write(image)
        self.n_frames += 1

    def finish(self) -> ClipFiles:
        """Give the files their names and hash them."""
        self._stack.close()
        generated = self._folder.generated(self._clip_id)
        return ClipFiles(
            generated_sha256=sha256_of(generated) if self._keep == "lossless" else None,
            preview_sha256=sha256_of(self._folder.preview(self._clip_id)),
            frames_sha256=self._frames.hexdigest(),
        )

    def abandon(self) -> None:
        """Leave nothing of what was written so far."""
        void = _VoidError()
        self._stack.__exit__(_VoidError, void, None)


class _VoidError(Exception):
    """Tells the writers that their video is void."""
