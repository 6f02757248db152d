from __future__ import annotations

import io
import os
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tpbench.errors import MediaError
from tpbench.wholebody import load_pose, read_npz

MAX_BYTES = 1 << 20


def packed(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def npy(values: NDArray[np.generic]) -> bytes:
    target = io.BytesIO()
    np.save(target, values)
    return target.getvalue()


def header(text: str) -> bytes:
    line = text.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(line).to_bytes(2, "little") + line


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_numpy_writes_is_read_as_it_was(tmp_path: Path, save: object) -> None:
    arrays: dict[str, NDArray[Any]] = {
        "a": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
        "b": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "c": np.array("a digest"),
        "d": np.empty((0, 5)),
        "e": np.array([1, 2], dtype=">i2"),
    }
    assert callable(save)
    save(tmp_path / "x.npz", **arrays)
    found = read_npz(tmp_path / "x.npz", max_bytes=MAX_BYTES)
    assert found.keys() == arrays.keys()
    for name, values in arrays.items():
        np.testing.assert_array_equal(found[name], values)
        assert (found[name].dtype, found[name].flags.writeable) == (values.dtype, True)


def test_zeros_that_unpack_to_gigabytes_are_refused_by_their_header(tmp_path: Path) -> None:
    path = packed(
        tmp_path / "x.npz",
        {"a.npy": header("{'descr': '<f4', 'fortran_order': False, 'shape': (3000000, 133, 2), }")},
    )
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"unpacks to more than 1,048,576 bytes \(a: float32"):
            read_npz(path, max_bytes=MAX_BYTES)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


def test_many_small_arrays_count_together(tmp_path: Path) -> None:
    zeros = np.zeros(30_000)
    path = packed(tmp_path / "x.npz", {f"a{at}.npy": npy(zeros) for at in range(5)})
    with pytest.raises(ValueError, match="unpacks to more than"):
        read_npz(path, max_bytes=MAX_BYTES)


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"a.npy": header("{'descr': '|O', 'fortran_order': False, 'shape': (2,), }")}, "objects"),
        (
            {"a.npy": header("{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }")},
            "a has another length than its header",
        ),
        ({"a.npy": npy(np.zeros(3)) + b"more"}, "a has another length than its header"),
        (
            {"a.npy": header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, -3), }")},
            "a has an invalid shape",
        ),
        ({"a.npy": npy(np.zeros(3)), "a": npy(np.ones(3))}, "two arrays with the name 'a'"),
        ({"a.npy": header("__import__('os').getcwd()")}, "malformed"),
        (
            {"a.npy": header("{'descr': '<U2000000000', 'fortran_order': False, 'shape': (), }")},
            "(?s).",
        ),
        ({"a.npy": header("[" * 90)}, "(?s)."),
        ({"a.txt": b"hello"}, "magic"),
    ],
)
def test_arrays_that_are_no_plain_numbers_of_their_stated_size_are_refused(
    tmp_path: Path, members: dict[str, bytes], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        read_npz(packed(tmp_path / "x.npz", members), max_bytes=MAX_BYTES)


@pytest.mark.parametrize("cut", [0, 10, 200, -30])
def test_a_damaged_file_is_a_value_error(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "x.npz"
    np.savez_compressed(path, a=np.random.default_rng(0).random(100))
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ValueError, match="not an npz file"):
        read_npz(path, max_bytes=MAX_BYTES)


def test_flipped_bytes_are_a_value_error_or_leave_the_arrays_right(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    values = np.random.default_rng(0).random(20)
    np.savez_compressed(path, a=values)
    whole = path.read_bytes()
    for at in range(0, len(whole), 3):
        damaged = bytearray(whole)
        damaged[at] ^= 0x21
        path.write_bytes(damaged)
        try:
            found = read_npz(path, max_bytes=MAX_BYTES)
        except ValueError:
            continue
        np.testing.assert_array_equal(next(iter(found.values())), values)


def test_a_pose_of_zeros_that_unpacks_to_gigabytes_is_refused_in_one_line(tmp_path: Path) -> None:
    shape = "'fortran_order': False, 'shape': (3000000, 133, 2), }"
    path = packed(
        tmp_path / "x.npz",
        {
            "size_px.npy": npy(np.array([64, 64])),
            "keypoints.npy": header("{'descr': '<f4', " + shape),
        },
    )
    with pytest.raises(MediaError, match=r"x\.npz: not a keypoints file of tpbench \(unpacks to"):
        load_pose(path)


@pytest.mark.timeout(20)
def test_a_named_pipe_in_place_of_a_pose_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.npz")
    with pytest.raises(MediaError, match="is a named pipe, not a regular file"):
        load_pose(tmp_path / "x.npz")
