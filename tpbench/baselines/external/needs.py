"""The options of an external method, and what it lacks on this machine; runs nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import Field, create_model

from tpbench.baselines.base import Options, OptionValue, WeightPart, parse_options
from tpbench.baselines.external.method import installation_problems, methods_dir
from tpbench.baselines.external.spec import Input, MethodSpec
from tpbench.errors import ConfigError


class ExternalOptions(Options):
    """Options common to all methods."""

    checkout: Path | None = None
    """Its code; unset: `<methods>/<id>/checkout`."""
    python: Path | None = None
    """Of its environment; unset: `<methods>/<id>/env/bin/python`."""
    log_dir: Path | None = None
    """Folder for the output of the command, `<clip_id>.log`; unset: `<methods>/<id>/logs`."""
    keep_workdir: bool = False
    """Keep the private folder of a failed run, and name it in the reason."""
    timeout_s: float | None = Field(default=None, gt=0)
    """Time limit of a run, in seconds; unset: that of the spec for the number of frames."""


_OWN: Final = "The method's own setting."
_BATCH_CLIPS: Final = 4
BROUGHT: Final = {"densepose_mp4": "densepose_dir", "guidance_dir": "guidance_dir"}
"""Kinds of input that tpbench can't generate -> option with the user's folder of them."""


def options_of(spec: MethodSpec) -> type[ExternalOptions]:
    """Return the options class of a method: the common options and its own."""
    fields: dict[str, Any] = {
        name: (type(default), Field(default=default, description=_OWN))
        for name, default in spec.settings.items()
    }
    for wanted in spec.inputs.values():
        if option := BROUGHT.get(wanted.kind):
            fields[option] = (Path, Field(description=_brought(wanted)))
    if spec.mode == "batch":
        together = Field(default=_BATCH_CLIPS, ge=1, description="Clips in one run of the command.")
        fields["batch_clips"] = (int, together)
    return create_model(f"{spec.display_name} options", __base__=ExternalOptions, **fields)


def _brought(wanted: Input) -> str:
    """Describe the folder of an input that the user provides."""
    if wanted.kind == "guidance_dir":
        return f"Folder that you provide: <clip_id>/<kind>/*.png for {', '.join(wanted.folders)}."
    return "Folder that you provide: the DensePose video of each clip, <clip_id>.mp4."


def lacking(
    spec: MethodSpec,
    options: Mapping[str, OptionValue],
    *,
    weights_dir: Path | None,
    device: str,
) -> Iterator[str]:
    """Yield what keeps a method from being run, one line each, except a missing device.

    Args:
        spec: of the method.
        options: the user's.
        weights_dir: must be None, as the weights are in the checkout.
        device: not looked at: `tpbench.devices` says whether there is one.
    """
    del device
    if weights_dir is not None:
        yield no_weights_dir(spec)
    try:
        parsed = parse_options(spec.id, options_of(spec), options)
    except ConfigError as error:
        yield str(error)
        parsed = _places(options)
    for problem in installation_problems(spec, checkout=parsed.checkout, python=parsed.python):
        yield str(problem)
    for option in BROUGHT.values():
        folder = getattr(parsed, option, None)
        if folder is not None and not folder.is_dir():
            yield f"{spec.id}: no folder {folder} (option {option}), with the inputs you provide"


def _places(options: Mapping[str, OptionValue]) -> ExternalOptions:
    """Return where a method is said to lie, whatever else is wrong with the options."""
    places = {name: options[name] for name in ("checkout", "python") if name in options}
    return ExternalOptions.model_validate(places)


def weight_parts(spec: MethodSpec) -> tuple[WeightPart, ...]:
    """Return what a method loads from its checkout, with the size of what is there."""
    code = methods_dir() / spec.id / "checkout"
    parts = []
    for weights in spec.weights:
        places = [code / path for path in weights.paths]
        present = all(place.exists() for place in places)
        files = [file for place in places for file in (place, *place.rglob("*")) if file.is_file()]
        parts.append(
            WeightPart(
                name=weights.name,
                status="present" if present else "missing",
                size_bytes=sum(file.stat().st_size for file in files) if present else None,
                source=weights.source,
                licence=weights.licence,
            )
        )
    return tuple(parts)


def no_weights_dir(spec: MethodSpec) -> str:
    """Return why a method takes no folder of weights."""
    return f"{spec.id} keeps its weights in its checkout: name that (option checkout) instead"
