"""The filter seam: a filter measures one number and holds it against one threshold."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Generic, Literal, TypeVar

from tpbench.extraction.evidence import ClipEvidence, Evidence
from tpbench.extraction.verdict import Verdict

Seen_contra = TypeVar("Seen_contra", bound=Evidence, contravariant=True)

Direction = Literal["at_least", "at_most"]
"""Which side of the threshold is kept; the threshold itself is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter(ABC, Generic[Seen_contra]):
    """Measures one number on the evidence of a span and judges it.

    A subclass states the class variables and `measure`. It inherits from `ScreeningFilter` when the
    cheap evidence is enough, otherwise from `ClipFilter`.
    """

    code: ClassVar[str]
    """The reject code."""

    measurement: ClassVar[str]
    """Name of the measured number, with its unit."""

    title: ClassVar[str]
    """What the number is, for people: the heading of its histogram."""

    unit: ClassVar[str]
    """Unit for people; empty for plain ratios."""

    direction: ClassVar[Direction]

    threshold: float

    @abstractmethod
    def measure(self, evidence: Seen_contra) -> float:
        """Return the number this filter judges; NaN where there is nothing to measure."""

    def judge(self, evidence: Seen_contra) -> Verdict:
        """Measure and compare."""
        measured = self.measure(evidence)
        if math.isnan(measured):
            kept = True
        elif self.direction == "at_least":
            kept = measured >= self.threshold
        else:
            kept = measured <= self.threshold
        return Verdict(
            kept=kept,
            code=self.code,
            measurement=self.measurement,
            measured=measured,
            threshold=self.threshold,
        )


class ScreeningFilter(Filter[Evidence]):
    """A filter that the cheap evidence of the screening pass is enough for."""

    __slots__ = ()


class ClipFilter(Filter[ClipEvidence]):
    """A filter that needs the tracked person at full rate."""

    __slots__ = ()
