"""A method on this machine: installation steps, check for completeness, running its command."""

from __future__ import annotations

import logging
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tpbench.baselines.external.spec import MethodSpec
from tpbench.errors import ConfigError, GeneratorError, MissingWeightsError, TPBenchError
from tpbench.weights.store import cache_dir

logger = logging.getLogger(__name__)

_GUARD: Final = Path(__file__).with_name("guard.py")
_PASSED_ON: Final = (
    "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ",
    "LD_LIBRARY_PATH", "CUDA_HOME", "CUDA_PATH", "CUDA_DEVICE_ORDER",
    "HF_HOME", "HF_HUB_OFFLINE", "TORCH_HOME", "XDG_CACHE_HOME", "OMP_NUM_THREADS",
)  # fmt: skip
"""The variables passed on to a command; no tokens, and nothing of tpbench's own Python."""
_TAIL_BYTES: Final = 8192
_LINE_CHARACTERS: Final = 200
_WAIT_S: Final = 5.0
"""How often it is told that a command still runs."""


def methods_dir() -> Path:
    """Return the folder of all methods: `$TPBENCH_METHODS`, else `methods` beside the weights."""
    chosen = os.environ.get("TPBENCH_METHODS")
    return Path(chosen).expanduser() if chosen else cache_dir() / "methods"


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """A method on this machine: its code, including the weights. Paths are absolute."""

    checkout: Path
    python: Path
    """Of its environment."""
    commit: str | None
    """The commit that is checked out; None if unknown."""


def find_installation(
    spec: MethodSpec, *, checkout: Path | None = None, python: Path | None = None
) -> Installation:
    """Find the installation of a method, and check that it is complete.

    Args:
        spec: of the method.
        checkout: its code; None: `<methods>/<id>/checkout`.
        python: of its environment; None: `<methods>/<id>/env/bin/python`.

    Raises:
        ConfigError: the code or the environment is missing.
        MissingWeightsError: weights are not at the paths of the spec.
    """
    for problem in installation_problems(spec, checkout=checkout, python=python):
        raise problem
    code, program = _places(spec, checkout, python)
    commit = _checked_out(code)
    if commit is not None and not commit.startswith(spec.commit):
        logger.warning(
            "%s: %s is at commit %s; the spec was written for %s",
            spec.id, code, commit[: len(spec.commit)], spec.commit,
        )  # fmt: skip
    return Installation(checkout=code, python=program, commit=commit)


def installation_problems(
    spec: MethodSpec, *, checkout: Path | None = None, python: Path | None = None
) -> Iterator[TPBenchError]:
    """Yield what is missing of an installation: checkout, Python, then each file of weights.

    The arguments are those of `find_installation`, which raises the first of these errors.
    """
    code, program = _places(spec, checkout, python)
    how = f"`tpbench models install {_named(spec)}` prints the installation steps"
    if not code.is_dir():
        yield ConfigError(f"{spec.id}: no checkout at {code} (option checkout); {how}")
    if not os.access(program, os.X_OK) or program.is_dir():
        yield ConfigError(f"{spec.id}: no Python at {program} (option python); {how}")
    for weights in spec.weights:
        missing = [code / path for path in weights.paths if not (code / path).exists()]
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            yield MissingWeightsError(f"{spec.id}: {weights.name}", f"no {missing[0]}{more}; {how}")


def _places(spec: MethodSpec, checkout: Path | None, python: Path | None) -> tuple[Path, Path]:
    base = methods_dir() / spec.id
    code = (checkout or base / "checkout").expanduser().absolute()
    # Links are kept: the Python of a virtual environment finds its packages by its own path.
    return code, (python or base / "env" / "bin" / "python").expanduser().absolute()


def _checked_out(checkout: Path) -> str | None:
    """Return the full commit of a checkout; None if it is no repository or git is missing."""
    if not (checkout / ".git").exists():
        return None
    git = ["git", "-C", str(checkout), "rev-parse", "HEAD"]
    try:
        answer = subprocess.run(git, capture_output=True, text=True, check=True, timeout=30)  # noqa: S603 - a list; no shell
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None


def install_steps(spec: MethodSpec) -> list[str]:
    """Return the installation as lines for a shell; what is done by hand stands in comments."""
    return [
        f"# {spec.display_name}, {spec.url} at commit {spec.commit}",
        f"# licence of the code: {spec.licence.code}",
        f"# licence of the weights: {spec.licence.weights}",
        *_steps(spec),
    ]


def _named(spec: MethodSpec) -> str:
    return shlex.quote(str(spec.file or spec.id))


def _steps(spec: MethodSpec) -> Iterator[str]:
    base = methods_dir() / spec.id
    checkout, env = shlex.quote(str(base / "checkout")), shlex.quote(str(base / "env"))
    yield f"git clone {shlex.quote(spec.url)} {checkout}"
    yield f"git -C {checkout} checkout {shlex.quote(spec.commit)}"
    if spec.env.kind == "venv":
        yield f"python{spec.env.python} -m venv {env}"
    else:
        yield f"conda create --yes --prefix {env} python={spec.env.python} pip"
    for step in spec.env.steps:
        yield step.format(env=env, checkout=checkout)
    for weights in spec.weights:
        yield f"# {weights.name}: {weights.source} ({weights.licence})"
        for step in weights.steps:
            yield step.format(checkout=checkout)
        places = ", ".join(weights.paths)
        if weights.steps:
            yield f"# afterwards, {checkout} must contain: {places}"
        else:
            yield f"# by hand: fetch {weights.name} from {weights.source} into {checkout}: {places}"
    for line in spec.needs:
        yield f"# needs: {line}"


def environment_for(device: str, *, python: Path, temporary: Path) -> dict[str, str]:
    """Return the environment of a command.

    Args:
        device: "auto", "cpu", "cuda", or "cuda:1" for the second of the visible GPUs.
        python: of the method's environment; its folder comes first in PATH.
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
    """Return CUDA_VISIBLE_DEVICES for a device; None: leave it unset."""
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


def make_run_folder(method_id: str, checkout: Path, fresh: Collection[str]) -> Path:
    """Create a temporary folder for one run, so that no run sees the files of another.

    It contains `inputs`, `out`, `tmp` (its TMPDIR) and `work`, where the command runs. `work` links
    to everything in the checkout, so that relative paths of the method work. Only the `fresh`
    folders, which the method writes its results into, are the run's own and empty.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"tpbench-{method_id}-")).resolve()
    for name in ("inputs", "out", "tmp", "work"):
        (folder / name).mkdir()
    for entry in checkout.iterdir():
        if entry.name not in fresh:
            (folder / "work" / entry.name).symlink_to(entry)
    for name in fresh:
        (folder / "work" / name).mkdir(parents=True)
    return folder


def run_command(
    command: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    log: Path,
    timeout_s: float,
    on_wait: Callable[[], None] = lambda: None,
) -> None:
    """Run a command to its end; however this function ends, no process of the command is left.

    Args:
        command: program and arguments; not passed through a shell.
        folder: working directory.
        environment: all of its variables.
        log: file for its output; an existing file is replaced.
        timeout_s: after this time it is killed, with all its subprocesses.
        on_wait: called every few seconds while it runs.

    Raises:
        GeneratorError: it failed or took too long; names the log and quotes its last line.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    # Another run may still be writing to a log of that name: unlinked, that file remains its own.
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
            code = _code(process, time.monotonic() + timeout_s, on_wait)
        finally:
            _end(process)
    if code == 0:
        return
    how = f"exited with {code}"
    if code is None:
        how = f"was still running after {timeout_s:.0f} s and was killed (option timeout_s)"
    elif code - 128 in signal.valid_signals():
        how = f"was killed by signal {code - 128}"
    line = last_line(log)
    printed = f"its last line: {line}" if line else "it printed nothing"
    raise GeneratorError(f"the command {how}; {printed}; log: {log}")


def _code(
    process: subprocess.Popen[bytes], end_s: float, on_wait: Callable[[], None]
) -> int | None:
    """Return a command's exit code; None: it is still running at this time."""
    while (left_s := end_s - time.monotonic()) > 0:
        with suppress(subprocess.TimeoutExpired):
            return process.wait(min(left_s, _WAIT_S))
        on_wait()
    return process.poll()


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the command's process group, including processes left over after a normal end."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin is not None:
        process.stdin.close()


def last_line(log: Path) -> str:
    """Return the last non-blank line of a log, without terminal codes, cut to a maximum length."""
    with log.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - _TAIL_BYTES))
        text = file.read().decode("utf-8", errors="replace")
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    # A progress bar uses carriage returns instead of new lines.
    lines = [" ".join(line.split()) for line in re.split(r"[\r\n]+", plain)]
    found = next((line for line in reversed(lines) if line), "")
    return "".join(character for character in found if character.isprintable())[:_LINE_CHARACTERS]
