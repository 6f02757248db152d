"""The task that worker processes build: one source video in, its rows out."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tpbench.dataset.folder import RECORDS_FOLDER
from tpbench.dataset.removal import Removals
from tpbench.detectors.base import Device, Strides
from tpbench.errors import MediaError
from tpbench.extraction.config import ExtractionConfig
from tpbench.extraction.pipeline import SourcePipeline, anywhere
from tpbench.extraction.removed import is_removed, nothing_kept
from tpbench.extraction.rows import duplicate_row
from tpbench.extraction.sources import Source, hashed, why_out_of_reach
from tpbench.wholebody import PoseSource
from tpbench.work import TaskSpec
from tpbench.work.faults import HaltError, PostponedError, machine_fault, ran_out
from tpbench.work.records import FolderId, folder_id, require_same
from tpbench.work.worker import JsonObject, ProgressReport

_REPORT_EVERY_FRAMES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractionTask:
    """Processes sources one after the other, with models loaded once."""

    pipeline: SourcePipeline
    folder: Path | None = None
    """Of the dataset; named in errors that name no file."""
    require_folder: Callable[[], None] = anywhere
    """Raises when the dataset no longer exists."""
    removals: Removals = field(default_factory=Removals)
    """Of the dataset: sources that must not come back."""

    def __call__(self, payload: JsonObject, report: ProgressReport) -> dict[str, Any]:
        """Process one source; return its rows, its length and the time per stage, as JSON."""
        source = Source.from_json(payload)
        if source.is_remote and (source.duplicate_of is None or self.removals):
            from tpbench.extraction.remote import at_hand

            with at_hand(source, report) as fetched:
                return self._process(fetched, report)
        return self._process(source, report)

    def _process(self, source: Source, report: ProgressReport) -> dict[str, Any]:
        if self.removals:
            with suppress(MediaError):  # told when it is processed
                source = hashed(source)
            if is_removed(source, self.removals):
                return nothing_kept()
        if source.duplicate_of is not None:
            clip = duplicate_row(source)
            return _result((clip.to_json(),), source.sha256 or "", 0, 0.0, {})

        def on_frame(done: int) -> None:
            if done % _REPORT_EVERY_FRAMES == 0:
                report({"frames": done})

        try:
            done = self.pipeline.run(source, on_frame)
        except Exception as error:
            raised = classified(source, error, self.folder, self.require_folder)
            if raised is error:
                raise
            raise raised from error
        return _result(
            tuple(clip.to_json() for clip in done.clips),
            done.source_sha256,
            done.n_frames,
            done.duration_s,
            done.stage_s,
        )

    def close(self) -> None:
        """Close the models."""
        self.pipeline.detectors.close()


def classified(
    source: Source, error: Exception, folder: Path | None, require_folder: Callable[[], None]
) -> Exception:
    """Distinguish faults of a source from those of the machine; return what to raise.

    Args:
        source: that could not be processed.
        error: what was raised.
        folder: of the dataset.
        require_folder: raises when the dataset no longer exists.
    """
    why = why_out_of_reach(source, error)
    if why is not None:
        return PostponedError(f"{source.shown_path}: {why}; the next run tries again")
    try:
        require_folder()
    except HaltError as gone:
        return gone
    if ran_out(error) is not None:
        return error  # who is at fault shows as other sources are processed
    fault = machine_fault(error, where=folder)
    if fault is not None:
        return HaltError(fault)
    if isinstance(error, MediaError) and Path(error.path) == source.path:
        return MediaError(source.shown_path, error.reason)
    return error


def task_spec(
    *,
    config: ExtractionConfig,
    folder: Path,
    records_id: FolderId | None,
    skeleton: PoseSource,
    device: Device,
    offline: bool,
) -> TaskSpec:
    """Return the specification from which worker processes `build` their task.

    Args:
        config: the settings.
        folder: of the dataset.
        records_id: device and inode of its records; None: as the worker finds them at its start.
        skeleton: family of the skeleton models.
        device: where DWPose runs.
        offline: never fetch model files.
    """
    return TaskSpec(
        factory="tpbench.extraction.worker:build",
        config={
            "settings": config.model_dump(mode="json"),
            "folder": str(folder),
            "records_id": None if records_id is None else list(records_id),
            "skeleton": skeleton,
            "device": device,
            "offline": offline,
        },
    )


def build(config: JsonObject) -> ExtractionTask:
    """Load the models and return the task.

    Args:
        config: as `task_spec` puts it together.
    """
    import cv2

    from tpbench.detectors.base import build_suite

    cv2.setNumThreads(1)  # a worker is one thread; more workers use more cores
    folder = Path(config["folder"])
    home, known = folder / RECORDS_FOLDER, config["records_id"]
    home_id = folder_id(home) if known is None else tuple(known)
    require_folder = partial(require_same, home, home_id)
    settings = ExtractionConfig.model_validate(config["settings"])
    removals = Removals.read(folder)
    suite = build_suite(
        skeleton=config["skeleton"],
        device=config["device"],
        offline=config["offline"],
        strides=Strides(
            people=settings.dwpose.detect_every,
            faces=settings.dwpose.faces_every,
            hands=settings.dwpose.hands_every,
        ),
        every_frame=settings.mediapipe.every_frame,
    )
    return ExtractionTask(
        pipeline=SourcePipeline(
            config=settings,
            detectors=suite,
            folder=folder,
            require_folder=require_folder,
            removals=removals,
        ),
        folder=folder,
        require_folder=require_folder,
        removals=removals,
    )


def _result(
    clips: tuple[dict[str, Any], ...],
    source_sha256: str,
    n_frames: int,
    duration_s: float,
    stage_s: dict[str, float],
) -> dict[str, Any]:
    return {
        "clips": list(clips),
        "source_sha256": source_sha256,
        "n_frames": n_frames,
        "duration_s": duration_s,
        "stage_s": stage_s,
    }
