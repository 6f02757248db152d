"""The registry of models: rows of `registry.yaml` and of the specs of external methods.

It also provides published numbers, for display only: they are never ranked with measured values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, cast

import yaml

from tpbench.baselines.base import (
    Generator,
    ModelRow,
    OptionRow,
    Options,
    OptionValue,
    WeightPart,
    option_rows,
)
from tpbench.baselines.external.method import install_steps
from tpbench.baselines.external.spec import MethodSpec, is_spec_file, load_spec, spec_ids
from tpbench.errors import ConfigError, TPBenchError, did_you_mean
from tpbench.weights import state, weights_named

_EXTERNAL: Final = "tpbench.baselines.external.adapter:build_external"
"""This factory takes the spec as an additional first argument."""


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
        options: the user's; they override those of the variant. Unknown ones are an error.
        weights_dir: folder of its checkpoints; None: the folder of `tpbench weights`.
        device: "cpu", "cuda", "cuda:1", or "auto" for a GPU if there is one.

    Raises:
        ConfigError: no such model, variant or option.
        MissingWeightsError: its weights are missing.
        MissingDependencyError: a package that it needs is missing.
    """
    row, variant = find(name)
    merged = {**row.variants.get(variant or "", {}), **options}
    factory = _imported(row.factory)
    spec = [load_spec(name)] if row.factory == _EXTERNAL else []
    return cast("Generator", factory(*spec, merged, weights_dir=weights_dir, device=device))


def lacking(
    name: str,
    *,
    options: Mapping[str, OptionValue],
    weights_dir: Path | None = None,
    device: str = "auto",
) -> list[str]:
    """Return all that would keep `build` from building a model, one line each; loads no weights.

    Raises:
        ConfigError: no such model or variant.
    """
    row, variant = find(name)
    merged = {**row.variants.get(variant or "", {}), **options}
    if not row.lacking:
        try:
            build(name, options=options, weights_dir=weights_dir, device=device).close()
        except TPBenchError as error:
            return [str(error)]
        return []
    spec = [load_spec(name)] if row.factory == _EXTERNAL else []
    return list(_imported(row.lacking)(*spec, merged, weights_dir=weights_dir, device=device))


def option_table(name: str) -> tuple[OptionRow, ...]:
    """Return the options of a model.

    Raises:
        ConfigError: no such model or variant.
    """
    row, _variant = find(name)
    if row.factory == _EXTERNAL:
        from tpbench.baselines.external.needs import options_of

        return option_rows(options_of(load_spec(name)))
    return option_rows(_imported(row.options) if row.options else Options)


def weight_parts(name: str) -> tuple[WeightPart, ...]:
    """Return the files of weights of a model, with their state on this machine.

    Raises:
        ConfigError: no such model or variant.
    """
    row, _variant = find(name)
    if row.factory == _EXTERNAL:
        from tpbench.baselines.external.needs import weight_parts as of_spec

        return of_spec(load_spec(name))
    files_of_group = weights_named([row.weights]) if row.weights else []
    found = [(file, state(file.name)) for file in files_of_group]
    return tuple(
        WeightPart(
            name=file.name,
            status=there.status,
            size_bytes=file.size_bytes or there.size_bytes,
            source=file.sources[0],
            licence=file.licence,
        )
        for file, there in found
    )


def _imported(name: str) -> Any:  # noqa: ANN401 - a class or a function
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)


def find(name: str) -> tuple[ModelRow, str | None]:
    """Return the row and the variant of `id`, `id:variant`, or the path of a spec.

    Raises:
        ConfigError: no such model or variant, or the file is no spec.
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
        lacking="tpbench.baselines.external.needs:lacking",
        needs=(*spec.needs, *spec.notes),
        install=tuple(install_steps(spec)),
        licence_code=spec.licence.code,
        licence_weights=spec.licence.weights,
        url=spec.url,
        paper_url=spec.paper_url,
        weights_url=next((part.source for part in spec.weights), ""),
        params_b=spec.params_b,
    )


def _rows() -> list[ModelRow]:
    table = yaml.safe_load((files(__package__) / "registry.yaml").read_text("utf-8"))
    of_specs = [_row_of(load_spec(method_id)) for method_id in spec_ids()]
    return [*map(ModelRow.model_validate, table), *of_specs]


MODELS: Final[Mapping[str, ModelRow]] = {row.id: row for row in _rows()}
"""Every model that comes with tpbench, by its id."""


ReportedDirection: TypeAlias = Literal["higher", "lower", "none"]
"""Which values are better; "none" for neutral ones, such as the number of parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedValue:
    """One published number. Texts that the source does not state are empty."""

    method: str
    """Its name in the source."""
    model_id: str
    """Our model of that method; empty if there is none. Sources often don't state which code and
    weights they ran: "AnimateAnyone" may be any re-implementation."""
    test_set: str
    metric: str
    """Our id if we have such a metric. Equal ids do not make values comparable."""
    direction: ReportedDirection
    value: float
    unit: str
    source_title: str
    source_url: str
    where: str
    """Figure, table or file of the source."""
    secondary: bool
    """Whether it was taken from a third party's notes instead of the source itself."""
    overflow_psnr: bool
    """Whether it is, or may be, a PSNR that a uint8 overflow makes about 10 dB too high (DisCo's
    script of 2023 and its successors); the note states which."""
    note: str


@cache
def load_reported() -> tuple[ReportedValue, ...]:
    """Return all published numbers, in the order of `reported.yaml`."""
    data = yaml.safe_load((files(__package__) / "reported.yaml").read_text("utf-8"))
    return tuple(value for table in data["tables"] for value in _values(data, table))


def reported_for(model_id: str) -> tuple[ReportedValue, ...]:
    """Return the published numbers of the method with this model id."""
    return tuple(value for value in load_reported() if value.model_id == model_id)


def _values(data: Mapping[str, Any], table: Mapping[str, Any]) -> Iterator[ReportedValue]:
    source = data["sources"][table["source"]]
    for method, row in table["rows"].items():
        for metric, value in zip(table["columns"], row, strict=True):
            if value is None:
                continue
            yield ReportedValue(
                method=method,
                model_id=data["models"].get(method, ""),
                test_set=table["test_set"] or "",
                metric=metric,
                direction=data["metrics"][metric]["direction"],
                value=float(value),
                unit=data["metrics"][metric]["unit"],
                source_title=source["title"],
                source_url=source["url"],
                where=table.get("where", ""),
                secondary=table.get("secondary", False),
                overflow_psnr=metric == "psnr" and table.get("overflow_psnr", False),
                note=table.get("note", ""),
            )
