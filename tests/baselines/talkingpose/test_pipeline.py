from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.baselines.talkingpose.tiny import tiny_clip, tiny_pipeline
from tpbench.baselines.base import ClipFailure
from tpbench.baselines.talkingpose.networks import ScheduleSettings
from tpbench.baselines.talkingpose.pipeline import (
    ClipInput,
    ClipState,
    LockStep,
    Pipeline,
    Schedule,
    StepFrame,
    clip_batch,
    draw_noise,
    stretched,
    to_bytes,
    unit_batch,
)


def test_timesteps_of_30_steps_are_the_released_ones() -> None:
    timesteps = Schedule(ScheduleSettings(), steps=30).timesteps
    assert timesteps[:4] == (999, 966, 932, 899)
    assert timesteps[-2:] == (66, 32)
    assert len(timesteps) == 30


def test_a_step_keeps_no_state() -> None:
    schedule = Schedule(ScheduleSettings(), steps=4)
    velocity, latents, other = torch.randn(3, 1, 4, 8, 8)
    first = schedule.step(velocity, 749, latents)
    schedule.step(other, 999, other)
    assert torch.equal(schedule.step(velocity, 749, latents), first)


def test_colours_are_rounded_or_cut_off() -> None:
    image = torch.tensor([0.0, 0.6 / 255, 1.5 / 255, 254.9 / 255, 1.0]).expand(3, 2, 5)
    assert to_bytes(image, truncated=False)[0, :, 0].tolist() == [0, 1, 2, 255, 255]
    assert to_bytes(image, truncated=True)[0, :, 0].tolist() == [0, 0, 1, 254, 255]


def test_every_level_survives_the_way_in_and_out() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    assert np.array_equal(to_bytes(unit_batch([levels])[0], truncated=False), levels)


def test_clip_sees_a_square_with_its_own_normalisation() -> None:
    grey = np.full((30, 50, 3), 128, np.uint8)
    batch = clip_batch(grey, side_px=224)
    assert batch.shape == (1, 3, 224, 224)
    expected = (128 / 255 - torch.tensor([0.48145466, 0.4578275, 0.40821073])) / torch.tensor(
        [0.26862954, 0.26130258, 0.27577711]
    )
    torch.testing.assert_close(batch[0, :, 100, 100], expected)


def test_stretching_is_pillows_lanczos_and_leaves_the_right_size_alone() -> None:
    image = np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8)
    ours = stretched(image, width_px=64, height_px=64)
    lanczos, bicubic = (
        np.asarray(Image.fromarray(image).resize((64, 64), kind))
        for kind in (Image.Resampling.LANCZOS, Image.Resampling.BICUBIC)
    )
    assert np.array_equal(ours, lanczos)
    assert not np.array_equal(ours, bicubic)
    assert stretched(image, width_px=40, height_px=24) is image


Watch = Callable[[Pipeline, Callable[[Sequence[str]], bool]], list[list[str]]]


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return tiny_pipeline()


@pytest.fixture
def clips() -> list[ClipInput]:
    """Four clips of different lengths, pictures, poses and noise."""
    lengths = {"a": 1, "b": 3, "c": 2, "d": 3}
    return [
        tiny_clip(name, n_frames=length, picture=number)
        for number, (name, length) in enumerate(lengths.items())
    ]


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    """Record which clips are made together; batches that are too much run out of memory."""

    def install(pipeline: Pipeline, too_much: Callable[[Sequence[str]], bool]) -> list[list[str]]:
        batches: list[list[str]] = []
        make = pipeline.make_frames

        def recorded(states: Sequence[ClipState], index: int) -> list[StepFrame]:
            batches.append([state.clip.clip_id for state in states])
            if too_much(batches[-1]):
                raise torch.cuda.OutOfMemoryError
            return make(states, index)

        monkeypatch.setattr(pipeline, "make_frames", recorded)
        return batches

    return install


def never(_batch: Sequence[str]) -> bool:
    return False


def by_clip(outcomes: Iterable[StepFrame | ClipFailure]) -> dict[str, list[Any]]:
    """Latents of each clip's frames, or its failure."""
    made: dict[str, list[Any]] = {}
    for outcome in outcomes:
        if isinstance(outcome, ClipFailure):
            made.setdefault(outcome.clip_id, []).append(outcome.reason)
        else:
            latents = made.setdefault(outcome.clip.clip_id, [])
            assert outcome.index == len(latents)
            latents.append(outcome.latents)
    return made


def one_at_a_time(pipeline: Pipeline, clips: Sequence[ClipInput]) -> dict[str, list[Any]]:
    lockstep = LockStep(pipeline, max_clips=1)
    made: dict[str, list[Any]] = {}
    for clip in clips:
        made |= by_clip(lockstep.run([clip]))
    return made


def largest_difference(one: dict[str, list[Any]], other: dict[str, list[Any]]) -> float:
    assert one.keys() == other.keys()
    pairs = [pair for name in one for pair in zip(one[name], other[name], strict=True)]
    return max(float((a - b).abs().max()) for a, b in pairs)


def test_every_step_of_every_frame_tells_that_the_work_goes_on() -> None:
    told: list[None] = []
    clip = replace(tiny_clip(n_frames=3), on_step=lambda: told.append(None))
    by_clip(LockStep(tiny_pipeline(steps=4), max_clips=1).run([clip]))
    assert len(told) == 3 * 4


@pytest.mark.parametrize("guidance", [1.0, 3.5])
def test_a_batch_equals_one_clip_at_a_time(guidance: float, clips: list[ClipInput]) -> None:
    pipeline = tiny_pipeline(guidance=guidance)
    together = by_clip(LockStep(pipeline, max_clips=4).run(clips))
    assert {name: len(frames) for name, frames in together.items()} == {
        clip.clip_id: clip.n_frames for clip in clips
    }
    assert largest_difference(together, one_at_a_time(pipeline, clips)) < 1e-3


def test_neither_the_order_of_clips_nor_those_before_change_anything(
    pipeline: Pipeline, clips: list[ClipInput]
) -> None:
    forward = by_clip(LockStep(pipeline, max_clips=4).run(clips))
    backward = by_clip(LockStep(pipeline, max_clips=4).run(clips[::-1]))
    assert largest_difference(forward, backward) < 1e-3
    lockstep = LockStep(pipeline, max_clips=1)
    alone = by_clip(lockstep.run(clips[1:2]))
    after_others = by_clip(lockstep.run([clips[3], clips[0], clips[1]]))
    assert all(torch.equal(a, b) for a, b in zip(alone["b"], after_others["b"], strict=True))


@pytest.mark.parametrize(
    ("max_clips", "expected"),
    [
        (4, ["abcd", "bcd", "bd"]),
        (3, ["abc", "bc", "b", "d", "d", "d"]),
    ],
)
def test_a_clip_that_ends_leaves_the_batch_which_is_never_larger_than_allowed(
    pipeline: Pipeline, clips: list[ClipInput], watch: Watch, max_clips: int, expected: list[str]
) -> None:
    batches = watch(pipeline, never)
    by_clip(LockStep(pipeline, max_clips=max_clips).run(clips))
    assert ["".join(batch) for batch in batches] == expected


def test_clips_of_different_sizes_are_made_one_size_after_the_other(
    pipeline: Pipeline, watch: Watch
) -> None:
    clips = [
        tiny_clip("wide", n_frames=1, width_px=72, height_px=40),
        tiny_clip("tall", n_frames=1, width_px=40, height_px=72),
        tiny_clip("tall too", n_frames=1, width_px=40, height_px=72, picture=1),
    ]
    batches = watch(pipeline, never)
    made = by_clip(LockStep(pipeline, max_clips=3).run(clips))
    assert batches == [["wide"], ["tall", "tall too"]]
    assert made["wide"][0].shape == (1, 4, 5, 9)
    assert made["tall"][0].shape == (1, 4, 9, 5)


def test_a_clip_without_frames_makes_none(pipeline: Pipeline) -> None:
    clips = [replace(tiny_clip("empty"), n_frames=0), tiny_clip("full", n_frames=1)]
    assert list(by_clip(LockStep(pipeline, max_clips=2).run(clips))) == ["full"]


def test_out_of_memory_halves_the_batch_and_makes_the_frame_again(
    pipeline: Pipeline,
    clips: list[ClipInput],
    watch: Watch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    expected = by_clip(LockStep(pipeline, max_clips=4).run(clips))
    batches = watch(pipeline, lambda batch: len(batch) > 2)
    lockstep = LockStep(pipeline, max_clips=4)
    with caplog.at_level(logging.WARNING):
        made = by_clip(lockstep.run(clips))
    assert batches[:3] == [["a", "b", "c", "d"], ["a", "b"], ["c", "d"]]
    assert all(len(batch) <= 2 for batch in batches[1:])
    assert "out of GPU memory with 4 clips at once; continuing with 2" in caplog.text
    assert lockstep.max_clips == 2
    assert largest_difference(made, expected) < 1e-3


def test_memory_that_runs_out_in_a_later_frame_costs_no_frame(
    pipeline: Pipeline, clips: list[ClipInput], watch: Watch
) -> None:
    expected = by_clip(LockStep(pipeline, max_clips=4).run(clips))
    batches: list[list[str]] = watch(pipeline, lambda _: len(batches) == 2)
    made = by_clip(LockStep(pipeline, max_clips=4).run(clips))
    assert batches == [["a", "b", "c", "d"], ["b", "c", "d"], ["b"], ["c"], ["d"], ["b"], ["d"]]
    assert largest_difference(made, expected) < 1e-3


@pytest.mark.parametrize("step", ["prepare", "make_frames"])
def test_a_clip_too_large_by_itself_fails_and_the_others_go_on(
    pipeline: Pipeline, clips: list[ClipInput], monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    right = getattr(pipeline, step)

    def fails_for_c(what: ClipInput | Sequence[ClipState], *index: int) -> object:
        clips = [what] if isinstance(what, ClipInput) else [state.clip for state in what]
        if any(clip.clip_id == "c" for clip in clips):
            raise torch.cuda.OutOfMemoryError
        return right(what, *index)

    monkeypatch.setattr(pipeline, step, fails_for_c)
    made = by_clip(LockStep(pipeline, max_clips=4).run(clips))
    assert [len(made[name]) for name in "abd"] == [1, 3, 3]
    (reason,) = made["c"]
    assert "out of GPU memory with a single clip" in reason


def test_a_reference_that_does_not_fit_beside_others_waits_for_them(
    pipeline: Pipeline,
    clips: list[ClipInput],
    watch: Watch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prepare, tried = pipeline.prepare, []

    def fails_once_for_c(clip: ClipInput) -> ClipState:
        tried.append(clip.clip_id)
        if clip.clip_id == "c" and tried.count("c") == 1:
            raise torch.cuda.OutOfMemoryError
        return prepare(clip)

    monkeypatch.setattr(pipeline, "prepare", fails_once_for_c)
    batches = watch(pipeline, never)
    made = by_clip(LockStep(pipeline, max_clips=4).run(clips))
    assert [len(made[name]) for name in "abcd"] == [1, 3, 2, 3]
    assert tried == ["a", "b", "c", "c", "d"]
    assert max(len(batch) for batch in batches) == 1


def test_numbers_that_overflow_fail_their_clip_alone(
    pipeline: Pipeline, clips: list[ClipInput]
) -> None:
    spoilt = replace(clips[1], noise=torch.full_like(clips[1].noise, torch.inf))
    made = by_clip(LockStep(pipeline, max_clips=4).run([clips[0], spoilt, clips[2], clips[3]]))
    (reason,) = made["b"]
    assert reason == "the networks overflowed in frame 0; use dtype=bf16 or dtype=fp32"
    expected = one_at_a_time(pipeline, clips)
    del made["b"], expected["b"]
    assert largest_difference(made, expected) < 1e-3


def test_no_tensor_is_kept_from_frame_to_frame(pipeline: Pipeline) -> None:
    counts = {}
    clip = tiny_clip(n_frames=8)
    for index, made in enumerate(LockStep(pipeline, max_clips=1).run([clip])):
        del made
        if index in (1, 7):
            gc.collect()
            kinds = map(type, gc.get_objects())
            counts[index] = sum(issubclass(kind, torch.Tensor) for kind in kinds)
    assert counts[1] == counts[7]


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


def test_without_guidance_the_reference_is_still_attended() -> None:
    pipeline = tiny_pipeline(guidance=1.0)
    clip = tiny_clip(n_frames=1)
    other = replace(clip, reference=255 - clip.reference)
    one, two = (pipeline.prepare(each) for each in (clip, other))
    two.token = one.token  # so that the reference network alone tells them apart
    made = [pipeline.make_frames([state], 0)[0].latents for state in (one, two)]
    assert (made[0] - made[1]).abs().max() > 1e-2


@pytest.mark.parametrize(("width_px", "height_px"), [(40, 24), (72, 40), (64, 128)])
def test_any_multiple_of_8_is_a_size(pipeline: Pipeline, width_px: int, height_px: int) -> None:
    clip = tiny_clip(n_frames=1, width_px=width_px, height_px=height_px)
    (made,) = pipeline.make_frames([pipeline.prepare(clip)], 0)
    assert made.image.shape == (3, height_px, width_px)
    assert made.finite
    assert float(made.image.min()) >= 0
    assert float(made.image.max()) <= 1


def test_a_failed_frame_leaves_the_networks_as_they_were(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = tiny_clip(n_frames=1)
    expected = pipeline.make_frames([pipeline.prepare(clip)], 0)[0].latents
    state = pipeline.prepare(clip)
    with monkeypatch.context() as patched:

        def fail(*_: object) -> None:
            raise torch.cuda.OutOfMemoryError

        patched.setattr(pipeline.schedule, "step", fail)
        with pytest.raises(torch.cuda.OutOfMemoryError):
            pipeline.make_frames([state], 0)
    assert all(reader.bank is None for reader in pipeline._attention._readers.values())
    assert torch.equal(pipeline.make_frames([state], 0)[0].latents, expected)


def test_noise_is_the_released_draw_and_leaves_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    drawn = torch.randn((1, 4, 1, 5, 9), generator=torch.Generator().manual_seed(42))
    ours = draw_noise(42, width_px=72, height_px=40, channels=4)
    assert torch.equal(ours, drawn[:, :, 0])
    assert not torch.equal(ours, draw_noise(43, width_px=72, height_px=40, channels=4))
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
