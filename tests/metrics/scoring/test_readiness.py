"""What becomes of metrics whose model files are not there."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from tests.metrics.scoring.clips import (
    custom,
    pairing_of,
    pictures,
    scored,
    worse,
    write_set,
)
from tpbench.errors import ConfigError, MissingDependencyError
from tpbench.metrics.registry import protocol
from tpbench.metrics.scoring import records
from tpbench.metrics.scoring.pairing import Pairing
from tpbench.metrics.scoring.records import look_around, require_all


@pytest.fixture
def pairing(tmp_path: Path) -> Pairing:
    images = pictures(4)
    write_set(tmp_path / "real", {"a": images})
    write_set(tmp_path / "gen", {"a": worse(images)})
    return pairing_of(tmp_path / "real", tmp_path / "gen")


def test_metrics_without_weights_need_nothing() -> None:
    found = look_around(protocol("talkingpose"), offline=True)
    assert found.metrics == protocol("talkingpose").metrics
    assert [row.name for row in found.meters] == ["psnr", "tje_d1", "tje_d2", "tje_d5"]
    assert (dict(found.not_measured), found.skeleton_digest) == ({}, "")
    assert set(found.digests.values()) == {""}


def test_each_metric_names_the_command_that_gets_its_weights() -> None:
    found = look_around(custom("psnr", "lpips", "fid", "kid", "fvd", "face_psnr"), offline=True)

    assert found.metrics == ("psnr",)
    assert [row.name for row in found.meters] == ["psnr"]
    commands = {
        "lpips": "tpbench weights pull lpips-alexnet",
        "fid": "tpbench weights pull fid-inception",
        "kid": "tpbench weights pull fid-inception",
        "fvd": "tpbench weights pull i3d-torchscript",
        "face_psnr": "tpbench weights pull mediapipe-pose-detector",
    }
    assert found.not_measured.keys() == commands.keys()
    for name, command in commands.items():
        assert command in found.not_measured[name]


def test_a_metric_waits_for_all_of_its_meters(monkeypatch: pytest.MonkeyPatch) -> None:
    """LPIPS of the face needs skeletons and AlexNet; PSNR of the face skeletons only."""
    monkeypatch.setattr(records, "_skeleton_digest", lambda *_, **__: "people")
    found = look_around(custom("face_lpips", "face_psnr"), offline=True)
    assert found.metrics == ("face_psnr",)
    assert found.skeleton_digest == "people"


def test_a_missing_library_is_a_reason_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise MissingDependencyError("MediaPipe", "apt install libgl1")

    monkeypatch.setattr(records, "_skeleton_digest", refuse)

    found = look_around(custom("psnr", "akd_body"), offline=True)

    assert found.not_measured == {"akd_body": "MediaPipe is not available: apt install libgl1"}


def test_what_lacks_weights_is_a_blank_with_the_command_and_the_rest_is_measured(
    pairing: Pairing, tmp_path: Path
) -> None:
    report = scored(pairing, tmp_path / "out", "lpips", "psnr", "fid", "drift_fid_slope")

    assert list(report.metrics) == ["lpips", "psnr", "fid", "drift_fid_slope"]
    assert math.isfinite(report.metrics["psnr"].value)
    for name in ("lpips", "fid", "drift_fid_slope"):
        found = report.metrics[name]
        assert found.status == "not_measured"
        assert math.isnan(found.value)
        assert found.n_clips == 0
        assert "tpbench weights pull" in (found.reason or "")
    assert report.clips["a"].values.keys() == {"psnr"}
    assert report.complete, "no clip is missing"
    stored = json.loads((tmp_path / "out" / "scores.json").read_text())["metrics"]["lpips"]
    assert (stored["status"], stored["value"]) == ("not_measured", None)


def test_strict_makes_it_an_error_before_anything_is_measured(
    pairing: Pairing, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        scored(pairing, tmp_path / "out", "psnr", "lpips", "fid", strict=True)
    line = str(caught.value)
    assert line.startswith("metric 'lpips' can't be measured: weights 'lpips-alexnet' are missing")
    assert "tpbench weights pull lpips-alexnet" in line
    assert line.endswith("(and 1 more metrics lack something)")
    assert "\n" not in line
    assert not (tmp_path / "out").exists()


def test_nothing_that_could_be_measured_is_an_error(pairing: Pairing, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"metric 'fid' can't be measured: .*fid-inception"):
        scored(pairing, tmp_path / "out", "fid")


def test_strict_is_content_where_all_is_there(pairing: Pairing, tmp_path: Path) -> None:
    report = scored(pairing, tmp_path / "out", "psnr", strict=True)
    assert report.metrics["psnr"].status == "measured"
    require_all(look_around(custom("psnr"), offline=True))


def test_weights_that_come_later_fill_the_blanks(
    pairing: Pairing, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    before = scored(pairing, tmp_path / "out", "psnr", "lpips")
    request.getfixturevalue("networks")
    after = scored(pairing, tmp_path / "out", "psnr", "lpips")
    assert before.metrics["lpips"].status == "not_measured"
    assert after.metrics["lpips"].status == "measured"
    assert after.metrics["lpips"].value > 0
    assert after.metrics["psnr"] == before.metrics["psnr"]
