"""Running a method's command: in a private folder, its own environment, and a limit of time."""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from tpbench.errors import ConfigError, GeneratorError

logger = logging.getLogger(__name__)

_GUARD: Final = Path(__file__).with_name("guard.py")

_PASSED_ON: Final = (
    "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ",
    "LD_LIBRARY_PATH", "CUDA_HOME", "CUDA_PATH", "CUDA_DEVICE_ORDER",
    "HF_HOME", "HF_HUB_OFFLINE", "TORCH_HOME", "XDG_CACHE_HOME", "OMP_NUM_THREADS",
)  # fmt: skip
"""All that a command gets of the environment; no tokens, and nothing of tpbench's own Python."""
_TAIL_BYTES: Final = 8192
_LINE_CHARACTERS: Final = 200


def environment_for(device: str, *, python: Path, temporary: Path) -> dict[str, str]:
    """Return the environment of a command.

    Args:
        device: "auto", "cpu", "cuda", or "cuda:1" for the second of the GPUs that are visible.
        python: of the method's environment; its folder is searched first for programs.
        temporary: folder for temporary files.

    Raises:
        ConfigError: no such device.
    """
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    search = os.environ.get("PATH", os.defpath)
    visible = _visible_gpus(device)
    return {
        **environment,
        "PATH": f"{python.parent}{os.pathsep}{search}",
        "TMPDIR": str(temporary),
        "PYTHONNOUSERSITE": "1",
        "PYTHONUNBUFFERED": "1",
        **({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}),
    }


def _visible_gpus(device: str) -> str | None:
    """Return CUDA_VISIBLE_DEVICES for a device; None: as the driver has it."""
    ours = os.environ.get("CUDA_VISIBLE_DEVICES")
    if device in ("auto", "cuda"):
        return ours
    if device == "cpu":
        return ""
    number = re.fullmatch(r"cuda:(\d+)", device)
    if number is None:
        raise ConfigError(f"device '{device}': want auto, cpu, cuda or cuda:N")
    if ours is None:
        return number[1]
    gpus = ours.split(",")
    if int(number[1]) >= len(gpus):
        raise ConfigError(f"device '{device}': CUDA_VISIBLE_DEVICES={ours} shows no such GPU")
    return gpus[int(number[1])]


def run_command(
    command: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    log: Path,
    timeout_s: float,
) -> None:
    """Run a command to its end; whatever ends this function, no process of it is left.

    Args:
        command: program and arguments; no shell sees them.
        folder: where it runs.
        environment: all of its variables.
        log: gets its output; an older file there is replaced.
        timeout_s: after this long it is killed, with all that it has started.

    Raises:
        GeneratorError: it failed or took too long; names the log and quotes its last line.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    # Another run may still be writing to a log of that name: it keeps its own file.
    log.unlink(missing_ok=True)
    logger.info("running %s; log: %s", command[0], log)
    with log.open("xb") as output:
        process = subprocess.Popen(  # noqa: S603 - a list; no shell
            [sys.executable, "-I", "-S", str(_GUARD), *command],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _end(process)
    if code is None:
        how = f"was still running after {timeout_s:.0f} s and was ended (option timeout_s)"
        raise GeneratorError(_with_log(f"the command {how}", log))
    if code - 128 in signal.valid_signals():
        raise GeneratorError(_with_log(f"the command was killed by signal {code - 128}", log))
    if code:
        raise GeneratorError(_with_log(f"the command exited with {code}", log))


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the command's process group: also what it has left behind when it ended by itself."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin is not None:
        process.stdin.close()


def _with_log(what: str, log: Path) -> str:
    line = last_line(log)
    said = f"its last line: {line}" if line else "it said nothing"
    return f"{what}; {said}; log: {log}"


def last_line(log: Path) -> str:
    """Return the last line of a log that is not blank, as it looks on a terminal, cut to length."""
    with log.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - _TAIL_BYTES))
        text = file.read().decode("utf-8", errors="replace")
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    # A progress bar returns the carriage instead of starting a new line.
    lines = [" ".join(line.split()) for line in re.split(r"[\r\n]+", plain)]
    found = next((line for line in reversed(lines) if line), "")
    printable = "".join(character for character in found if character.isprintable())
    return printable[:_LINE_CHARACTERS]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFolder:
    """A temporary folder; no two runs ever see each other's files."""

    path: Path

    @classmethod
    def create(cls, method_id: str, checkout: Path, fresh: Collection[str]) -> Self:
        """Make one.

        The command runs in `work`, which shows everything of the checkout as links, except the
        folders that it writes its results into: so relative paths of the method hold, and what it
        writes is this run's own.

        Args:
            method_id: for the folder's name.
            checkout: the method's code.
            fresh: top folders of the checkout that are to be empty.
        """
        folder = cls(path=Path(tempfile.mkdtemp(prefix=f"tpbench-{method_id}-")).resolve())
        for part in (folder.inputs, folder.out, folder.work, folder.temporary):
            part.mkdir()
        for entry in checkout.iterdir():
            if entry.name not in fresh:
                (folder.work / entry.name).symlink_to(entry)
        for name in fresh:
            (folder.work / name).mkdir(parents=True)
        return folder

    @property
    def inputs(self) -> Path:
        """What the method is given."""
        return self.path / "inputs"

    @property
    def out(self) -> Path:
        """Where it is told to write."""
        return self.path / "out"

    @property
    def work(self) -> Path:
        """Where it runs."""
        return self.path / "work"

    @property
    def temporary(self) -> Path:
        """Its TMPDIR."""
        return self.path / "tmp"

    def remove(self) -> None:
        """Remove it; links are removed, not what they show."""
        shutil.rmtree(self.path, ignore_errors=True)
