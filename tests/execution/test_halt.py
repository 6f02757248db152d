from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tpbench.errors import ConfigError, TPBenchError
from tpbench.execution.halt import explain_halts, why_halt


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_disk_that_takes_no_more_is_one_line_with_the_place(number: int) -> None:
    error = OSError(number, os.strerror(number), "manifest.parquet")

    with pytest.raises(TPBenchError) as raised, explain_halts(Path("dataset")):
        raise error

    line = str(raised.value)
    assert line.startswith(f"manifest.parquet: {os.strerror(number)}; ")
    assert line.endswith("run again")


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
