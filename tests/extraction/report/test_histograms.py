from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dataset.rows import MEASUREMENTS, kept, rejected
from tpbench.dataset import Measurement, write_manifest
from tpbench.dataset.facts import Candidates
from tpbench.dataset.manifest import read_table
from tpbench.extraction.report.histograms import (
    Bar,
    Histogram,
    histogram,
    nice_ticks,
    of_candidates,
    short,
)

_FACE = Measurement(
    name="face_height_px", title="Face height", unit="px", direction="at_least", code="face.small"
)


def _histogram(
    kept: Sequence[float],
    refused: Sequence[float],
    elsewhere: Sequence[float] = (),
    *,
    limit: float | None,
    direction: str = "at_least",
) -> Histogram:
    """Return the histogram of clips with these values."""
    parts = {"kept": kept, "elsewhere": elsewhere, "refused": refused}
    drawn = histogram(
        _FACE.model_copy(update={"direction": direction}),
        {part: np.array(values, dtype=np.float64) for part, values in parts.items()},
        threshold=limit,
    )
    assert drawn
    return drawn


def _bars(drawn: Histogram, *parts: str) -> list[Bar]:
    return [bar for _, stack in drawn.bars() for bar in stack if bar.part in parts]


_values = st.lists(st.floats(-1e6, 1e6), max_size=30)


@given(kept=_values, elsewhere=_values, limit=st.none() | st.floats(-1e6, 1e6))
def test_any_values_give_a_drawing_inside_its_frame(
    kept: list[float], elsewhere: list[float], limit: float | None
) -> None:
    drawn = _histogram(kept, [1.0], elsewhere, limit=limit)
    assert drawn.n_clips == len(kept) + len(elsewhere) + 1
    for bar in _bars(drawn, "kept", "refused", "elsewhere"):
        assert drawn.left <= bar.x <= drawn.right
        assert 0 < bar.height <= drawn.base
    assert limit is None or drawn.left <= drawn.x(limit) <= drawn.right


@pytest.mark.parametrize(("direction", "kept_side"), [("at_least", 1), ("at_most", -1)])
def test_threshold_line_parts_kept_from_refused(direction: str, kept_side: int) -> None:
    distances = np.random.default_rng(0).uniform(0, 30, 500)
    kept = 50 + kept_side * np.append(distances, 0.0)
    refused = 50 - kept_side * (distances + 0.001)
    drawn = _histogram(kept.tolist(), refused.tolist(), limit=50.0, direction=direction)
    line = drawn.x(50.0)
    assert {np.sign(bar.x - line) for bar in _bars(drawn, "kept")} == {kept_side}
    assert {np.sign(bar.x - line) for bar in _bars(drawn, "refused")} == {-kept_side}


def test_one_far_value_does_not_flatten_the_rest() -> None:
    drawn = _histogram([*np.linspace(0, 1, 1000), 1e9], [], limit=0.5)
    assert len(_bars(drawn, "kept")) > 20


@given(low=st.floats(-1e5, 1e5), span=st.floats(1e-3, 1e5))
def test_ticks_are_few_round_and_inside(low: float, span: float) -> None:
    ticks = nice_ticks(low, low + span)
    assert 2 <= len(ticks) <= 7
    assert all(low - 1e-6 * span <= tick <= low + span * (1 + 1e-6) for tick in ticks)
    steps = np.diff(ticks)
    assert np.allclose(steps, steps[0])


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.02, "0.02"), (256, "256"), (12345.6, "12,346"), (0.9, "0.9"), (5e-7, "5.0e-07")],
)
def test_numbers_are_written_for_people(value: float, text: str) -> None:
    assert short(value) == text


def test_candidates_are_counted_by_their_outcome(tmp_path: Path) -> None:
    rows = [
        kept("a"),
        kept("b"),
        rejected("c"),
        rejected("d", reject_codes=("face.turned",), measurements={"face_height_px": 200.0}),
        rejected("e", measurements={}),
    ]
    write_manifest(tmp_path, rows)
    drawn = of_candidates(MEASUREMENTS[0], Candidates(table=read_table(tmp_path)))
    assert drawn
    assert {part: int(counts.sum()) for part, counts in drawn.counts.items()} == {
        "kept": 2, "elsewhere": 1, "refused": 1,
    }  # fmt: skip
    assert (drawn.threshold, drawn.kept_median) == (80.0, 140.0)


def test_nothing_measured_is_no_histogram() -> None:
    assert histogram(_FACE, {"kept": np.empty(0)}) is None
