from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest
import yaml

from tests.extraction.conftest import MakeEvidence
from tpbench.errors import ConfigError
from tpbench.extraction.config import (
    ClipSettings,
    ExtractionConfig,
    load_preset,
    parse_preset,
    preset_names,
)
from tpbench.extraction.filters import ALL_FILTERS, judge_clip, reject_codes


@pytest.fixture(scope="module")
def text() -> str:
    """The default preset as it is written."""
    folder = files("tpbench.extraction") / "presets"
    return (folder / "talkingpose.yaml").read_text("utf-8")


def _with(text: str, key: str, line: str) -> str:
    """Return the preset with the one line that sets `key` replaced; its indent stays."""
    lines = text.splitlines()
    (at,) = [k for k, old in enumerate(lines) if old.strip().startswith(f"{key}:")]
    indent = len(lines[at]) - len(lines[at].lstrip())
    lines[at] = " " * indent + line
    return "\n".join(lines)


def _message(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_preset(text, origin="my.yaml")
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("my.yaml")
    return message


def test_the_presets_are_those_of_the_documentation() -> None:
    assert preset_names() == ["demo", "talkingpose"]


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_loads_and_bears_its_own_name(name: str) -> None:
    assert load_preset(name).name == name


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_makes_clips_of_more_than_a_hundred_frames(name: str) -> None:
    config = load_preset(name)
    assert (config.filters["clip.too_short"] or 0) > 100
    assert config.clip.max_s * 23 > 2 * 101  # so that long stretches can be cut at any usual rate


@pytest.mark.parametrize("name", preset_names())
def test_every_share_in_a_preset_is_one(name: str) -> None:
    filters = load_preset(name).filters
    shares = {row.code for row in ALL_FILTERS if row.measurement.name.endswith("_share")}
    for code in shares - {"motion.camera", "skeleton.jitter"}:  # shares of a length: may pass 1
        threshold = filters.get(code)
        assert threshold is None or 0 <= threshold <= 1


def test_a_preset_may_be_a_file_of_the_user(tmp_path: Path, text: str) -> None:
    path = tmp_path / "my preset ü.yml"
    path.write_text(_with(text, "name", "name: mine"), encoding="utf-8")
    config = load_preset(str(path))
    assert config.name == "mine"
    assert config.digest() == load_preset("talkingpose").digest()


def test_the_digest_is_that_of_the_settings(text: str) -> None:
    plain = parse_preset(text, origin="")
    assert parse_preset(_with(text, "name", "name: x"), origin="").digest() == plain.digest()
    assert parse_preset(_with(text, "max_s", "max_s: 30"), origin="").digest() == plain.digest()
    assert parse_preset(_with(text, "max_s", "max_s: 29"), origin="").digest() != plain.digest()
    off = _with(text, "face.turned", "face.turned: null")
    assert parse_preset(off, origin="").digest() != plain.digest()


def test_the_digest_does_not_depend_on_the_order_of_keys(text: str) -> None:
    data = yaml.safe_load(text)
    data["filters"] = dict(reversed(data["filters"].items()))
    assert ExtractionConfig.model_validate(data).digest() == load_preset("talkingpose").digest()


def test_settings_survive_json() -> None:
    config = load_preset("demo")
    again = ExtractionConfig.model_validate(config.model_dump(mode="json"))
    assert again.digest() == config.digest()


@pytest.mark.parametrize(
    ("key", "line", "wanted"),
    [
        (
            "min_s",
            "min_sec: 4",
            ["'clip.min_sec'", "did you mean 'min_s'?", "clip.min_s: Field required"],
        ),
        ("shots", "shot:", ["'shot'", "did you mean 'shots'?"]),
        (
            "face.turned",
            "face.turend: 45",
            ["unknown filter 'face.turend'; did you mean 'face.turned'?"],
        ),
    ],
)
def test_a_wrong_key_names_the_right_one(key: str, line: str, wanted: list[str], text: str) -> None:
    message = _message(_with(text, key, line))
    assert all(part in message for part in wanted)


def test_a_filter_that_a_preset_does_not_name_is_off_and_said_once(
    text: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, make_evidence: MakeEvidence
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(_with(text, "face.turned", ""), encoding="utf-8")
    config = load_preset(str(path))
    (record,) = caplog.records
    assert (
        record.getMessage()
        == f"preset {path} does not name face.turned: off (null makes it explicit)"
    )
    evidence = make_evidence(200, face_yaw_deg=[80] * 200)
    assert reject_codes(judge_clip(evidence, config.filters)) == ("face.rarely_frontal",)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("min_s", "0"),
        ("min_s", "-1"),
        ("min_s", ".nan"),
        ("max_s", ".inf"),
        ("max_s", "thirty"),
        ("out_size_px", "500"),
        ("out_size_px", "48"),
        ("out_size_px", "512.5"),
        ("margin_share", "1.1"),
        ("content_threshold", "256"),
        ("adaptive_ratio", "1"),
        ("margin_frames", "-1"),
        ("rate_hz", "0.4"),
        ("max_side_px", "100"),
        ("prominent_face_share", "0"),
        ("max_appearance_change", "1.5"),
        ("face.turned", ".nan"),
        ("face.turned", "[45]"),
        ("name", "Mine"),
        ("name", "../mine"),
    ],
)
def test_a_value_out_of_bounds_is_named(key: str, value: str, text: str) -> None:
    assert key in _message(_with(text, key, f"{key}: {value}"))


def test_all_wrong_settings_are_told_at_once(text: str) -> None:
    message = _message(_with(_with(text, "rate_hz", "rate_hz: 99"), "margin_frames", "frames: 1"))
    assert "rate_hz" in message
    assert "'shots.frames'" in message


def test_lengths_that_some_stretches_could_not_be_cut_into_are_refused() -> None:
    with pytest.raises(ValueError, match="twice min_s"):
        ClipSettings(min_s=4, max_s=7.9, out_size_px=512, margin_share=0.1)
    assert ClipSettings(min_s=4, max_s=8, out_size_px=512, margin_share=0.1).max_s == 8


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- a",
        "just words",
        "a: [",
        "\x00",
        "at: 2024-99-99",
        "n: 0x_",
        "[" * 3000,
        "1: 2",
        "on: 1",
    ],
    ids=range(10),
)
def test_anything_but_settings_is_one_clear_line(text: str) -> None:
    _message(text)


def test_an_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"'talkingpos'; did you mean 'talkingpose'\?.*\.yaml"):
        load_preset("talkingpos")


def test_a_preset_file_that_is_absent_a_folder_or_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00a: 1")
    for name in ("absent.yaml", "folder.yaml", "bytes.yaml"):
        with pytest.raises(ConfigError, match=name):
            load_preset(str(tmp_path / name))
