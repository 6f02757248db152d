"""Spoilt model files: zip archives and wheels, ONNX and TensorFlow Lite."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable, Mapping
from typing import Final

from benchmarks.fuzz.spoiling import Rng
from benchmarks.fuzz.texts import Damage

_BOMB_BYTES: Final = 200 << 20


def archive_with(member: str, content: bytes) -> bytes:
    """Return a zip archive, or a wheel, with a file in it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr(zipfile.ZipInfo("x-1.dist-info/RECORD"), "")
        archive.writestr(zipfile.ZipInfo(member), content, compress_type=zipfile.ZIP_DEFLATED)
    return file.getvalue()


def _member(data: bytes) -> tuple[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        name = archive.namelist()[-1]
        return name, archive.read(name)


def _zip_members(rng: Rng, data: bytes) -> bytes:
    name, content = _member(data)
    shapes: tuple[Callable[[], bytes], ...] = (
        lambda: archive_with(f"../../{name}", content),
        lambda: archive_with(f"/{name}", content),
        lambda: archive_with(name, bytes(_BOMB_BYTES)),
        lambda: archive_with(name, content[:-1]),
        lambda: archive_with("other", content),
        lambda: archive_with(f"{name}/", b""),
        lambda: archive_with(name, data),
        lambda: _link(name),
        lambda: _many(50_000),
        lambda: data + data,
        lambda: b"\x7fELF" + data,
    )
    return shapes[int(rng.integers(len(shapes)))]()


def _link(name: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        info = zipfile.ZipInfo(name)
        info.external_attr = 0o120777 << 16  # a symbolic link
        archive.writestr(info, "/etc/passwd")
    return file.getvalue()


def _many(n_members: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(n_members):
            archive.writestr(zipfile.ZipInfo(f"m{number}"), b"")
    return file.getvalue()


def _zip_directory(rng: Rng, data: bytes) -> bytes:
    """Lies of the directory at the archive's end: sizes, offsets, flags, methods, checksums."""
    spoilt = bytearray(data)
    at = data.rfind(b"PK\1\2")
    end = data.rfind(b"PK\5\6")
    lies: tuple[tuple[int, bytes], ...] = (
        (at + 24, struct.pack("<I", 2**32 - 1)),
        (at + 20, struct.pack("<I", 2**32 - 2)),
        (at + 42, struct.pack("<I", 2**31)),
        (at + 8, b"\x01\x00"),
        (at + 10, b"\x63\x00"),
        (at + 10, b"\x0c\x00"),
        (at + 10, b"\x0e\x00"),
        (at + 16, b"\0\0\0\0"),
        (at + 28, b"\xff\xff"),
        (end + 10, b"\xff\xff"),
        (end + 16, struct.pack("<I", 2**32 - 1)),
        (end + 20, b"\xff\xff"),
    )
    place, told = lies[int(rng.integers(len(lies)))]
    spoilt[place : place + len(told)] = told
    return bytes(spoilt)


ZIP: Final[Mapping[str, Damage]] = {
    "strange members": _zip_members,
    "a lying directory": _zip_directory,
}


def small_onnx() -> bytes:
    """Return a model of one layer with a weight of its own."""
    from onnx import TensorProto, helper

    node = helper.make_node("Add", ["x", "w"], ["y"])
    weight = helper.make_tensor("w", TensorProto.FLOAT, [4], [1.0, 2.0, 3.0, 4.0])
    graph = helper.make_graph(
        [node],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def _onnx_outside(rng: Rng, data: bytes) -> bytes:
    """Weights that lie in another file, which is none of the model's business."""
    import onnx

    model = onnx.load_model_from_string(data)
    weight = model.graph.initializer[0]
    weight.ClearField("float_data")
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    places = ("../../../../etc/passwd", "/etc/passwd", "/dev/zero", "nowhere", "", ".", "x\0y")
    told = {"location": places[int(rng.integers(len(places)))], "offset": "0", "length": "16"}
    if rng.random() < 0.3:
        told |= {"offset": "-8", "length": str(2**62)}
    for key, value in told.items():
        entry = weight.external_data.add()
        entry.key, entry.value = key, value
    return bytes(model.SerializeToString())


def _onnx_graph(rng: Rng, data: bytes) -> bytes:
    import onnx
    from onnx import helper

    model = onnx.load_model_from_string(data)
    graph = model.graph
    if rng.random() < 0.3:
        for _ in range(25):  # a graph in a graph in a graph
            node = helper.make_node("If", ["x"], ["y"], then_branch=graph, else_branch=None)
            graph = helper.make_graph([node], "g", [], [])
        model.graph.CopyFrom(graph)
        return bytes(model.SerializeToString())
    odd: tuple[Callable[[], object], ...] = (
        lambda: graph.initializer[0].dims.append(2**40),
        lambda: graph.initializer[0].dims.__setitem__(0, -4),
        lambda: setattr(graph.initializer[0], "data_type", 77),
        lambda: setattr(graph.node[0], "op_type", "Launch"),
        lambda: setattr(graph.node[0], "domain", "com.evil"),
        lambda: graph.node[0].input.append("z" * 100_000),
        lambda: graph.node.extend([graph.node[0]] * 20_000),
        lambda: setattr(model, "ir_version", 2**40),
        lambda: setattr(model.opset_import[0], "version", 10**6),
        lambda: graph.input[0].type.tensor_type.shape.dim[0].__setattr__("dim_value", 2**60),
        lambda: graph.ClearField("node"),
    )
    odd[int(rng.integers(len(odd)))]()
    return bytes(model.SerializeToString())


ONNX: Final[Mapping[str, Damage]] = {
    "data outside": _onnx_outside,
    "a strange graph": _onnx_graph,
}


def _tflite_offsets(rng: Rng, data: bytes) -> bytes:
    """Offsets of FlatBuffers that lead out of the file, or back to themselves."""
    spoilt = bytearray(data)
    for _ in range(int(rng.integers(1, 6))):
        at = 4 * int(rng.integers(0, min(2000, len(data) // 4)))
        value = (0, 2**31 - 1, 2**32 - 1, len(data), at)[int(rng.integers(5))]
        spoilt[at : at + 4] = struct.pack("<I", value)
    return bytes(spoilt)


TFLITE: Final[Mapping[str, Damage]] = {"lying offsets": _tflite_offsets}
