from __future__ import annotations

import json
import pickle
import re
import subprocess
import sys
from dataclasses import fields, replace
from typing import Any, get_args

import pytest

from tpbench.errors import ConfigError
from tpbench.metrics import registry
from tpbench.metrics.registry import (
    DEFAULT_PROTOCOL,
    METRICS,
    POOLINGS,
    PROTOCOLS,
    RETIRED_PROTOCOLS,
    MetricRow,
    Pooling,
    as_pooled,
    metric,
    protocol,
    protocols_with,
)

ON_REQUEST = {"lpips_vgg"}
"""Measured only where they are named."""

every_protocol = pytest.mark.parametrize("protocol_id", list(PROTOCOLS))


@every_protocol
def test_a_protocol_holds_known_metrics_once_each(protocol_id: str) -> None:
    found = protocol(protocol_id)

    assert found.metrics
    assert set(found.metrics) <= set(METRICS)
    assert len(set(found.metrics)) == len(found.metrics)


@every_protocol
def test_a_protocol_states_a_level_for_each_metric_that_needs_one(protocol_id: str) -> None:
    found = protocol(protocol_id)

    assert set(found.levels) == {
        name for name in found.metrics if metric(name).reduction == "lasting"
    }


@every_protocol
def test_texts_are_there_and_are_clean(protocol_id: str) -> None:
    found = protocol(protocol_id)

    assert found.quirks
    for text in (found.title, found.description, *found.quirks):
        assert text == " ".join(text.split())
    for sentence in (found.description, *found.quirks):
        assert sentence.endswith(".")
        assert sentence[0].isupper()


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
        ConfigError, match=r"protocol 'tpbench-v1' any more.*: use 'tpbench-v2'; sc"
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


def test_an_unknown_protocol_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match=r"no protocol is called 'tpbench'; did you mean 'tpben"):
        protocol("tpbench")


def test_a_protocol_survives_the_way_to_another_process() -> None:
    for found in PROTOCOLS.values():
        again = pickle.loads(pickle.dumps(found))  # noqa: S301 - our own bytes

        assert again == found
        assert again.digest == found.digest
        assert hash(again) == hash(found)


def test_digests_are_sha256_and_tell_protocols_apart() -> None:
    digests = {found.digest for found in PROTOCOLS.values()}

    assert len(digests) == len(PROTOCOLS)
    assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in digests)


def test_a_digest_is_the_same_in_every_process() -> None:
    code = (
        "import json; from tpbench.metrics.registry import PROTOCOLS;"
        "print(json.dumps({name: row.digest for name, row in PROTOCOLS.items()}))"
    )

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert json.loads(found.stdout) == {name: row.digest for name, row in PROTOCOLS.items()}


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
    assert len(fields(registry.Protocol)) == 15 + 3


@pytest.mark.parametrize(
    "prose", [{"title": "another"}, {"description": "Another."}, {"quirks": ("Another.",)}]
)
def test_what_is_only_said_about_it_leaves_the_digest(prose: dict[str, Any]) -> None:
    found = protocol(DEFAULT_PROTOCOL)

    assert replace(found, **prose).digest == found.digest


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
    assert replace(narrowed, id=full.id, metrics=full.metrics) == full


def test_its_own_metrics_in_whatever_order_leave_a_protocol_as_it_is() -> None:
    full = protocol(DEFAULT_PROTOCOL)

    assert full.with_metrics(reversed(full.metrics)) is full


def test_the_order_of_metrics_does_not_count_for_the_digest() -> None:
    full = protocol(DEFAULT_PROTOCOL)

    assert full.with_metrics(["l1", "fid"]).digest == full.with_metrics(["fid", "l1"]).digest


def test_metrics_of_other_protocols_can_be_added() -> None:
    wider = protocol("talkingpose").with_metrics(["tje_d2", "lpips_vgg"])

    assert (wider.id, wider.length) == ("talkingpose+custom", "truncate")


def test_a_custom_protocol_stays_custom_once() -> None:
    narrowed = protocol(DEFAULT_PROTOCOL).with_metrics(["psnr", "ssim"])

    assert narrowed.with_metrics(["psnr"]).id == "tpbench-v2+custom"


def test_no_metric_at_all_is_refused() -> None:
    with pytest.raises(ConfigError, match="name at least one metric for protocol 'disco'"):
        protocol("disco").with_metrics([])


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(ConfigError, match="did you mean 'lpips'"):
        protocol("disco").with_metrics(["fid", "lpip"])


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
