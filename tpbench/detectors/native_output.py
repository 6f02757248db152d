"""Keeps what native libraries print away from the user's terminal."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

logger = logging.getLogger(__name__)

_STDERR: Final = 2


@contextmanager
def quiet_native_output() -> Iterator[None]:
    """Redirect the process's standard error to the debug log inside the block. Short spans only."""
    if sys.stderr is not None:
        sys.stderr.flush()
    kept = os.dup(_STDERR)
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), _STDERR)
        try:
            yield
        finally:
            os.dup2(kept, _STDERR)
            os.close(kept)
            caught.seek(0)
            for line in caught.read().decode(errors="replace").splitlines():
                logger.debug("%s", line)
