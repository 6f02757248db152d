"""What the header of a file states of its video; nothing of it is certain."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final

import av

from tpbench.errors import MediaError
from tpbench.video.source import main_video, open_container

_FEWEST_BYTES_PER_S: Final = 250
"""2 kbit/s, less than any video of a person has: a header that implies fewer is not believed."""


def stated_duration_s(path: Path) -> float | None:
    """Return how long a video is by its header, s; None if that is not stated, or can't be true.

    Reads the beginning of the file, and its end where the format has its index there. `probe`
    counts the pictures, which takes as long as reading the whole file.
    """
    try:
        with open_container(path) as container:
            video = main_video(container)
            if video is None:
                return None
            duration_s = float((video.duration or 0) * (video.time_base or 0))
            if duration_s <= 0 and container.duration is not None:
                duration_s = container.duration / av.time_base
        size_bytes = path.stat().st_size
    except (MediaError, OSError, ValueError, OverflowError):
        return None
    if not math.isfinite(duration_s) or not 0 < duration_s <= size_bytes / _FEWEST_BYTES_PER_S:
        return None
    return duration_s
