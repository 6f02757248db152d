"""The models that come with tpbench, as light rows: listing them imports none of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from tpbench.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tpbench.baselines.base import Generator

Kind = Literal["anchor", "baseline", "model", "external"]
"""anchor: calibrates the metrics. baseline: needs no weights. model: native, with weights.
external: runs in the method's own environment."""

OptionValue = str | int | float | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRow:
    """What is known of a model before it is built."""

    id: str
    display_name: str
    kind: Kind
    description: str
    """One line."""

    factory: str
    """"module:callable", called as `callable(options, weights_dir=..., device=...)`."""

    variants: Mapping[str, Mapping[str, OptionValue]] = field(default_factory=dict)
    """Options that `id:variant` stands for."""

    needs: tuple[str, ...] = ()
    """Lines for people: weights, extras, hardware."""

    install: tuple[str, ...] = ()
    """Commands that get it, one a line."""

    licence_code: str = ""
    licence_weights: str = ""
    """Empty where there are no weights."""

    url: str = ""
    params_b: float | None = None
    """Parameters in billions, all networks that run; None where not known."""


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
    model_id, _, variant = name.partition(":")
    row = MODELS.get(model_id)
    if row is None:
        msg = f"no model '{model_id}'{did_you_mean(model_id, MODELS)}"
        raise ConfigError(msg)
    if variant and variant not in row.variants:
        known = f"{did_you_mean(variant, row.variants)}" if row.variants else "; it has none"
        msg = f"{model_id}: no variant '{variant}'{known}"
        raise ConfigError(msg)
    return row, variant or None


_ROWS: Final[tuple[ModelRow, ...]] = ()

MODELS: Final[Mapping[str, ModelRow]] = {row.id: row for row in _ROWS}
"""Every model by its id."""
