"""Running a generator over clips: the seam is checked, files are written, the record comes last."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Protocol

from tpbench.baselines.base import AnimationTask, ClipFailure, GeneratedFrame, Generator
from tpbench.benchmark.records import ClipRecord, write_record
from tpbench.benchmark.run_folder import ENCODING, ClipWriter, Keep, RunFolder
from tpbench.benchmark.tasks import TaskClip
from tpbench.errors import TPBenchError
from tpbench.privacy import public_message


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipJob:
    """One clip to make."""

    clip: TaskClip
    inputs: str
    """See `records.inputs_key`."""


class LoadTask(Protocol):
    """Makes a task of a clip."""

    def __call__(self, clip: TaskClip) -> AnimationTask:
        """Return the task, or raise a TPBenchError that says why there is none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipMaker:
    """Makes clips with one generator and records what became of each."""

    generator: Generator
    folder: RunFolder
    load: LoadTask
    keep: Keep
    code: str
    """For the records."""

    def make(
        self, jobs: Sequence[ClipJob], on_frame: Callable[[], None] = lambda: None
    ) -> Iterator[ClipRecord]:
        """Make clips, as many at once as the generator takes; yield each record once it is on disk.

        A clip that can't be made is a failed record; the others go on. What is raised is either a
        bug of the generator or a disk that can't be written, and no record tells of it.

        Args:
            jobs: what to do, in this order.
            on_frame: called for every frame that was written.
        """
        size = max(1, self.generator.max_clips)
        for start in range(0, len(jobs), size):
            batch, tasks = jobs[start : start + size], []
            for job in batch:
                try:
                    tasks.append(self.load(job.clip))
                except TPBenchError as error:
                    yield self._fail(job, str(error))
            if tasks:
                by_id = {job.clip.clip_id: job for job in batch}
                yield from self._make_batch(tasks, by_id, on_frame)

    def _make_batch(
        self,
        tasks: Sequence[AnimationTask],
        jobs: dict[str, ClipJob],
        on_frame: Callable[[], None],
    ) -> Iterator[ClipRecord]:
        _forget_gpu_peak()
        clips = {task.clip_id: _Clip(self, task, jobs[task.clip_id]) for task in tasks}
        frames: Iterator[GeneratedFrame | ClipFailure] = iter(())
        try:
            frames = self.generator.generate(tasks)
            for item in _timed(frames, clips.values()):
                clip = clips.get(item.clip_id)
                if clip is None:
                    msg = f"the generator gave a frame of '{item.clip_id}', which nobody asked for"
                    yield from _fail_open(clips.values(), msg)
                    return
                record = clip.take(item)
                if isinstance(item, GeneratedFrame):
                    on_frame()
                if record is not None:
                    yield record
            for clip in clips.values():
                if clip.open:
                    made = f"{clip.n_frames} of {clip.task.n_frames} frames"
                    yield clip.fail(f"the generator stopped after {made}")
        except TPBenchError as error:
            yield from _fail_open(clips.values(), str(error))
        finally:
            _close(frames)
            for clip in clips.values():
                clip.writer.abandon()

    def _fail(self, job: ClipJob, reason: str) -> ClipRecord:
        return record_failure(self.folder, job, reason, code=self.code)


def record_failure(
    folder: RunFolder, job: ClipJob, reason: str, *, code: str, quarantined: bool = False
) -> ClipRecord:
    """Write down that there is no clip, take away what there is of one, and return the record."""
    record = ClipRecord(
        clip_id=job.clip.clip_id,
        status="quarantined" if quarantined else "failed",
        inputs=job.inputs,
        reason=public_message(" ".join(reason.split()), own=[folder.path]) or "no reason given",
        code=code,
    )
    folder.discard(job.clip.clip_id)
    write_record(folder.record(job.clip.clip_id), record)
    return record


class _Clip:
    """One clip of a batch while it is made."""

    def __init__(self, maker: ClipMaker, task: AnimationTask, job: ClipJob) -> None:
        self.task = task
        self.writer = ClipWriter(maker.folder, task, maker.keep)
        self.gen_s = 0.0
        self.open = True
        self._maker = maker
        self._job = job
        self._failed = False

    @property
    def n_frames(self) -> int:
        return self.writer.n_frames

    def take(self, item: GeneratedFrame | ClipFailure) -> ClipRecord | None:
        """Hear of a frame or a failure; return the clip's record if that decides it."""
        if self._failed:
            return None  # the record says what came first
        if isinstance(item, ClipFailure):
            return self.fail(item.reason)
        if not self.open:
            return self.fail(f"the generator gave more than the {self.task.n_frames} frames")
        problem = self.writer.problem_with(item.index, item.image)
        if problem is not None:
            return self.fail(f"the generator broke its promise: {problem}")
        self.writer.write(item.image)
        return self._finish() if self.n_frames == self.task.n_frames else None

    def fail(self, reason: str) -> ClipRecord:
        """Void the clip, also if it was thought done."""
        self.open, self._failed = False, True
        self.writer.abandon()
        maker = self._maker
        return record_failure(maker.folder, self._job, reason, code=maker.code)

    def _finish(self) -> ClipRecord:
        self.open = False
        files = self.writer.finish()
        maker, task = self._maker, self.task
        record = ClipRecord(
            clip_id=task.clip_id,
            status="done",
            inputs=self._job.inputs,
            n_frames=self.n_frames,
            fps=f"{task.fps.numerator}/{task.fps.denominator}",
            width_px=task.width_px,
            height_px=task.height_px,
            encoding=ENCODING.name if maker.keep == "lossless" else "",
            generated_sha256=files.generated_sha256,
            preview_sha256=files.preview_sha256,
            frames_sha256=files.frames_sha256,
            gen_s=round(self.gen_s, 4),
            peak_host_bytes=peak_host_bytes(),
            peak_gpu_bytes=_peak_gpu_bytes(),
            code=maker.code,
        )
        write_record(maker.folder.record(task.clip_id), record)
        return record


def _fail_open(clips: Iterable[_Clip], reason: str) -> Iterator[ClipRecord]:
    for clip in clips:
        if clip.open:
            yield clip.fail(reason)


def _timed(
    items: Iterator[GeneratedFrame | ClipFailure], clips: Iterable[_Clip]
) -> Iterator[GeneratedFrame | ClipFailure]:
    """Pass items on; the time of each is shared by the clips that are not finished.

    In lock-step the first frame of a round bears the time of all of them.
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
    """End a generator function now: what it holds is given back before the next batch."""
    close: Callable[[], None] | None = getattr(items, "close", None)
    if close is not None:
        close()


def peak_host_bytes() -> int | None:
    """Return the largest memory of this process so far, or of a process that it started."""
    import resource

    # Linux counts in kB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss starts from what the process that started us had
        lines = status.read_text(encoding="utf-8").splitlines()
        own = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), own)
    return max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit)


def _peak_gpu_bytes() -> int | None:
    torch = sys.modules.get("torch")  # who did not import it has nothing on a GPU
    if torch is None or not torch.cuda.is_available():
        return None
    return max(int(torch.cuda.max_memory_allocated(i)) for i in range(torch.cuda.device_count()))


def _forget_gpu_peak() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            torch.cuda.reset_peak_memory_stats(index)
