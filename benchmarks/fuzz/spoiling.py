"""Damage that any file can have: cut off, bits flipped, zeroed, moved, joined with others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Rng = np.random.Generator
Span = tuple[int, int]
"""Start and end of a stretch, in bytes."""


def somewhere(rng: Rng, spans: Sequence[Span]) -> Span:
    """Return one of the stretches that are not empty, long ones more often; else (0, 1)."""
    held = [span for span in spans if span[1] > span[0]]
    if not held:
        return 0, 1
    weights = np.sqrt([end - start for start, end in held])
    return held[int(rng.choice(len(held), p=weights / weights.sum()))]


def truncated(rng: Rng, data: bytes, spans: Sequence[Span]) -> bytes:
    """Return what is left of a file that ends within one of the stretches."""
    start, end = somewhere(rng, spans)
    return data[: int(rng.integers(start, end))]


def flipped(rng: Rng, data: bytes, spans: Sequence[Span]) -> bytes:
    """Flip 1 to 64 bits in the stretches."""
    spoilt = bytearray(data)
    for _ in range(2 ** int(rng.integers(0, 7))):
        start, end = somewhere(rng, spans)
        if spoilt:
            spoilt[int(rng.integers(start, end)) % len(spoilt)] ^= 1 << int(rng.integers(8))
    return bytes(spoilt)


def overwritten(rng: Rng, data: bytes, spans: Sequence[Span]) -> bytes:
    """Overwrite up to 4096 bytes of a stretch by zeros, ones or noise."""
    start, end = somewhere(rng, spans)
    at = int(rng.integers(start, end))
    n_bytes = min(2 ** int(rng.integers(2, 13)), len(data) - at)
    filling = (bytes(n_bytes), b"\xff" * n_bytes, rng.bytes(n_bytes))[int(rng.integers(3))]
    return data[:at] + filling + data[at + n_bytes :]


def rearranged(rng: Rng, data: bytes, spans: Sequence[Span]) -> bytes:
    """Take a piece out, write it twice, or move it to another place."""
    start, end = somewhere(rng, spans)
    first = int(rng.integers(start, end))
    last = min(len(data), first + 2 ** int(rng.integers(2, 14)))
    piece, rest = data[first:last], data[:first] + data[last:]
    at = int(rng.integers(0, len(rest) + 1))
    changed = (rest, data[:last] + piece + data[last:], rest[:at] + piece + rest[at:])
    return changed[int(rng.integers(3))]


def spliced(rng: Rng, data: bytes, other: bytes) -> bytes:
    """Join a file and another one: whole, head to tail, or one inside the other."""
    at, there = int(rng.integers(0, len(data) + 1)), int(rng.integers(0, len(other) + 1))
    joined = (data + other, data[:at] + other[there:], data[:at] + other + data[at:])
    return joined[int(rng.integers(3))]
