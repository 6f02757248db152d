"""The model files of MediaPipe Tasks, made in memory from the bare networks.

A landmarker wants its two networks in one stored zip, and wants networks that take floats to say
in their metadata how pixels are scaled. The wheels carry the bare networks only, so both are added
here; nothing derived is written to disk. Equal networks give equal bytes.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from typing import TYPE_CHECKING, Final

from tpbench import weights

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

FACE_DETECTOR: Final = "mediapipe-face-detector"
FACE_DETECTOR_FULL_RANGE: Final = "mediapipe-face-detector-full-range"
PALM_DETECTOR: Final = "mediapipe-palm-detector"
HAND_LANDMARKS: Final = "mediapipe-hand-landmarks"
POSE_DETECTOR: Final = "mediapipe-pose-detector"
POSE_LANDMARKS: Final = "mediapipe-pose-landmarks"
FACE_MESH: Final = "mediapipe-face-mesh"

_ZIP_TIME: Final = (1980, 1, 1, 0, 0, 0)
_METADATA_NAME: Final = b"TFLITE_METADATA"


def model_bytes(name: str, *, offline: bool) -> bytes:
    """Return the bytes of one network, fetched on first use.

    Raises:
        MissingWeightsError: it is not on this machine and may not or can't be fetched.
    """
    return weights.resolve(name, offline=offline).read_bytes()


def hand_bundle(*, offline: bool) -> bytes:
    """Return the model file of `HandLandmarker`: palm detector and hand landmarks."""
    return stored_zip(
        {
            "hand_detector.tflite": model_bytes(PALM_DETECTOR, offline=offline),
            "hand_landmarks_detector.tflite": model_bytes(HAND_LANDMARKS, offline=offline),
        }
    )


def pose_bundle(*, offline: bool) -> bytes:
    """Return the model file of `PoseLandmarker`: pixels to [-1, 1], and for landmarks to [0, 1]."""
    detector = model_bytes(POSE_DETECTOR, offline=offline)
    landmarks = model_bytes(POSE_LANDMARKS, offline=offline)
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
    import numpy as np
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


def digest(*parts: bytes | str) -> str:
    """Return one sha256 over model files and the settings that decide what they answer."""
    total = hashlib.sha256()
    for part in parts:
        total.update(hashlib.sha256(part.encode() if isinstance(part, str) else part).digest())
    return total.hexdigest()
