"""Tables and colours on a terminal: what stands in them can't steer it."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.segment import Segment

from tpbench.foreign import printable_lines


class CleanConsole(Console):
    """A console whose texts are escaped; styles and the cursor are its own affair."""

    def _render_buffer(self, buffer: Iterable[Segment]) -> str:
        return super()._render_buffer(
            Segment(printable_lines(text), style, control) if not control else segment
            for segment in buffer
            for text, style, control in [segment]
        )
