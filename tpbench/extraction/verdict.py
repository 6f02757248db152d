"""What a filter says of a span."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One filter's answer, kept whether it let the span pass or not."""

    kept: bool
    code: str
    """Short and stable: `face.too_small`. Names what is wrong when `kept` is False."""

    measurement: str
    """Name of the manifest columns: `m_<measurement>` and `t_<measurement>`."""

    measured: float
    """NaN where there was nothing to measure; such a span passes this filter."""

    threshold: float
