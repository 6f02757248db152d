from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import ValidationError

from tpbench.metrics.registry import LazyTable, by_id, checked_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    id: str
    level: float
    names: tuple[str, ...] = ()


def test_lists_and_whole_numbers_of_yaml_become_tuples_and_floats() -> None:
    rows = checked_rows(
        Row, [{"id": "a", "level": 2, "names": ["x", "y"]}, {"id": "b", "level": 0.5}]
    )

    assert rows == [Row(id="a", level=2.0, names=("x", "y")), Row(id="b", level=0.5)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": "a"},
        {"id": "a", "level": 1, "colour": "red"},
        {"id": "a", "level": "1"},
        {"id": 1, "level": 1},
        {"id": "a", "level": 1, "names": "x"},
        {"id": "a", "level": float("inf")},
    ],
    ids=["missing", "unknown", "text for number", "number for text", "text for list", "infinite"],
)
def test_what_does_not_fit_the_row_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        checked_rows(Row, [wrong])


def test_two_rows_of_one_id_are_refused() -> None:
    rows = [Row(id="a", level=1.0), Row(id="b", level=1.0), Row(id="a", level=2.0)]

    with pytest.raises(ValueError, match="two rows have the id 'a'"):
        by_id(rows)


def test_a_lazy_table_loads_nothing_until_it_is_looked_at() -> None:
    calls = []

    def load() -> dict[str, int]:
        calls.append("loaded")
        return {"one": 1, "two": 2}

    table = LazyTable(load)
    assert not calls

    assert list(table) == ["one", "two"]
    assert (table["two"], len(table), "three" in table) == (2, 2, False)
    assert calls
