"""Keeping to ourselves whose videos are looked at.

MediaPipe's library sends usage statistics and has no switch for it. It asks the proxy settings for
its way out, so that is closed: port 9 discards, or refuses. All model files must be on disk before.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAMES: Final = ("https_proxy", "HTTPS_PROXY")
_NOWHERE: Final = "http://127.0.0.1:9"


def send_no_usage_statistics() -> None:
    """Close the way out for good: for processes that do nothing else."""
    for name in _NAMES:
        os.environ[name] = _NOWHERE


@contextmanager
def no_usage_statistics() -> Iterator[None]:
    """Close the way out while the block runs; other requests of this process fail as well."""
    before = {name: os.environ.get(name) for name in _NAMES}
    send_no_usage_statistics()
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
