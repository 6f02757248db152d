"""Saying in a few words how one config differs from another."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tpbench.execution.executor import JsonObject

_SHOWN: Final = 3


def describe_differences(old: JsonObject, new: JsonObject) -> str:
    """Return the first differences and how many more there are; empty if there is none.

    >>> describe_differences({"clip": {"min_s": 4, "max_s": 30}}, {"clip": {"min_s": 5}})
    'clip.max_s 30 is gone, clip.min_s 4 is now 5'
    """
    before, after = dict(_flat(old)), dict(_flat(new))
    said = [
        _difference(name, before, after)
        for name in sorted(before.keys() | after.keys())
        if name not in before or name not in after or before[name] != after[name]
    ]
    more = len(said) - _SHOWN
    return ", ".join(said[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _difference(name: str, before: Mapping[str, str], after: Mapping[str, str]) -> str:
    if name not in after:
        return f"{name} {before[name]} is gone"
    if name not in before:
        return f"{name} {after[name]} is new"
    return f"{name} {before[name]} is now {after[name]}"


def _flat(config: JsonObject, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield dotted names and the values in JSON."""
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}.")
        else:
            yield name, _shown(value)


def _shown(value: Any) -> str:  # noqa: ANN401 - any JSON value
    return value if isinstance(value, str) else json.dumps(value)
