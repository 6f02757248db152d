"""Spoilt arrays and pictures: npz, PNG and safetensors whose heads lie, and archives of them."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from benchmarks.fuzz.spoiling import Rng
from benchmarks.fuzz.texts import Damage

_BOMB_BYTES: Final = 200 << 20


def _members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _zipped(members: Mapping[str, bytes], *, twice: str | None = None) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, compress_type=zipfile.ZIP_DEFLATED)
        if twice is not None:
            # The module warns of a name that comes twice; this file has one on purpose.
            archive.NameToInfo.pop(twice)
            archive.writestr(zipfile.ZipInfo(twice), b"twice")
    return file.getvalue()


def _npy(array: Any) -> bytes:  # noqa: ANN401 - arrays of every kind
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def _head(shape: str, descr: str, order: str = "False") -> bytes:
    """Return the head of an array that declares this, and nothing behind it."""
    text = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"
    padded = text.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(padded)) + padded.encode("latin1")


_LYING_HEADS: Final = (
    ("(1000000000000,)", "'<f4'"),
    ("(-1, 133, 2)", "'<f4'"),
    ("(0, 99999999999999999999, 2)", "'<f4'"),
    ("(4, 133, 2)", "'|O'"),
    ("(4, 133, 2)", "'<f16'"),
    ("(4, 133, 2)", "'<U1000000'"),
    ("(4, 133, 2)", "[('x', '<f4'), ('y', '|O')]"),
    ("(True, False)", "'<f4'"),
    ("()", "'<M8[ns]'"),
    ("(4,) * 10000000", "'<f4'"),
    ("(" * 90 + ")" * 90, "'<f4'"),
)


def _npz_head(rng: Rng, data: bytes) -> bytes:
    members = _members(data)
    name = [*members][int(rng.integers(len(members)))]
    members[name] = _head(*_LYING_HEADS[int(rng.integers(len(_LYING_HEADS)))]) + members[name][128:]
    return _zipped(members)


def _npz_array(rng: Rng, data: bytes) -> bytes:
    members = _members(data)
    name = [*members][int(rng.integers(len(members)))]
    old = np.lib.format.read_array(io.BytesIO(members[name]), allow_pickle=False)
    odd: tuple[Callable[[], Any], ...] = (
        lambda: np.full(old.shape, np.nan, np.float32),
        lambda: np.full(old.shape, np.inf, np.float64),
        lambda: np.full(old.shape, -1e30, np.float32),
        lambda: np.zeros((0, *old.shape[1:]), np.float32),
        lambda: np.zeros((*old.shape, 1), np.float32),
        lambda: np.zeros(old.shape, np.complex64),
        lambda: np.full(old.shape, "x"),
        lambda: np.asfortranarray(np.zeros((3, 133, 2))),
        lambda: np.array(2**62),
        lambda: np.array([b"\xff\xfe" * 1000]),
        lambda: np.array([{"a": 1}], dtype=object),
    )
    members[name] = _npy(odd[int(rng.integers(len(odd)))]())
    return _zipped(members)


def _npz_members(rng: Rng, data: bytes) -> bytes:
    members = _members(data)
    name = [*members][int(rng.integers(len(members)))]
    shapes: tuple[Callable[[], bytes], ...] = (
        lambda: _zipped({other: members[other] for other in members if other != name}),
        lambda: _zipped(members, twice=name),
        lambda: _zipped({f"../../{other}": members[other] for other in members}),
        lambda: _zipped(members | {f"x{at}.npy": b"" for at in range(20_000)}),
        lambda: _zipped(members | {name: members[name][:128] + bytes(_BOMB_BYTES)}),
        lambda: _zipped(members | {name: pickle.dumps({"a": 1})}),
        lambda: members[name],
        lambda: data.replace(b"\x14\0\0\0", b"\x14\0\1\0"),  # says that it is encrypted
        lambda: data.replace(b"\x08\0", b"\x63\0"),  # a compression that nobody knows
    )
    return shapes[int(rng.integers(len(shapes)))]()


NPZ: Final[Mapping[str, Damage]] = {
    "lying heads": _npz_head,
    "strange arrays": _npz_array,
    "strange members": _npz_members,
}


def _chunk(name: bytes, content: bytes) -> bytes:
    check = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)


_SIGN: Final = b"\x89PNG\r\n\x1a\n"


def _png_head(rng: Rng, data: bytes) -> bytes:
    """Sizes, depths and kinds of colours that the pixels don't have; the checksum is right."""
    heads = (
        (60000, 60000, 8, 2, 0),
        (2**31 - 1, 2**31 - 1, 16, 6, 0),
        (0, 16, 8, 2, 0),
        (65535, 1, 8, 2, 1),
        (16, 16, 16, 3, 0),
        (16, 16, 3, 2, 0),
        (2**32 - 1, 16, 8, 0, 0),
        (8192, 8192, 8, 2, 1),
    )
    width, height, depth, colours, interlaced = heads[int(rng.integers(len(heads)))]
    head = struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, interlaced)
    return _SIGN + _chunk(b"IHDR", head) + data[33:]


def _png_chunks(rng: Rng, data: bytes) -> bytes:
    bomb = zlib.compress(bytes(_BOMB_BYTES), 1)
    rest = data[33:]
    added: tuple[Callable[[], bytes], ...] = (
        lambda: _chunk(b"zTXt", b"a\0\0" + bomb) + rest,
        lambda: _chunk(b"iCCP", b"a\0\0" + bomb) + rest,
        lambda: _chunk(b"tEXt", b"a\0" + b"x" * 5_000_000) + rest,
        lambda: _chunk(b"tRNS", b"\0" * 5) + rest,
        lambda: b"\xff\xff\xff\xffIDAT" + rest[8:],
        lambda: b"".join(_chunk(b"tIME", b"\0" * 7) for _ in range(100_000)) + rest,
        lambda: _chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0)) + rest,
        lambda: _chunk(b"IDAT", b"") * 1000 + rest,
        lambda: rest,
        lambda: b"",
    )
    return data[:33] + added[int(rng.integers(len(added)))]()


def _png_bomb(rng: Rng, _: bytes) -> bytes:
    """A picture of one colour: small as a file, large in memory."""
    side = int(rng.choice([9_000, 14_000]))
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes((side + 1) * side), 1)
    return _SIGN + _chunk(b"IHDR", head) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


PNG: Final[Mapping[str, Damage]] = {
    "a lying head": _png_head,
    "strange chunks": _png_chunks,
    "a bomb": _png_bomb,
}


def small_safetensors() -> bytes:
    """Return a file with two small tensors."""
    head = {
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "b": {"dtype": "F16", "shape": [4], "data_offsets": [24, 32]},
    }
    text = json.dumps(head).encode()
    return struct.pack("<Q", len(text)) + text + bytes(32)


def _tensors_head(rng: Rng, data: bytes) -> bytes:
    (length,) = struct.unpack("<Q", data[:8])
    head = json.loads(data[8 : 8 + length])
    odd: tuple[Callable[[], None], ...] = (
        lambda: head["a"].update(shape=[2**40, 2**40]),
        lambda: head["a"].update(shape=[-2, -3]),
        lambda: head["a"].update(data_offsets=[0, 2**60]),
        lambda: head["a"].update(data_offsets=[24, 0]),
        lambda: head["b"].update(data_offsets=[0, 8]),
        lambda: head["a"].update(dtype="F4096"),
        lambda: head.update({"../../x": head["a"]}),
        lambda: head.update(a=[1, 2]),
        lambda: head.update({f"t{at}": head["b"] for at in range(50_000)}),
        lambda: head.pop("a"),
        lambda: head["a"].update(shape=[0], data_offsets=[0, 0]),
    )
    odd[int(rng.integers(len(odd)))]()
    text = json.dumps(head).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def _tensors_length(rng: Rng, data: bytes) -> bytes:
    lengths = (0, 1, 2**63 - 1, 2**64 - 1, 100_000_001, len(data), 99_999_999)
    head = struct.pack("<Q", lengths[int(rng.integers(len(lengths)))])
    deep = b"[" * 200_000 if rng.random() < 0.3 else data[8:]
    return (
        struct.pack("<Q", len(deep)) if deep is not data[8:] and rng.random() < 0.5 else head
    ) + deep


SAFETENSORS: Final[Mapping[str, Damage]] = {
    "a lying head": _tensors_head,
    "a lying length": _tensors_length,
}
