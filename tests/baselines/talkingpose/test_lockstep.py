from __future__ import annotations

import gc
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from tests.baselines.talkingpose.tiny import tiny_clip, tiny_pipeline
from tpbench.baselines.base import ClipFailure
from tpbench.baselines.talkingpose.pipeline import LockStep, StepFrame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tpbench.baselines.talkingpose.pipeline import (
        ClipInput,
        ClipState,
        MadeFrames,
        Pipeline,
    )

    Watch = Callable[[Pipeline, Callable[[Sequence[str]], bool]], list[list[str]]]


@pytest.fixture(scope="module")
def shared_pipeline() -> Pipeline:
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

        def recorded(states: Sequence[ClipState], index: int) -> MadeFrames:
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


@pytest.mark.parametrize("guidance", [1.0, 3.5])
def test_a_batch_equals_one_clip_at_a_time(guidance: float, clips: list[ClipInput]) -> None:
    pipeline = tiny_pipeline(guidance=guidance)

    together = by_clip(LockStep(pipeline, max_clips=4).run(clips))

    assert {name: len(frames) for name, frames in together.items()} == {
        clip.clip_id: clip.n_frames for clip in clips
    }
    assert largest_difference(together, one_at_a_time(pipeline, clips)) < 1e-3


def test_the_order_of_clips_changes_nothing(
    shared_pipeline: Pipeline, clips: list[ClipInput]
) -> None:
    forward = by_clip(LockStep(shared_pipeline, max_clips=4).run(clips))
    backward = by_clip(LockStep(shared_pipeline, max_clips=4).run(clips[::-1]))

    assert largest_difference(forward, backward) < 1e-3


def test_clips_made_before_leave_no_trace(
    shared_pipeline: Pipeline, clips: list[ClipInput]
) -> None:
    lockstep = LockStep(shared_pipeline, max_clips=1)
    alone = by_clip(lockstep.run(clips[1:2]))
    after_others = by_clip(lockstep.run([clips[3], clips[0], clips[1]]))

    assert all(torch.equal(a, b) for a, b in zip(alone["b"], after_others["b"], strict=True))


def test_a_clip_that_ends_leaves_the_batch(
    shared_pipeline: Pipeline, clips: list[ClipInput], watch: Watch
) -> None:
    batches = watch(shared_pipeline, never)

    by_clip(LockStep(shared_pipeline, max_clips=4).run(clips))

    assert batches == [["a", "b", "c", "d"], ["b", "c", "d"], ["b", "d"]]


def test_no_more_clips_than_allowed_run_at_once(
    shared_pipeline: Pipeline, clips: list[ClipInput], watch: Watch
) -> None:
    batches = watch(shared_pipeline, never)

    by_clip(LockStep(shared_pipeline, max_clips=3).run(clips))

    assert batches == [["a", "b", "c"], ["b", "c"], ["b"], ["d"], ["d"], ["d"]]


def test_clips_of_different_sizes_are_made_one_size_after_the_other(
    shared_pipeline: Pipeline, watch: Watch
) -> None:
    clips = [
        tiny_clip("wide", n_frames=1, width_px=72, height_px=40),
        tiny_clip("tall", n_frames=1, width_px=40, height_px=72),
        tiny_clip("tall too", n_frames=1, width_px=40, height_px=72, picture=1),
    ]
    batches = watch(shared_pipeline, never)

    made = by_clip(LockStep(shared_pipeline, max_clips=3).run(clips))

    assert batches == [["wide"], ["tall", "tall too"]]
    assert made["wide"][0].shape == (1, 4, 5, 9)
    assert made["tall"][0].shape == (1, 4, 9, 5)


def test_a_clip_without_frames_makes_none(shared_pipeline: Pipeline) -> None:
    clips = [replace(tiny_clip("empty"), n_frames=0), tiny_clip("full", n_frames=1)]

    assert list(by_clip(LockStep(shared_pipeline, max_clips=2).run(clips))) == ["full"]


def test_out_of_memory_halves_the_batch_and_makes_the_frame_again(
    shared_pipeline: Pipeline,
    clips: list[ClipInput],
    watch: Watch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    expected = by_clip(LockStep(shared_pipeline, max_clips=4).run(clips))
    batches = watch(shared_pipeline, lambda batch: len(batch) > 2)
    lockstep = LockStep(shared_pipeline, max_clips=4)

    with caplog.at_level(logging.WARNING):
        made = by_clip(lockstep.run(clips))

    assert batches[:3] == [["a", "b", "c", "d"], ["a", "b"], ["c", "d"]]
    assert all(len(batch) <= 2 for batch in batches[1:])
    assert "out of GPU memory with 4 clips at once; going on with 2" in caplog.text
    assert lockstep.max_clips == 2
    assert largest_difference(made, expected) < 1e-3


def test_memory_that_runs_out_in_a_later_frame_costs_no_frame(
    shared_pipeline: Pipeline, clips: list[ClipInput], watch: Watch
) -> None:
    expected = by_clip(LockStep(shared_pipeline, max_clips=4).run(clips))
    batches: list[list[str]] = watch(shared_pipeline, lambda _: len(batches) == 2)

    made = by_clip(LockStep(shared_pipeline, max_clips=4).run(clips))

    assert batches == [["a", "b", "c", "d"], ["b", "c", "d"], ["b"], ["c"], ["d"], ["b"], ["d"]]
    assert largest_difference(made, expected) < 1e-3


def test_a_clip_too_large_by_itself_fails_and_the_others_go_on(
    shared_pipeline: Pipeline, clips: list[ClipInput], watch: Watch
) -> None:
    watch(shared_pipeline, lambda batch: "c" in batch)

    made = by_clip(LockStep(shared_pipeline, max_clips=4).run(clips))

    assert [len(made[name]) for name in "abd"] == [1, 3, 3]
    (reason,) = made["c"]
    assert "out of GPU memory with a single clip" in reason


def test_a_reference_that_does_not_fit_beside_others_waits_for_them(
    shared_pipeline: Pipeline,
    clips: list[ClipInput],
    watch: Watch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prepare, tried = shared_pipeline.prepare, []

    def fails_once_for_c(clip: ClipInput) -> ClipState:
        tried.append(clip.clip_id)
        if clip.clip_id == "c" and tried.count("c") == 1:
            raise torch.cuda.OutOfMemoryError
        return prepare(clip)

    monkeypatch.setattr(shared_pipeline, "prepare", fails_once_for_c)
    batches = watch(shared_pipeline, never)

    made = by_clip(LockStep(shared_pipeline, max_clips=4).run(clips))

    assert [len(made[name]) for name in "abcd"] == [1, 3, 2, 3]
    assert tried == ["a", "b", "c", "c", "d"]
    assert max(len(batch) for batch in batches) == 1


def test_a_reference_too_large_by_itself_fails_and_the_others_go_on(
    shared_pipeline: Pipeline, clips: list[ClipInput], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = shared_pipeline.prepare

    def fails_for_b(clip: ClipInput) -> ClipState:
        if clip.clip_id == "b":
            raise torch.cuda.OutOfMemoryError
        return prepare(clip)

    monkeypatch.setattr(shared_pipeline, "prepare", fails_for_b)

    made = by_clip(LockStep(shared_pipeline, max_clips=4).run(clips))

    assert [len(made[name]) for name in "acd"] == [1, 2, 3]
    assert "out of GPU memory" in made["b"][0]


def test_numbers_that_overflow_fail_their_clip_alone(
    shared_pipeline: Pipeline, clips: list[ClipInput]
) -> None:
    spoilt = replace(clips[1], noise=torch.full_like(clips[1].noise, torch.inf))

    made = by_clip(
        LockStep(shared_pipeline, max_clips=4).run([clips[0], spoilt, clips[2], clips[3]])
    )

    (reason,) = made["b"]
    assert reason == "the networks overflowed in frame 0; use dtype=bf16 or dtype=fp32"
    expected = one_at_a_time(shared_pipeline, clips)
    del made["b"], expected["b"]
    assert largest_difference(made, expected) < 1e-3


def test_no_tensor_is_kept_from_frame_to_frame(shared_pipeline: Pipeline) -> None:
    counts = {}
    clip = tiny_clip(n_frames=8)
    for index, made in enumerate(LockStep(shared_pipeline, max_clips=1).run([clip])):
        del made
        if index in (1, 7):
            gc.collect()
            kinds = map(type, gc.get_objects())
            counts[index] = sum(issubclass(kind, torch.Tensor) for kind in kinds)

    assert counts[1] == counts[7]
