"""The task of workers that rebuild a dataset: one source of a pack, from raw file to clips."""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from tpbench.dataset import Clip
from tpbench.dataset.folder import RECORDS_FOLDER
from tpbench.dataset.likeness import Marks
from tpbench.dataset.pack import Pack
from tpbench.errors import MediaError
from tpbench.extraction.pipeline import WORK_FOLDER, anywhere, move_clips, staging_folder
from tpbench.extraction.raw_files import WantedSource
from tpbench.extraction.remaking import Remade, Remaker, SourceCopy
from tpbench.extraction.sources import Source, why_out_of_reach
from tpbench.privacy import public_message
from tpbench.video import probe
from tpbench.work import JsonObject, ProgressReport, TaskSpec
from tpbench.work.faults import HaltError, PostponedError, machine_fault, ran_out
from tpbench.work.records import FolderId, require_same

_NAME_DIGITS: Final = 32


def source_name(source_id: str) -> str:
    """Return a name for files that belong to a source, whose id may come from anywhere."""
    return hashlib.sha256(source_id.encode()).hexdigest()[:_NAME_DIGITS]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceWork:
    """What a worker gets: the clips of one source, and the files to look into."""

    source_id: str
    candidates: tuple[Source, ...]
    clips: tuple[Clip, ...]
    marks: tuple[bytes, ...]
    """`Marks.to_bytes` of each clip."""

    @classmethod
    def of(cls, wanted: WantedSource, candidates: Sequence[Source], pack: Pack) -> SourceWork:
        """Collect what is needed for the clips of a source."""
        return cls(
            source_id=wanted.source_id,
            candidates=tuple(candidates),
            clips=wanted.clips,
            marks=tuple(map(pack.marks, wanted.clips)),
        )

    def to_json(self) -> dict[str, Any]:
        """Return JSON that `from_json` reads."""
        return {
            "source_id": self.source_id,
            "candidates": [source.to_json() for source in self.candidates],
            "clips": [clip.to_json() for clip in self.clips],
            "marks": [b64encode(data).decode() for data in self.marks],
        }

    @classmethod
    def from_json(cls, data: JsonObject) -> SourceWork:
        """Read what `to_json` wrote."""
        return cls(
            source_id=data["source_id"],
            candidates=tuple(map(Source.from_json, data["candidates"])),
            clips=tuple(map(Clip.from_json, data["clips"])),
            marks=tuple(map(b64decode, data["marks"])),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuildTask:
    """Rebuilds the clips of one source after the other."""

    pack: Pack
    folder: Path
    """Of the dataset."""
    require_folder: Callable[[], None] = anywhere
    """Raises when the dataset no longer exists."""

    def __call__(self, payload: JsonObject, report: ProgressReport) -> dict[str, Any]:
        """Rebuild the clips of a source; return what became of them, and the file they come from.

        The files of its name are tried in turn until one gives a clip.
        """
        work = SourceWork.from_json(payload)
        results: list[Remade] = []
        used = work.candidates[0]
        for used in work.candidates:
            try:
                results = self._rebuilt(work, used, report)
            except Exception as error:
                raised = self._classified(used, error)
                if raised is error:
                    raise
                raise raised from error
            if any(result.kept for result in results):
                break
        return {
            "raw": used.shown_path,
            "raw_sha256": used.sha256,
            "clips": [asdict(result) for result in results],
        }

    def _rebuilt(self, work: SourceWork, source: Source, report: ProgressReport) -> list[Remade]:
        try:
            info = probe(source.path)
        except MediaError as error:
            self._require_reachable(source, error)
            return [_unreadable(clip, source, error) for clip in work.clips]
        copy = SourceCopy(path=source.path, info=info, sha256=source.sha256)
        self.require_folder()
        results, n_frames = [], 0
        with staging_folder(self.folder / WORK_FOLDER / source_name(work.source_id)) as staging:
            remaker = Remaker(pack=self.pack, staging=staging)
            for clip, marks in zip(work.clips, work.marks, strict=True):
                try:
                    made = remaker.remake(clip, Marks.from_bytes(marks), copy)
                except MediaError as error:
                    self._require_reachable(source, error)
                    made = _unreadable(clip, source, error)
                results.append(made)
                n_frames += clip.n_frames or 0
                report({"frames": n_frames})
            self.require_folder()
            move_clips([made.clip_id for made in results if made.kept], staging, self.folder)
        return results

    def close(self) -> None:
        """Hold nothing open."""

    @staticmethod
    def _require_reachable(source: Source, error: MediaError) -> None:
        why = why_out_of_reach(source, error)
        if why is not None:
            raise PostponedError(f"{source.shown_path}: {why}; the next run tries again")

    def _classified(self, source: Source, error: Exception) -> Exception:
        """Distinguish faults of the machine from bugs; return what to raise."""
        if isinstance(error, PostponedError) or ran_out(error) is not None:
            return error
        if (why := why_out_of_reach(source, error)) is not None:
            return PostponedError(f"{source.shown_path}: {why}; the next run tries again")
        try:
            self.require_folder()
        except HaltError as gone:
            return gone
        fault = machine_fault(error, where=self.folder)
        return error if fault is None else HaltError(fault)


def _unreadable(clip: Clip, source: Source, error: MediaError) -> Remade:
    if Path(error.path) == source.path:
        error = MediaError(source.shown_path, error.reason)
    said = public_message(str(error))
    return Remade(clip_id=clip.clip_id, outcome="unreadable", error=said)


def task_spec(*, pack: Path, folder: Path, records_id: FolderId) -> TaskSpec:
    """Return the specification from which worker processes `build` their task.

    Args:
        pack: its folder.
        folder: of the dataset.
        records_id: device and inode of its records.
    """
    return TaskSpec(
        factory="tpbench.extraction.rebuild_task:build",
        config={"pack": str(pack), "folder": str(folder), "records_id": list(records_id)},
    )


def build(config: JsonObject) -> RebuildTask:
    """Return the task.

    Args:
        config: as `task_spec` puts it together.
    """
    import cv2

    cv2.setNumThreads(1)  # a worker is one thread; more workers use more cores
    folder = Path(config["folder"])
    return RebuildTask(
        pack=Pack.open(Path(config["pack"])),
        folder=folder,
        require_folder=partial(require_same, folder / RECORDS_FOLDER, tuple(config["records_id"])),
    )
