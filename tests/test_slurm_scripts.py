"""The script of docs/slurm, with stand-ins for Slurm and `tpbench`, and its commands in docs."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.test_docs import ROOT, assert_is_understood

SCRIPT = ROOT / "docs/slurm/shard.sh"
TPBENCH = """#!/bin/bash
echo "$@" > said
[ "$EXIT" = wait ] || exit "$EXIT"
trap 'exit 130' TERM
touch waits
while true; do sleep 0.02; done
"""
SCONTROL = '#!/bin/bash\necho "$@" > requeued\n'


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    for name, text in {"tpbench": TPBENCH, "scontrol": SCONTROL}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    return tmp_path


def task(programs: Path, *words: str, leaves: str = "0", **slurm: str) -> subprocess.Popen[str]:
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    return subprocess.Popen(
        ["/bin/bash", str(SCRIPT), *words],
        cwd=programs,
        env={"PATH": path, "EXIT": leaves, **slurm},
        stdout=subprocess.PIPE,
        text=True,
    )


def ended(programs: Path, *words: str, leaves: str = "0", **slurm: str) -> int:
    with task(programs, *words, leaves=leaves, **slurm) as process:
        process.communicate(timeout=60)
    return process.returncode


def said(programs: Path) -> list[str]:
    return (programs / "said").read_text().split()


ARRAY = {
    "SLURM_ARRAY_TASK_ID": "2",
    "SLURM_ARRAY_TASK_COUNT": "4",
    "SLURM_ARRAY_JOB_ID": "70",
    "SLURM_JOB_ID": "72",
    "SLURM_CPUS_PER_TASK": "8",
}


def test_a_task_is_a_shard_and_a_job_without_an_array_the_last_run(programs: Path) -> None:
    words = ["extract", "RAW", "--out", "DATASET"]
    assert ended(programs, *words, **ARRAY) == 0
    assert said(programs) == [*words, "--workers", "8", "--shard", "2/4"]
    assert_is_understood(["tpbench", *said(programs)])
    assert ended(programs, *words, **ARRAY, SHARDS="16") == 0
    assert said(programs)[-1] == "2/16"
    last = {name: ARRAY[name] for name in ("SLURM_JOB_ID", "SLURM_CPUS_PER_TASK")}
    assert ended(programs, *words, "--workers", "3", **last) == 0
    assert said(programs) == [*words, "--workers", "3"]


@pytest.mark.parametrize(("leaves", "code"), [("3", 0), ("2", 2), ("1", 1)])
def test_failed_videos_hold_nothing_up_and_wrong_input_does(
    programs: Path, leaves: str, code: int
) -> None:
    assert ended(programs, "extract", leaves=leaves, **ARRAY) == code
    assert not (programs / "requeued").exists()


def test_the_signal_before_the_time_limit_ends_the_driver_and_queues_the_task_again(
    programs: Path,
) -> None:
    with task(programs, "extract", leaves="wait", **ARRAY) as process:
        while not (programs / "waits").exists():
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    assert (programs / "requeued").read_text() == "requeue 70_2\n"


def test_the_commands_of_the_page_are_understood() -> None:
    text = (ROOT / "docs/scaling.md").read_text(encoding="utf-8")
    commands = re.findall(r"^sbatch .*?docs/slurm/shard\.sh (.*?)(?:#.*)?$", text, re.MULTILINE)
    assert len(commands) >= 4
    for command in commands:
        assert_is_understood(["tpbench", *shlex.split(command), "--workers", "8"])
