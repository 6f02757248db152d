"""The command that makes a row again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import Final

from tpbench.benchmark.leaderboard.collect import ScoredRun
from tpbench.benchmark.tasks import TASKS
from tpbench.privacy import public_option

DATASET: Final = "DATASET"
"""Stands for the folder of the dataset: where it lay on one machine says nothing on another."""

WEIGHTS: Final = "WEIGHTS"
"""Stands for the folder of checkpoints."""


def command_of(runs: Sequence[ScoredRun]) -> str | None:
    """Return what to type to make the runs of one model again; None if only Python can.

    What made the frames is taken from the commands on record, and the rest from what the runs say
    of themselves: folders, limits and the like decide no number. Secrets and folders among the
    options are named, not shown. Of a run that was made by calling
    Python no options are on record, so none are given.
    """
    first = runs[0]
    name = first.info.model.name
    if first.info.model.kind == "custom" and ":" not in name:
        return None
    if "spec" in first.info.model.configuration:  # of a spec outside the package
        name = f"{name}.yaml"
    recorded = next((s.command for s in first.info.sessions if s.command), ())
    return shlex.join(
        [
            *("tpbench", "eval", "--model", name),
            *_of_the_model(recorded),
            *_conditions(first),
            *("--seeds", ",".join(str(run.info.seed) for run in runs)),
        ]
    )


def anchor_command(anchor: str, like: ScoredRun, *, data: str = DATASET) -> str:
    """Return what to type to make the run of an anchor that stands beside others.

    Args:
        anchor: its id.
        like: any run of the table.
        data: the dataset.
    """
    words = ["tpbench", "eval", "--model", anchor, *_conditions(like)]
    words[words.index("--data") + 1] = data
    return shlex.join([*words, "--seeds", str(like.info.seed)])


def _conditions(run: ScoredRun) -> Iterator[str]:
    task, protocol = run.info.task, run.report.protocol
    yield from ("--data", DATASET, "--split", run.info.dataset.split)
    task_id, _, variant = task.id.partition(".")
    yield from ("--task", task_id)
    if variant or (task_id in TASKS and TASKS[task_id].min_frames != task.min_frames):
        yield from ("--min-frames", str(task.min_frames))
    yield from ("--protocol", task.protocol.removesuffix("+custom"))
    if str(protocol["id"]).endswith("+custom"):
        yield from ("--metrics", ",".join(run.report.metrics))


def _of_the_model(recorded: Sequence[str]) -> Iterator[str]:
    """Yield the options of a recorded command that decide what frames are made."""
    words = iter(recorded)
    for word in words:
        option, equals, value = word.partition("=")
        if option == "--reference-quirks":
            yield option
        elif option in {"--option", "--weights"}:
            given = value if equals else next(words, "")
            yield from (option, WEIGHTS if option == "--weights" else public_option(given))
