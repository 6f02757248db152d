"""Numbers that others published: data to show beside what was measured, never ranked with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal, TypeAlias

ReportedDirection: TypeAlias = Literal["higher", "lower", "none"]
"""Which values are better; none for what is no merit, such as the number of parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedValue:
    """One published number. A text that the source does not give is empty."""

    method: str
    """Its name in the source."""
    model_id: str
    """Our model of that method; empty where there is none. Whose code and weights the source ran is
    often not said: "AnimateAnyone" may be any re-implementation."""
    test_set: str
    metric: str
    """Our id where we have such a metric. Equal ids do not make values comparable."""
    direction: ReportedDirection
    value: float
    unit: str
    source_title: str
    source_url: str
    where: str
    """Figure, table or file of the source."""
    secondary: bool
    """Whether it was read from a third party's notes instead of the source itself."""
    overflow_psnr: bool
    """Whether it is a PSNR of the family that a uint8 overflow makes about 10 dB too high (DisCo's
    script of 2023 and what follows it), or must be suspected of that; the note says which."""
    note: str


@cache
def load_reported() -> tuple[ReportedValue, ...]:
    """Return every published number that we know of, in the order of `reported.yaml`."""
    import yaml

    text = (files("tpbench.baselines") / "reported.yaml").read_text("utf-8")
    data = yaml.safe_load(text)
    return tuple(value for table in data["tables"] for value in _values(data, table))


def reported_for(model_id: str) -> tuple[ReportedValue, ...]:
    """Return the numbers published of the method that is our model of this id."""
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
