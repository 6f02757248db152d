"""Tables and colours on a terminal, with control characters escaped."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.segment import Segment

from tpbench.foreign import printable_lines


class CleanConsole(Console):
    """A console that escapes control characters in texts; its own styles get through."""

    def _render_buffer(self, buffer: Iterable[Segment]) -> str:
        return super()._render_buffer(
            Segment(printable_lines(text), style, control) if not control else segment
            for segment in buffer
            for text, style, control in [segment]
        )
