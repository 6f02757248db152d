"""Wheels of the Python package index, downloaded by the user's pip and not installed.

pip is asked rather than the index itself: it knows the user's mirrors, proxies and certificates.
"""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

logger = logging.getLogger(__name__)


class WheelError(Exception):
    """pip could not get the wheel; the message says why."""


def download_wheel(requirement: str, folder: Path) -> Path:
    """Download one wheel into an empty folder and return its path.

    The models in a wheel are the same for all platforms, so one fixed platform and Python version
    are asked for: it works on machines for which the wheel could not be installed.

    Raises:
        WheelError: pip failed, with the last line of what it said.
    """
    command = [
        sys.executable, "-m", "pip", "download",
        "--no-deps", "--only-binary=:all:",
        "--python-version", "3.11", "--platform", "manylinux_2_28_x86_64",
        "--no-input", "--disable-pip-version-check", "--progress-bar", "off",
        "--dest", str(folder), requirement,
    ]  # fmt: skip
    logger.info("getting %s from the package index", requirement)
    result = _run(command)
    if result.returncode != 0:
        lines = [line.strip() for line in result.stderr.splitlines() if line.strip()]
        reason = lines[-1] if lines else f"exit code {result.returncode}"
        raise WheelError(f"pip could not download {requirement} ({reason})")
    wheels = sorted(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise WheelError(f"pip left {len(wheels)} wheels for {requirement}, expected one")
    return wheels[0]


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - a fixed list; the requirement is a row of our own table
        command, capture_output=True, text=True, errors="replace", check=False
    )
