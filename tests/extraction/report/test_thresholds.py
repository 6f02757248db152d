from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.dataset.rows import FAILED, MEASUREMENTS, kept, rejected
from tpbench.dataset import Clip, write_manifest
from tpbench.dataset.facts import Candidates
from tpbench.dataset.manifest import read_table
from tpbench.extraction.report import thresholds
from tpbench.extraction.report.thresholds import Dials, dials_of, steps_around

HEIGHT, YAW = MEASUREMENTS
"""At least 80 px, at most 30 degrees."""


def _dials(folder: Path, rows: Sequence[Clip]) -> Dials:
    write_manifest(folder, rows)
    return dials_of(Candidates(table=read_table(folder)), MEASUREMENTS)


def _row(clip_id: str, height: float, yaw: float) -> Clip:
    """Return a row that both filters judged."""
    codes = [HEIGHT.code] * (height < 80) + [YAW.code] * (yaw > 30)
    values = {"measurements": {"face_height_px": height, "face_yaw_deg": yaw}}
    if not codes:
        return kept(clip_id, **values)
    limits = {"face_height_px": 80.0, "face_yaw_deg": 30.0}
    return rejected(clip_id, reject_codes=tuple(codes), thresholds=limits, **values)


_values = st.tuples(st.floats(20, 300, width=32), st.floats(0, 90, width=32))


@settings(max_examples=30)  # each writes files
@given(values=st.lists(_values, min_size=1, max_size=25), data=st.data())
def test_counts_at_any_step_are_those_of_the_filters_themselves(
    tmp_path_factory: pytest.TempPathFactory,
    values: list[tuple[float, float]],
    data: st.DataObject,
) -> None:
    rows = [_row(f"c{at}", *value) for at, value in enumerate(values)]
    dials = _dials(tmp_path_factory.mktemp("dials"), rows)
    steps = [data.draw(st.integers(0, len(dial.steps) - 1)) for dial in dials.dials]
    height, yaw = (dial.steps[step] for dial, step in zip(dials.dials, steps, strict=True))
    stays, further = dials.outcome(steps)
    assert int(stays.sum()) == sum(h >= height and y <= yaw for h, y in values)
    assert not further.any()


@settings(max_examples=30)  # each writes files
@given(values=st.lists(_values, min_size=1, max_size=25))
def test_present_thresholds_keep_what_was_kept(
    tmp_path_factory: pytest.TempPathFactory, values: list[tuple[float, float]]
) -> None:
    rows = [_row(f"c{at}", *value) for at, value in enumerate(values)]
    dials = _dials(tmp_path_factory.mktemp("dials"), rows)
    stays, _ = dials.outcome([dial.at for dial in dials.dials])
    assert int(stays.sum()) == dials.n_kept == sum(row.status == "kept" for row in rows)


def test_row_that_later_filters_did_not_see_is_counted_apart(tmp_path: Path) -> None:
    dials = _dials(tmp_path, [kept("good"), rejected("small")])  # 31.5 px, no yaw
    loose = [0, dials.dials[1].at]
    assert dials.dials[0].steps[0] <= 31.5
    stays, further = dials.outcome(loose)
    assert (stays.sum(), further.sum()) == (1, 1)


def test_nothing_to_measure_passes_any_threshold(tmp_path: Path) -> None:
    hidden = kept("hidden", measurements={"face_height_px": 140.0})
    dials = _dials(tmp_path, [hidden, kept("good")])
    stays, further = dials.outcome([dials.dials[0].at, 0])
    assert (stays.sum(), further.sum()) == (1, 0)


def test_no_threshold_brings_back_dissolves_and_broken_sources(tmp_path: Path) -> None:
    rows = [
        kept("good"),
        rejected("fade", reject_codes=("face.too_small", "shot.transition")),
        rejected("unmeasured", measurements={}),
        FAILED,
    ]
    dials = _dials(tmp_path, rows)
    assert (dials.n_rows, dials.n_fixed, len(dials.seconds)) == (1, 3, 1)


def test_filter_with_several_thresholds_has_no_dial(tmp_path: Path) -> None:
    other = kept("other", thresholds={"face_height_px": 48.0, "face_yaw_deg": 30.0})
    dials = _dials(tmp_path, [kept("good"), other])
    assert [dial.measurement.code for dial in dials.dials] == ["face.turned"]


def test_many_rows_are_sampled_and_each_stands_for_several(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thresholds, "MAX_ROWS", 10)
    dials = _dials(tmp_path, [_row(f"c{at:03d}", 100 + at, 10) for at in range(40)])
    assert (len(dials.seconds), dials.n_rows, dials.scale) == (10, 40, 4.0)
    stays, _ = dials.outcome([dial.at for dial in dials.dials])
    assert stays.sum() * dials.scale == dials.n_kept


@given(
    values=st.lists(st.floats(-1e6, 1e6), max_size=40),
    threshold=st.integers(-10_000, 10_000).map(lambda n: n / 100),
)
def test_steps_ascend_few_and_include_the_threshold(values: list[float], threshold: float) -> None:
    steps, at = steps_around(np.array(values), threshold)
    assert steps[at] == threshold
    assert all(low < high for low, high in pairwise(steps))
    assert len(steps) <= 201
    if min([*values, threshold]) >= 0:
        assert steps[0] >= 0


def test_steps_of_shares_are_round() -> None:
    steps, at = steps_around(np.linspace(0, 1, 101), 0.7)
    assert steps[at - 2 : at + 3] == (0.66, 0.68, 0.7, 0.72, 0.74)


def test_data_of_the_page_is_one_byte_a_row_and_cannot_end_its_element(tmp_path: Path) -> None:
    evil = replace(kept("good"), thresholds={"x": 0.5}, measurements={"x": 0.7})
    write_manifest(tmp_path, [evil])
    item = HEIGHT.model_copy(update={"name": "x", "code": "</script><b>&"})
    text = dials_of(Candidates(table=read_table(tmp_path)), [item]).to_json()
    assert "<" not in text
    assert "&" not in text
    content = json.loads(text)
    assert content["dials"][0]["code"] == item.code
    assert len(base64.b64decode(content["dials"][0]["rows"])) == 1
    assert base64.b64decode(content["deciseconds"]) == (48).to_bytes(2, "little")
