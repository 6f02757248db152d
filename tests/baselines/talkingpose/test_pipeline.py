from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from tests.baselines.talkingpose.tiny import tiny_clip, tiny_pipeline
from tpbench.baselines.talkingpose.pipeline import Pipeline, draw_noise

if TYPE_CHECKING:
    from tpbench.baselines.talkingpose.pipeline import ClipState


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return tiny_pipeline()


def test_what_depends_on_the_reference_alone_runs_once_a_clip(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    vae: Any = pipeline.networks.vae
    encode = vae.encode

    def encode_and_tell(picture: torch.Tensor) -> object:
        calls.append("vae")
        return encode(picture)

    monkeypatch.setattr(vae, "encode", encode_and_tell)
    hooks = [
        network.register_forward_hook(lambda *_, name=name: calls.append(name))
        for name, network in (
            ("reference_unet", pipeline.networks.reference_unet),
            ("image_encoder", pipeline.networks.image_encoder),
            ("denoising_unet", pipeline.networks.denoising_unet),
        )
    ]

    state = pipeline.prepare(tiny_clip(n_frames=3))
    for index in range(3):
        pipeline.make_frames([state], index)
    for hook in hooks:
        hook.remove()

    once = ["image_encoder", "vae", "reference_unet"]
    assert calls == once + ["denoising_unet"] * 3 * len(pipeline.schedule.timesteps)


def test_a_frame_starts_between_its_noise_and_the_frame_before(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[torch.Tensor] = []
    begin = pipeline._begun

    def keep(state: ClipState) -> torch.Tensor:
        begun.append(begin(state))
        return begun[-1]

    monkeypatch.setattr(pipeline, "_begun", keep)
    clip = tiny_clip()
    state = pipeline.prepare(clip)
    first = pipeline.make_frames([state], 0).latents
    pipeline.make_frames([state], 1)

    assert torch.equal(begun[0], clip.noise)
    torch.testing.assert_close(begun[1], 0.8 * clip.noise + 0.2 * first)


def test_latents_given_as_the_frame_before_act_on_the_first_frame(pipeline: Pipeline) -> None:
    clip = tiny_clip(n_frames=1)
    before = torch.full_like(clip.noise, 3.0)

    fresh = pipeline.make_frames([pipeline.prepare(clip)], 0).latents
    carried = pipeline.make_frames([pipeline.prepare(replace(clip, before=before))], 0).latents

    assert (fresh - carried).abs().max() > 1e-2


def test_without_guidance_the_reference_is_still_attended() -> None:
    pipeline = tiny_pipeline(guidance=1.0)
    clip = tiny_clip(n_frames=1)
    other = replace(clip, reference=255 - clip.reference)

    one, two = (pipeline.prepare(each) for each in (clip, other))
    two.token = one.token  # so that the reference network alone tells them apart
    assert (
        pipeline.make_frames([one], 0).latents - pipeline.make_frames([two], 0).latents
    ).abs().max() > 1e-2


@pytest.mark.parametrize(("width_px", "height_px"), [(40, 24), (72, 40), (64, 128)])
def test_any_multiple_of_8_is_a_size(pipeline: Pipeline, width_px: int, height_px: int) -> None:
    clip = tiny_clip(n_frames=1, width_px=width_px, height_px=height_px)

    made = pipeline.make_frames([pipeline.prepare(clip)], 0)

    assert made.images.shape == (1, 3, height_px, width_px)
    assert made.finite == (True,)
    assert float(made.images.min()) >= 0
    assert float(made.images.max()) <= 1


def test_a_failed_frame_leaves_the_networks_as_they_were(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = tiny_clip(n_frames=1)
    expected = pipeline.make_frames([pipeline.prepare(clip)], 0).latents
    state = pipeline.prepare(clip)
    with monkeypatch.context() as patched:

        def fail(*_: object) -> None:
            raise torch.cuda.OutOfMemoryError

        patched.setattr(pipeline.schedule, "step", fail)
        with pytest.raises(torch.cuda.OutOfMemoryError):
            pipeline.make_frames([state], 0)

    assert all(reader.bank is None for reader in pipeline._attention._readers.values())
    assert torch.equal(pipeline.make_frames([state], 0).latents, expected)


def test_noise_is_the_released_draw() -> None:
    drawn = torch.randn((1, 4, 1, 5, 9), generator=torch.Generator().manual_seed(42))

    ours = draw_noise(42, width_px=72, height_px=40, channels=4)

    assert torch.equal(ours, drawn[:, :, 0])
    assert not torch.equal(ours, draw_noise(43, width_px=72, height_px=40, channels=4))


def test_drawing_noise_leaves_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()

    draw_noise(1, width_px=64, height_px=64, channels=4)

    assert torch.equal(torch.random.get_rng_state(), before)


def test_compiling_is_asked_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[object] = []

    def compile_nothing(module: torch.nn.Module) -> torch.nn.Module:
        compiled.append(module)
        return module

    monkeypatch.setattr(torch, "compile", compile_nothing)
    plain = tiny_pipeline()
    assert compiled == []

    Pipeline(plain.networks, plain.schedule, guidance=3.5, gain=0.05, compiled=True)

    assert compiled == [plain.networks.denoising_unet]
