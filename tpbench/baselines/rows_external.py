"""Rows of the methods that run in their own environments, read from their specs."""

from __future__ import annotations

from functools import cache

from tpbench.baselines.external.install import install_steps
from tpbench.baselines.external.spec import load_spec, spec_ids
from tpbench.baselines.model_row import ModelRow


@cache
def rows() -> tuple[ModelRow, ...]:
    """Return one row for every spec; reads the specs, and none of what runs them."""
    return tuple(_row(method_id) for method_id in spec_ids())


def _row(method_id: str) -> ModelRow:
    spec = load_spec(method_id)
    return ModelRow(
        id=spec.id,
        display_name=spec.display_name,
        kind="external",
        description=spec.description,
        factory=f"tpbench.baselines.external.adapter:{spec.id.replace('-', '_')}",
        needs=(*spec.needs, *spec.notes),
        install=tuple(install_steps(spec)),
        licence_code=spec.licence.code,
        licence_weights=spec.licence.weights,
        url=spec.url,
        params_b=spec.params_b,
    )
