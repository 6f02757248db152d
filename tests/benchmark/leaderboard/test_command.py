"""The command beside a row makes the same frames and scores, on any machine."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.benchmark.leaderboard.conftest import METRIC_IDS, Runs, board_of
from tpbench.benchmark.run_info import RunInfo

REST = f"--protocol tpbench-v2 --metrics {','.join(METRIC_IDS)}"


def typed(*words: str) -> Callable[[RunInfo], RunInfo]:
    """Have the run made by this command."""

    def change(info: RunInfo) -> RunInfo:
        (session,) = info.sessions
        session = session.model_copy(update={"command": words})
        return info.model_copy(update={"sessions": (session,)})

    return change


def command_of_row(runs: Runs, *words: str, model: str = "talkingpose") -> str | None:
    path = runs(model, kind="model", info=typed(*words))
    return board_of(path).rows[0].command


def test_all_seeds_are_in_one_command(runs: Runs) -> None:
    runs("warp", kind="baseline", seed=43)
    runs("warp", kind="baseline", seed=42)
    assert board_of(runs.out).rows[0].command == (
        f"tpbench eval --model warp --data DATASET --split test --task self {REST} --seeds 42,43"
    )


def test_what_makes_the_frames_is_kept_and_the_rest_is_not(runs: Runs) -> None:
    found = command_of_row(
        runs,
        *("/opt/bin/tpbench", "generate", "--model", "talkingpose", "--data", "/home/me/x"),
        *("--option", "gain=0.5", "--weights=/home/me/w", "--option=text=two words"),
        *("--reference-quirks", "--limit", "3", "--out", "/home/me/runs", "--device", "cuda"),
    )
    assert found == (
        "tpbench eval --model talkingpose --option gain=0.5 --weights WEIGHTS "
        "--option 'text=two words' --reference-quirks --data DATASET --split test --task self "
        f"{REST} --seeds 42"
    )


def test_an_object_has_no_command_and_a_class_has_one(runs: Runs) -> None:
    assert board_of(runs("mine")).rows[0].command is None
    command = board_of(runs("package.module:Class")).rows[0].command
    assert command is not None
    assert command.startswith("tpbench eval --model package.module:Class --data DATASET")


def test_a_task_for_shorter_clips_says_so(runs: Runs) -> None:
    def shorter(info: RunInfo) -> RunInfo:
        task = info.task.model_copy(update={"id": "self.min24", "min_frames": 24})
        return info.model_copy(update={"task": task})

    command = board_of(runs("warp", kind="baseline", info=shorter)).rows[0].command

    assert command is not None
    assert " --task self --min-frames 24 --protocol " in command


@pytest.mark.parametrize("name", ["a b:C", "x; rm -rf ~:C", "$(reboot):C"])
def test_a_name_can_start_nothing_else_when_pasted(runs: Runs, name: str) -> None:
    command = board_of(runs(name)).rows[0].command
    assert command is not None
    assert f"--model '{name}' --data" in command
