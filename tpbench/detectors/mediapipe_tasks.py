"""Running MediaPipe tasks: quietly, with rising time stamps, and afresh for each stretch."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from tpbench.detectors.native_output import quiet_native_output
from tpbench.doctor import explain_import_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


class MediaPipeTask:
    """One MediaPipe task over one stretch after another.

    In VIDEO mode a task leans on the frames before, and there is no way to make it forget them:
    after `reset` the next frame gets a new one.

    Args:
        create: makes the task. Kept, and with it the model file, which MediaPipe may not copy.

    Raises:
        MissingDependencyError: a system library that MediaPipe links to is absent.
    """

    def __init__(self, create: Callable[[], Any]) -> None:
        self._create = create
        self._time_ms = -1
        self._used = False
        self._stale = False
        self._open()

    def run_on_image(self, image: NDArray[np.uint8]) -> Any:  # noqa: ANN401 - MediaPipe is untyped
        """Return what a task in IMAGE mode finds in a (H, W, 3) uint8 RGB picture."""
        return self._quiet_at_first(self._task.detect, image)

    def run_on_video(self, image: NDArray[np.uint8], time_s: float) -> Any:  # noqa: ANN401 - same
        """Return what a task in VIDEO mode finds in the next picture of the stretch."""
        if self._stale:
            self.close()
            self._open()
        # Two frames of one millisecond would be refused.
        self._time_ms = max(self._time_ms + 1, round(time_s * 1000))
        return self._quiet_at_first(self._task.detect_for_video, image, self._time_ms)

    def reset(self) -> None:
        """Forget the stretch."""
        self._stale = self._used

    def close(self) -> None:
        """Give back the native memory. Harmless when repeated."""
        self._finalizer()

    def _open(self) -> None:
        with quiet_native_output():
            try:
                self._task = self._create()
            except OSError as error:
                missing = explain_import_error(error)
                if missing is None:
                    raise
                raise missing from error
        self._finalizer = weakref.finalize(self, _release, self._task)
        self._time_ms = -1
        self._used = False
        self._stale = False

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
        # The interpreter is going down and takes no more work for the task's thread. The memory
        # goes with the process; without a handle the task's own __del__ does not try again and
        # complain.
        task._handle = None
