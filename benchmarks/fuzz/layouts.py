"""Where header, index and payload of a media file are, and which numbers in it can lie."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["header", "index", "payload"]
"""What a part of a file is for: what it holds, where that is, or the pictures themselves."""
Lie = Literal["duration", "size", "count", "picture"]
"""What a number says: times and rates, lengths of parts in bytes, how many, width and height."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A stretch of a file."""

    start: int
    end: int
    """In bytes, exclusive."""
    kind: Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A number in a file."""

    at: int
    n_bytes: int
    lie: Lie
    big_endian: bool = True
    marked: bool = False
    """Whether its first bit that is set gives its length (EBML); the bit must stay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """All parts and numbers that were found in a file, and where deep boxes go."""

    parts: tuple[Part, ...]
    numbers: tuple[Number, ...]
    nest_at: int
    """Where nested boxes can be put in, in bytes."""


def layout_of(container: str, data: bytes) -> Layout:
    """Return the layout of an intact file.

    Args:
        container: `mp4`, `mov`, `mkv`, `webm`, `avi`, `ts` or `gif`.
        data: the whole file.
    """
    return _WALKS[container](data)


_PARENTS: Final = frozenset(b"moov trak mdia minf stbl edts udta moof traf mvex dinf".split())
_INDEX: Final = frozenset(b"stts ctts stss stsc stsz stco co64 sidx trun tfdt tfra elst".split())
_DURATIONS: Final[Mapping[bytes, tuple[int, ...]]] = {
    b"mvhd": (12, 16),
    b"mdhd": (12, 16),
    b"tkhd": (20,),
    b"elst": (8, 12),
    b"tfdt": (4,),
    b"mehd": (4,),
    b"stts": (12,),
    b"ctts": (12,),
}
"""Offsets of four-byte times in the content of boxes (ISO/IEC 14496-12, version 0)."""
_COUNTS: Final[Mapping[bytes, tuple[int, ...]]] = {
    b"stts": (4, 8),
    b"ctts": (4, 8),
    b"stsc": (4, 12),
    b"stss": (4, 8),
    b"stsz": (8,),
    b"stco": (4,),
    b"co64": (4,),
    b"stsd": (4,),
    b"elst": (4,),
    b"trun": (4,),
    b"sidx": (20,),
}
_SIZES: Final[Mapping[bytes, tuple[int, ...]]] = {
    b"stsz": (4, 12, 16),
    b"stco": (8, 12),
    b"tfhd": (8, 12),
    b"trun": (8, 12, 16),
}


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the name, start and end of each box and of those in it."""
    at = start
    while at + 8 <= end:
        size = int.from_bytes(data[at : at + 4], "big")
        name = data[at + 4 : at + 8]
        stop = at + size
        if size < 8 or stop > end:
            return
        yield name, at, stop
        if name in _PARENTS:
            yield from _boxes(data, at + 8, stop)
        at = stop


def _mp4(data: bytes) -> Layout:
    parts, numbers = [], []
    nest_at = 0
    for name, start, end in _boxes(data, 0, len(data)):
        numbers.append(Number(at=start, n_bytes=4, lie="size"))
        if name == b"ftyp":
            nest_at = end
        if name in _PARENTS:
            continue
        kind: Kind = "payload" if name == b"mdat" else "index" if name in _INDEX else "header"
        parts.append(Part(start=start, end=end, kind=kind))
        tables: tuple[tuple[Lie, Mapping[bytes, tuple[int, ...]]], ...] = (
            ("duration", _DURATIONS),
            ("count", _COUNTS),
            ("size", _SIZES),
        )
        for lie, table in tables:
            places = [start + 8 + place for place in table.get(name, ())]
            numbers += [Number(at=at, n_bytes=4, lie=lie) for at in places if at + 4 <= end]
        if name == b"stsd" and data[start + 20 : start + 24] not in (b"mp4a", b"sowt", b"twos"):
            numbers += [Number(at=start + at, n_bytes=2, lie="picture") for at in (48, 50)]
        if name == b"tkhd":
            numbers += [Number(at=end - at, n_bytes=2, lie="picture") for at in (8, 4)]
    return Layout(parts=tuple(parts), numbers=tuple(numbers), nest_at=nest_at)


_SEGMENT: Final = 0x18538067
_MASTERS: Final = frozenset(
    {_SEGMENT, 0x1549A966, 0x1654AE6B, 0xAE, 0xE0, 0xE1, 0x1F43B675, 0x1C53BB6B, 0xBB, 0xB7, 0xA0}
    | {0x114D9B74, 0x4DBB, 0x1254C367}
)
"""Segment, Info, Tracks and theirs; Cluster, BlockGroup, Cues, SeekHead and Tags."""
_EBML_INDEX: Final = frozenset({0xB3, 0xF7, 0xF1, 0xF0, 0x53AB, 0x53AC})
_EBML_LIES: Final[Mapping[int, Lie]] = {
    0x4489: "duration",
    0x2AD7B1: "duration",
    0x23E383: "duration",
    0xE7: "duration",
    0xB3: "duration",
    0x9B: "duration",
    0xF1: "size",
    0xF0: "size",
    0x53AC: "size",
    0xD7: "count",
    0xF7: "count",
    0x42F2: "count",
    0x42F3: "count",
    0xB0: "picture",
    0xBA: "picture",
    0x54B0: "picture",
    0x54BA: "picture",
}
"""Elements of Matroska (RFC 9559) with a number: Duration, PixelWidth and others."""


def _elements(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield the id of each element, and where its size, its content and its end are."""
    at = start
    while at < end:
        n_id = 9 - data[at].bit_length()
        n_size = 9 - data[at + n_id].bit_length() if at + n_id < end else 9
        body = at + n_id + n_size
        if n_id > 4 or n_size > 8 or body > end:
            return
        number = int.from_bytes(data[at : at + n_id], "big")
        size = int.from_bytes(data[at + n_id : body], "big") - (1 << 7 * n_size)
        stop = min(end, body + size)
        yield number, at + n_id, body, stop
        if number in _MASTERS:
            yield from _elements(data, body, stop)
        at = stop


def _ebml(data: bytes) -> Layout:
    parts, numbers = [], []
    nest_at = 0
    for number, size_at, body, end in _elements(data, 0, len(data)):
        numbers.append(Number(at=size_at, n_bytes=body - size_at, lie="size", marked=True))
        if number == _SEGMENT:
            nest_at = body
        if number in _MASTERS:
            continue
        kind: Kind = "index" if number in _EBML_INDEX else "header"
        if number in (0xA3, 0xA1):
            kind = "payload"
        parts.append(Part(start=size_at, end=end, kind=kind))
        if number in _EBML_LIES and end > body:
            numbers.append(Number(at=body, n_bytes=end - body, lie=_EBML_LIES[number]))
    return Layout(parts=tuple(parts), numbers=tuple(numbers), nest_at=nest_at)


_AVI_LIES: Final[Mapping[bytes, tuple[tuple[int, Lie], ...]]] = {
    b"avih": ((0, "duration"), (16, "count"), (24, "count"), (32, "picture"), (36, "picture")),
    b"strh": ((20, "duration"), (24, "duration"), (32, "count"), (36, "size")),
    b"strf": ((0, "size"), (4, "picture"), (8, "picture"), (20, "size")),
    b"idx1": ((8, "size"), (12, "size"), (24, "size"), (28, "size")),
}
"""Offsets of four-byte numbers in the content of chunks."""


def _chunks(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    at = start
    while at + 8 <= end:
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        name = data[at : at + 4]
        stop = min(end, at + 8 + size)
        yield name, at, stop
        if name in (b"RIFF", b"LIST"):
            yield from _chunks(data, at + 12, stop)
        at = stop + size % 2


def _avi(data: bytes) -> Layout:
    parts, numbers = [], []
    for name, start, end in _chunks(data, 0, len(data)):
        numbers.append(Number(at=start + 4, n_bytes=4, lie="size", big_endian=False))
        if name in (b"RIFF", b"LIST"):
            continue
        kind: Kind = "index" if name == b"idx1" or name.startswith(b"ix") else "header"
        if name[2:] in (b"dc", b"db", b"wb"):
            kind = "payload"
        parts.append(Part(start=start, end=end, kind=kind))
        numbers += [
            Number(at=start + 8 + at, n_bytes=4, lie=lie, big_endian=False)
            for at, lie in _AVI_LIES.get(name, ())
            if start + 12 + at <= end
        ]
    return Layout(parts=tuple(parts), numbers=tuple(numbers), nest_at=12)


_TS_BYTES: Final = 188


def _ts(data: bytes) -> Layout:
    parts, numbers = [], []
    for at in range(0, len(data) - _TS_BYTES + 1, _TS_BYTES):
        pid = int.from_bytes(data[at + 1 : at + 3], "big") & 0x1FFF
        begins = bool(data[at + 1] & 0x40)
        body = at + 4 + (1 + data[at + 4] if data[at + 3] & 0x20 else 0)
        is_pes = data[body : body + 3] == b"\0\0\1"
        if not begins or body + 14 > at + _TS_BYTES:
            parts.append(Part(start=at + 4, end=at + _TS_BYTES, kind="payload"))
            continue
        # Tables say which streams there are; the head of a PES packet says when it is shown.
        kind: Kind = "index" if is_pes else "header"
        parts.append(Part(start=at, end=min(body + 24, at + _TS_BYTES), kind=kind))
        if is_pes:
            numbers.append(Number(at=body + 9, n_bytes=5, lie="duration"))
            numbers.append(Number(at=body + 4, n_bytes=2, lie="size"))
        else:
            numbers.append(Number(at=body + 2, n_bytes=2, lie="count" if pid else "size"))
        if data[at + 3] & 0x20 and data[at + 4] > 6:
            numbers.append(Number(at=at + 6, n_bytes=6, lie="duration"))
        numbers.append(Number(at=at + 4, n_bytes=1, lie="count"))
    return Layout(parts=tuple(parts), numbers=tuple(numbers), nest_at=0)


def _blocks_end(data: bytes, at: int) -> int:
    """Return where a chain of GIF's sub-blocks ends."""
    while at < len(data) and data[at]:
        at += 1 + data[at]
    return at + 1


def _table_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _gif(data: bytes) -> Layout:
    at = 13 + _table_bytes(data[10])
    parts = [Part(start=0, end=at, kind="header")]
    numbers = [Number(at=place, n_bytes=2, lie="picture", big_endian=False) for place in (6, 8)]
    first = at
    while at < len(data) and data[at] != 0x3B:
        if data[at] == 0x21:
            end = _blocks_end(data, at + 2)
            parts.append(Part(start=at, end=end, kind="index"))
            numbers.append(Number(at=at + 4, n_bytes=2, lie="duration", big_endian=False))
            numbers.append(Number(at=at + 2, n_bytes=1, lie="count"))
        else:
            pixels = at + 10 + _table_bytes(data[at + 9])
            end = _blocks_end(data, pixels + 1)
            parts.append(Part(start=at, end=pixels + 1, kind="header"))
            parts.append(Part(start=pixels + 1, end=end, kind="payload"))
            numbers += [
                Number(at=at + place, n_bytes=2, lie="picture", big_endian=False)
                for place in (5, 7)
            ]
            numbers.append(Number(at=pixels + 1, n_bytes=1, lie="size"))
        at = end
    return Layout(parts=tuple(parts), numbers=tuple(numbers), nest_at=first)


_WALKS: Final[Mapping[str, Callable[[bytes], Layout]]] = {
    "mp4": _mp4,
    "mov": _mp4,
    "mkv": _ebml,
    "webm": _ebml,
    "avi": _avi,
    "ts": _ts,
    "gif": _gif,
}
