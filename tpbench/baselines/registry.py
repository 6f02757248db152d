"""The models that come with tpbench, as light rows: listing them builds none of them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final, cast

from tpbench.baselines import rows_external, rows_talkingpose, rows_trivial, rows_warp
from tpbench.baselines.base import Generator
from tpbench.baselines.model_row import ModelRow, OptionValue
from tpbench.errors import ConfigError, did_you_mean


def build(
    name: str,
    *,
    options: Mapping[str, OptionValue],
    weights_dir: Path | None = None,
    device: str = "auto",
) -> Generator:
    """Build a generator by its name.

    Args:
        name: `id` or `id:variant`.
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
    return cast("Generator", factory(merged, weights_dir=weights_dir, device=device))


def find(name: str) -> tuple[ModelRow, str | None]:
    """Return the row and the variant of `id` or `id:variant`.

    Raises:
        ConfigError: no such model or variant.
    """
    model_id, colon, variant = name.partition(":")
    row = MODELS.get(model_id)
    if row is None:
        raise ConfigError(f"no model '{model_id}'{did_you_mean(model_id, MODELS)}")
    if colon and variant not in row.variants:
        known = f"{did_you_mean(variant, row.variants)}" if row.variants else "; it has none"
        raise ConfigError(f"{model_id}: no variant '{variant}'{known}")
    return row, variant or None


_ROWS: Final[tuple[ModelRow, ...]] = (
    *rows_trivial.ROWS,
    *rows_warp.ROWS,
    *rows_talkingpose.ROWS,
    *rows_external.rows(),
)

MODELS: Final[Mapping[str, ModelRow]] = {row.id: row for row in _ROWS}
"""Every model by its id."""
