"""Still pictures and frozen streams."""

from __future__ import annotations

from typing import ClassVar

from tpbench.extraction.evidence import Evidence
from tpbench.extraction.filters.base import Direction, ScreeningFilter
from tpbench.extraction.statistics import share

MOVING_LEVELS = 0.4
"""Mean CIELAB difference above which two samples half a second apart are not the same picture.

A frozen picture, encoded again, stays below 0.1; the calmest half second of the talks it was set on
has 1.2.
"""


class Still(ScreeningFilter):
    """The share of half-second steps in which anything moves."""

    __slots__ = ()

    code: ClassVar[str] = "motion.static"
    measurement: ClassVar[str] = "moving_share"
    title: ClassVar[str] = "Time in motion"
    unit: ClassVar[str] = ""
    direction: ClassVar[Direction] = "at_least"

    def measure(self, evidence: Evidence) -> float:
        """Return the share of neighbouring samples that differ by more than `MOVING_LEVELS`."""
        return share(evidence.motion > MOVING_LEVELS)
