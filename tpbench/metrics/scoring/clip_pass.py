"""One pass over a pair of clips: both are decoded once, and every meter receives every frame.

This is the task that worker processes build: it measures pairs of clips and writes records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from tpbench.errors import MediaError
from tpbench.files import sha256_of
from tpbench.metrics.scoring.meters import METERS
from tpbench.metrics.scoring.policies import Fit, Policies, fit_clips, read_alike
from tpbench.metrics.scoring.records import (
    ClipMeasurement,
    RecordFolder,
    ScoringJob,
    content_key,
    key_of,
)
from tpbench.metrics.scoring.tools import (
    CHUNK_FRAMES,
    ClipSetting,
    FrameChunk,
    Meter,
    PairMeter,
    RealSkeletons,
    SkeletonFinder,
    Toolbox,
)
from tpbench.video import Footage, open_footage
from tpbench.work import JsonObject, ProgressReport
from tpbench.work.faults import require_there

Picture = NDArray[np.uint8]
P = ParamSpec("P")
T = TypeVar("T")

FACTORY: Final = f"{__name__}:build_in_worker"
_RATE_OF_PICTURES: Final = Fraction(25)
"""Frame rate assumed for folders of pictures, which have none; detectors need time stamps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipPass:
    """Measures pairs of clips, one after the other, with networks loaded once."""

    policies: Policies
    toolbox: Toolbox
    records: RecordFolder
    threads: int = 1
    """Frames and meters that are measured in parallel."""

    def __call__(self, payload: JsonObject, report: ProgressReport) -> dict[str, Any]:
        """Measure one pair, write its record, and return how many frames were scored.

        Args:
            payload: a job as JSON.
            report: called with the number of frames done.
        """
        job = ScoringJob.from_json(payload)
        return {"frames": self.run(job, lambda done: report({"frames": done}))}

    def close(self) -> None:
        """Close the models."""
        self.toolbox.close()

    def run(self, job: ScoringJob, on_frame: Callable[[int], None] | None = None) -> int:
        """Measure one pair and write its record; valid values of an older record are kept.

        Returns:
            Frames scored.

        Raises:
            MediaError: a clip can't be read, or the two don't fit.
            HaltError: the folder of the records is gone.
        """
        real, generated, uneven = read_alike(
            open_footage(job.real), open_footage(job.generated), self.policies
        )
        rows = [METERS[name] for name in job.keys]
        smallest = max((row.min_side_px for row in rows), default=1)
        fit = fit_clips(real, generated, self.policies, min_side_px=smallest)
        fit = replace(fit, notes=(*fit.notes, *uneven))
        if not real.is_even:
            job = _keyed_by_reading(job, real)
        fps = real.fps or generated.fps
        with ExitStack() as cleanup:
            meters = {
                row.name: row.build(
                    ClipSetting(
                        n_frames=fit.n_frames,
                        fps=fps or _RATE_OF_PICTURES,
                        cleanup=cleanup,
                        toolbox=self.toolbox,
                        generated_features=self.records.generated_features(job.clip_id, row.name),
                        real_features=self.records.real_features(
                            row.name, self._kept_key(job, row.name, fit)
                        ),
                    )
                )
                for row in rows
            }
            skeletons = self._skeletons(job, real, fit) if any(r.needs_pose for r in rows) else None
            self._feed(_pairs(real, generated, fit), meters, skeletons, on_frame)
            require_there(self.records.folder)
            columns = {
                name: column for meter in meters.values() for name, column in meter.finish().items()
            }
        if skeletons is not None:
            skeletons.keep(self.toolbox.suite("real"))
        self._write(job, fit, real=real, codec=generated.codec, fps=fps, columns=columns)
        return fit.n_frames

    def _skeletons(self, job: ScoringJob, real: Footage, fit: Fit) -> RealSkeletons:
        return RealSkeletons(
            self.records.real_skeletons(self._kept_key(job, "skeletons", fit)),
            SkeletonFinder(self.toolbox.suite("real"), real.fps or _RATE_OF_PICTURES),
            n_frames=fit.n_frames,
            size_px=(real.width_px, real.height_px),
        )

    def _kept_key(self, job: ScoringJob, name: str, fit: Fit) -> str:
        parts: dict[str, object] = {"of": job.real_keys.get(name, ""), "n_frames": fit.n_frames}
        if fit.first_frame != self.policies.first_frame:
            parts["first"] = fit.first_frame
        return content_key(job.real_sha256, key_of(parts))

    def _feed(
        self,
        pairs: Iterator[tuple[Picture, Picture]],
        meters: Mapping[str, Meter],
        skeletons: RealSkeletons | None,
        on_frame: Callable[[int], None] | None,
    ) -> None:
        n_done = 0
        threads = ThreadPoolExecutor(self.threads) if self.threads > 1 else _InThisThread()
        with threads, one_opencv_thread():
            feed = _Feed(meters, threads)
            # While several threads measure a chunk, the next one is decoded.
            while chunk := list(islice(pairs, CHUNK_FRAMES)):
                real, generated = zip(*chunk, strict=True)
                real_pose = skeletons.next(real) if skeletons else None
                feed.finish()
                feed.begin(FrameChunk(real=real, generated=generated, real_pose=real_pose))
                if self.threads == 1:
                    feed.finish()
                n_done += len(chunk)
                if on_frame is not None:
                    on_frame(n_done)
            feed.finish()

    def _write(
        self,
        job: ScoringJob,
        fit: Fit,
        *,
        real: Footage,
        codec: str,
        fps: Fraction | None,
        columns: Mapping[str, NDArray[np.float64]],
    ) -> None:
        old = self.records.read(job.clip_id)
        same = old is not None and (old.real_sha256, old.generated_sha256, old.n_frames) == (
            job.real_sha256,
            job.generated_sha256,
            fit.n_frames,
        )
        kept = old if same else None
        of_features = [name for name in job.keys if METERS[name].feature_dim]
        features = {
            name: sha256_of(self.records.generated_features(job.clip_id, name))
            for name in of_features
        }
        real_features = {name: self._kept_key(job, name, fit) for name in of_features}
        self.records.write(
            ClipMeasurement(
                clip_id=job.clip_id,
                real_sha256=job.real_sha256,
                generated_sha256=job.generated_sha256,
                n_frames=fit.n_frames,
                first_frame=fit.first_frame,
                width_px=real.width_px,
                height_px=real.height_px,
                fps=fps,
                codec=codec,
                notes=fit.notes,
                keys={**(kept.keys if kept else {}), **job.keys},
                features={**(kept.features if kept else {}), **features},
                real_features={**(kept.real_features if kept else {}), **real_features},
                columns={**(kept.columns if kept else {}), **columns},
            )
        )


class _InThisThread(Executor):
    """Runs each task when it is submitted."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run the task; raises what it raises."""
        future: Future[T] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


class _Feed:
    """Feeds the meters of one clip with chunk after chunk.

    Threads share the frames of meters that measure each pair by itself. Of the others, each handles
    a chunk in one task, so that it receives frames in order. Networks come last, one after the
    other in the caller's thread: they use as many threads as torch was given.
    """

    def __init__(self, meters: Mapping[str, Meter], threads: Executor) -> None:
        self._threads = threads
        self._of_pairs = [meter for meter in meters.values() if isinstance(meter, PairMeter)]
        self._networks = [meter for name, meter in meters.items() if METERS[name].weights]
        apart = {*map(id, self._of_pairs), *map(id, self._networks)}
        self._others = [meter for meter in meters.values() if id(meter) not in apart]
        self._chunk: FrameChunk | None = None
        self._running: list[Future[None]] = []
        self._rows: list[Future[list[Sequence[float]]]] = []

    def begin(self, chunk: FrameChunk) -> None:
        """Start to measure the next frames, after `finish`."""
        self._chunk = chunk
        self._running = [self._threads.submit(meter.update, chunk) for meter in self._others]
        if self._of_pairs:
            self._rows = [
                self._threads.submit(self._measure, real, generated)
                for real, generated in zip(chunk.real, chunk.generated, strict=True)
            ]

    def finish(self) -> None:
        """Wait until the frames begun last are measured."""
        for running in self._running:
            running.result()
        for rows in self._rows:
            for meter, row in zip(self._of_pairs, rows.result(), strict=True):
                meter.append(row)
        if self._chunk is not None:
            for network in self._networks:
                network.update(self._chunk)
        self._chunk, self._running, self._rows = None, [], []

    def _measure(self, real: Picture, generated: Picture) -> list[Sequence[float]]:
        return [meter.measure(real, generated) for meter in self._of_pairs]


@contextmanager
def one_opencv_thread() -> Iterator[None]:
    """Keep OpenCV to the thread that calls it: meters are what runs in parallel."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _keyed_by_reading(job: ScoringJob, real: Footage) -> ScoringJob:
    """Return the job with keys that depend on how the real clip is read: pictures or timeline."""
    how = "pictures" if real.by_picture else "timeline"
    return replace(job, real_keys={name: f"{key} {how}" for name, key in job.real_keys.items()})


def _pairs(real: Footage, generated: Footage, fit: Fit) -> Iterator[tuple[Picture, Picture]]:
    """Yield the pairs that are scored, generated frames resized to the size of the real ones."""
    start = fit.first_frame
    size_px = (real.width_px, real.height_px)
    n_pairs = 0
    for one, other in zip(
        islice(real.images(), start, start + fit.n_frames),
        islice(generated.images(), fit.first_generated, fit.first_generated + fit.n_frames),
        strict=False,
    ):
        n_pairs += 1
        yield one, _resized(other, size_px)
    if n_pairs != fit.n_frames:
        end = start + fit.n_frames
        reason = f"ended after {start + n_pairs} of {end} frames: it or its real clip is damaged"
        raise MediaError(generated.path, reason)


def _resized(image: Picture, size_px: tuple[int, int]) -> Picture:
    if (image.shape[1], image.shape[0]) == size_px:
        return image
    resized: Picture = cv2.resize(image, size_px, interpolation=cv2.INTER_AREA)
    return resized


def build(config: JsonObject) -> ClipPass:
    """Return the task (the factory named in the task's specification).

    Args:
        config: `policies` (as JSON), `records` and `cache` (folders), `device`, `skeleton`,
            `offline`, `threads`.
    """
    return ClipPass(
        policies=Policies(**config["policies"]),
        toolbox=Toolbox(
            device=config["device"], skeleton=config["skeleton"], offline=config["offline"]
        ),
        records=RecordFolder(Path(config["records"]), Path(config["cache"])),
        threads=config["threads"],
    )


def build_in_worker(config: JsonObject) -> ClipPass:
    """Return the task for a worker process, which uses only its share of the cores."""
    cv2.setNumThreads(1)
    if config["uses_torch"]:
        import torch

        torch.set_num_threads(config["threads"])
    return build(config)
