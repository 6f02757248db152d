from __future__ import annotations

import os
import pickle
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tpbench.files import (
    UnfitFileError,
    lies_in,
    open_regular,
    read_bounded,
    require_regular,
    sha256_of,
)

READERS = [open_regular, require_regular, sha256_of, lambda path: read_bounded(path, 10)]


def _fifo(path: Path) -> str:
    os.mkfifo(path)
    return "is a named pipe, not a regular file"


def _socket(path: Path) -> str:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))
    return "is a socket, not a regular file"


def _folder(path: Path) -> str:
    path.mkdir()
    return "is a folder, not a regular file"


def _device(path: Path) -> str:
    path.symlink_to("/dev/zero")
    return "is a device, not a regular file"


def _link_to_a_fifo(path: Path) -> str:
    path.symlink_to(path.with_name("pipe"))
    return _fifo(path.with_name("pipe"))


@pytest.mark.timeout(20)
@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("make", [_fifo, _socket, _folder, _device, _link_to_a_fifo])
def test_what_is_no_regular_file_is_refused_and_never_waited_for(
    tmp_path: Path, make: Callable[[Path], str], read: Callable[[Path], object]
) -> None:
    path = tmp_path / "x.mp4"
    reason = make(path)
    with pytest.raises(UnfitFileError) as refused:
        read(path)
    assert refused.value.strerror == reason


@pytest.mark.parametrize("read", READERS)
def test_a_file_that_is_not_there_is_reported_as_ever(
    tmp_path: Path, read: Callable[[Path], object]
) -> None:
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none")


def test_a_regular_file_is_read_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"content")
    (tmp_path / "link").symlink_to("real")
    with open_regular(tmp_path / "link") as file:
        assert file.read() == b"content"
    assert read_bounded(tmp_path / "link", 7) == b"content"


def test_a_file_larger_than_its_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.json"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(UnfitFileError, match="has 1,099,511,627,776 bytes, more than the limit"):
        read_bounded(path, 1000)


def test_the_error_crosses_processes_with_its_kind_and_words(tmp_path: Path) -> None:
    with pytest.raises(UnfitFileError) as refused:
        require_regular(tmp_path)
    again = pickle.loads(pickle.dumps(refused.value))  # noqa: S301 - our own
    assert (type(again), str(again)) == (UnfitFileError, str(refused.value))


def test_a_link_to_itself_lies_where_it_is(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    assert lies_in(loop, tmp_path)
    assert not lies_in(loop, tmp_path / "other")
