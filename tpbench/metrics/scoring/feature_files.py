"""Feature vectors on disk: one .npy per clip and network, written as they come.

Behind the array stands the sha256 of all that precedes it, which NumPy doesn't look at: a file that
was damaged is not taken for features.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import secrets
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from tpbench.files import open_regular
from tpbench.metrics.curves import WINDOW_FRAMES

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

    from numpy.typing import NDArray


_PIECE_BYTES: Final = 1 << 20


class FeatureWriter:
    """Writes vectors whose number is known beforehand, aside; `commit` gives them their name.

    Args:
        path: where the .npy shall be; an older one is replaced.
        n: how many vectors will come.
        dim: their length.
    """

    def __init__(self, path: Path, *, n: int, dim: int) -> None:
        self.path = path
        self._shape = (n, dim)
        self._n_written = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        self._temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        self._file: BinaryIO | None = self._temporary.open("wb")
        self._digest = hashlib.sha256()
        header = io.BytesIO()
        fields = {"descr": "<f4", "fortran_order": False, "shape": self._shape}
        np.lib.format.write_array_header_1_0(header, fields)
        self._write(self._file, header.getvalue())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def append(self, rows: NDArray[np.float32]) -> None:
        """Add vectors, (k, dim), k may be 0.

        Raises:
            OSError: the disk is full.
        """
        if self._file is None or rows.ndim != 2 or rows.shape[1] != self._shape[1]:
            msg = f"{self.path.name}: want (k, {self._shape[1]}) before the end, got {rows.shape}"
            raise ValueError(msg)
        self._write(self._file, np.ascontiguousarray(rows, dtype="<f4").tobytes())
        self._n_written += len(rows)

    def commit(self) -> None:
        """End the file and give it its name.

        Raises:
            ValueError: fewer or more vectors came than were announced.
            OSError: the disk is full.
        """
        if self._file is None or self._n_written != self._shape[0]:
            msg = f"{self.path.name}: {self._n_written} vectors came, not {self._shape[0]}"
            raise ValueError(msg)
        self._file.write(self._digest.digest())
        self._file.close()
        self._file = None
        self._temporary.replace(self.path)

    def discard(self) -> None:
        """Forget what was not committed. Harmless afterwards, and when repeated."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None
        self._temporary.unlink(missing_ok=True)

    def _write(self, file: BinaryIO, data: bytes) -> None:
        self._digest.update(data)
        file.write(data)


def n_windows(n_frames: int, *, stride: int) -> int:
    """Return how many windows of 16 frames a clip gives; frames that fill none are left out."""
    return max(0, (n_frames - WINDOW_FRAMES) // stride + 1)


def read_features(path: Path, *, n: int, dim: int) -> NDArray[np.float32] | None:
    """Return the (n, dim) float32 vectors of a file, read as they are used.

    None where the file is absent, damaged, or holds another number of vectors: make it again then.
    """
    try:
        if not _is_whole(path):
            return None
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return found if found.shape == (n, dim) and found.dtype == np.float32 else None


def _is_whole(path: Path) -> bool:
    """Whether a file ends with the sha256 of what precedes it."""
    digest = hashlib.sha256()
    with open_regular(path) as file:
        left = os.fstat(file.fileno()).st_size - digest.digest_size
        while left > 0 and (piece := file.read(min(left, _PIECE_BYTES))):
            digest.update(piece)
            left -= len(piece)
        return left == 0 and file.read() == digest.digest()
