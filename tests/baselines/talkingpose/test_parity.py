from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tpbench.baselines.talkingpose import networks, pipeline
from tpbench.baselines.talkingpose.needs import DtypeName
from tpbench.baselines.talkingpose.networks import PoseGuider
from tpbench.baselines.talkingpose.parity import (
    BUNDLED_CASE,
    CaseSettings,
    ParityCase,
    build_pipeline,
    compare,
    find_parity_cases,
    read_case,
    run_parity_case,
)
from tpbench.errors import ConfigError, GeneratorError

Spoil = Callable[[pytest.MonkeyPatch], None]

RESET = BUNDLED_CASE
CARRY = Path(__file__).parents[2] / "golden" / "talkingpose_parity" / "carry"


@pytest.mark.parametrize("folder", [RESET, CARRY], ids=["reset", "carry"])
def test_latents_and_frames_equal_the_released_code(folder: Path) -> None:
    report = run_parity_case(folder)
    assert [clip.clip_id for clip in report.clips] == ["clip0", "clip1"]
    assert report.max_error < 1e-3
    assert report.passed


def latents_error(
    folder: Path, *, settings: dict[str, Any] | None = None, gain: float = -1
) -> float:
    """Largest difference of the latents of a case, with its settings or our pipeline changed."""
    case = read_case(folder)
    changed = case.settings.model_copy(update=settings or {})
    case = ParityCase(name=case.name, settings=changed, clips=case.clips, expected=case.expected)
    made = build_pipeline(case, device=torch.device("cpu"), dtype=torch.float32)
    if gain >= 0:
        made.gain = gain
    return max(clip.latents_error for clip in compare(case, made))


def without_bank(monkeypatch: pytest.MonkeyPatch) -> None:
    def reading(*_: object, plain_rows: int) -> nullcontext[None]:
        assert plain_rows
        return nullcontext()

    monkeypatch.setattr(networks.ReferenceAttention, "reading", reading)


def with_rows_swapped(monkeypatch: pytest.MonkeyPatch) -> None:
    guided = pipeline._guided
    monkeypatch.setattr(
        pipeline, "_guided", lambda velocity, scale: guided(swapped(velocity), scale)
    )


def with_bank_on_the_unconditional_row(monkeypatch: pytest.MonkeyPatch) -> None:
    read = networks._Reader.__call__

    def read_swapped(
        reader: networks._Reader,
        attn: object,
        hidden_states: torch.Tensor,
        **rest: torch.Tensor | None,
    ) -> torch.Tensor:
        return swapped(read(reader, attn, swapped(hidden_states), **rest))

    monkeypatch.setattr(networks._Reader, "__call__", read_swapped)


def without_pose(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = PoseGuider.forward
    monkeypatch.setattr(PoseGuider, "forward", lambda guider, drawing: 0 * forward(guider, drawing))


def swapped(rows: torch.Tensor) -> torch.Tensor:
    return torch.cat(rows.chunk(2)[::-1])


@pytest.mark.parametrize(
    "spoil",
    [without_bank, with_rows_swapped, with_bank_on_the_unconditional_row, without_pose],
)
def test_a_wrong_implementation_is_far_off(spoil: Spoil, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch)
    assert latents_error(RESET) > 1e-2


@pytest.mark.parametrize("folder", [RESET, CARRY], ids=["reset", "carry"])
def test_wrong_betas_are_far_off(folder: Path) -> None:
    scheduler = read_case(folder).settings.scheduler
    wrong = scheduler.model_copy(update={"beta_schedule": "scaled_linear"})
    assert latents_error(folder, settings={"scheduler": wrong}) > 1e-2


def test_no_feedback_is_far_off() -> None:
    assert latents_error(RESET, gain=0) > 1e-2


@pytest.mark.parametrize(("folder", "carry"), [(CARRY, False), (RESET, True)])
def test_latents_carried_or_not_against_the_case_are_far_off(folder: Path, *, carry: bool) -> None:
    assert latents_error(folder, settings={"carry_latents_across_clips": carry}) > 1e-2


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
def test_half_precision_is_measured_and_does_not_pass_for_equal(dtype: DtypeName) -> None:
    report = run_parity_case(RESET, dtype=dtype)
    assert 1e-3 < report.max_error < 2
    assert not report.passed
    assert report.dtype == dtype


def test_a_folder_of_cases_gives_all_of_them(tmp_path: Path) -> None:
    for name in ("b", "a"):
        shutil.copytree(CARRY, tmp_path / name)
    assert find_parity_cases(tmp_path) == [tmp_path / "a", tmp_path / "b"]
    assert find_parity_cases(CARRY) == [CARRY]
    assert find_parity_cases() == [BUNDLED_CASE]


def test_a_folder_without_cases_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="neither a parity case"):
        find_parity_cases(tmp_path)


def test_a_case_without_a_tensor_names_it(tmp_path: Path) -> None:
    tensors = load_file(CARRY / "expected.safetensors")
    del tensors["clip1.latents"]
    shutil.copy(CARRY / "config.json", tmp_path)
    save_file(tensors, tmp_path / "expected.safetensors")
    with pytest.raises(ConfigError, match=r"expected.safetensors: tensor 'clip1.latents'"):
        read_case(tmp_path)


def test_a_case_with_another_latent_scale_is_refused(tmp_path: Path) -> None:
    settings = CaseSettings.model_validate_json((CARRY / "config.json").read_bytes())
    other = settings.inference.model_copy(update={"latent_scale": 0.13})
    (tmp_path / "config.json").write_text(
        settings.model_copy(update={"inference": other}).model_dump_json()
    )
    with pytest.raises(ConfigError, match="latent_scale"):
        read_case(tmp_path)


def test_overflow_is_an_error_and_not_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = PoseGuider.forward
    monkeypatch.setattr(
        PoseGuider, "forward", lambda guider, drawing: torch.inf * forward(guider, drawing)
    )
    with pytest.raises(GeneratorError, match="clip0: the networks overflowed in frame 0"):
        run_parity_case(CARRY)


@pytest.mark.shared
def test_both_goldens_beside_the_checkout_are_met(shared_dir: Path) -> None:
    folders = find_parity_cases(shared_dir / "goldens" / "talkingpose_parity")
    assert [folder.name for folder in folders] == ["carry", "reset"]
    assert all(run_parity_case(folder).passed for folder in folders)
