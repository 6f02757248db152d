from __future__ import annotations

import contextlib
import logging
import os
import sys

import pytest

from tpbench.detectors.native_output import quiet_native_output


def test_what_native_code_writes_goes_to_the_debug_log(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG), quiet_native_output():
        os.write(2, b"W0000 chatter\n")
    assert capfd.readouterr().err == ""
    assert "W0000 chatter" in caplog.messages


def test_errors_are_seen_again_afterwards(capfd: pytest.CaptureFixture[str]) -> None:
    with contextlib.suppress(RuntimeError), quiet_native_output():
        raise RuntimeError
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


def test_what_python_wrote_before_comes_out(capfd: pytest.CaptureFixture[str]) -> None:
    sys.stderr.write("before")
    with quiet_native_output():
        pass
    assert capfd.readouterr().err == "before"
