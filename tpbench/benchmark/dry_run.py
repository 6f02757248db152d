"""What an evaluation would take, before anything is made."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from tpbench.benchmark.devices import crew_for
from tpbench.benchmark.run_info import RUN_INFO_NAME, read_run_info
from tpbench.benchmark.stamp import hardware_stamp
from tpbench.errors import SubmissionError
from tpbench.video import probe

if TYPE_CHECKING:
    from pathlib import Path

    from tpbench.benchmark.bookkeeping import RunPlan
    from tpbench.benchmark.prepare import Prepared
    from tpbench.benchmark.run_info import RunInfo

_log = logging.getLogger(__name__)

FRAME_BYTES: Final = 174_000
"""Of a lossless frame of 512x512 px of a talk, as measured; others by their area."""

_FRAME_PX: Final = 512 * 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What the runs of all seeds would take."""

    folders: tuple[Path, ...]
    """Where they would lie, one per seed."""

    clips: int
    """That are asked for, of one seed."""

    frames: int
    """Of these."""

    clips_there: int
    """Records that lie in the folders already, of all seeds: these may be done."""

    disk_bytes: int
    """Lossless frames of all seeds; what `--keep preview` gives back once they are scored."""

    generate_s: float | None
    """Time to make the frames of all seeds, as an earlier run of the model on this machine took;
    None: there is none. Scoring comes on top."""

    based_on: Path | None
    """That earlier run."""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "runs": [str(folder) for folder in self.folders],
            "clips": self.clips,
            "frames": self.frames,
            "clips_there": self.clips_there,
            "disk_bytes": self.disk_bytes,
            "generate_s": self.generate_s,
            "based_on": None if self.based_on is None else str(self.based_on),
        }


def estimate(prepared: Prepared, out: Path, *, workers: int | None = None) -> Estimate:
    """Say what it would take to make what was prepared. Nothing is written.

    Args:
        prepared: what `prepare` looked up.
        out: folder of all runs; also where earlier ones are looked for.
        workers: as in `evaluate`.
    """
    plan, spec, seeds = prepared.plan, prepared.spec, prepared.seeds
    wanted = plan.selection.wanted
    frames = sum(clip.n_frames for clip in wanted)
    folders = [replace(plan, seed=seed).folder(out) for seed in seeds]
    crew = crew_for(plan.choice, device=spec.device, workers=workers, clips=len(wanted))
    earlier = _earlier_run(folders[0].path.parents[2])
    generate_s = None
    if earlier is not None and earlier[1].timings.frames_per_s:
        rate = earlier[1].timings.frames_per_s * crew.workers
        generate_s = frames * len(seeds) / rate
    return Estimate(
        folders=tuple(folder.path for folder in folders),
        clips=len(wanted),
        frames=frames,
        clips_there=sum(folder.record(c.clip_id).is_file() for folder in folders for c in wanted),
        disk_bytes=round(_bytes(plan) * len(seeds)),
        generate_s=generate_s,
        based_on=None if generate_s is None or earlier is None else earlier[0],
    )


def _bytes(plan: RunPlan) -> float:
    total = 0.0
    for clip in plan.selection.wanted:
        side = clip.driving.out_size_px
        if side:
            area_px = side * side
        else:
            info = probe(plan.dataset.clip_path(clip.driving))
            area_px = info.width_px * info.height_px
        total += clip.n_frames * FRAME_BYTES * area_px / _FRAME_PX
    return total


def _earlier_run(folder: Path) -> tuple[Path, RunInfo] | None:
    """Return the last run of a model that was made on such a machine as this one."""
    here = hardware_stamp()
    found: list[tuple[str, Path, RunInfo]] = []
    for path in sorted(folder.glob(f"*/*/*/{RUN_INFO_NAME}")):
        try:
            info = read_run_info(path.parent)
        except SubmissionError as error:
            _log.info("%s", error)
            continue
        if info.sessions and info.timings.frames_per_s:
            last = info.sessions[-1]
            if (last.hardware.processor, last.hardware.gpus) == (here.processor, here.gpus):
                found.append((last.started_at, path.parent, info))
    if not found:
        return None
    _, path, info = max(found, key=lambda run: run[:2])
    return path, info
