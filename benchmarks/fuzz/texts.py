"""Spoilt texts: JSON, YAML and CSV that lie, nest, grow, or are no text at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from benchmarks.fuzz.spoiling import Rng

Damage = Callable[[Rng, bytes], bytes]
"""Returns the spoilt content of a file."""

_DEPTH: Final = 100_000
_ODD: Final[tuple[Any, ...]] = (
    None,
    True,
    -1,
    0,
    2**63,
    -(2**65),
    10**300,
    1e308,
    "",
    " ",
    "../../../../etc/passwd",
    "/etc/passwd",
    "a" * 300_000,
    "\x1b[2J\u202e\x00",
    "NaN",
    "=1+1",
    [],
    {},
    [[[[[]]]]],
    {"": {"": None}},
    ["x"] * 20_000,
)
"""Values of other types, sizes and meanings than anybody expects."""


def _odd(rng: Rng) -> Any:  # noqa: ANN401 - any JSON value
    return _ODD[int(rng.integers(len(_ODD)))]


def _places(value: object) -> Iterator[tuple[Any, Any]]:
    """Yield each container in a JSON value and a key of it."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield value, key
            yield from _places(inner)
    elif isinstance(value, list):
        for key, inner in enumerate(value):
            yield value, key
            yield from _places(inner)


def _place(rng: Rng, value: object) -> tuple[Any, Any] | None:
    # Heads of files are small beside their lists, and more depends on them.
    top = list(value.items()) if isinstance(value, dict) else []
    if top and rng.random() < 0.5:
        return value, top[int(rng.integers(len(top)))][0]
    places = list(_places(value))
    return places[int(rng.integers(len(places)))] if places else None


def _json_value(rng: Rng, data: bytes) -> bytes:
    value = json.loads(data)
    for _ in range(int(rng.integers(1, 4))):
        if place := _place(rng, value):
            place[0][place[1]] = _odd(rng)
    return json.dumps(value).encode("utf-8", "surrogatepass")


def _json_without(rng: Rng, data: bytes) -> bytes:
    value = json.loads(data)
    if place := _place(rng, value):
        del place[0][place[1]]
    return json.dumps(value).encode()


def _json_key(rng: Rng, data: bytes) -> bytes:
    """A key that no one knows, or one that comes twice."""
    value = json.loads(data)
    if not isinstance(value, dict) or not value:
        return b"{}"
    key = json.dumps([*value][int(rng.integers(len(value)))])
    added = key if rng.random() < 0.5 else json.dumps("\u202e../x")
    return b"{" + f"{added}: {json.dumps(_odd(rng))}, ".encode() + data.strip()[1:]


_TOKENS: Final = (
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"1" * 5000,
    b'"\\ud800"',
    b'"\xff\xfe"',
    b"[" * _DEPTH,
    b"[" * _DEPTH + b"]" * _DEPTH,
    b'{"a":' * _DEPTH + b"1" + b"}" * _DEPTH,
    b"[" + b"[]," * 3_000_000 + b"[]]",
)


def _json_token(rng: Rng, data: bytes) -> bytes:
    """What Python's parser accepts and nobody wants, in place of a value or of everything."""
    token = _TOKENS[int(rng.integers(len(_TOKENS)))]
    if b":" not in data or rng.random() < 0.3:
        return token
    places = [at for at, sign in enumerate(data) if sign == ord(":")]
    at = places[int(rng.integers(len(places)))]
    end = min(
        (found for found in (data.find(mark, at) for mark in (b",", b"}")) if found > 0),
        default=len(data),
    )
    return data[: at + 1] + token + data[end:]


JSON: Final[Mapping[str, Damage]] = {
    "a value of another kind": _json_value,
    "a value missing": _json_without,
    "a strange key": _json_key,
    "a hostile token": _json_token,
}


def _laughs(rng: Rng, _: bytes) -> bytes:
    """Aliases of aliases: a text of one line that stands for billions of values."""
    levels = int(rng.integers(8, 30))
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{at}: &a{at} [{', '.join([f'*a{at - 1}'] * 9)}]" for at in range(1, levels)]
    return "\n".join(lines).encode()


def _laughs_inside(rng: Rng, data: bytes) -> bytes:
    """The same, as the value of a key that is known."""
    last = int(rng.integers(6, 12))
    aliases = _laughs(rng, data).split(b"\n")[:last]
    text = data.split(b"\n")
    keys = [at for at, line in enumerate(text) if line[:1].isalpha() and b":" in line]
    if not keys:
        return b"\n".join(aliases)
    at = keys[int(rng.integers(len(keys)))]
    name = text[at].split(b":")[0]
    return b"\n".join(
        [*aliases, *text[:at], name + b": *a%d" % (len(aliases) - 1), *text[at + 1 :]]
    )


_YAML_VALUES: Final = (
    b"!!python/object/apply:os.system ['true']",
    b"!!python/name:os.system",
    b"!!binary '====='",
    b"&x [*x]",
    b"&x {a: *x}",
    b".nan",
    b"-.inf",
    b"1e400",
    b"9" * 4000,
    b"0x" + b"f" * 4000,
    b"9999-99-99",
    b"2001-02-30",
    b"190:20:30",
    b"{a, b}",
    b"? [a]\n: b",
    b"|\n  " + b"x" * 200_000,
    b"[" * 3000,
    b"{a: " * 3000,
    b"- " * 3000,
    b"\xff\xfe\xfd",
    b"\x00\x1b",
    b"!!timestamp x",
    b"<<: 1",
    b"!<tag:yaml.org,2002:set> [1]",
)


def _yaml_value(rng: Rng, data: bytes) -> bytes:
    value = _YAML_VALUES[int(rng.integers(len(_YAML_VALUES)))]
    lines = data.split(b"\n")
    keys = [at for at, line in enumerate(lines) if b":" in line and not line.startswith(b"#")]
    if not keys or rng.random() < 0.2:
        return value
    at = keys[int(rng.integers(len(keys)))]
    lines[at] = lines[at].split(b":")[0] + b": " + value
    return b"\n".join(lines)


def _yaml_lines(rng: Rng, data: bytes) -> bytes:
    """A line missing, twice, or further in."""
    lines = data.split(b"\n")
    at = int(rng.integers(len(lines)))
    changed: tuple[list[bytes], ...] = (
        [],
        [lines[at]] * 2,
        [b"  " + lines[at]],
        [b"\t" + lines[at]],
    )
    return b"\n".join([*lines[:at], *changed[int(rng.integers(4))], *lines[at + 1 :]])


YAML: Final[Mapping[str, Damage]] = {
    "a billion laughs": _laughs,
    "laughs behind a known key": _laughs_inside,
    "a hostile value": _yaml_value,
    "lines moved": _yaml_lines,
}

_CELLS: Final = (
    b"",
    b'"',
    b'"never closed',
    b"\x00",
    b"\xff\xfe",
    b"x" * 200_000,
    b"../../etc/passwd",
    b"=cmd|' /C calc'!A0",
    b"\x1b[31m",
    b'a"b',
    b"NaN",
    b"9" * 400,
    "\u202eab".encode(),
)


def _csv_cell(rng: Rng, data: bytes) -> bytes:
    lines = data.split(b"\n")
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(len(lines)))
        cells = lines[at].split(b",")
        cells[int(rng.integers(len(cells)))] = _CELLS[int(rng.integers(len(_CELLS)))]
        lines[at] = b",".join(cells)
    return b"\n".join(lines)


def _csv_shape(rng: Rng, data: bytes) -> bytes:
    head, _, rows = data.partition(b"\n")
    shapes: tuple[Callable[[], bytes], ...] = (
        lambda: b",".join(b"c%d" % at for at in range(1_000_000)) + b"\n" + rows,
        lambda: b"," * 1_000_000 + b"\n" + b"," * 1_000_000,
        lambda: head + b"\n" + (rows or b"a,b\n") * 20_000,
        lambda: head + b"\n" + rows.replace(b",", b";"),
        lambda: head + b"," + head + b"\n" + rows,
        lambda: data.replace(b"\n", b"\r"),
        lambda: data.decode("utf-8", "replace").encode("utf-16"),
        lambda: data + b'"' + b"a\n" * 500_000,
        lambda: b"\n" * 1_000_000,
        lambda: head,
        lambda: rows,
    )
    return shapes[int(rng.integers(len(shapes)))]()


CSV: Final[Mapping[str, Damage]] = {"strange cells": _csv_cell, "another shape": _csv_shape}
