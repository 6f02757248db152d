"""The workers of a run: generate clips, check every frame, and write each clip's record last."""

from __future__ import annotations

import fcntl
import hashlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tpbench.baselines.base import AnimationTask, ClipFailure, GeneratedFrame, Generator
from tpbench.benchmark.model import build as build_generator
from tpbench.benchmark.run_folder import ENCODING, ClipRecord, Keep, RunFolder
from tpbench.benchmark.tasks import TaskClip, make_task
from tpbench.errors import TPBenchError
from tpbench.files import sha256_of
from tpbench.privacy import public_message
from tpbench.video import PREVIEW, VideoWriter
from tpbench.work import JsonObject, ProgressReport
from tpbench.work.faults import require_there


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationJob:
    """One clip to generate."""

    clip: TaskClip
    inputs: str
    """See `run_folder.inputs_key`."""


def clips_payload(jobs: Sequence[GenerationJob], *, in_one_go: bool) -> dict[str, Any]:
    """Return the payload that requests clips; an empty one requests the generator's description.

    Args:
        jobs: the clips; none has a record of an earlier session.
        in_one_go: all or nothing, in this order: state left by one clip affects the next.
    """
    clips = [{"clip": job.clip.to_json(), "inputs": job.inputs} for job in jobs]
    return {"clips": clips, "in_one_go": in_one_go}


def build(config: JsonObject) -> ClipMaker:
    """Build the generator and return the task (the factory named in the task's specification).

    Args:
        config: `model`, `options`, `weights_dir`, `devices`, `threads`, and the keys that
            `make_maker` needs.
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
    if torch is not None:  # workers start with one thread; a single large model may use all cores
        torch.set_num_threads(config["threads"])
    return make_maker(generator, config)


def make_maker(generator: Generator, config: JsonObject) -> ClipMaker:
    """Return the `ClipMaker` of a generator for a run.

    Args:
        generator: generates the frames.
        config: `folder` of the run, `dataset` folder, `seed`, `keep`, `code`.
    """
    return ClipMaker(
        generator=generator,
        folder=RunFolder(path=Path(config["folder"])),
        dataset=Path(config["dataset"]),
        seed=config["seed"],
        keep=config["keep"],
        code=config["code"],
    )


def _claim_device(devices: Sequence[str], folder: Path) -> str:
    """Return a device that no other worker of the run uses; it is released at process exit."""
    if len(devices) == 1:
        return devices[0]
    for index, device in enumerate(devices):
        lock_fd = os.open(folder / f".device{index}.lock", os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # it is locked, or the file system has no locks
            os.close(lock_fd)
        else:
            return device  # the open descriptor holds the lock until the process ends
    return devices[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipMaker:
    """Generates clips with one generator and records each outcome."""

    generator: Generator
    folder: RunFolder
    dataset: Path
    """Folder of the dataset."""
    seed: int
    keep: Keep
    code: str
    """Version of tpbench, as in the records."""

    def __call__(self, payload: JsonObject, report: ProgressReport) -> dict[str, Any]:
        """Describe the generator, or generate the clips of a `clips_payload`."""
        if "clips" not in payload:
            return {
                "configuration": dict(self.generator.describe()),
                "max_clips": int(self.generator.max_clips),
            }
        jobs = [
            GenerationJob(clip=TaskClip.from_json(item["clip"]), inputs=item["inputs"])
            for item in payload["clips"]
        ]
        statuses: dict[str, str] = {}
        if not payload["in_one_go"]:  # an earlier attempt at this item may have finished some clips
            for job in jobs:
                record = self.folder.record_of(job.clip.clip_id, job.inputs)
                if record is not None and record.status == "done":
                    statuses[job.clip.clip_id] = "done"
        frames = 0

        def on_frame() -> None:
            nonlocal frames
            frames += 1
            report({"frames": frames})

        todo = [job for job in jobs if job.clip.clip_id not in statuses]

        def still_working() -> None:
            report({"frames": frames})

        for record in self.make(todo, on_frame, still_working):
            statuses[record.clip_id] = record.status
        return {"statuses": statuses, "frames": frames}

    def close(self) -> None:
        """Close the generator."""
        self.generator.close()

    def make(
        self,
        jobs: Sequence[GenerationJob],
        on_frame: Callable[[], None] = lambda: None,
        still_working: Callable[[], None] = lambda: None,
    ) -> Iterator[ClipRecord]:
        """Generate clips in batches of `max_clips`; yield each record once it is on disk.

        A clip that can't be generated gets a failed record; the others continue. An exception
        means a bug in the generator or an unwritable disk, and is not recorded here.

        Args:
            jobs: the clips, in this order.
            on_frame: called after each written frame.
            still_working: see `AnimationTask`.
        """
        size = max(1, self.generator.max_clips)
        for start in range(0, len(jobs), size):
            batch, tasks = jobs[start : start + size], []
            for job in batch:
                try:
                    task = make_task(self.dataset, job.clip, seed=self.seed)
                    tasks.append(replace(task, still_working=still_working))
                except TPBenchError as error:
                    yield record_failure(self.folder, job, str(error), code=self.code)
            if tasks:
                by_id = {job.clip.clip_id: job for job in batch}
                clips = [_Clip(self, task, by_id[task.clip_id]) for task in tasks]
                yield from self._make_batch(clips, on_frame)

    def _make_batch(
        self, batch: Sequence[_Clip], on_frame: Callable[[], None]
    ) -> Iterator[ClipRecord]:
        _reset_gpu_peak()
        clips = {clip.task.clip_id: clip for clip in batch}
        frames: Iterator[GeneratedFrame | ClipFailure] = iter(())
        try:
            frames = self.generator.generate([clip.task for clip in batch])
            for item in _timed(frames, batch):
                clip = clips.get(item.clip_id)
                if clip is None:
                    stranger = f"a frame of '{item.clip_id}', which was not requested"
                    yield from _fail_open(batch, f"the generator gave {stranger}")
                    return
                record = clip.take(item)
                if isinstance(item, GeneratedFrame):
                    on_frame()
                if record is not None:
                    yield record
            for clip in batch:
                if clip.open:
                    made = f"{clip.n_frames} of {clip.task.n_frames} frames"
                    yield clip.fail(f"the generator stopped after {made}")
        except TPBenchError as error:
            yield from _fail_open(batch, str(error))
        finally:
            _close(frames)
            for clip in batch:
                clip.abandon()


def record_failure(
    folder: RunFolder, job: GenerationJob, reason: str, *, code: str, quarantined: bool = False
) -> ClipRecord:
    """Record that a clip failed, delete its files, and return the record."""
    record = ClipRecord(
        clip_id=job.clip.clip_id,
        status="quarantined" if quarantined else "failed",
        inputs=job.inputs,
        reason=public_message(" ".join(reason.split()), own=[folder.path]) or "no reason given",
        code=code,
    )
    require_there(folder.path)
    folder.discard(job.clip.clip_id)
    record.write(folder.record(job.clip.clip_id))
    return record


class _Clip:
    """One clip of a batch during generation; files get their names after the last frame."""

    def __init__(self, maker: ClipMaker, task: AnimationTask, job: GenerationJob) -> None:
        self.task = task
        self.gen_s = 0.0
        self.n_frames = 0
        self.open = True
        self._maker = maker
        self._job = job
        self._failed = False
        self._frames = hashlib.sha256()
        self._stack = ExitStack()
        paths = [(maker.folder.preview(task.clip_id), PREVIEW)]
        if maker.keep == "lossless":
            paths.append((maker.folder.generated(task.clip_id), ENCODING))
        self._writers = [
            VideoWriter(
                path,
                width_px=task.width_px,
                height_px=task.height_px,
                fps=task.fps,
                encoding=encoding,
            )
            for path, encoding in paths
        ]

    def take(self, item: GeneratedFrame | ClipFailure) -> ClipRecord | None:
        """Process a frame or a failure; return the clip's record once its outcome is known."""
        if self._failed:
            return None  # the record has the first failure
        if isinstance(item, ClipFailure):
            return self.fail(item.reason)
        if not self.open:
            return self.fail(f"the generator gave more than the {self.task.n_frames} frames")
        problem = self._problem_with(item.index, item.image)
        if problem is not None:
            return self.fail(f"the generator gave a wrong frame: {problem}")
        self._write(item.image)
        return self._finish() if self.n_frames == self.task.n_frames else None

    def fail(self, reason: str) -> ClipRecord:
        """Record the clip as failed, even if it had seemed finished."""
        self.open, self._failed = False, True
        self.abandon()
        maker = self._maker
        return record_failure(maker.folder, self._job, reason, code=maker.code)

    def abandon(self) -> None:
        """Delete the partial files of an unfinished clip."""
        void = _VoidError()
        self._stack.__exit__(_VoidError, void, None)

    def _problem_with(self, index: int, image: NDArray[np.uint8]) -> str | None:
        """Return why a frame can't be the next one of the clip; None if it can."""
        if index != self.n_frames:
            return f"frame {index} came instead of frame {self.n_frames}"
        shape, dtype = getattr(image, "shape", None), getattr(image, "dtype", None)
        want = (self.task.height_px, self.task.width_px, 3)
        if shape != want or dtype != np.uint8:
            return f"frame {index} is {shape} {dtype}, expected {want} uint8"
        return None

    def _write(self, image: NDArray[np.uint8]) -> None:
        if self.n_frames == 0:
            for writer in self._writers:
                writer.path.parent.mkdir(exist_ok=True)  # that of the run is there, or gone
                self._stack.enter_context(writer)
        self._frames.update(np.ascontiguousarray(image).data)
        for writer in self._writers:
            writer.write(image)
        self.n_frames += 1

    def _finish(self) -> ClipRecord:
        """Rename the files to their final names, hash them, and write the record."""
        self.open = False
        self._stack.close()
        maker, task, folder = self._maker, self.task, self._maker.folder
        lossless = maker.keep == "lossless"
        record = ClipRecord(
            clip_id=task.clip_id,
            status="done",
            inputs=self._job.inputs,
            n_frames=self.n_frames,
            fps=f"{task.fps.numerator}/{task.fps.denominator}",
            width_px=task.width_px,
            height_px=task.height_px,
            encoding=ENCODING.name if lossless else "",
            generated_sha256=sha256_of(folder.generated(task.clip_id)) if lossless else None,
            preview_sha256=sha256_of(folder.preview(task.clip_id)),
            frames_sha256=self._frames.hexdigest(),
            gen_s=round(self.gen_s, 4),
            peak_host_bytes=peak_host_bytes(),
            peak_gpu_bytes=_peak_gpu_bytes(),
            code=maker.code,
        )
        record.write(folder.record(task.clip_id))
        return record


class _VoidError(Exception):
    """Makes the writers discard their video."""


def _fail_open(clips: Iterable[_Clip], reason: str) -> Iterator[ClipRecord]:
    for clip in clips:
        if clip.open:
            yield clip.fail(reason)


def _timed(
    items: Iterator[GeneratedFrame | ClipFailure], clips: Iterable[_Clip]
) -> Iterator[GeneratedFrame | ClipFailure]:
    """Yield the items, and split the time of each among the unfinished clips.

    Where clips advance in lock-step, the first frame of a round carries the time of all.
    """
    while True:
        began_s = perf_counter()
        item = next(items, None)
        took_s = perf_counter() - began_s
        waiting = [clip for clip in clips if clip.open]
        for clip in waiting:
            clip.gen_s += took_s / len(waiting)
        if item is None:
            return
        yield item


def _close(items: object) -> None:
    """Close a generator function now, so that its resources are free before the next batch."""
    close: Callable[[], None] | None = getattr(items, "close", None)
    if close is not None:
        close()


def peak_host_bytes() -> int | None:
    """Return the peak memory of this process so far, or of one of its child processes."""
    import resource

    # Linux counts in kB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss is inherited from the parent process
        lines = status.read_text(encoding="utf-8").splitlines()
        own = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), own)
    return max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit)


def _peak_gpu_bytes() -> int | None:
    torch = sys.modules.get("torch")  # if it was not imported, nothing is on a GPU
    if torch is None or not torch.cuda.is_available():
        return None
    return max(int(torch.cuda.max_memory_allocated(i)) for i in range(torch.cuda.device_count()))


def _reset_gpu_peak() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            torch.cuda.reset_peak_memory_stats(index)
