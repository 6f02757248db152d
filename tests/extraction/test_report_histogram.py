from __future__ import annotations

from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpbench.dataset import Measurement
from tpbench.extraction.report.histogram import Values, histogram_svg, nice_ticks, short

_FACE = Measurement(
    name="face_height_px", title="Face <height>", unit="px", direction="at_least", code="face.small"
)


def _bars(svg: str, kind: str) -> list[tuple[float, float]]:
    """Return (left edge, height) of the bars of one kind."""
    root = ET.fromstring(svg)  # noqa: S314 - our own output, made a line above
    return [
        (float(bar.attrib["x"]), float(bar.attrib["height"]))
        for bar in root.iter("rect")
        if bar.attrib["class"] == kind
    ]


def _limit_x(svg: str) -> float:
    root = ET.fromstring(svg)  # noqa: S314 - our own output, made a line above
    return next(
        float(line.attrib["x1"]) for line in root.iter("line") if line.attrib["class"] == "limit"
    )


_values = st.lists(st.floats(-1e6, 1e6), max_size=30).map(np.array)


@given(kept=_values, elsewhere=_values, threshold=st.none() | st.floats(-1e6, 1e6))
def test_any_values_give_a_drawing_inside_its_frame(
    kept: np.ndarray[tuple[int], np.dtype[np.float64]],
    elsewhere: np.ndarray[tuple[int], np.dtype[np.float64]],
    threshold: float | None,
) -> None:
    values = Values(kept=kept, refused=np.array([1.0]), elsewhere=elsewhere)

    svg = histogram_svg(values, _FACE, threshold)

    for kind in ("kept", "refused", "elsewhere"):
        for left, height in _bars(svg, kind):
            assert 0 <= left <= 340
            assert 0 < height <= 142
    assert "nan" not in svg
    assert (threshold is None) == ("limit" not in svg)


@pytest.mark.parametrize(("direction", "kept_side"), [("at_least", 1), ("at_most", -1)])
def test_threshold_line_parts_kept_from_refused(direction: str, kept_side: int) -> None:
    measurement = _FACE.model_copy(update={"direction": direction})
    rng = np.random.default_rng(0)
    distances = rng.uniform(0, 30, 500)
    values = Values(
        kept=50 + kept_side * np.append(distances, 0.0),
        refused=50 - kept_side * (distances + 0.001),
        elsewhere=np.array([]),
    )

    svg = histogram_svg(values, measurement, 50.0)

    # A bar starts half a unit right of its bin's left edge; coordinates have one decimal.
    line = _limit_x(svg) - 0.2
    assert {np.sign(left - line) for left, _ in _bars(svg, "kept")} == {kept_side}
    assert {np.sign(left - line) for left, _ in _bars(svg, "refused")} == {-kept_side}


def test_one_far_value_does_not_flatten_the_rest() -> None:
    values = Values(
        kept=np.append(np.linspace(0, 1, 1000), 1e9), refused=np.array([]), elsewhere=np.array([])
    )

    assert len(_bars(histogram_svg(values, _FACE, 0.5), "kept")) > 20


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
