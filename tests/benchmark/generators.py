"""Tiny generators: what a user might write, and what can go wrong with it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tpbench.baselines.base import AnimationTask, ClipFailure, GeneratedFrame, JsonValue
from tpbench.errors import GeneratorError, MissingWeightsError


def picture(task: AnimationTask, index: int, *, shade: int = 0) -> NDArray[np.uint8]:
    """The reference, with a corner that tells frame, seed and shade."""
    image = task.reference.copy()
    image[:8, :8] = (index, task.seed % 256, shade)
    return image


MODULE = "tests.benchmark.generators"
"""How a model of this file is named, before a colon."""

HURRY = "TPBENCH_TESTS_HURRY"
"""Where this is set, `Numbered` makes no pause: for runs that nobody disturbs."""

HEALED = "TPBENCH_TESTS_HEALED"
"""Where this is set, `Faulty` kills nothing."""


class Numbered:
    """A whole generator: numbers the frames of one clip after the other."""

    max_clips = 1

    def __init__(self, shade: str = "0", pause_s: str = "0") -> None:
        self._shade = int(shade)
        self._pause_s = 0.0 if HURRY in os.environ else float(pause_s)
        self.closed = False

    def generate(self, tasks: Sequence[AnimationTask]) -> Iterator[GeneratedFrame | ClipFailure]:
        for task in tasks:
            for index in range(task.n_frames):
                time.sleep(self._pause_s)
                image = picture(task, index, shade=self._shade)
                yield GeneratedFrame(clip_id=task.clip_id, index=index, image=image)

    def describe(self) -> Mapping[str, JsonValue]:
        return {"shade": self._shade}

    def close(self) -> None:
        self.closed = True


class Bare:
    """The least that a user has to write."""

    def generate(self, tasks: Sequence[AnimationTask]) -> Iterator[GeneratedFrame]:
        for task in tasks:
            for index in range(task.n_frames):
                yield GeneratedFrame(clip_id=task.clip_id, index=index, image=picture(task, index))


class Telling(Numbered):
    """Says before each frame that it is at work."""

    def generate(self, tasks: Sequence[AnimationTask]) -> Iterator[GeneratedFrame | ClipFailure]:
        for task in tasks:
            for index in range(task.n_frames):
                task.still_working()
                yield GeneratedFrame(clip_id=task.clip_id, index=index, image=picture(task, index))


class Shaded(Bare):
    """Keeps an argument of its own."""

    def __init__(self, shade: int) -> None:
        self._shade = shade


class LockStep(Numbered):
    """Makes up to three clips at once, a frame of each in turn."""

    max_clips = 3

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[str]] = []

    def generate(self, tasks: Sequence[AnimationTask]) -> Iterator[GeneratedFrame | ClipFailure]:
        self.batches.append([task.clip_id for task in tasks])
        for index in range(max(task.n_frames for task in tasks)):
            for task in tasks:
                if index < task.n_frames:
                    image = picture(task, index)
                    yield GeneratedFrame(clip_id=task.clip_id, index=index, image=image)


class Faulty(LockStep):
    """Does one clip wrong, in a chosen way, when it has made ten frames of it."""

    def __init__(self, fault: str, clip: str = "b", max_clips: str = "1") -> None:
        super().__init__()
        self.fault = fault
        self._clip = clip
        self.max_clips = int(max_clips)

    def generate(self, tasks: Sequence[AnimationTask]) -> Iterator[GeneratedFrame | ClipFailure]:
        last = {task.clip_id: task.n_frames - 1 for task in tasks}
        silent = False
        for item in super().generate(tasks):
            assert isinstance(item, GeneratedFrame)
            if item.clip_id != self._clip or not self.fault:
                yield item
            elif item.index == 10 and not silent:
                yield from self._go_wrong(item)
                silent = self.fault in {"few", "failure"}
            elif not silent:
                yield item
                if item.index == last[item.clip_id] and self.fault == "many":
                    yield item
                if item.index == last[item.clip_id] and self.fault == "late":
                    yield ClipFailure(clip_id=item.clip_id, reason="all of it was\nnonsense")

    def _go_wrong(self, item: GeneratedFrame) -> Iterator[GeneratedFrame | ClipFailure]:
        image, index, clip_id = item.image, item.index, item.clip_id
        if self.fault == "kill" and HEALED not in os.environ:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fault == "hang":
            time.sleep(600)
        if self.fault == "bug":
            raise ZeroDivisionError(clip_id)
        if self.fault == "error":
            raise GeneratorError("the card fell out")
        if self.fault == "failure":
            yield ClipFailure(clip_id=clip_id, reason="nobody is in the picture")
            return
        if self.fault == "size":
            image = image[:, :-2]
        if self.fault == "type":
            image = image.astype(np.float32)
        if self.fault == "order":
            index += 1
        if self.fault == "stranger":
            clip_id = "nobody"
        yield GeneratedFrame(clip_id=clip_id, index=index, image=image)


class DiesOnce(Numbered):
    """Takes its worker with it when it is described for the first time."""

    def __init__(self, marker: str) -> None:
        super().__init__()
        self._marker = Path(marker)

    def describe(self) -> Mapping[str, JsonValue]:
        if not self._marker.exists():
            self._marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().describe()


class Leaky(Numbered):
    """What it did before shows in what it does next, and it says so."""

    def __init__(self) -> None:
        super().__init__()
        self._made = 0

    def generate(self, tasks: Sequence[AnimationTask]) -> Iterator[GeneratedFrame | ClipFailure]:
        for item in super().generate(tasks):
            assert isinstance(item, GeneratedFrame)
            item.image[8:16] = self._made
            yield item
        self._made += 1

    def describe(self) -> Mapping[str, JsonValue]:
        return {"latents_carried_across_clips": True}


class Weightless(Numbered):
    """Its weights are not there."""

    def __init__(self) -> None:
        raise MissingWeightsError("tiny", "run: tpbench weights pull tiny")
