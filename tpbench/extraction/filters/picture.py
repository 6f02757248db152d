"""Filters on the image: its brightness, its motion, and overlays."""

from __future__ import annotations

from typing import Final

from tpbench.dataset import Measurement
from tpbench.extraction.filters.base import (
    Filter,
    best_share,
    highest_percentile,
    lowest_percentile,
)
from tpbench.extraction.measures import Evidence, finite_median, finite_percentile, share

MOVING_LEVELS: Final = 0.4
"""Mean CIELAB difference above which two samples half a second apart differ.

A frozen image, encoded again, stays below 0.1; the calmest half second of the talks used to set it
has 1.2.
"""
EACH: Final = ("image.too_dark", "image.too_bright", "overlay.slides")
"""Filters that reject whatever is made of samples which they reject one by one."""
SCREENING: Final[tuple[Filter[Evidence], ...]] = (
    Filter(
        measurement=Measurement(
            code="image.too_dark",
            name="luminance_levels",
            title="Mean luma",
            unit="levels",
            direction="at_least",
            meaning="How bright the span is at its median.",
        ),
        measure=lambda seen: finite_median(seen.luminance),
        per_frame=lambda seen: seen.luminance,
        best_case=lambda seen, unseen: highest_percentile(seen.luminance, 50, unseen.samples),
    ),
    Filter(
        measurement=Measurement(
            code="image.too_bright",
            name="luminance_p90_levels",
            title="Mean luma, 90th percentile",
            unit="levels",
            direction="at_most",
            meaning="How bright the brightest tenth of the span is.",
        ),
        measure=lambda seen: finite_percentile(seen.luminance, 90),
        per_frame=lambda seen: seen.luminance,
        best_case=lambda seen, unseen: lowest_percentile(seen.luminance, 90, unseen.samples),
    ),
    Filter(
        measurement=Measurement(
            code="motion.static",
            name="moving_share",
            title="Time in motion",
            direction="at_least",
            meaning="The share of half-second steps in which anything moves.",
        ),
        measure=lambda seen: share(seen.motion > MOVING_LEVELS),
        per_frame=lambda seen: seen.motion > MOVING_LEVELS,
        best_case=lambda seen, unseen: best_share(seen.motion > MOVING_LEVELS, unseen.samples),
    ),
    Filter(
        measurement=Measurement(
            code="overlay.slides",
            name="page_share",
            title="Area of slides and pages",
            direction="at_most",
            meaning="How much of the picture is a page: perfectly flat, and written or drawn upon.",
        ),
        measure=lambda seen: finite_median(seen.page_share),
        per_frame=lambda seen: seen.page_share,
        best_case=lambda seen, unseen: lowest_percentile(seen.page_share, 50, unseen.samples),
    ),
    Filter(
        measurement=Measurement(
            code="overlay.text",
            name="text_share",
            title="Area of lasting text",
            direction="at_most",
            meaning="How much of the picture lasting text covers.",
        ),
        measure=lambda seen: seen.text_share,
    ),
)
