"""The definitions are data: these tests police them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

import tpbench.metrics
from tpbench.errors import ConfigError
from tpbench.metrics.registry import (
    FAMILIES,
    METRICS,
    PROTOCOLS,
    REDUCTIONS,
    RETIRED,
    Family,
    Reduction,
    metric,
    metric_at,
)
from tpbench.weights import WEIGHTS

FOLDER = Path(tpbench.metrics.__file__).parent
COLUMNS = {
    "mean": {1, 2},
    "ratio": {2},
    "slope": {1, 2},
    "end_minus_start": {1, 2},
    "lasting": {1, 2},
    "difference": {2},
    "set": {0},
}

every_metric = pytest.mark.parametrize("metric_id", list(METRICS))


@every_metric
def test_an_id_can_be_a_column(metric_id: str) -> None:
    row = metric(metric_id)

    assert re.fullmatch(r"[a-z][a-z0-9_]*", row.id)
    assert row.version >= 1
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", column) for column in row.columns)


@every_metric
def test_texts_are_there_and_are_clean(metric_id: str) -> None:
    row = metric(metric_id)

    for text in (row.title, row.definition, row.formula, row.source, row.pitfalls):
        assert len(text) > 1
        assert text == " ".join(text.split())
    for prose in (row.definition, row.source, row.pitfalls):
        assert prose.endswith(".")
        assert prose[0].isupper()
    assert len(row.title) <= 30
    assert len(row.definition) <= 220


def test_no_two_titles_are_equal() -> None:
    assert len({row.title for row in METRICS.values()}) == len(METRICS)


@every_metric
def test_a_target_goes_with_its_direction_and_lies_in_the_range(metric_id: str) -> None:
    row = metric(metric_id)
    low = -float("inf") if row.low is None else row.low
    high = float("inf") if row.high is None else row.high

    assert low < high
    assert (row.target is not None) == (row.direction == "target")
    if row.target is not None:
        assert low <= row.target <= high


@every_metric
def test_a_share_lies_between_0_and_1(metric_id: str) -> None:
    row = metric(metric_id)

    if row.unit == "share":
        assert (row.low, row.high) == (0, 1)


@every_metric
def test_a_reduction_has_the_columns_it_works_on(metric_id: str) -> None:
    row = metric(metric_id)

    assert len(row.columns) in ({1} if row.horizon_frames else COLUMNS[row.reduction])
    assert len(set(row.columns)) == len(row.columns)
    assert row.paired == (row.reduction != "set" or row.horizon_frames > 0)


@every_metric
def test_model_files_are_known_and_named_where_a_network_is_used(metric_id: str) -> None:
    row = metric(metric_id)
    uses_network = any("lpips" in column for column in row.columns)
    uses_network |= row.reduction == "set" and not row.horizon_frames

    assert set(row.weights) <= {known.name for known in WEIGHTS}
    assert bool(row.weights) == uses_network


@every_metric
def test_regions_and_poses_need_skeletons_and_nothing_else_does(metric_id: str) -> None:
    row = metric(metric_id)
    on_skeletons = any(column.startswith(("face_", "hand_", "pose_")) for column in row.columns)

    assert row.needs == (("pose",) if on_skeletons else ())


def test_slopes_say_per_100_frames_and_nothing_else_does() -> None:
    slopes = {row.id for row in METRICS.values() if row.unit.endswith("per 100 frames")}

    assert slopes == {name for name in METRICS if name.endswith("_slope")}


def test_each_slope_has_its_difference_of_ends_over_the_same_columns() -> None:
    for name in (name for name in METRICS if name.endswith("_slope")):
        slope, delta = METRICS[name], METRICS[name.replace("_slope", "_delta")]
        for row in (slope, delta):
            assert row.columns == slope.columns
            assert row.direction == slope.direction
            assert row.weights == slope.weights
        assert slope.unit == f"{delta.unit} per 100 frames".strip()


def test_lasting_frames_follow_the_failure_of_their_share_up_to_a_horizon() -> None:
    found = [row for row in METRICS.values() if row.horizon_frames]

    assert [row.horizon_frames for row in found] == [100, 200, 500] * 2
    for row in found:
        assert row.id == f"{row.failure_of}_{row.horizon_frames}"
        assert (row.low, row.high, row.unit) == (0, row.horizon_frames, "frames")
        assert row.columns == METRICS[row.failure_of].columns
        assert METRICS[row.failure_of].reduction == "lasting"
        assert (row.reduction, row.direction) == ("set", "higher")


def test_drift_of_a_metric_is_better_the_way_the_metric_is() -> None:
    for name in ("psnr", "ssim", "l1", "lpips", "tje_d2", "face_psnr", "fid", "fvd"):
        assert METRICS[f"drift_{name}_slope"].direction == METRICS[name].direction
        assert METRICS[f"drift_{name}_slope"].columns == METRICS[name].columns


def test_families_and_reductions_are_all_used_and_explained() -> None:
    assert {row.family for row in METRICS.values()} == set(FAMILIES) == set(get_args(Family))
    assert {row.reduction for row in METRICS.values()} == set(REDUCTIONS)
    assert set(REDUCTIONS) == set(get_args(Reduction))


def test_every_file_of_definitions_is_a_family() -> None:
    assert {path.stem for path in (FOLDER / "definitions").iterdir()} == set(FAMILIES)


def test_metrics_stand_in_the_order_of_the_families() -> None:
    families = [row.family for row in METRICS.values()]

    assert families == sorted(families, key=FAMILIES.index)


def test_ids_that_others_rely_on_are_there() -> None:
    assert set(METRICS) >= {
        *("psnr", "identical_share", "ssim", "l1", "lpips", "lpips_vgg", "fid", "kid", "fvd"),
        *("tje_d1", "tje_d2", "tje_d5", "motion_ratio", "delta_e", "sharpness_ratio"),
        *(f"{part}_{name}" for part in ("face", "hand") for name in ("psnr", "ssim", "lpips")),
        *(
            f"{name}_{part}"
            for part in ("body", "hands", "face")
            for name in ("akd", "akd_sw", "pck", "missing")
        ),
        *(f"drift_lag_{lag}" for lag in (2, 5, 10, 20, 50, 100)),
        *("lasting_psnr", "lasting_ssim", "disco_psnr", "disco_ssim", "disco_l1"),
        *("disco_lpips", "disco_fvd"),
    }


def test_what_metrics_were_can_be_looked_up_by_version() -> None:
    for key, row in RETIRED.items():
        assert key == f"{row.id}@{row.version}"
        assert row.version < metric(row.id).version
        assert metric_at(row.id, row.version) is row
    for row in METRICS.values():
        assert metric_at(row.id, row.version) is row
        assert all(metric_at(row.id, version) for version in range(1, row.version))
        assert metric_at(row.id, row.version + 1) is None
    assert metric_at("nothing", 1) is None


def test_the_readme_counts_them_rightly() -> None:
    text = (FOLDER.parents[1] / "README.md").read_text(encoding="utf-8")

    numbers = {2: "two", 3: "three", 4: "four", 5: "five"}
    assert f"# {len(METRICS)} metrics, {numbers[len(PROTOCOLS)]} protocols" in text


def test_an_unknown_metric_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match="no metric is called 'psrn'; did you mean 'psnr'"):
        metric("psrn")


@pytest.mark.parametrize(
    "path", sorted(FOLDER.rglob("*.yaml")), ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_lines_of_definitions_are_short(path: Path) -> None:
    assert max(len(line) for line in path.read_text(encoding="utf-8").splitlines()) <= 100


def test_importing_the_registry_reads_nothing_and_loads_nothing_heavy() -> None:
    code = (
        "import sys; import tpbench.metrics.registry, tpbench.metrics.registry;"
        "print(*{'torch', 'cv2', 'pandas', 'numpy', 'yaml', 'pydantic'} & set(sys.modules))"
    )

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.split() == []
