"""The options of a method: where it lies, how it is run, what the user brings, its own knobs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from pydantic import Field, create_model

from tpbench.baselines.external.spec import MethodSpec
from tpbench.baselines.options import Options


class ExternalOptions(Options):
    """What every method can be told."""

    checkout: Path | None = None
    """Its code; None: `<methods>/<id>/checkout`."""

    python: Path | None = None
    """Of its environment; None: `<methods>/<id>/env/bin/python`."""

    log_dir: Path | None = None
    """What the command said, as `<clip_id>.log`; None: `<methods>/<id>/logs`."""

    keep_workdir: bool = False
    """Leave the private folder of a run that failed where it is, and say where."""

    timeout_s: float | None = Field(default=None, gt=0)
    """How long a run may take; None: as the spec has it, by the number of frames."""


_BATCH_CLIPS: Final = 4


def options_of(spec: MethodSpec) -> type[ExternalOptions]:
    """Return the class of a method's options: those of all, and those that only it has."""
    fields: dict[str, Any] = {
        name: (type(default), Field(default=default)) for name, default in spec.settings.items()
    }
    kinds = {wanted.kind for wanted in spec.inputs.values()}
    if "densepose_mp4" in kinds:
        fields["densepose_dir"] = (Path, ...)
    if "guidance_dir" in kinds:
        fields["guidance_dir"] = (Path, ...)
    if spec.mode == "batch":
        fields["batch_clips"] = (int, Field(default=_BATCH_CLIPS, ge=1))
    return create_model(f"{spec.display_name} options", __base__=ExternalOptions, **fields)
