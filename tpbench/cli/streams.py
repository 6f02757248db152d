"""What a command prints: whatever name or message is in it, it can't steer the terminal."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

from tpbench.foreign import printable, printable_lines

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TextIO


class CleanStream:
    """A text stream that escapes control characters; lines and tabs stay.

    Args:
        stream: what is written to.
    """

    def __init__(self, stream: TextIO) -> None:
        self.rich_proxied_file = stream
        """Where `rich` looks for the stream behind this one: it cleans texts itself, and styles and
        the cursor have to get through."""

    def write(self, text: str) -> int:
        """Write text; what steers a terminal is written as JSON's escapes."""
        self.rich_proxied_file.write(printable_lines(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write one text after the other."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - all else is the stream's own
        return getattr(self.rich_proxied_file, name)


class CleanFormatter(logging.Formatter):
    """Formats log lines: the message is one line that can't steer a terminal."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        """Return the line of a record; a traceback may follow it."""
        record.message = printable(record.message)
        return super().formatMessage(record)


def clean_streams() -> None:
    """Clean what is printed from now on."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, CleanStream):
            setattr(sys, name, CleanStream(stream))
