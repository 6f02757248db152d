"""The definitions are data: these tests police them."""

from __future__ import annotations

import json
import pickle
import re
import subprocess
import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError

import tpbench.metrics
from tpbench.errors import ConfigError
from tpbench.metrics import registry
from tpbench.metrics.registry import (
    DEFAULT_PROTOCOL,
    FAMILIES,
    METRICS,
    POOLINGS,
    PROTOCOLS,
    REDUCTIONS,
    RETIRED,
    RETIRED_PROTOCOLS,
    Family,
    LazyTable,
    MetricRow,
    Pooling,
    Reduction,
    as_pooled,
    checked_rows,
    headline_of,
    metric,
    metric_at,
    protocol,
    protocols_with,
)
from tpbench.weights import WEIGHTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    id: str
    level: float
    names: tuple[str, ...] = ()


def test_lists_and_whole_numbers_of_yaml_become_tuples_and_floats() -> None:
    rows = checked_rows(
        Row, [{"id": "a", "level": 2, "names": ["x", "y"]}, {"id": "b", "level": 0.5}]
    )
    assert rows == [Row(id="a", level=2.0, names=("x", "y")), Row(id="b", level=0.5)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": "a"},
        {"id": "a", "level": 1, "colour": "red"},
        {"id": "a", "level": "1"},
        {"id": 1, "level": 1},
        {"id": "a", "level": 1, "names": "x"},
        {"id": "a", "level": float("inf")},
    ],
    ids=["missing", "unknown", "text for number", "number for text", "text for list", "infinite"],
)
def test_what_does_not_fit_the_row_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        checked_rows(Row, [wrong])


def test_no_two_metrics_have_one_id() -> None:
    families = registry.read_folder("definitions").values()
    assert len(METRICS) == sum(len(rows) for rows in families)


def test_a_lazy_table_loads_nothing_until_it_is_looked_at() -> None:
    calls = []

    def load() -> dict[str, int]:
        calls.append("loaded")
        return {"one": 1, "two": 2}

    table = LazyTable(load)
    assert not calls

    assert list(table) == ["one", "two"]
    assert (table["two"], len(table), "three" in table) == (2, 2, False)
    assert calls


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


def assert_clean(*prose: str) -> None:
    """Sentences on one line, whatever the lines of the file."""
    for text in prose:
        assert text == " ".join(text.split())
        assert text.endswith(".")
        assert text[0].isupper()


@every_metric
def test_an_id_can_be_a_column_and_texts_are_there_and_clean(metric_id: str) -> None:
    row = metric(metric_id)
    assert row.version >= 1
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in (row.id, *row.columns))
    assert_clean(row.definition, row.source, row.pitfalls)
    for text in (row.title, row.formula):
        assert text == " ".join(text.split())
        assert len(text) > 1
    assert len(row.title) <= 30
    assert len(row.definition) <= 220


def test_no_two_titles_and_no_two_labels_are_equal() -> None:
    assert len({row.title for row in METRICS.values()}) == len(METRICS)
    assert len({row.label for row in METRICS.values()}) == len(METRICS)


def test_labels_fit_a_column_and_are_ascii() -> None:
    for row in (*METRICS.values(), *RETIRED.values()):
        assert row.label.isascii()
        assert 2 <= len(row.label) <= 20
    assert all(row.label == METRICS[row.id].label for row in RETIRED.values())


def test_an_arrow_says_which_values_are_better() -> None:
    arrows = {name: METRICS[name].arrow for name in ("psnr", "l1", "motion_ratio", "drift_lag_2")}
    assert arrows == {"psnr": "↑", "l1": "↓", "motion_ratio": "→ 1", "drift_lag_2": "→ 0"}
    assert METRICS["identical_share"].arrow == ""


@every_metric
def test_a_target_goes_with_its_direction_and_lies_in_the_range(metric_id: str) -> None:
    row = metric(metric_id)
    low = -float("inf") if row.low is None else row.low
    high = float("inf") if row.high is None else row.high
    assert low < high
    assert (row.target is not None) == (row.direction == "target")
    assert row.target is None or low <= row.target <= high
    assert row.unit != "share" or (low, high) == (0, 1)


@every_metric
def test_a_metric_has_the_columns_files_and_skeletons_it_works_on(metric_id: str) -> None:
    row = metric(metric_id)
    over_all = row.reduction == "set" and not row.horizon_frames
    assert len(row.columns) in ({1} if row.horizon_frames else COLUMNS[row.reduction])
    assert len(set(row.columns)) == len(row.columns)
    assert row.paired == (not over_all)
    assert set(row.weights) <= {known.name for known in WEIGHTS}
    assert bool(row.weights) == (over_all or any("lpips" in column for column in row.columns))
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


def test_the_docs_count_them_rightly() -> None:
    text = (FOLDER.parents[1] / "docs" / "scoring.md").read_text(encoding="utf-8")
    numbers = {2: "two", 3: "three", 4: "four", 5: "five"}
    assert f"# {len(METRICS)} metrics, {numbers[len(PROTOCOLS)]} protocols" in text


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


ON_REQUEST = {"lpips_vgg"}
"""Measured only where they are named."""

every_protocol = pytest.mark.parametrize("protocol_id", list(PROTOCOLS))


@every_protocol
def test_a_protocol_holds_known_metrics_once_each_with_their_levels_and_clean_texts(
    protocol_id: str,
) -> None:
    found = protocol(protocol_id)
    assert found.metrics
    assert set(found.metrics) <= set(METRICS)
    assert len(set(found.metrics)) == len(found.metrics)
    assert set(found.levels) == {
        name for name in found.metrics if metric(name).reduction == "lasting"
    }
    assert found.quirks
    assert_clean(found.description, *found.quirks)
    assert found.title == " ".join(found.title.split())


def test_every_metric_is_in_a_protocol_or_measured_on_request() -> None:
    assert {name for name in METRICS if not protocols_with(name)} == ON_REQUEST


def test_the_default_has_all_but_the_slips_of_others_and_is_strict() -> None:
    found = protocol(DEFAULT_PROTOCOL)
    expected = [row.id for row in METRICS.values() if row.family != "disco"]
    assert next(iter(PROTOCOLS)) == DEFAULT_PROTOCOL == "tpbench-v2"
    assert list(found.metrics) == [name for name in expected if name not in ON_REQUEST]
    assert (found.length, found.resize, found.rate) == ("fail", "fail", "fail")
    assert found.levels == {"lasting_psnr": 20.0, "lasting_ssim": 0.6}
    assert (found.window_frames, found.fid_window_frames) == (16, 16)
    assert (found.hold_frames, found.vote_frames) == (25, 9)


def test_the_tiktok_tables_have_fid_and_all_of_discos_own() -> None:
    family = {row.id for row in METRICS.values() if row.family == "disco"}
    assert set(protocol("disco").metrics) == {"fid"} | family


def test_talkingpose_keeps_the_habits_of_its_script() -> None:
    found = protocol("talkingpose")
    assert found.metrics == ("tje_d1", "tje_d2", "tje_d5", "psnr")
    assert (found.length, found.resize, found.rate) == ("truncate", "area", "ignore")


def test_a_protocol_that_is_no_longer_computed_says_what_took_its_place() -> None:
    with pytest.raises(
        ConfigError, match=r"protocol 'tpbench-v1' any more.*: use 'tpbench-v2'; existing sc"
    ):
        protocol("tpbench-v1")
    assert set(RETIRED_PROTOCOLS.values()) <= set(PROTOCOLS)
    assert not set(RETIRED_PROTOCOLS) & set(PROTOCOLS)


def test_every_protocol_says_how_frames_become_a_clip_and_clips_a_set() -> None:
    pooled = {name: (row.clips_to_set, row.told_beside) for name, row in PROTOCOLS.items()}
    assert pooled == {
        "tpbench-v2": ("mean_of_clips", "none"),
        "disco": ("mean_of_frames", "none"),
        "talkingpose": ("mean_of_clips", "mean_of_frames"),
    }
    assert {row.frames_to_clip for row in PROTOCOLS.values()} == {"reduction"}
    assert set(POOLINGS) == set(get_args(Pooling))


def test_a_mean_over_all_frames_is_one_value_of_all_clips_together() -> None:
    row, slope = metric("disco_psnr"), metric("drift_psnr_slope")
    assert as_pooled(row, {"clips_to_set": "mean_of_frames"}).reduction == "set"
    assert as_pooled(slope, {"clips_to_set": "mean_of_frames"}) is slope
    assert as_pooled(row, {"clips_to_set": "mean_of_clips"}) is row
    assert as_pooled(row, {}) is row


def test_unknown_names_are_refused_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match="no metric is called 'psrn'; did you mean 'psnr'"):
        metric("psrn")
    with pytest.raises(ConfigError, match=r"no protocol is called 'tpbench'; did you mean 'tpben"):
        protocol("tpbench")
    with pytest.raises(ConfigError, match="did you mean 'lpips'"):
        protocol("disco").with_metrics(["fid", "lpip"])


def test_a_protocol_survives_the_way_to_another_process() -> None:
    for found in PROTOCOLS.values():
        again = pickle.loads(pickle.dumps(found))  # noqa: S301 - our own bytes
        assert again == found
        assert again.digest == found.digest
        assert hash(again) == hash(found)


def test_digests_are_sha256_tell_protocols_apart_and_are_the_same_in_every_process() -> None:
    digests = {name: row.digest for name, row in PROTOCOLS.items()}
    assert len(set(digests.values())) == len(PROTOCOLS)
    assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in digests.values())
    code = (
        "import json; from tpbench.metrics.registry import PROTOCOLS;"
        "print(json.dumps({name: row.digest for name, row in PROTOCOLS.items()}))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(found.stdout) == digests


@pytest.mark.parametrize(
    "change",
    [
        {"id": "another"},
        {"version": 2},
        {"metrics": ("psnr", "lasting_psnr")},
        {"length": "truncate"},
        {"resize": "area"},
        {"rate": "ignore"},
        {"frames_to_clip": "another"},
        {"clips_to_set": "mean_of_frames"},
        {"told_beside": "mean_of_frames"},
        {"skeleton": "dwpose"},
        {"window_frames": 8},
        {"fid_window_frames": 32},
        {"hold_frames": 12},
        {"vote_frames": 5},
        {"levels": {"lasting_psnr": 25.0, "lasting_ssim": 0.6}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_setting_changes_changes_the_digest(change: dict[str, Any]) -> None:
    found = protocol(DEFAULT_PROTOCOL)
    assert replace(found, **change).digest != found.digest


def test_the_list_of_changes_above_is_whole_but_for_prose() -> None:
    assert len(fields(registry.Protocol)) == 15 + 4


@pytest.mark.parametrize(
    "prose",
    [
        {"title": "another"},
        {"description": "Another."},
        {"headline": ("ssim",)},
        {"quirks": ("Another.",)},
    ],
)
def test_what_is_only_said_about_it_leaves_the_digest(prose: dict[str, Any]) -> None:
    found = protocol(DEFAULT_PROTOCOL)
    assert replace(found, **prose).digest == found.digest


def test_headlines_left_the_digests_as_they_were() -> None:
    assert {name: row.digest[:12] for name, row in PROTOCOLS.items()} == {
        "tpbench-v2": "0e865afc6915",
        "disco": "5526c75063e2",
        "talkingpose": "913c54cc823c",
    }


@every_protocol
def test_a_headline_is_a_handful_of_the_protocols_metrics(protocol_id: str) -> None:
    found = protocol(protocol_id)
    assert set(found.headline) <= set(found.metrics)
    assert 2 <= len(set(found.headline)) == len(found.headline) <= 12


def test_a_narrowed_protocol_keeps_the_headline_metrics_it_has_or_takes_all() -> None:
    full = protocol(DEFAULT_PROTOCOL)
    assert full.with_metrics(["l1", "tje_d2", "psnr"]).headline == ("psnr", "tje_d2")
    assert full.with_metrics(["l1", "kid"]).headline == ("l1", "kid")


def test_scores_without_a_headline_have_that_of_their_protocol_or_of_its_successor() -> None:
    full = protocol(DEFAULT_PROTOCOL)
    for name in (DEFAULT_PROTOCOL, f"{DEFAULT_PROTOCOL}+custom", "tpbench-v1"):
        assert headline_of({"id": name, "metrics": full.metrics}) == full.headline
    assert headline_of({"id": "tpbench-v1+custom", "metrics": ["l1", "psnr"]}) == ("psnr",)
    assert headline_of({"id": "unknown", "metrics": ["l1", "x"]}) == ("l1", "x")
    said = {"id": DEFAULT_PROTOCOL, "metrics": full.metrics, "headline": ["l1", "gone"]}
    assert headline_of(said) == ("l1",)


def test_a_new_version_of_a_metric_changes_the_digests_of_its_protocols(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = {name: row.digest for name, row in PROTOCOLS.items()}

    def newer(metric_id: str) -> MetricRow:
        row = metric(metric_id)
        return replace(row, version=2) if metric_id == "fid" else row

    monkeypatch.setattr(registry, "metric", newer)
    changed = {name for name, row in PROTOCOLS.items() if row.digest != before[name]}

    assert changed == {"tpbench-v2", "disco"}


def test_other_metrics_make_another_protocol_and_say_so() -> None:
    full = protocol(DEFAULT_PROTOCOL)
    narrowed = full.with_metrics(["ssim", "psnr", "ssim"])
    assert narrowed.metrics == ("ssim", "psnr")
    assert narrowed.id == "tpbench-v2+custom"
    assert narrowed.digest != full.digest
    whole = replace(narrowed, id=full.id, metrics=full.metrics, headline=full.headline)
    assert whole == full


def test_the_order_of_metrics_does_not_count() -> None:
    full = protocol(DEFAULT_PROTOCOL)
    assert full.with_metrics(reversed(full.metrics)) is full
    assert full.with_metrics(["l1", "fid"]).digest == full.with_metrics(["fid", "l1"]).digest


def test_metrics_of_other_protocols_can_be_added_and_a_custom_one_stays_custom_once() -> None:
    wider = protocol("talkingpose").with_metrics(["tje_d2", "lpips_vgg"])
    assert (wider.id, wider.length) == ("talkingpose+custom", "truncate")
    assert wider.with_metrics(["psnr"]).id == "talkingpose+custom"
    with pytest.raises(ConfigError, match="name at least one metric for protocol 'disco'"):
        protocol("disco").with_metrics([])


def test_a_metric_whose_level_is_not_stated_is_refused_with_the_protocol_that_states_it() -> None:
    with pytest.raises(ConfigError, match=r"'lasting_psnr' needs a level.*use 'tpbench-v2'"):
        protocol("talkingpose").with_metrics(["psnr", "lasting_psnr"])
    with pytest.raises(ConfigError, match=r"'lasting_psnr_100' needs a level.*use 'tpbench-v2'"):
        protocol("disco").with_metrics(["lasting_psnr_100"])


def test_protocols_with_tells_where_a_metric_is() -> None:
    assert protocols_with("psnr") == ("tpbench-v2", "talkingpose")
    assert protocols_with("fid") == ("tpbench-v2", "disco")
    with pytest.raises(ConfigError, match="no metric is called"):
        protocols_with("nothing")
