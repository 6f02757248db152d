from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tpbench.errors import ConfigError, MediaError, TPBenchError
from tpbench.files import atomic_write_text
from tpbench.work.faults import explain_halts, machine_fault, ran_out, why_halt


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_disk_that_takes_no_more_is_one_line_with_the_place(number: int) -> None:
    error = OSError(number, os.strerror(number), "manifest.parquet")
    with pytest.raises(TPBenchError) as raised, explain_halts(Path("dataset")):
        raise error
    line = str(raised.value)
    assert line.startswith(f"manifest.parquet: {os.strerror(number)}; ")
    assert line.endswith("run again")


def test_a_folder_in_the_place_of_a_file_is_named_itself(tmp_path: Path) -> None:
    (tmp_path / "scores.json").mkdir()
    with pytest.raises(TPBenchError) as raised, explain_halts(tmp_path):
        atomic_write_text(tmp_path / "scores.json", "{}")
    assert str(raised.value).startswith(f"{tmp_path / 'scores.json'}: Is a directory; ")


def test_the_folder_is_named_where_the_error_names_no_file() -> None:
    with pytest.raises(TPBenchError, match=r"^dataset: No space"), explain_halts(Path("dataset")):
        raise OSError(errno.ENOSPC, "Error writing bytes to file")


def test_a_full_disk_is_seen_behind_a_librarys_own_error() -> None:
    library = RuntimeError("can't encode")
    library.__cause__ = OSError(errno.ENOSPC, "")
    assert why_halt(library) == (
        "No space left on device; the run has stopped, what is finished is kept: "
        "put that right and run again"
    )


@pytest.mark.parametrize(
    "error", [KeyError("x"), OSError(errno.EACCES, "no"), ConfigError("x"), KeyboardInterrupt()]
)
def test_all_else_passes(error: BaseException) -> None:
    with pytest.raises(type(error)) as raised, explain_halts(Path("dataset")):
        raise error
    assert raised.value is error


def test_an_error_that_is_its_own_cause_is_looked_at_once() -> None:
    error = KeyError("x")
    error.__cause__ = error
    assert why_halt(error) is None


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.EMFILE, "Too many open files"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        OSError(errno.EIO, "Input/output error"),
        OSError(errno.ESTALE, "Stale file handle"),
        OSError(errno.ENOTCONN, "Transport endpoint is not connected"),
        PermissionError(errno.EACCES, "Permission denied", "clips"),
        # As pyarrow says it.
        PermissionError(errno.EACCES, "Failed to open local file 'dataset/frames.parquet'"),
        RuntimeError("can't start new thread"),
        ImportError("libx.so: failed to map segment from shared object"),
    ],
)
def test_what_the_machine_lacks_is_one_line_and_no_traceback(error: Exception) -> None:
    stopped = pytest.raises(TPBenchError, match="the run has stopped")
    with stopped as raised, explain_halts(Path("dataset")):
        raise error
    assert "\n" not in str(raised.value)


def test_an_input_that_can_not_be_read_is_no_fault_of_the_machine() -> None:
    error = MediaError("talk.mp4", "can't be read: Permission denied")
    error.__cause__ = PermissionError(errno.EACCES, "Permission denied", "talk.mp4")
    assert machine_fault(error) is None


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.ELOOP])
def test_an_output_folder_that_lost_a_part_is_no_items_fault(number: int) -> None:
    error = OSError(number, os.strerror(number), "/out/clips")
    assert machine_fault(error, where=Path("/elsewhere")) is None
    line = machine_fault(error, where=Path("/out"))
    assert line is not None
    assert line.startswith(f"/out/clips: {os.strerror(number)}; the run has stopped")


def test_a_name_that_is_too_long_is_the_items_own_fault() -> None:
    error = OSError(errno.ENAMETOOLONG, "File name too long", "/out/clips/x.mp4")
    assert machine_fault(error, where=Path("/out")) is None


def test_a_video_that_libav_has_no_memory_for_is_not_said_to_be_broken() -> None:
    error = MediaError("talk.mp4", "can't be read")
    error.__cause__ = OSError(errno.ENOMEM, "Cannot allocate memory")
    assert ran_out(error) == "Cannot allocate memory"
    assert ran_out(MediaError("talk.mp4", "is not a video")) is None
