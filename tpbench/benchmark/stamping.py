"""What a run says of itself when it begins, and how it differs from the one that is there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from tpbench.benchmark.model import WorkerPlan
from tpbench.benchmark.request import RunPlan
from tpbench.benchmark.run_folder import ENCODING, count_records, now, timings_of
from tpbench.benchmark.run_info import (
    DatasetStamp,
    ModelStamp,
    RunInfo,
    Session,
    TaskStamp,
    code_stamp,
    environment_stamp,
    hardware_stamp,
)
from tpbench.privacy import public_command, public_values
from tpbench.work.records import describe_differences

_SOURCE: Final = "source_sha256"
"""In the description of a user's own class: the sha256 of the file that defines it."""
_OF_ROWS: Final = {
    "display_name", "licence_code", "licence_weights", "url", "paper_url", "weights_url",
    "params_b",
}  # fmt: skip


def differences_to(former: RunInfo, info: RunInfo) -> str:
    """Say how the run on disk differs from the one to generate; empty if they are the same."""
    old, new = public_values(former.identity()), public_values(info.identity())
    found = describe_differences(old, new)
    if not found:
        return ""
    before, after = old["model"].pop("configuration"), new["model"].pop("configuration")
    same_source = {**before, _SOURCE: after.get(_SOURCE)}
    if old == new and not describe_differences(same_source, after):
        return f"the code of {info.model.name} has changed since this run was made"
    return f"this run was made with another configuration: {found}"


def new_info(plan: RunPlan, configuration: dict[str, Any]) -> RunInfo:
    """Return the description of a new run without clips, for this generator configuration."""
    name, row = plan.choice.name, plan.choice.row
    of_row = {"display_name": name} if row is None else row.model_dump(include=_OF_ROWS)
    if plan.given_name:
        of_row |= {"display_name": plan.given_name, "given_name": plan.given_name}
    clips = plan.selection.clips
    return RunInfo(
        model=ModelStamp(name=name, kind=plan.choice.kind, configuration=configuration, **of_row),
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


def new_session(worker_plan: WorkerPlan, command: Sequence[str], *, clips_to_do: int) -> Session:
    """Describe a call that starts now, and the machine it runs on.

    The command is recorded without folders of this machine and without secrets.
    """
    return Session(
        command=public_command(command),
        started_at=now(),
        workers=worker_plan.workers,
        device=", ".join(worker_plan.devices),
        clips_to_do=clips_to_do,
        code=code_stamp(),
        environment=environment_stamp(),
        hardware=hardware_stamp(),
    )
