"""Placeholders in a spec: `{name}` in commands, templates and patterns, filled in as values.

Nothing is pasted into text that is parsed later: a template is a structure whose string leaves are
filled in and which is then dumped as YAML or JSON, and a command is a list.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from string import Formatter
from typing import Any, Final, TypeAlias

Value: TypeAlias = "str | int | float"

EACH: Final = "each_clip"
"""`{each_clip: X}` in a template becomes a list with one X for every clip of the run."""

EACH_MERGED: Final = "each_clip_merged"
"""`{each_clip_merged: {...}}` becomes one mapping with the entries of every clip of the run."""


def names_in(text: str) -> Iterator[str]:
    """Yield the placeholders of one string; `{{` and `}}` stand for braces.

    Raises:
        ValueError: a brace is open, or a placeholder is no plain name.
    """
    for _, name, format_spec, conversion in Formatter().parse(text):
        if name is None:
            continue
        if not name.isidentifier() or format_spec or conversion:
            raise ValueError(f"'{text}': a placeholder is a plain name in braces")
        yield name


def names_in_structure(node: Any, *, in_clip: bool = False) -> Iterator[tuple[str, bool]]:  # noqa: ANN401 - any YAML
    """Yield the placeholders of a template, and whether each stands where it is one clip's."""
    if isinstance(node, str):
        for name in names_in(node):
            yield name, in_clip
    elif isinstance(node, dict):
        for key, value in node.items():
            if isinstance(key, str) and key not in (EACH, EACH_MERGED):
                yield from names_in_structure(key, in_clip=in_clip)
            yield from names_in_structure(value, in_clip=in_clip or key in (EACH, EACH_MERGED))
    elif isinstance(node, list):
        for item in node:
            yield from names_in_structure(item, in_clip=in_clip)


def fill(text: str, values: Mapping[str, Value]) -> Value:
    """Fill in one string; what is a placeholder and nothing else keeps the value's type."""
    names = list(names_in(text))
    if len(names) == 1 and text == f"{{{names[0]}}}":
        return values[names[0]]
    return text.format_map(values)


def fill_structure(
    node: Any,  # noqa: ANN401 - any YAML
    values: Mapping[str, Value],
    clips: Sequence[Mapping[str, Value]],
) -> Any:  # noqa: ANN401 - any YAML
    """Fill in a template.

    Args:
        node: what YAML gives: mappings, lists, strings, numbers, None.
        values: of the run.
        clips: of each clip of the run, for what stands below `each_clip`.
    """
    if isinstance(node, str):
        return fill(node, values)
    if isinstance(node, list):
        return [fill_structure(item, values, clips) for item in node]
    if not isinstance(node, dict):
        return node
    if set(node) == {EACH}:
        return [fill_structure(node[EACH], {**values, **clip}, clips) for clip in clips]
    if set(node) == {EACH_MERGED}:
        merged: dict[Any, Any] = {}
        for clip in clips:
            merged.update(fill_structure(node[EACH_MERGED], {**values, **clip}, clips))
        return merged
    return {
        str(fill(key, values)) if isinstance(key, str) else key: fill_structure(
            value, values, clips
        )
        for key, value in node.items()
    }
