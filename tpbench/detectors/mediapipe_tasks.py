"""MediaPipe's tasks: model files, native output silenced, no usage statistics sent."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import sys
import tempfile
import weakref
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tpbench import weights
from tpbench.doctor import explain_import_error

logger = logging.getLogger(__name__)

_STDERR: Final = 2


@contextmanager
def quiet_native_output() -> Iterator[None]:
    """Redirect the process's standard error to the debug log inside the block. Short spans only."""
    if sys.stderr is not None:
        sys.stderr.flush()
    kept = os.dup(_STDERR)
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), _STDERR)
        try:
            yield
        finally:
            os.dup2(kept, _STDERR)
            os.close(kept)
            caught.seek(0)
            for line in caught.read().decode(errors="replace").splitlines():
                logger.debug("%s", line)


_NAMES: Final = ("https_proxy", "HTTPS_PROXY")
_NOWHERE: Final = "http://127.0.0.1:9"


def send_no_usage_statistics() -> None:
    """Block HTTPS requests permanently: for processes that do nothing else."""
    for name in _NAMES:
        os.environ[name] = _NOWHERE


@contextmanager
def no_usage_statistics() -> Iterator[None]:
    """Block HTTPS requests inside the block; other requests of this process fail as well."""
    before = {name: os.environ.get(name) for name in _NAMES}
    send_no_usage_statistics()
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


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


def digest(*parts: bytes | str) -> str:
    """Return one sha256 over model files and the settings that determine their results."""
    total = hashlib.sha256()
    for part in parts:
        total.update(hashlib.sha256(part.encode() if isinstance(part, str) else part).digest())
    return total.hexdigest()


class MediaPipeTask:
    """One MediaPipe task, used for one stretch after another.

    In VIDEO mode a task depends on earlier frames, and that state can't be cleared: after `reset`
    the next frame gets a new task.

    Args:
        kind: name of the task in `mediapipe.tasks.vision`.
        model: bytes of its model file, kept alive here, as MediaPipe may not copy them.
        options: of the task.
        video: VIDEO mode, for `run_on_video`; otherwise IMAGE mode, for `run_on_image`.

    Raises:
        MissingDependencyError: a system library that MediaPipe links to is absent.
    """

    def __init__(
        self, kind: str, model: bytes, options: Mapping[str, float], *, video: bool = True
    ) -> None:
        self._kind = kind
        self._model = model
        self._options = options
        self._video = video
        self._time_ms = -1
        self._used = self._stale = False
        self._open()

    def run_on_image(self, image: NDArray[np.uint8]) -> Any:  # noqa: ANN401 - MediaPipe is untyped
        """Return what a task in IMAGE mode finds in a (H, W, 3) uint8 RGB image."""
        return self._quiet_at_first(self._task.detect, image)

    def run_on_video(self, image: NDArray[np.uint8], time_s: float) -> Any:  # noqa: ANN401 - same
        """Return what a task in VIDEO mode finds in the next frame of the stretch."""
        if self._stale:
            self.close()
            self._open()
        # MediaPipe refuses two frames with the same time in milliseconds.
        self._time_ms = max(self._time_ms + 1, round(time_s * 1000))
        return self._quiet_at_first(self._task.detect_for_video, image, self._time_ms)

    def reset(self) -> None:
        """Discard tracking state."""
        self._stale = self._used

    def close(self) -> None:
        """Release native memory. Can be called repeatedly."""
        self._finalizer()

    def _open(self) -> None:
        with quiet_native_output():
            try:
                self._task = self._created()
            except OSError as error:
                missing = explain_import_error(error)
                if missing is None:
                    raise
                raise missing from error
        self._finalizer = weakref.finalize(self, _release, self._task)
        self._time_ms = -1
        self._used = self._stale = False

    def _created(self) -> Any:  # noqa: ANN401 - as above
        import mediapipe as mp

        vision = mp.tasks.vision
        mode = vision.RunningMode.VIDEO if self._video else vision.RunningMode.IMAGE
        options = getattr(vision, f"{self._kind}Options")(
            base_options=mp.tasks.BaseOptions(model_asset_buffer=self._model),
            running_mode=mode,
            **self._options,
        )
        return getattr(vision, self._kind).create_from_options(options)

    def _quiet_at_first(
        self, run: Callable[..., Any], image: NDArray[np.uint8], *time_ms: int
    ) -> Any:  # noqa: ANN401 - as above
        import mediapipe as mp

        picture = mp.Image(image_format=mp.ImageFormat.SRGB, data=np.ascontiguousarray(image))
        if self._used:
            return run(picture, *time_ms)
        self._used = True
        with quiet_native_output():
            return run(picture, *time_ms)


def _release(task: Any) -> None:  # noqa: ANN401 - MediaPipe is untyped
    try:
        with quiet_native_output():
            task.close()
    except RuntimeError:
        # The interpreter is shutting down and accepts no more work for the task's thread. The
        # memory is freed with the process; without a handle the task's own __del__ neither retries
        # nor logs an error.
        task._handle = None
