from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.benchmark.papers import parsed_rows
from tests.cli.conftest import invoke
from tpbench.errors import ConfigError
from tpbench.metrics.registry import DEFAULT_PROTOCOL, METRICS, PROTOCOLS


@pytest.fixture(autouse=True)
def _no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TPBENCH_CACHE", str(tmp_path))
    monkeypatch.setenv("TPBENCH_OFFLINE", "1")
    monkeypatch.setenv("COLUMNS", "160")


def shown(*command: str) -> str:
    return invoke("metrics", *command).stdout


def shown_json(*command: str) -> Any:  # noqa: ANN401 - whatever JSON holds
    return json.loads(shown(*command, "--json"))


def words(text: str) -> str:
    return " ".join(text.split())


def test_list_shows_the_headline_of_the_default_and_counts_the_rest() -> None:
    headline = PROTOCOLS[DEFAULT_PROTOCOL].headline
    lines = shown("list").splitlines()
    assert [line.split()[0] for line in lines[1:-3]] == list(headline)
    assert (
        lines[-2]
        == f"the headline of tpbench-v2; {len(METRICS) - len(headline)} more metrics: --all"
    )
    assert lines[-1] == "protocols: tpbench-v2, disco, talkingpose"


def test_list_of_all_shows_every_metric_with_its_direction_and_unit_the_headline_first() -> None:
    headline = PROTOCOLS[DEFAULT_PROTOCOL].headline
    lines = shown("list", "--all").splitlines()
    by_id = {line.split()[0]: words(line) for line in lines[1:-3]}
    assert list(by_id)[: len(headline)] == list(headline)
    assert sorted(by_id) == sorted(METRICS)
    assert by_id["psnr"] == "psnr * ↑ dB PSNR"
    assert by_id["motion_ratio"] == "motion_ratio * → 1 Motion ratio"
    assert by_id["identical_share"] == "identical_share share Identical frames"
    assert by_id["lpips"] == "lpips * ↓ lpips-alexnet (missing) LPIPS (AlexNet)"
    assert lines[-2] == "* the headline of tpbench-v2"


def test_list_says_how_to_get_the_model_files_that_are_missing() -> None:
    lines = shown("list", "--protocol", "disco").splitlines()
    assert lines[-2].endswith("tpbench weights pull metrics")


def test_list_of_a_protocol_without_networks_asks_for_no_model_files() -> None:
    lines = shown("list", "--protocol", "talkingpose").splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == ["tje_d2", "psnr", "tje_d1", "tje_d5"]
    assert lines[-1] == "* the headline of talkingpose"


def test_list_is_a_table_for_a_paper_too() -> None:
    rows = parsed_rows(shown("list", "--format", "latex").rstrip("\n"))
    assert rows[0] == ["Metric", "Id", "Better", "Unit", "Meaning"]
    assert rows[1] == ["PSNR", "psnr", r"$\uparrow$", "dB", "PSNR"]
    assert shown("list", "--format", "md").startswith("| Metric | Id | Better | Unit | Meaning |")
    lines = shown("list", "--all", "--format", "csv").splitlines()
    assert len(lines) == 1 + len(METRICS)


def test_list_as_json_gives_all_there_is_to_know() -> None:
    rows = shown_json("list")
    assert [row["id"] for row in rows] == list(METRICS)
    kid = next(row for row in rows if row["id"] == "kid")
    assert kid["weights_missing"] == ["fid-inception"]
    assert kid["protocols"] == ["tpbench-v2"]
    assert kid["low"] is None
    assert kid["columns"] == []


@pytest.mark.parametrize("metric_id", list(METRICS))
def test_show_explains_every_metric(metric_id: str) -> None:
    row, text = METRICS[metric_id], words(shown("show", metric_id))
    assert text.startswith(f"{row.id}: {row.title} (version {row.version})")
    for part in (row.definition, row.formula, row.source, row.pitfalls):
        assert part in text


def test_show_tells_range_direction_columns_and_protocols() -> None:
    lines = [words(line) for line in shown("show", "motion_ratio").splitlines()]
    assert "better near 1" in lines
    assert "range 0 to unbounded" in lines
    assert "columns motion_generated, motion_real" in lines
    assert "protocols tpbench-v2" in lines


def test_show_says_how_to_measure_what_no_protocol_holds() -> None:
    assert "protocols none; name it with --metrics" in words(shown("show", "lpips_vgg"))


@pytest.mark.parametrize("protocol_id", list(PROTOCOLS))
def test_show_explains_every_protocol(protocol_id: str) -> None:
    row, text = PROTOCOLS[protocol_id], words(shown("show", protocol_id))
    assert text.startswith(f"{row.id}: {row.title} (version {row.version})")
    for part in (row.description, *row.quirks, *row.metrics, row.digest):
        assert part in text


def test_show_says_what_a_protocol_does_with_clips_that_differ() -> None:
    text = words(shown("show", "talkingpose"))
    assert "other length compared until the shorter clip ends" in text
    assert "other size resized to the real clip's by averaging areas" in text
    assert "other rate ignored" in text


def test_show_leaves_out_settings_that_no_metric_of_the_protocol_asks_for() -> None:
    full, plain = words(shown("show", "tpbench-v2")), words(shown("show", "talkingpose"))
    for part in ("skeleton mediapipe", "windows 16 frames for FVD", "levels lasting_psnr 20"):
        assert part in full
    for name in ("skeleton mediapipe", "windows 16", "levels"):
        assert name not in plain


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("list", "--protocol", "disko"), "did you mean 'disco'"),
        (("show", "psrn"), "did you mean 'psnr'"),
        (("show", "talking-pose"), "did you mean 'talkingpose'"),
        (("show", "tpbench-v1"), "nothing is scored by protocol 'tpbench-v1' any more"),
    ],
)
def test_a_name_that_is_none_is_refused_with_a_hint(command: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        shown(*command)


def test_show_as_json_is_one_metric_or_one_protocol() -> None:
    row = shown_json("show", "pck_hands")
    assert (row["id"], row["unit"], row["needs"]) == ("pck_hands", "share", ["pose"])
    row = shown_json("show", "disco")
    assert row["digest"] == PROTOCOLS["disco"].digest
    assert row["metrics"] == list(PROTOCOLS["disco"].metrics)
    assert row["headline"] == list(PROTOCOLS["disco"].headline)
