from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import zipfile

import flatbuffers
import numpy as np
import pytest

from tpbench.detectors.mediapipe_tasks import (
    digest,
    no_usage_statistics,
    quiet_native_output,
    send_no_usage_statistics,
    stored_zip,
    with_input_scaling,
)


def test_what_native_code_writes_goes_to_the_debug_log(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG), quiet_native_output():
        os.write(2, b"W0000 chatter\n")
    assert capfd.readouterr().err == ""
    assert "W0000 chatter" in caplog.messages


def test_errors_are_seen_again_afterwards(capfd: pytest.CaptureFixture[str]) -> None:
    with contextlib.suppress(RuntimeError), quiet_native_output():
        raise RuntimeError
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


def test_what_python_wrote_before_comes_out(capfd: pytest.CaptureFixture[str]) -> None:
    sys.stderr.write("before")
    with quiet_native_output():
        pass
    assert capfd.readouterr().err == "before"


def test_the_way_out_is_closed_and_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    monkeypatch.delenv("HTTPS_PROXY", raising=False)
    with no_usage_statistics():
        assert os.environ["https_proxy"] == os.environ["HTTPS_PROXY"] == "http://127.0.0.1:9"
    assert os.environ["https_proxy"] == "http://proxy:3128"
    assert "HTTPS_PROXY" not in os.environ


def test_it_is_opened_again_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("https_proxy", raising=False)
    with pytest.raises(RuntimeError), no_usage_statistics():
        raise RuntimeError
    assert "https_proxy" not in os.environ


def test_a_worker_closes_it_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://proxy:3128")
    send_no_usage_statistics()
    assert os.environ["https_proxy"] == os.environ["HTTPS_PROXY"] == "http://127.0.0.1:9"


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
