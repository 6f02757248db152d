from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from tests.cli.conftest import invoke
from tpbench.baselines import registry
from tpbench.baselines.base import ModelRow
from tpbench.baselines.talkingpose import parity
from tpbench.baselines.talkingpose.parity import ClipParity, ParityReport
from tpbench.errors import ConfigError

ROWS = (
    ModelRow(
        id="talkingpose",
        display_name="TalkingPose",
        kind="model",
        description="a diffusion model",
        factory="nowhere:Nothing",
        variants={"no-feedback": {"gain": 0}},
        needs=("8 GB on a GPU",),
        install=("pip install 'tpbench[talkingpose]'", "tpbench weights pull talkingpose-unet"),
        licence_code="MIT",
        licence_weights="unknown",
        url="https://example.org/talkingpose",
        params_b=2.1,
    ),
    ModelRow(
        id="frozen",
        display_name="Frozen",
        kind="anchor",
        description="no motion",
        factory="nowhere:Nothing",
        licence_code="MIT",
    ),
)


@pytest.fixture(autouse=True)
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rows whose factories can't be imported: nothing here may build a model."""
    monkeypatch.setattr(registry, "MODELS", {row.id: row for row in ROWS})


def run(*arguments: str) -> Result:
    return invoke("models", *arguments)


def test_list_shows_every_model_with_its_variants() -> None:
    said = run("list").stdout
    firsts = [line.split()[0] for line in said.splitlines() if line.strip()]
    assert firsts[0] == "model"
    assert firsts[2:] == ["talkingpose", "talkingpose:no-feedback", "frozen"]


def test_list_as_json_is_the_rows() -> None:
    rows = json.loads(run("list", "--json").stdout)
    assert [row["id"] for row in rows] == ["talkingpose", "frozen"]
    assert rows[0]["variants"] == {"no-feedback": {"gain": 0}}
    assert rows[0]["params_b"] == 2.1


def test_show_says_what_a_model_needs_and_what_others_published() -> None:
    said = run("show", "talkingpose:no-feedback").stdout

    for line in (
        "talkingpose: TalkingPose",
        "  licence of the code: MIT",
        "  licence of the weights: unknown",
        "  parameters: 2.1 billion",
        "  variant talkingpose:no-feedback: gain=0",
        "  needs: 8 GB on a GPU",
        "  to install: tpbench models install talkingpose",
    ):
        assert line in said.splitlines()
    assert "  test set not named: tje_d2 6.18, psnr 21.92, params_b 2.1" in said.splitlines()
    assert "    TalkingPose, project page" in said.splitlines()


def test_show_lists_options_with_defaults_and_weights_with_sizes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TPBENCH_CACHE", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")  # no text is wrapped
    row = ROWS[0].model_copy(
        update={
            "options": "tpbench.baselines.talkingpose.needs:TalkingPoseOptions",
            "weights": "talkingpose",
        }
    )
    monkeypatch.setattr(registry, "MODELS", {row.id: row})
    lines = [" ".join(line.split()) for line in run("show", "talkingpose").stdout.splitlines()]
    assert "steps 30 whole number (1 to 1000) Denoising steps for each frame." in lines
    assert any(line.startswith("dtype auto fp32, fp16, bf16, auto Dtype of") for line in lines)
    assert "sd-vae-ft-mse missing 334.6 MB MIT" in lines
    assert "talkingpose-pose-guider missing ? NOASSERTION" in lines
    assert "pip install 'tpbench[talkingpose]'" in lines
    shown = json.loads(run("show", "talkingpose", "--json").stdout)
    assert shown["options"][0] == {
        "name": "steps", "type": "whole number (1 to 1000)", "default": 30, "required": False,
        "meaning": "Denoising steps for each frame.",
    }  # fmt: skip
    assert shown["weights"][0]["size_bytes"] is None
    assert json.loads(run("list", "--json").stdout) == [shown]
    assert "to download them: tpbench weights pull talkingpose" in lines


def test_show_loads_no_torch() -> None:
    code = (
        "import sys; from tpbench.baselines.registry import option_table, weight_parts; "
        "option_table('talkingpose'), weight_parts('talkingpose'), option_table('champ'); "
        "print('torch' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout == "False\n"


def test_show_leaves_out_what_is_not_known() -> None:
    assert run("show", "frozen").stdout.splitlines() == [
        "frozen: Frozen",
        "  no motion",
        "  kind: anchor",
        "  licence of the code: MIT",
    ]


def test_show_as_json_has_the_published_numbers() -> None:
    shown = json.loads(run("show", "talkingpose", "--json").stdout)
    assert shown["id"] == "talkingpose"
    assert {"method", "metric", "value", "source_title"} <= shown["reported"][0].keys()


@pytest.mark.parametrize("command", ["show", "install"])
def test_an_unknown_model_is_refused_with_a_hint(command: str) -> None:
    with pytest.raises(ConfigError, match="no model 'frosen'; did you mean 'frozen'"):
        run(command, "frosen")


def test_install_prints_the_steps() -> None:
    assert run("install", "talkingpose").stdout.splitlines() == list(ROWS[0].install)
    assert run("install", "frozen").stdout.startswith("# frozen needs no installation")


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[float], Path]:
    """Let every parity case have this largest error; gives a folder of two cases."""
    for name in ("carry", "reset"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")

    def with_error(error: float) -> Path:
        def compute(folder: Path, *, device: str, dtype: str) -> ParityReport:
            clips = tuple(
                ClipParity(clip_id=f"clip{n}", latents_error=error / n, frames_error=0.0)
                for n in (1, 2)
            )
            return ParityReport(case=folder.name, device=device, dtype=dtype, clips=clips)

        monkeypatch.setattr(parity, "run_parity_case", compute)
        return tmp_path

    return with_error


def test_check_prints_the_largest_error_of_each_clip(answer: Callable[[float], Path]) -> None:
    result = run("check", "talkingpose", "--golden", str(answer(2e-4)))
    assert result.exit_code == 0
    assert result.stdout.splitlines()[:3] == [
        "carry: passed (largest error 2.0e-04, tolerance 1e-03, fp32 on cpu)",
        "  clip1: latents 2.0e-04, frames 0.0e+00",
        "  clip2: latents 1.0e-04, frames 0.0e+00",
    ]
    assert "reset: passed" in result.stdout


def test_check_fails_beyond_the_tolerance(answer: Callable[[float], Path]) -> None:
    result = run(
        "check", "talkingpose", "--golden", str(answer(2e-2)), "--dtype", "fp16", "--device", "cuda"
    )
    assert result.exit_code == 3
    assert "carry: FAILED (largest error 2.0e-02, tolerance 1e-03, fp16 on cuda)" in result.stdout


def test_check_wants_a_model_that_has_cases() -> None:
    with pytest.raises(ConfigError, match="no parity cases for 'frozen'; known: talkingpose"):
        run("check", "frozen")
