"""What `run.json` says: of the run itself, of one session, and of what lies on disk by now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import JsonValue

from tpbench.benchmark.model import Crew, ModelChoice
from tpbench.benchmark.records import ClipRecord
from tpbench.benchmark.run_folder import ENCODING, RunFolder, run_path
from tpbench.benchmark.run_info import (
    Counts,
    DatasetStamp,
    ModelStamp,
    RunInfo,
    Session,
    TaskStamp,
    Timings,
    code_stamp,
    environment_stamp,
    hardware_stamp,
)
from tpbench.benchmark.shards import Shard
from tpbench.benchmark.tasks import Selection, TaskRule
from tpbench.dataset import Dataset
from tpbench.privacy import public_command


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """What a run is made of, looked up and opened."""

    choice: ModelChoice
    dataset: Dataset
    selection: Selection
    rule: TaskRule
    protocol: str
    seed: int
    shard: Shard | None = None
    """Only this part of it, in a folder of its own."""

    @property
    def task(self) -> str:
        """The task with its version, as the key of a clip's inputs has it."""
        return f"{self.rule.name} v{self.rule.version}"

    def folder(self, runs: Path) -> RunFolder:
        """Return where the run lies in a folder of runs."""
        path = run_path(
            runs,
            model=self.choice.name,
            dataset=self.dataset.info.name,
            split=self.selection.split,
            digest=self.dataset.digest,
            task=self.rule.name,
            protocol=self.protocol,
            seed=self.seed,
            part=self.shard.suffix if self.shard else "",
        )
        return RunFolder(path=path.absolute())


def new_info(plan: RunPlan, configuration: dict[str, JsonValue]) -> RunInfo:
    """Describe a run of which nothing is made yet.

    Args:
        plan: of the run.
        configuration: what the generator said of itself.
    """
    row, clips = plan.choice.row, plan.selection.clips
    model = ModelStamp(
        name=plan.choice.name,
        display_name=plan.choice.name,
        kind=plan.choice.kind,
        configuration=configuration,
    )
    if row is not None:
        known = {name: getattr(row, name) for name in _OF_ROWS}
        model = model.model_copy(update=known)
    return RunInfo(
        model=model,
        dataset=DatasetStamp(
            name=plan.dataset.info.name,
            digest=plan.dataset.digest,
            split=plan.selection.split,
            clips_digest=plan.selection.digest,
            n_clips=len(clips),
            n_identities=len({clip.identity for clip in clips}),
            left_out=dict(plan.selection.left_out),
            folder=plan.dataset.folder.absolute().name,
        ),
        task=TaskStamp(
            id=plan.rule.name,
            version=plan.rule.version,
            min_frames=plan.rule.min_frames,
            protocol=plan.protocol,
        ),
        seed=plan.seed,
        encoding=ENCODING.name,
        partial=True,
        counts=count_records({clip.clip_id: None for clip in clips}),
        timings=timings_of([]),
    )


_OF_ROWS = ("display_name", "licence_code", "licence_weights", "url", "params_b")


def new_session(crew: Crew, command: Sequence[str], *, clips_to_do: int) -> Session:
    """Describe a call that starts now, and the machine it runs on.

    The command is written down without folders of this machine and without secrets.
    """
    return Session(
        command=public_command(command),
        started_at=now(),
        workers=crew.workers,
        device=", ".join(crew.devices),
        clips_to_do=clips_to_do,
        code=code_stamp(),
        environment=environment_stamp(),
        hardware=hardware_stamp(),
    )


def updated(info: RunInfo, records: Mapping[str, ClipRecord | None]) -> RunInfo:
    """Return the description brought up to what the records of all expected clips say."""
    counts = count_records(records)
    done = [record for record in records.values() if record is not None]
    return info.model_copy(
        update={
            "partial": counts.not_run > 0,
            "counts": counts,
            "timings": timings_of([record for record in done if record.status == "done"]),
        }
    )


def count_records(records: Mapping[str, ClipRecord | None]) -> Counts:
    """Count what became of the expected clips; None: not tried yet."""
    found = Counter("not_run" if record is None else record.status for record in records.values())
    return Counts(
        expected=len(records),
        done=found["done"],
        failed=found["failed"],
        quarantined=found["quarantined"],
        not_run=found["not_run"],
        frames=sum(record.n_frames for record in records.values() if record is not None),
    )


def timings_of(done: Sequence[ClipRecord]) -> Timings:
    """Add up what the done clips took."""
    gen_s = sum(record.gen_s for record in done)
    frames = sum(record.n_frames for record in done)
    host = [record.peak_host_bytes for record in done if record.peak_host_bytes is not None]
    gpu = [record.peak_gpu_bytes for record in done if record.peak_gpu_bytes is not None]
    return Timings(
        gen_s=round(gen_s, 3),
        frames_per_s=round(frames / gen_s, 3) if gen_s else None,
        peak_host_bytes=max(host, default=None),
        peak_gpu_bytes=max(gpu, default=None),
    )


def now() -> str:
    """Return the time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
