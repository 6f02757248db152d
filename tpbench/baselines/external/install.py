"""How to get a method onto this machine, as lines to read and to type."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from tpbench.baselines.external.installation import methods_dir
from tpbench.baselines.external.parts import Weights
from tpbench.baselines.external.spec import MethodSpec


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
    yield f"git clone {spec.url} {checkout}"
    yield f"git -C {checkout} checkout {spec.commit}"
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
