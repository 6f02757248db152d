"""What is known of a model before it is built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

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
