"""Several clips at once: frame n of all of them is one batch.

The feedback makes the frames of one clip wait for each other; clips do not wait for clips, so a
batch across clips fills a GPU. A clip that ends leaves the batch. If memory runs out, the batch is
halved and the frame is made again.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch

from tpbench.baselines.base import ClipFailure

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tpbench.baselines.talkingpose.pipeline import ClipInput, ClipState, MadeFrames, Pipeline

logger = logging.getLogger(__name__)

_OUT_OF_MEMORY: Final = (
    "out of GPU memory with a single clip; make smaller frames, use dtype=fp16, or another GPU"
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StepFrame:
    """One frame of one clip, still on the device."""

    clip: ClipInput
    index: int

    latents: torch.Tensor
    """(1, C, h, w) float32."""

    image: torch.Tensor
    """(3, H, W) float32 in [0, 1]."""


class LockStep:
    """Runs clips through a pipeline, at most `max_clips` at once.

    Args:
        pipeline: makes the frames.
        max_clips: 1 or more; falls for good when memory runs out.
    """

    def __init__(self, pipeline: Pipeline, *, max_clips: int) -> None:
        self._pipeline = pipeline
        self.max_clips = max_clips

    def run(self, clips: Sequence[ClipInput]) -> Iterator[StepFrame | ClipFailure]:
        """Make all clips, those of one size together; none sees another.

        Args:
            clips: any number, of any length and size.

        Yields:
            Frames, in order within a clip; or one failure, which ends its clip.
        """
        waiting = deque(clips)
        while waiting:
            states: list[ClipState] = []
            yield from self._gather(waiting, states)
            yield from self._frames(states)

    def _gather(self, waiting: deque[ClipInput], states: list[ClipState]) -> Iterator[ClipFailure]:
        """Prepare the first clips that wait, as many as fit and have one size."""
        while waiting and len(states) < self.max_clips:
            clip = waiting[0]
            if states and clip.noise.shape != states[0].clip.noise.shape:
                return
            state = self._prepared(clip)
            if state is None and states:
                self._halve(len(states) + 1)
                return
            waiting.popleft()
            if state is None:
                yield ClipFailure(clip_id=clip.clip_id, reason=_OUT_OF_MEMORY)
            else:
                states.append(state)

    def _frames(self, states: list[ClipState]) -> Iterator[StepFrame | ClipFailure]:
        index = 0
        while states := [state for state in states if index < state.clip.n_frames]:
            todo = deque(states)
            while todo:
                batch = [todo.popleft() for _ in range(min(self.max_clips, len(todo)))]
                made = self._made(batch, index)
                if made is not None:
                    for state, outcome in zip(batch, _outcomes(batch, made, index), strict=True):
                        if isinstance(outcome, ClipFailure):
                            states.remove(state)
                        yield outcome
                elif len(batch) > 1:
                    self._halve(len(batch))
                    todo.extendleft(reversed(batch))
                else:
                    states.remove(batch[0])
                    yield ClipFailure(clip_id=batch[0].clip.clip_id, reason=_OUT_OF_MEMORY)
            index += 1

    def _prepared(self, clip: ClipInput) -> ClipState | None:
        """Prepare a clip; None if memory ran out."""
        try:
            return self._pipeline.prepare(clip)
        except torch.cuda.OutOfMemoryError:
            pass
        # Only here, behind the handler, is the error gone with all the tensors its frames held.
        _release_memory()
        return None

    def _made(self, batch: Sequence[ClipState], index: int) -> MadeFrames | None:
        """Make one frame of each clip; None if memory ran out."""
        try:
            return self._pipeline.make_frames(batch, index)
        except torch.cuda.OutOfMemoryError:
            pass
        _release_memory()
        return None

    def _halve(self, tried: int) -> None:
        self.max_clips = tried // 2
        logger.warning(
            "out of GPU memory with %d clips at once; going on with %d", tried, self.max_clips
        )


def _outcomes(
    batch: Sequence[ClipState], made: MadeFrames, index: int
) -> Iterator[StepFrame | ClipFailure]:
    for row, state in enumerate(batch):
        if made.finite[row]:
            yield StepFrame(
                clip=state.clip,
                index=index,
                latents=made.latents[row : row + 1],
                image=made.images[row],
            )
        else:
            reason = f"the networks overflowed in frame {index}; use dtype=bf16 or dtype=fp32"
            yield ClipFailure(clip_id=state.clip.clip_id, reason=reason)


def _release_memory() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
