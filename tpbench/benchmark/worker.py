"""The task that worker processes build: clips in, records on disk out."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from tpbench.baselines.base import AnimationTask, Generator
from tpbench.benchmark.making import ClipJob, ClipMaker
from tpbench.benchmark.model import build as build_generator
from tpbench.benchmark.records import read_record
from tpbench.benchmark.run_folder import Keep, RunFolder
from tpbench.benchmark.tasks import TaskClip, make_task
from tpbench.errors import SubmissionError
from tpbench.work.worker import JsonObject, ProgressReport

_REPORT_EVERY_FRAMES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadFromDataset:
    """Makes the tasks of a dataset's clips."""

    folder: Path
    seed: int

    def __call__(self, clip: TaskClip) -> AnimationTask:
        """Make the task of one clip."""
        return make_task(self.folder, clip, seed=self.seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationProcess:
    """Says what the generator is, and makes clips with it."""

    maker: ClipMaker

    def __call__(self, payload: JsonObject, report: ProgressReport) -> dict[str, Any]:
        """Do what a payload of `describe_payload` or `clips_payload` asks."""
        generator = self.maker.generator
        if "clips" not in payload:
            return {
                "configuration": dict(generator.describe()),
                "max_clips": int(generator.max_clips),
            }
        jobs = [
            ClipJob(clip=TaskClip.from_json(item["clip"]), inputs=item["inputs"])
            for item in payload["clips"]
        ]
        statuses: dict[str, str] = {}
        if not payload["in_one_go"]:  # an earlier try at this item may have got somewhere
            statuses = {job.clip.clip_id: "done" for job in jobs if is_recorded(self.maker, job)}
        frames = 0

        def on_frame() -> None:
            nonlocal frames
            frames += 1
            if frames % _REPORT_EVERY_FRAMES == 0:
                report({"frames": frames})

        todo = [job for job in jobs if job.clip.clip_id not in statuses]
        for record in self.maker.make(todo, on_frame):
            statuses[record.clip_id] = record.status
        return {"statuses": statuses, "frames": frames}

    def close(self) -> None:
        """Close the generator."""
        self.maker.generator.close()


def describe_payload() -> dict[str, Any]:
    """Return the payload that asks what the generator says of itself."""
    return {}


def clips_payload(jobs: Sequence[ClipJob], *, in_one_go: bool) -> dict[str, Any]:
    """Return the payload that asks for clips.

    Args:
        jobs: the clips; none has a record of an earlier session.
        in_one_go: all or nothing, in this order: what one clip leaves behind shows in the next.
    """
    clips = [{"clip": job.clip.to_json(), "inputs": job.inputs} for job in jobs]
    return {"clips": clips, "in_one_go": in_one_go}


def is_recorded(maker: ClipMaker, job: ClipJob) -> bool:
    """Whether there is a record that says this very clip is done."""
    try:
        record = read_record(maker.folder.record(job.clip.clip_id))
    except SubmissionError:
        return False
    return record.status == "done" and record.inputs == job.inputs


def build(config: JsonObject) -> GenerationProcess:
    """Build the generator and return the task (the factory named in the task's specification).

    Args:
        config: `model`, `options`, `weights_dir`, `devices`, `threads`, and what `maker` asks for.
    """
    import cv2

    cv2.setNumThreads(config["threads"])
    weights_dir = config["weights_dir"]
    generator = build_generator(
        config["model"],
        options=config["options"],
        weights_dir=None if weights_dir is None else Path(weights_dir),
        device=_claim_device(config["devices"], Path(config["folder"])),
    )
    torch = sys.modules.get("torch")
    if torch is not None:  # workers start with one thread; a big model alone may use all cores
        torch.set_num_threads(config["threads"])
    return GenerationProcess(maker=make_maker(generator, config))


def make_maker(generator: Generator, config: JsonObject) -> ClipMaker:
    """Put a generator to work in a run.

    Args:
        generator: makes the frames.
        config: `folder` of the run, `dataset` folder, `seed`, `keep`, `code`.
    """
    return ClipMaker(
        generator=generator,
        folder=RunFolder(path=Path(config["folder"])),
        load=LoadFromDataset(folder=Path(config["dataset"]), seed=config["seed"]),
        keep=cast("Keep", config["keep"]),
        code=config["code"],
    )


def _claim_device(devices: Sequence[str], folder: Path) -> str:
    """Return a device that no other worker of the run has; it is free again when we end."""
    if len(devices) == 1:
        return devices[0]
    for index, device in enumerate(devices):
        lock_fd = os.open(folder / f".device{index}.lock", os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock_fd)
        else:
            return device  # the lock is held, by the open descriptor, until the process ends
    return devices[0]
