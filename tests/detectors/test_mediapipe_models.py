from __future__ import annotations

import io
import zipfile

import flatbuffers
import numpy as np
import pytest

from tpbench.detectors.mediapipe_tasks import digest, stored_zip, with_input_scaling


@pytest.fixture(scope="module")
def network() -> bytes:
    """A TFLite file with one buffer of weights and no graph."""
    from mediapipe.tasks.metadata import schema_py_generated as tflite

    weights = tflite.BufferT(data=np.arange(64, dtype=np.uint8))
    model = tflite.ModelT(version=3, buffers=[tflite.BufferT(), weights], subgraphs=[])
    builder = flatbuffers.Builder(256)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def scaling(network: bytes) -> list[tuple[list[float], list[float]]]:
    """What each metadata entry of a network says of its input."""
    from mediapipe.tasks.metadata import metadata_schema_py_generated as schema
    from mediapipe.tasks.metadata import schema_py_generated as tflite

    model = tflite.ModelT.InitFromPackedBuf(network, 0)
    found = []
    for entry in model.metadata:
        assert entry.name == b"TFLITE_METADATA"
        content = bytes(model.buffers[entry.buffer].data)
        assert content[4:8] == b"M001"
        metadata = schema.ModelMetadataT.InitFromPackedBuf(content, 0)
        unit = metadata.subgraphMetadata[0].inputTensorMetadata[0].processUnits[0]
        found.append((list(unit.options.mean), list(unit.options.std)))
    return found


def test_a_network_says_how_its_input_is_scaled(network: bytes) -> None:
    assert scaling(with_input_scaling(network, mean=127.5, std=127.5)) == [([127.5], [127.5])]


def test_the_last_word_on_scaling_counts(network: bytes) -> None:
    twice = with_input_scaling(with_input_scaling(network, mean=1.0, std=2.0), mean=0.0, std=255.0)
    assert scaling(twice) == [([0.0], [255.0])]


def test_weights_are_left_as_they_are(network: bytes) -> None:
    from mediapipe.tasks.metadata import schema_py_generated as tflite

    scaled = with_input_scaling(network, mean=0.0, std=255.0)
    model = tflite.ModelT.InitFromPackedBuf(scaled, 0)
    assert scaled[4:8] == b"TFL3"
    assert bytes(model.buffers[1].data) == bytes(range(64))


def test_equal_networks_give_equal_bytes(network: bytes) -> None:
    one, two = (
        stored_zip({"a.tflite": with_input_scaling(network, mean=0.0, std=255.0)}) for _ in range(2)
    )
    assert one == two


def test_a_bundle_is_not_compressed() -> None:
    with zipfile.ZipFile(io.BytesIO(stored_zip({"a": bytes(1000), "b": b"xyz"}))) as archive:
        assert [info.compress_type for info in archive.infolist()] == [zipfile.ZIP_STORED] * 2
        assert archive.read("b") == b"xyz"


def test_a_digest_tells_models_settings_and_their_order_apart() -> None:
    digests = {digest(b"a", "x=1"), digest(b"a", "x=2"), digest(b"b", "x=1"), digest("x=1", b"a")}
    assert len(digests) == 4
    assert digest(b"ab", b"c") != digest(b"a", b"bc")
