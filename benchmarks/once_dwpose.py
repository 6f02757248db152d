"""Skeletons of one video in a process of its own, by DWPose as tpbench or rtmlib runs it.

    PYTHONPATH=CHECKOUT python benchmarks/once_dwpose.py ours MODELS VIDEO [--every 8]
    python benchmarks/once_dwpose.py rtmlib MODELS VIDEO

MODELS is a folder with `yolox.onnx` and `dwpose.onnx`. Ours runs on one thread, as in a worker;
rtmlib on all cores, as it comes. Prints one line of JSON: how often each network was called, how
many images it saw, and the mean place of the person's points by frame.
"""

from __future__ import annotations

import argparse
import inspect
import json
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

_BATCH: Final = 16
"""Frames that extraction passes to the detector at a time."""
calls: Counter[str] = Counter()
images: Counter[str] = Counter()


def count_calls() -> None:
    """Count calls and images of each network from now on, by the name of its input."""
    session = onnxruntime.InferenceSession
    run, run_bound = session.run, session.run_with_iobinding

    def counted(self: Any, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - as it comes
        answers = run(self, *args, **options)
        note(self, len(answers[0]))
        return answers

    def counted_bound(self: Any, bound: Any, *args: Any) -> Any:  # noqa: ANN401 - as it comes
        answer = run_bound(self, bound, *args)
        note(self, bound.get_outputs()[0].shape()[0])
        return answer

    def note(self: Any, n_images: int) -> None:  # noqa: ANN401 - as it comes
        name = "detector" if self.get_inputs()[0].shape[2] == 640 else "pose"
        calls[name] += 1
        images[name] += n_images

    session.run, session.run_with_iobinding = counted, counted_bound


def pictures(video: Path) -> Iterator[NDArray[np.uint8]]:
    """Yield the (H, W, 3) uint8 BGR pictures of a video."""
    capture = cv2.VideoCapture(str(video))
    while True:
        read, picture = capture.read()
        if not read:
            return
        yield picture


def by_rtmlib(models: Path, video: Path) -> list[float]:
    """The loop of rtmlib's own example: one picture after the other."""
    from rtmlib import Wholebody

    networks = {"det": str(models / "yolox.onnx"), "pose": str(models / "dwpose.onnx")}
    find = Wholebody(
        **networks, det_input_size=(640, 640), pose_input_size=(288, 384), backend="onnxruntime"
    )
    return [float(np.mean(find(picture)[0][0])) for picture in pictures(video)]


def by_us(models: Path, video: Path, every: int | None) -> list[float]:
    """The detector of an extraction."""
    cv2.setNumThreads(1)
    from tpbench.detectors.dwpose import DWPoseDetector
    from tpbench.video import Frame

    options: dict[str, Any] = {"device": "cpu"}
    if every is not None and "detect_every" in inspect.signature(DWPoseDetector).parameters:
        options["detect_every"] = every
    detector = DWPoseDetector(models / "yolox.onnx", models / "dwpose.onnx", **options)
    frames: list[Frame] = []
    places: list[float] = []

    def find() -> None:
        people = [found.people[0] for found in detector.detect(frames)]
        places.extend(float(np.nanmean(person.keypoints_px)) for person in people)
        frames.clear()

    for index, picture in enumerate(pictures(video)):
        image = np.ascontiguousarray(picture[..., ::-1])
        frames.append(Frame(index=index, time_s=float(Fraction(index, 25)), image=image))
        if len(frames) == _BATCH:
            find()
    find()
    return places


def main() -> None:
    """Find the skeletons, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("side", choices=["ours", "rtmlib"])
    parser.add_argument("models", type=Path)
    parser.add_argument("video", type=Path)
    parser.add_argument("--every", type=int)
    options = parser.parse_args()
    count_calls()
    if options.side == "ours":
        places = by_us(options.models, options.video, options.every)
    else:
        places = by_rtmlib(options.models, options.video)
    said = {
        "frames": len(places),
        "calls": dict(calls),
        "images": dict(images),
        "places": places,
    }
    print(json.dumps(said))


if __name__ == "__main__":
    main()
