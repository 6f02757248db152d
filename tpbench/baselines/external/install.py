"""Where a method lies on this machine, whether all of it is there, and how to get it."""

from __future__ import annotations

import logging
import os
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tpbench.baselines.external.spec import MethodSpec, Weights
from tpbench.errors import ConfigError, MissingWeightsError
from tpbench.files import sha256_of
from tpbench.weights.store import cache_dir

logger = logging.getLogger(__name__)


def methods_dir() -> Path:
    """Return the folder of all methods: `$TPBENCH_METHODS`, else `methods` beside the weights."""
    chosen = os.environ.get("TPBENCH_METHODS")
    return Path(chosen).expanduser() if chosen else cache_dir() / "methods"


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """A method on this machine. All paths are absolute."""

    checkout: Path
    """Its code, with its weights in it."""
    python: Path
    """Of its environment."""
    commit: str | None
    """What is checked out; None where that can't be told."""


def find_installation(
    spec: MethodSpec, *, checkout: Path | None = None, python: Path | None = None
) -> Installation:
    """Find a method, and check that nothing of it is missing.

    Args:
        spec: of the method.
        checkout: its code; None: `<methods>/<id>/checkout`.
        python: of its environment; None: `<methods>/<id>/env/bin/python`.

    Raises:
        ConfigError: the code or the environment is not there.
        MissingWeightsError: weights are not where the method looks for them.
    """
    base = methods_dir() / spec.id
    code = (checkout or base / "checkout").expanduser().absolute()
    # A virtual environment is known by its own path: its Python is a link that must stay one.
    program = (python or base / "env" / "bin" / "python").expanduser().absolute()
    how = f"`tpbench models install {shlex.quote(str(spec.file or spec.id))}` prints how to get it"
    if not code.is_dir():
        raise ConfigError(f"{spec.id}: no checkout at {code} (option checkout); {how}")
    if not os.access(program, os.X_OK) or program.is_dir():
        raise ConfigError(f"{spec.id}: no Python at {program} (option python); {how}")
    for weights in spec.weights:
        missing = next((path for path in weights.paths if not (code / path).exists()), None)
        if missing is not None:
            raise MissingWeightsError(f"{spec.id}: {weights.name}", f"no {code / missing}; {how}")
    commit = _checked_out(code)
    if commit is not None and not commit.startswith(spec.commit):
        logger.warning(
            "%s: %s is at commit %s; the spec was written for %s",
            spec.id, code, commit[: len(spec.commit)], spec.commit,
        )  # fmt: skip
    return Installation(checkout=code, python=program, commit=commit)


def weights_digests(spec: MethodSpec, installation: Installation) -> dict[str, str]:
    """Return the sha256 of every single weight file of the spec; folders are left out."""
    paths = [path for weights in spec.weights for path in weights.paths]
    return {
        path: sha256_of(installation.checkout / path)
        for path in sorted(paths)
        if (installation.checkout / path).is_file()
    }


def _checked_out(checkout: Path) -> str | None:
    """Return the full commit of a checkout; None if it is none of its own, or git is not there."""
    if not (checkout / ".git").exists():
        return None
    try:
        answer = subprocess.run(  # noqa: S603 - a list; no shell
            ["git", "-C", str(checkout), "rev-parse", "HEAD"],  # noqa: S607 - the user's git
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None


def install_steps(spec: MethodSpec) -> list[str]:
    """Return the steps in order, numbered; lines that start with `#` are to be read, not typed."""
    lines = [
        f"# {spec.display_name}, {spec.url} at commit {spec.commit}",
        f"# licence of the code: {spec.licence.code}",
        f"# licence of the weights: {spec.licence.weights}",
    ]
    number = 0
    for line in _steps(spec):
        if not line.startswith("#"):
            number += 1
        lines.append(line if line.startswith("#") else f"{number}. {line}")
    return lines


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
    if any(step.startswith("hf ") for weights in spec.weights for step in weights.steps):
        yield "# `hf` comes with `pip install huggingface_hub`"
    for weights in spec.weights:
        yield from _fetching(weights, checkout)
    for line in spec.needs:
        yield f"# needs: {line}"


def _fetching(weights: Weights, checkout: str) -> Iterator[str]:
    yield f"# {weights.name}: {weights.source} ({weights.licence})"
    for step in weights.steps:
        yield step.format(checkout=checkout)
    places = ", ".join(weights.paths)
    if not weights.steps:
        yield f"fetch {weights.name} from {weights.source} by hand into {checkout}: {places}"
    else:
        yield f"# there must be then, in {checkout}: {places}"
