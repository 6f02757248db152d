"""The filter interface: one number of the evidence compared with one threshold."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from tpbench.dataset import Measurement
from tpbench.extraction.measures import Evidence, finite_percentile

Seen_contra = TypeVar("Seen_contra", bound=Evidence, contravariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One filter's answer, recorded whether the span passed or not."""

    kept: bool
    code: str
    """Short and stable: `face.too_small`. Names what is wrong when `kept` is False."""
    measurement: str
    """Name of the manifest columns: `m_<measurement>` and `t_<measurement>`."""
    measured: float
    """NaN where there was nothing to measure; such a span passes this filter."""
    threshold: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseen:
    """The most that can follow of a span that was seen in part."""

    frames: int
    samples: int
    """How many of these frames are sampled, as about two a second are."""


_HUGE: Final = 1e300
"""Better, or worse, than any measured value, and still finite."""


def best_share(hits: NDArray[np.bool_], more: int) -> float:
    """Return the share of hits, 0..1, if all `more` values that follow are hits."""
    total = hits.size + more
    return (np.count_nonzero(hits) + more) / total if total else float("nan")


def highest_percentile(values: NDArray[np.floating], q: float, more: int) -> float:
    """Return the q-th percentile of the finite values if `more` values follow, all of them high."""
    known = values[np.isfinite(values)].ravel()
    return finite_percentile(np.concatenate([known, np.full(more, _HUGE)]), q)


def lowest_percentile(values: NDArray[np.floating], q: float, more: int) -> float:
    """Return the q-th percentile of the finite values if `more` values follow, all of them low."""
    return -highest_percentile(-values, 100 - q, more)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter(Generic[Seen_contra]):
    """A declared filter. One that does more than compare overrides `judge`."""

    measurement: Measurement
    """The measured number: its reject code, its name (ending in its unit), its description, and
    which side of the threshold is kept; the threshold itself is kept, too."""
    measure: Callable[[Seen_contra], float]
    """Returns the number; NaN where there is nothing to measure."""
    per_frame: Callable[[Seen_contra], NDArray[Any]] | None = None
    """Returns what the number is a mean, median or share of: one value per frame, or per sampled
    frame. None if it describes the span as a whole."""
    best_case: Callable[[Seen_contra, Unseen], float] | None = None
    """Returns the number nearest to being kept that the span can still have, given its first frames
    and how many may follow: none that it can end at is nearer. None if that can't be said."""

    @property
    def code(self) -> str:
        """The reject code, which is also the filter's name in presets."""
        return self.measurement.code

    def judge(self, evidence: Seen_contra, threshold: float) -> Verdict:
        """Measure and compare."""
        measured = self.measure(evidence)
        return Verdict(
            kept=math.isnan(measured) or self.measurement.passes(measured, threshold),
            code=self.code,
            measurement=self.measurement.name,
            measured=measured,
            threshold=threshold,
        )

    def surely_rejects(
        self, seen: Seen_contra, threshold: float, unseen: Unseen, *, slack: float
    ) -> bool:
        """Whether a span that was seen in part will be rejected, whatever follows.

        Args:
            seen: its first frames.
            threshold: of the filter.
            unseen: what may follow.
            slack: share of the threshold by which the best case must fail it, for rounding.
        """
        if self.best_case is None:
            return False
        best = self.best_case(seen, unseen)
        up = slack * max(1.0, abs(threshold))
        nearer = best + (up if self.measurement.direction == "at_least" else -up)
        return not math.isnan(best) and not self.measurement.passes(nearer, threshold)

    def deciding_frame(self, evidence: Seen_contra, verdict: Verdict) -> int:
        """Return the frame that shows best why a span was rejected, from 0 at its start.

        Of the frames that would themselves be rejected, the one nearest to the measured number; of
        equal ones, and where the number describes the span as a whole, the middle one.
        """
        if self.per_frame is None:
            return evidence.n_frames // 2
        values = np.asarray(self.per_frame(evidence), dtype=np.float64)
        known = np.isfinite(values)
        passes = (
            values >= verdict.threshold
            if self.measurement.direction == "at_least"
            else values <= verdict.threshold
        )
        judged = known & ~passes if (known & ~passes).any() else known
        if not judged.any():
            return evidence.n_frames // 2
        distance = np.where(judged, np.abs(values - verdict.measured), np.inf)
        nearest = np.flatnonzero(distance == distance.min())
        return int(evidence.frames_of(len(values))[nearest[len(nearest) // 2]])
