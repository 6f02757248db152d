"""Keeping what native libraries print off the terminal.

MediaPipe and LiteRT write to the process's standard error when a model is loaded and run for the
first time, past Python and past every log level. It breaks progress bars and helps nobody, so it
goes to the debug log. What MediaPipe says later can still slip through, such as its one warning of
the first picture that malloc put at an address it has to copy from. With every picture guarded, the
progress bar's own output would be caught, too.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger(__name__)

_STDERR: Final = 2


@contextmanager
def quiet_native_output() -> Iterator[None]:
    """Send the process's standard error to the debug log meanwhile. Short spans only."""
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
