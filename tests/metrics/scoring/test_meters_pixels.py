"""Meters that look at pictures only, held against the functions that they ask."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.metrics.scoring.clips import pictures, worse
from tpbench.metrics.pixels import (
    colour_shift,
    disco_l1,
    disco_ssim,
    laplacian_variance,
    mean_absolute_error,
    psnr,
    ssim,
)
from tpbench.metrics.registry import METRICS
from tpbench.metrics.scoring.meters import FEATURES_OF, METERS, meters_for
from tpbench.metrics.scoring.tools import ClipSetting, ColumnMeter, FrameChunk, Toolbox

N = 12
REAL = pictures(N, size_px=(40, 32))
GENERATED = worse(REAL, by=25)
GENERATED[4] = REAL[4]


def columns_of(meter: str, *, chunks: int = 3) -> dict[str, NDArray[np.float64]]:
    """What a meter says of the two clips, given in so many chunks."""
    with ExitStack() as cleanup:
        setting = ClipSetting(
            n_frames=N,
            fps=Fraction(25),
            cleanup=cleanup,
            toolbox=Toolbox(device="cpu", skeleton="mediapipe", offline=True),
            generated_features=Path("unused"),
            real_features=Path("unused"),
        )
        built = METERS[meter].build(setting)
        pairs = zip(np.array_split(REAL, chunks), np.array_split(GENERATED, chunks), strict=True)
        for real, generated in pairs:
            built.update(FrameChunk(real=list(real), generated=list(generated), real_pose=None))
        return dict(built.finish())


def disco_psnr_of(real: NDArray[np.uint8], generated: NDArray[np.uint8]) -> float:
    value = psnr(real, generated)
    return 100.0 if value == math.inf else value


@pytest.mark.parametrize(
    ("meter", "function"),
    [
        ("ssim", ssim),
        ("l1", mean_absolute_error),
        ("disco_psnr", disco_psnr_of),
        ("disco_ssim", disco_ssim),
        ("disco_l1", disco_l1),
    ],
)
def test_each_pair_of_frames_is_measured_once_in_order(
    meter: str, function: Callable[[NDArray[np.uint8], NDArray[np.uint8]], float]
) -> None:
    expected = [function(*pair) for pair in zip(REAL, GENERATED, strict=True)]
    assert columns_of(meter) == {meter: pytest.approx(expected)}


def test_psnr_of_each_frame_is_capped_and_identical_frames_are_told() -> None:
    found = columns_of("psnr")
    expected = [min(100, psnr(*pair)) for pair in zip(REAL, GENERATED, strict=True)]
    assert found["psnr"] == pytest.approx(expected)
    assert found["psnr"][4] == 100
    assert np.flatnonzero(found["identical"]).tolist() == [4]


@pytest.mark.parametrize("delta", [1, 2, 5])
def test_terms_of_tje_stand_on_the_later_frame(delta: int) -> None:
    terms = columns_of(f"tje_d{delta}")[f"tje_d{delta}"]
    assert np.isnan(terms[:delta]).all()
    real, generated = REAL.astype(int), GENERATED.astype(int)
    changes = (np.abs(side[delta:] - side[:-delta]) for side in (real, generated))
    expected = np.abs(np.subtract(*changes)).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(terms[delta:], expected, rtol=1e-12)


def test_motion_is_the_change_since_the_frame_before() -> None:
    found = columns_of("motion")
    for name, clip in (("motion_real", REAL), ("motion_generated", GENERATED)):
        assert math.isnan(found[name][0])
        expected = np.abs(np.diff(clip.astype(int), axis=0)).mean(axis=(1, 2, 3))
        np.testing.assert_allclose(found[name][1:], expected, rtol=1e-12)


def test_a_lag_that_does_not_fit_yet_is_not_measured() -> None:
    found = columns_of("lag")
    for side in ("real", "generated"):
        for lag in (2, 5, 10, 20, 50, 100):
            column = found[f"lag_{side}_{lag}"]
            assert np.isnan(column[:lag]).all()
            assert np.isfinite(column[lag:]).all()
    assert not np.array_equal(found["lag_real_2"][2:], found["lag_generated_2"][2:])


def test_colours_and_sharpness_are_those_of_each_frame() -> None:
    for meter, measure in (
        ("colour", colour_shift),
        ("sharpness", lambda *pair: list(map(laplacian_variance, pair))),
    ):
        found = np.stack([columns_of(meter)[name] for name in METERS[meter].columns], axis=1)
        expected = [measure(*pair) for pair in zip(REAL, GENERATED, strict=True)]
        assert found.tolist() == expected


PIXEL_METERS = [row.name for row in METERS.values() if not row.weights and not row.needs_pose]


@pytest.mark.parametrize("meter", PIXEL_METERS)
def test_a_meter_makes_the_columns_of_its_row_and_chunks_change_nothing(meter: str) -> None:
    expected = columns_of(meter, chunks=1)
    assert set(expected) == set(METERS[meter].columns)
    for chunks in (2, N):
        found = columns_of(meter, chunks=chunks)
        for name, column in expected.items():
            assert column.dtype == np.float64
            assert column.shape == (N,)
            np.testing.assert_array_equal(found[name], column)


@pytest.mark.parametrize("meter", [name for name in PIXEL_METERS if METERS[name].min_side_px > 1])
def test_the_smallest_pictures_are_as_small_as_the_row_says(
    meter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    side_px = METERS[meter].min_side_px
    for name, clip in (("REAL", REAL), ("GENERATED", GENERATED)):
        monkeypatch.setattr(f"{__name__}.{name}", clip[:, :side_px, :side_px])
    assert np.isfinite(columns_of(meter)[meter]).all()
    for name, clip in (("REAL", REAL), ("GENERATED", GENERATED)):
        monkeypatch.setattr(f"{__name__}.{name}", clip[:, : side_px - 1, : side_px - 1])
    with pytest.raises(ValueError, match=str(side_px)):
        columns_of(meter)


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_has_the_meters_that_make_what_it_is_made_from(metric: str) -> None:
    row = METRICS[metric]
    meters = meters_for([row])
    made = {name for meter in meters for name in meter.columns}
    assert set(row.columns) <= made
    assert {name for meter in meters for name in meter.weights} == set(row.weights)
    assert any(meter.needs_pose for meter in meters) == ("pose" in row.needs)
    if row.reduction == "set" and not row.columns:
        assert [meter.name for meter in meters] == [FEATURES_OF[metric]]


def test_no_column_is_made_by_two_meters() -> None:
    names = [name for row in METERS.values() for name in row.columns]
    assert len(names) == len(set(names))


def test_columns_want_a_value_each() -> None:
    chunk = FrameChunk(real=[], generated=[], real_pose=None)
    meter = ColumnMeter(["a", "b"], lambda _: [(1.0, 2.0)])
    meter.update(chunk)
    assert {name: list(column) for name, column in meter.finish().items()} == {"a": [1], "b": [2]}
    with pytest.raises(ValueError, match="want 2 values, got 1"):
        ColumnMeter(["a", "b"], lambda _: [(1.0,)]).update(chunk)
    assert ColumnMeter(["a"], lambda _: []).finish()["a"].shape == (0,)
