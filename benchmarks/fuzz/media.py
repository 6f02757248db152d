"""Broken media files by the hundred: real clips in seven containers, spoilt by seed and number.

The walk through a container (`layouts`) lets damage hit its header, its index and its pictures on
purpose, and lets single numbers lie. What a file holds depends on nothing but seed and number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from benchmarks.fuzz.clips import CONTAINERS, VARIANTS, Pictures, encoded
from benchmarks.fuzz.layouts import Layout, Lie, Number, layout_of
from benchmarks.fuzz.spoiling import (
    Rng,
    Span,
    flipped,
    overwritten,
    rearranged,
    spliced,
    truncated,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaCase:
    """A broken file."""

    number: int
    container: str
    damage: str
    """One of `DAMAGES`."""
    data: bytes

    @property
    def name(self) -> str:
        """Its file name."""
        return f"{self.number:04d}.{self.container}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Intact:
    """A file that nobody has spoilt yet, with others to splice it with."""

    container: str
    data: bytes
    layout: Layout
    others: tuple[bytes, ...]

    def spans(self, *kinds: str) -> list[Span]:
        """Return where the parts of these kinds are."""
        parts = self.layout.parts
        return [(part.start, part.end) for part in parts if part.kind in kinds]


def intact_clips(pictures: Pictures) -> Mapping[str, tuple[bytes, ...]]:
    """Return the files by container that `media_case` spoils: these pictures in all variants."""
    return {
        container: tuple(
            encoded(variant, pictures) for variant in VARIANTS if variant.container == container
        )
        for container in CONTAINERS
    }


def media_case(seed: int, number: int, clips: Mapping[str, Sequence[bytes]]) -> MediaCase:
    """Return the broken file of this number; containers and damages take turns.

    Args:
        seed: of all files.
        number: from 0.
        clips: the intact files by container, from `intact_clips`.
    """
    rng = np.random.default_rng([seed, number])
    container = CONTAINERS[number % len(CONTAINERS)]
    damage = tuple(DAMAGES)[(number // len(CONTAINERS) + seed) % len(DAMAGES)]
    data = clips[container][int(rng.integers(len(clips[container])))]
    intact = Intact(
        container=container,
        data=data,
        layout=layout_of(container, data),
        others=tuple(other for files in clips.values() for other in files if other != data),
    )
    spoilt = DAMAGES[damage](rng, intact)
    return MediaCase(number=number, container=container, damage=damage, data=spoilt)


def _anywhere(intact: Intact) -> list[Span]:
    return [(0, len(intact.data))]


def _cut(rng: Rng, intact: Intact) -> bytes:
    place = (intact.spans("header"), intact.spans("index"), intact.spans("payload"))
    return truncated(rng, intact.data, place[int(rng.integers(3))] or _anywhere(intact))


def _flip(kind: str) -> Callable[[Rng, Intact], bytes]:
    return lambda rng, intact: flipped(rng, intact.data, intact.spans(kind) or _anywhere(intact))


def _zero(rng: Rng, intact: Intact) -> bytes:
    kind = ("header", "index", "payload")[int(rng.integers(3))]
    return overwritten(rng, intact.data, intact.spans(kind) or _anywhere(intact))


def _rearrange(rng: Rng, intact: Intact) -> bytes:
    return rearranged(rng, intact.data, _anywhere(intact))


def _splice(rng: Rng, intact: Intact) -> bytes:
    return spliced(rng, intact.data, intact.others[int(rng.integers(len(intact.others)))])


_EXTREMES: Final = (0, 1, 0x7F, 0x7FFF, 0x7FFFFFFF, -1, -2)
"""Values that lies take, cut to the length of the number."""


def _told(rng: Rng, number: Number, old: bytes) -> bytes:
    """Return the bytes of a lie: an extreme, one off, many times as much, or anything."""
    order: Literal["big", "little"] = "big" if number.big_endian else "little"
    bits = 8 * number.n_bytes
    true = int.from_bytes(old, order)
    lies = (
        _EXTREMES[int(rng.integers(len(_EXTREMES)))],
        true + (1, -1, 188, 1000)[int(rng.integers(4))],
        true * (2, 7, 1000, 100_000)[int(rng.integers(4))],
        int.from_bytes(rng.bytes(number.n_bytes), "big"),
    )
    told = int(lies[int(rng.integers(len(lies)))]) % (1 << bits)
    if number.marked:  # the length of EBML's numbers stays, and all ones mean "unknown"
        told = told % (1 << 7 * number.n_bytes) | 1 << 7 * number.n_bytes
    return told.to_bytes(number.n_bytes, order)


def _lie(lie: Lie) -> Callable[[Rng, Intact], bytes]:
    def told(rng: Rng, intact: Intact) -> bytes:
        spoilt = bytearray(intact.data)
        numbers = [number for number in intact.layout.numbers if number.lie == lie]
        if not numbers:
            return flipped(rng, intact.data, intact.spans("header") or _anywhere(intact))
        for _ in range(int(rng.integers(1, 5))):
            number = numbers[int(rng.integers(len(numbers)))]
            place = slice(number.at, number.at + number.n_bytes)
            spoilt[place] = _told(rng, number, bytes(spoilt[place]))
        return bytes(spoilt)

    return told


_HUGE: Final = 65535


def _huge(rng: Rng, intact: Intact) -> bytes:
    """Declare pictures of 65535x65535 px: in the container, in the stream, or in both."""
    spoilt = bytearray(intact.data)
    where = int(rng.integers(3))
    if where != 1:
        for number in intact.layout.numbers:
            if number.lie == "picture":
                # Matroska stores numbers in as few bytes as they need.
                huge = min(_HUGE, (1 << 8 * number.n_bytes) - 1)
                value = huge.to_bytes(number.n_bytes, "big" if number.big_endian else "little")
                spoilt[number.at : number.at + number.n_bytes] = value
    if where != 0:
        _huge_in_stream(spoilt, from_share=float(rng.choice([0.0, 0.5])))
    return bytes(spoilt)


def _huge_in_stream(data: bytearray, *, from_share: float) -> None:
    """Let codecs declare the size: H.264's parameter sets, heads of JPEG, VP8 and MPEG-2."""
    huge = _HUGE.to_bytes(2, "big")
    start = int(len(data) * from_share)
    for found in re.finditer(rb"\x67[\x42\x4d\x64\x6e\xf4]", bytes(data)):
        if found.start() >= start:
            sps = _sps(_HUGE)
            data[found.start() : found.start() + len(sps)] = sps
    for found in re.finditer(rb"\xff\xc0\x00\x11\x08", bytes(data)):
        if found.start() >= start:
            data[found.end() : found.end() + 4] = huge + huge
    for found in re.finditer(rb"\x9d\x01\x2a", bytes(data)):
        if found.start() >= start:
            data[found.end() : found.end() + 4] = b"\xff\x3f\xff\x3f"  # 14 bits each
    for found in re.finditer(rb"\x00\x00\x01\xb3", bytes(data)):
        if found.start() >= start:
            data[found.end() : found.end() + 3] = b"\xff\xff\xff"  # 12 bits each


def _sps(side_px: int) -> bytes:
    """Return a sequence parameter set of H.264 (7.3.2.1) of the baseline profile, level 5.2."""
    blocks = side_px // 16
    # Set 0, numbers of frames and of their order of 4 bits, 3 reference pictures.
    bits = "".join(map(_golomb, [0, 0, 0, 0, 3]))
    bits += "0" + _golomb(blocks) + _golomb(blocks) + "1" + "1" + "0" + "0" + "1"
    bits += "0" * (-len(bits) % 8)
    body = int(bits, 2).to_bytes(len(bits) // 8, "big")
    return b"\x67\x42\xc0\x34" + body


def _golomb(value: int) -> str:
    coded = f"{value + 1:b}"
    return "0" * (len(coded) - 1) + coded


def _deep(rng: Rng, intact: Intact) -> bytes:
    """Put boxes in boxes in boxes, or as many small ones as a file can hold."""
    depth = int(rng.choice([50, 1000, 30_000]))
    at = intact.layout.nest_at
    return intact.data[:at] + _NESTS[intact.container](depth) + intact.data[at:]


def _deep_boxes(depth: int) -> bytes:
    return b"".join(
        (8 * (depth - level)).to_bytes(4, "big") + (b"moov", b"udta", b"trak")[level % 3]
        for level in range(depth)
    )


def _deep_elements(depth: int) -> bytes:
    """Chapters in chapters, each with a size of eight bytes (1 << 56 marks that)."""
    heads = (
        b"\xb6" + (1 << 56 | 9 * (depth - level - 1)).to_bytes(8, "big") for level in range(depth)
    )
    inner = b"".join(heads)
    return b"\x10\x43\xa7\x70" + (1 << 56 | len(inner)).to_bytes(8, "big") + inner


def _deep_lists(depth: int) -> bytes:
    return b"".join(
        b"LIST" + (12 * (depth - level) - 8).to_bytes(4, "little") + b"hdrl"
        for level in range(depth)
    )


def _many_programs(depth: int) -> bytes:
    """Return tables of programs that refer to one another, packet after packet."""
    packets = []
    for number in range(min(depth, 4000)):
        entries = b"".join(
            (number + at & 0xFFFF).to_bytes(2, "big")
            + (0xE000 | (at * 7 + number) % 0x1FFF).to_bytes(2, "big")
            for at in range(40)
        )
        section = b"\x00\xb0" + (len(entries) + 9).to_bytes(1, "big") + b"\0\1\xc1\0\0" + entries
        packets.append((b"\x47\x40\0\x10\0" + section + b"\0" * 4).ljust(188, b"\xff")[:188])
    return b"".join(packets)


def _many_extensions(depth: int) -> bytes:
    return b"\x21\xff\x0bNETSCAPE2.0\x03\x01\0\0\0" * depth


_NESTS: Final[Mapping[str, Callable[[int], bytes]]] = {
    "mp4": _deep_boxes,
    "mov": _deep_boxes,
    "mkv": _deep_elements,
    "webm": _deep_elements,
    "avi": _deep_lists,
    "ts": _many_programs,
    "gif": _many_extensions,
}

DAMAGES: Final[Mapping[str, Callable[[Rng, Intact], bytes]]] = {
    "cut off": _cut,
    "bits of the header flipped": _flip("header"),
    "bits of the index flipped": _flip("index"),
    "bits of the pictures flipped": _flip("payload"),
    "overwritten": _zero,
    "pieces moved": _rearrange,
    "spliced with another": _splice,
    "lying times": _lie("duration"),
    "lying sizes": _lie("size"),
    "lying counts": _lie("count"),
    "65535x65535 px": _huge,
    "deep boxes": _deep,
}
"""What can happen to a file, by name."""
