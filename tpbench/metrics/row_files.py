"""Tables that are data, not code: read from YAML files of this package when first looked at."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

ValueT = TypeVar("ValueT")
RowT = TypeVar("RowT")


class _HasId(Protocol):
    @property
    def id(self) -> str: ...


IdRowT = TypeVar("IdRowT", bound=_HasId)


class LazyTable(Mapping[str, ValueT]):
    """A mapping that is made when it is first used; whoever only imports it reads no file.

    Args:
        load: gives the whole mapping; it is called each time and should remember what it gave.
    """

    def __init__(self, load: Callable[[], Mapping[str, ValueT]]) -> None:
        self._load = load

    def __getitem__(self, key: str) -> ValueT:
        return self._load()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._load())

    def __len__(self) -> int:
        return len(self._load())


def read_folder(folder: str) -> dict[str, Any]:
    """Return what the YAML files of a folder of `tpbench.metrics` hold, by name without ending."""
    import yaml

    entries = sorted((files("tpbench.metrics") / folder).iterdir(), key=lambda entry: entry.name)
    return {
        entry.name.removesuffix(".yaml"): yaml.safe_load(entry.read_text("utf-8"))
        for entry in entries
        if entry.name.endswith(".yaml")
    }


def checked_rows(row_type: type[RowT], values: Sequence[Mapping[str, Any]]) -> list[RowT]:
    """Return rows of the dataclass given, whose fields are exactly the keys of `values`.

    Args:
        row_type: a dataclass; fields with a default may be left out.
        values: one mapping per row, as YAML has them: lists stand for tuples.

    Raises:
        pydantic.ValidationError: a key is unknown or missing, or a value is of another type.
    """
    from pydantic import ConfigDict, TypeAdapter, with_config

    checked = with_config(ConfigDict(extra="forbid", strict=True, allow_inf_nan=False))(row_type)
    adapter: TypeAdapter[list[RowT]] = TypeAdapter(list[checked])  # type: ignore[valid-type]  # at run time
    # Strict Python input would have to be rows with tuples already; JSON may be mappings and lists.
    return adapter.validate_json(json.dumps(values))


def by_id(rows: Iterable[IdRowT]) -> dict[str, IdRowT]:
    """Return rows by their id, in their order.

    Raises:
        ValueError: two have one id.
    """
    table: dict[str, IdRowT] = {}
    for row in rows:
        if row.id in table:
            msg = f"two rows have the id '{row.id}'"
            raise ValueError(msg)
        table[row.id] = row
    return table
