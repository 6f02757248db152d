"""Reading npz files that anybody may have written, at a bounded cost.

A zip of two megabytes can hold arrays of gigabytes. Each array says its size in a header of its
own, so that is read first. Nothing is ever unpickled.
"""

from __future__ import annotations

import errno
import math
import os
import zipfile
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np

from tpbench.files import open_regular

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_MAX_ARRAYS: Final = 4096
_MAX_HEADER_BYTES: Final = 10_000


def read_npz(path: Path, *, max_bytes: int) -> dict[str, NDArray[Any]]:
    """Return all arrays of an npz file by name.

    Args:
        path: a regular file, as `numpy.savez` or `savez_compressed` writes it.
        max_bytes: of all arrays together, unpacked. The file itself may not be larger by much.

    Raises:
        ValueError: it is no npz, is damaged, holds objects, or more than `max_bytes`.
        OSError: it is not there, is no regular file, or can't be read.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > max_bytes + (1 << 20):
            msg = f"has {size:,} bytes, where {max_bytes:,} are the most that is read"
            raise ValueError(msg)
        try:
            with zipfile.ZipFile(file) as archive:
                return _arrays(archive, max_bytes)
        except ValueError:
            raise
        except Exception as error:  # zipfile, zlib, lzma and NumPy have a dozen kinds for bad bytes
            # A place before the start of the file is an OSError too, but no fault of the disk.
            if isinstance(error, OSError) and error.errno != errno.EINVAL:
                raise
            msg = f"is no npz file, or damaged ({error})"
            raise ValueError(msg) from error


def _arrays(archive: zipfile.ZipFile, max_bytes: int) -> dict[str, NDArray[Any]]:
    members = archive.infolist()
    if len(members) > _MAX_ARRAYS:
        msg = f"holds {len(members):,} arrays, where {_MAX_ARRAYS:,} are the most that is read"
        raise ValueError(msg)
    found: dict[str, NDArray[Any]] = {}
    left = max_bytes
    for member in members:
        name = member.filename.removesuffix(".npy")
        if name in found:
            msg = f"holds two arrays with the name {name!r}"
            raise ValueError(msg)
        with archive.open(member) as stored:
            shape, fortran, dtype = _header(stored, name)
            n_bytes = math.prod(shape) * dtype.itemsize
            left -= n_bytes
            if left < 0:
                msg = f"unpacks to more than {max_bytes:,} bytes ({name}: {dtype} of {shape})"
                raise ValueError(msg)
            values = bytearray(stored.read(n_bytes))
            if len(values) != n_bytes or stored.read(1):
                msg = f"{name} has another length than it says"
                raise ValueError(msg)
        flat = np.frombuffer(values, dtype=dtype) if n_bytes else np.empty(0, dtype)
        found[name] = flat.reshape(shape, order="F" if fortran else "C")
    return found


def _header(stored: IO[bytes], name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(stored)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stored, _MAX_HEADER_BYTES)
    elif version == (2, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(stored, _MAX_HEADER_BYTES)
    else:
        msg = f"{name} is an array of an unknown version {version}"
        raise ValueError(msg)
    if dtype.hasobject:
        msg = f"{name} holds objects, which would have to be unpickled"
        raise ValueError(msg)
    if any(length < 0 for length in shape):
        msg = f"{name} has no shape: {shape}"
        raise ValueError(msg)
    return shape, fortran, dtype
