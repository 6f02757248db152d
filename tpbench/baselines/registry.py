"""The models, as rows of `registry.yaml` and of the specs of external methods; none is built."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, cast

import yaml

from tpbench.baselines.base import Generator, ModelRow, OptionValue
from tpbench.baselines.external.method import install_steps
from tpbench.baselines.external.spec import MethodSpec, is_spec_file, load_spec, spec_ids
from tpbench.errors import ConfigError, did_you_mean

_EXTERNAL: Final = "tpbench.baselines.external.adapter:build_external"
"""Is given the spec before what every factory gets."""


def build(
    name: str,
    *,
    options: Mapping[str, OptionValue],
    weights_dir: Path | None = None,
    device: str = "auto",
) -> Generator:
    """Build a generator by its name.

    Args:
        name: `id`, `id:variant`, or the path of a spec.
        options: the user's; they win over those of the variant. The model refuses unknown ones.
        weights_dir: where its checkpoints lie; None: the folder of `tpbench weights`.
        device: "cpu", "cuda", "cuda:1", or "auto" for a GPU where there is one.

    Raises:
        ConfigError: no such model, variant or option.
        MissingWeightsError: its weights are not there.
        MissingDependencyError: a package it needs is not there.
    """
    row, variant = find(name)
    merged = {**row.variants.get(variant or "", {}), **options}
    module, _, attribute = row.factory.partition(":")
    factory = cast("Any", getattr(import_module(module), attribute))
    spec = [load_spec(name)] if row.factory == _EXTERNAL else []
    return cast("Generator", factory(*spec, merged, weights_dir=weights_dir, device=device))


def find(name: str) -> tuple[ModelRow, str | None]:
    """Return the row and the variant of `id`, `id:variant`, or the path of a spec.

    Raises:
        ConfigError: no such model or variant, or the file holds no spec.
    """
    if is_spec_file(name):
        spec = load_spec(name)
        if spec.file is not None and spec.id in MODELS:
            raise ConfigError(f"{name}: id '{spec.id}' is a model of tpbench; give it its own id")
        return _row_of(spec), None
    model_id, colon, variant = name.partition(":")
    row = MODELS.get(model_id)
    if row is None:
        raise ConfigError(f"no model '{model_id}'{did_you_mean(model_id, MODELS)}")
    if colon and variant not in row.variants:
        known = f"{did_you_mean(variant, row.variants)}" if row.variants else "; it has none"
        raise ConfigError(f"{model_id}: no variant '{variant}'{known}")
    return row, variant or None


def _row_of(spec: MethodSpec) -> ModelRow:
    return ModelRow(
        id=spec.id,
        display_name=spec.display_name,
        kind="external",
        description=spec.description,
        factory=_EXTERNAL,
        needs=(*spec.needs, *spec.notes),
        install=tuple(install_steps(spec)),
        licence_code=spec.licence.code,
        licence_weights=spec.licence.weights,
        url=spec.url,
        params_b=spec.params_b,
    )


def _rows() -> list[ModelRow]:
    table = yaml.safe_load((files(__package__) / "registry.yaml").read_text("utf-8"))
    of_specs = [_row_of(load_spec(method_id)) for method_id in spec_ids()]
    return [*map(ModelRow.model_validate, table), *of_specs]


MODELS: Final[Mapping[str, ModelRow]] = {row.id: row for row in _rows()}
"""Every model that comes with tpbench, by its id."""
