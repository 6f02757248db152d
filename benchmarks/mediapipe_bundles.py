"""The model files of MediaPipe's own tasks, as a user's plain loop loads them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tpbench.detectors.lite import model_bytes

_ZIP_TIME: Final = (1980, 1, 1, 0, 0, 0)
_METADATA_NAME: Final = b"TFLITE_METADATA"


def hand_bundle(*, offline: bool) -> bytes:
    """Return the model file of `HandLandmarker`: palm detector and hand landmarks."""
    palms = model_bytes("mediapipe-palm-detector", offline=offline)
    landmarks = model_bytes("mediapipe-hand-landmarks", offline=offline)
    return stored_zip({"hand_detector.tflite": palms, "hand_landmarks_detector.tflite": landmarks})


def pose_bundle(*, offline: bool) -> bytes:
    """Return the model file of `PoseLandmarker`: input in [-1, 1], for landmarks in [0, 1]."""
    detector = model_bytes("mediapipe-pose-detector", offline=offline)
    landmarks = model_bytes("mediapipe-pose-landmarks", offline=offline)
    return stored_zip(
        {
            "pose_detector.tflite": with_input_scaling(detector, mean=127.5, std=127.5),
            "pose_landmarks_detector.tflite": with_input_scaling(landmarks, mean=0.0, std=255.0),
        }
    )


def stored_zip(files: Mapping[str, bytes]) -> bytes:
    """Return an uncompressed zip of `files`, the same bytes each time.

    MediaPipe maps the networks straight out of the zip, so they must not be compressed.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, date_time=_ZIP_TIME), content)
    return buffer.getvalue()


def with_input_scaling(network: bytes, *, mean: float, std: float) -> bytes:
    """Return a TFLite network whose metadata says that its input is `(pixel - mean) / std`.

    Args:
        network: a TFLite file; metadata that it already has is replaced.
        mean: in units of 8-bit pixels.
        std: in units of 8-bit pixels.
    """
    import flatbuffers
    from mediapipe.tasks.metadata import schema_py_generated as tflite

    model = tflite.ModelT.InitFromPackedBuf(network, 0)
    model.metadata = [m for m in model.metadata or [] if m.name != _METADATA_NAME]
    model.metadata.append(tflite.MetadataT(name=_METADATA_NAME.decode(), buffer=len(model.buffers)))
    model.buffers.append(tflite.BufferT(data=_scaling_metadata(mean=mean, std=std)))
    builder = flatbuffers.Builder(len(network) + 4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _scaling_metadata(*, mean: float, std: float) -> NDArray[np.uint8]:
    import flatbuffers
    from mediapipe.tasks.metadata import metadata_schema_py_generated as schema

    scaling = schema.ProcessUnitT(
        optionsType=schema.ProcessUnitOptions.NormalizationOptions,
        options=schema.NormalizationOptionsT(mean=[mean], std=[std]),
    )
    subgraph = schema.SubGraphMetadataT(
        inputTensorMetadata=[schema.TensorMetadataT(name="image", processUnits=[scaling])]
    )
    builder = flatbuffers.Builder(256)
    builder.Finish(schema.ModelMetadataT(subgraphMetadata=[subgraph]).Pack(builder), b"M001")
    return np.frombuffer(bytes(builder.Output()), dtype=np.uint8)
