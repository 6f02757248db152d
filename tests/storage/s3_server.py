"""moto's S3 server, in a process of its own."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_PATIENCE_S: Final = 60.0
KEYS: Final = {
    "AWS_ACCESS_KEY_ID": "made-up",
    "AWS_SECRET_ACCESS_KEY": "made-up",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""Environment of its clients, which need some credentials; it takes any."""


@contextmanager
def s3_server(log: Path | None = None) -> Iterator[str]:
    """Start the server and yield its address; what it prints goes into a file, if one is given."""
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port = chosen.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with (log or Path("/dev/null")).open("wb") as told:
        process = subprocess.Popen(command, stdout=told, stderr=told)
    try:
        end_s = time.monotonic() + _PATIENCE_S
        while not _answers(port):
            assert time.monotonic() < end_s, "the server does not start"
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0
