"""What libav's decoders say while they decode: some find damage and only log it.

FFV1 shows a picture whose checksum is wrong, and says so in the log alone. Lines of level "error"
that are written while one packet is decoded are about that packet, if the decoder works in the
calling thread; so they count as damage unless they are known to be about something else than the
picture.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_HARMLESS_PARTS: Final = (
    # Messages beside the picture: what a camera adds, colours, captions, screens.
    r"\bSEI\b",
    r"APP fields",
    r"\b(Exif|EXIF|ICC|XMP|A53|side data|metadata)\b",
    r"mastering display",
    r"film grain",
    # Parameter sets without a picture, or more in them than is used.
    r"^no frame!",
    r"^VUI|VUI parameters|hrd param",
    # Direct prediction across scene cuts: the picture is whole.
    r"co located POCs unavailable",
    # Ends and fillings between pictures.
    r"EOI missing",
    r"Invalid NAL unit 0",
    r"Skipping NAL unit|Skipped NAL|unknown NAL",
    # Bookkeeping of references that nothing leans on any more.
    r"mmco: unref short failure",
    r"number of reference frames .* exceeds max",
)
_HARMLESS: Final = re.compile("|".join(_HARMLESS_PARTS))
"""Lines about something else than the picture, or that leave it whole."""

TOO_LARGE: Final = "max pixel count"
"""Part of what is logged when a picture is larger than the decoder was told to allow."""


def damage_in(lines: Iterable[tuple[int, str, str]]) -> str | None:
    """Return the first line that tells of damage.

    Args:
        lines: level, name of the decoder and text, as `av.logging.Capture` collects them.
    """
    import av.logging

    for level, name, line in lines:
        text = " ".join(line.split())
        if level <= av.logging.ERROR and text and not _HARMLESS.search(text):
            return f"{name}: {text}" if name else text
    return None


def listen() -> None:
    """Let PyAV hand on error lines, which it throws away otherwise; elsewhere they stay unseen."""
    import av.logging

    level = av.logging.get_level()
    if level is None or level < av.logging.ERROR:
        av.logging.set_level(av.logging.ERROR)
        # What no decoder is listening for would be printed.
        logging.getLogger("libav").setLevel(logging.CRITICAL + 1)
    # The same line about another file is another damage.
    av.logging.set_skip_repeated(False)
