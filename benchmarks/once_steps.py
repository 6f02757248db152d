"""Each step of an extraction by itself, in a process of its own.

    PYTHONPATH=CHECKOUT python benchmarks/once_steps.py VIDEO --frames 64

Prints one line of JSON: for each step, milliseconds of wall and of processor time, and per what;
and how often each network is called for a frame, of those that are called directly.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from ai_edge_litert import interpreter as litert
from numpy.typing import NDArray

from tpbench import weights
from tpbench.detectors.base import build_suite, models_of
from tpbench.dwpose_drawing import draw_pose
from tpbench.extraction.camera import CameraShift
from tpbench.extraction.config import load_preset
from tpbench.extraction.screening import PictureSampler
from tpbench.extraction.shots import ShotFinder
from tpbench.files import sha256_of
from tpbench.video import (
    CLIP,
    POSE,
    Encoding,
    Frame,
    VideoWriter,
    decode_frames,
    probe,
    read_frames,
)

_BATCH: Final = 16
_CALLS: Final = 20
_CLIP_PX: Final = 512
_FULL_HD_PX: Final = (1920, 1080)

Picture = NDArray[np.uint8]


class Steps:
    """What each step took."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []

    def time(self, name: str, per: str, count: int, run: Callable[[], object]) -> None:
        """Run a step that processes `count` of something, and note what one took."""
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        run()
        wall_s, cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
        row = {"wall_ms": 1000 * wall_s / count, "cpu_ms": 1000 * cpu_s / count}
        self.taken.append({"name": name, "per": per} | row)


def networks(steps: Steps) -> None:
    """Time a call of each of MediaPipe's networks, without the graph around it."""
    for name in models_of("mediapipe"):
        network = litert.Interpreter(
            model_content=weights.resolve(name).read_bytes(), num_threads=1
        )
        network.allocate_tensors()
        detail = network.get_input_details()[0]
        network.set_tensor(detail["index"], np.full(detail["shape"], 0.5, np.float32))
        network.invoke()
        steps.time(f"network {name}", "call", _CALLS, functools.partial(repeat, network.invoke))


def repeat(run: Callable[[], object]) -> None:
    """Run it as often as a call is timed."""
    for _ in range(_CALLS):
        run()


class CountedCalls:
    """Counts the calls of networks that are run directly, by name of their file."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        names = {
            hashlib.sha256(weights.resolve(name).read_bytes()).hexdigest(): name
            for name in models_of("mediapipe")
        }
        started, invoked = litert.Interpreter.__init__, litert.Interpreter.invoke
        of_network: dict[int, str] = {}

        @functools.wraps(started)
        def start(network: Any, *args: Any, **options: Any) -> None:  # noqa: ANN401 - untyped
            started(network, *args, **options)
            content = hashlib.sha256(options.get("model_content") or b"").hexdigest()
            height_px, width_px = network.get_input_details()[0]["shape"][1:3]
            other = f"network of {width_px}x{height_px} px"
            of_network[id(network)] = names.get(content, other)

        @functools.wraps(invoked)
        def invoke(network: Any) -> None:  # noqa: ANN401 - untyped
            self.counts[of_network[id(network)]] += 1
            invoked(network)

        litert.Interpreter.__init__, litert.Interpreter.invoke = start, invoke


def detection(steps: Steps, frames: list[Frame]) -> tuple[list[Any], Counter[str]]:
    """Time all detection as an extraction does it; return what was found, and calls of networks."""
    calls = CountedCalls()
    every_frame = load_preset("talkingpose").mediapipe.every_frame
    suite = build_suite(skeleton="mediapipe", device="cpu", offline=True, every_frame=every_frame)
    suite.detect(frames[:2])
    suite.reset()
    calls.counts.clear()
    found: list[Any] = []

    def detect() -> None:
        for start in range(0, len(frames), _BATCH):
            found.extend(suite.detect(frames[start : start + _BATCH]))

    steps.time("detection, all of it", "frame", len(frames), detect)
    n_calls = calls.counts.copy()
    steps.time(
        "faces, as screening searches them", "sampled frame", 16,
        lambda: suite.faces.detect(frames[:16]),
    )  # fmt: skip
    suite.close()
    return found, n_calls


def screening(steps: Steps, video: Path, frames: list[Frame]) -> None:
    """Time what is measured in the first pass."""
    info, settings = probe(video), load_preset("talkingpose").shots
    small = [
        np.asarray(cv2.resize(frame.image, (256, 256), interpolation=cv2.INTER_AREA), np.uint8)
        for frame in frames
    ]

    def find_shots() -> None:
        finder = ShotFinder(fps=info.fps, settings=settings)
        for thumbnail in small:
            finder.push(thumbnail)
        finder.finish()

    sampler = PictureSampler()
    steps.time("shots", "frame", len(small), find_shots)
    steps.time(
        "picture measurements", "sampled frame", len(frames),
        lambda: each(lambda frame: sampler.sample(frame.index, frame.image), frames),
    )  # fmt: skip


def following(steps: Steps, frames: list[Frame], found: list[Any]) -> None:
    """Time the measurement of the camera, the dearest of the full-rate pass."""
    shift = CameraShift()

    def push(pair: tuple[Frame, Any]) -> None:
        frame, seen = pair
        box = seen.faces[0].box_px if seen.faces else None
        shift.push(frame.image, box, people=seen.people, hands=seen.hands)

    pairs = list(zip(frames, found, strict=True))
    steps.time("camera", "frame", len(frames), lambda: each(push, pairs))


def writing(
    steps: Steps, folder: Path, fps: Fraction, frames: list[Frame], found: list[Any]
) -> None:
    """Time crop, drawing, both encoders and the hash of a file."""
    people = [seen.people[0] for seen in found if seen.people]
    drawings: list[Picture] = []

    def draw(person: Any) -> None:  # noqa: ANN401 - a detector's result
        points, scores = person.keypoints_px[None].astype(np.float64), person.scores[None]
        drawings.append(draw_pose(points, scores.astype(np.float64), _CLIP_PX, _CLIP_PX))

    steps.time("drawing", "frame", max(1, len(people)), lambda: each(draw, people))
    large = np.asarray(cv2.resize(frames[0].image, _FULL_HD_PX), np.uint8)
    square = large[: _FULL_HD_PX[1], : _FULL_HD_PX[1]]
    size = (_CLIP_PX, _CLIP_PX)
    steps.time(
        "crop of 1080p to the clip", "frame", _CALLS,
        lambda: repeat(lambda: cv2.resize(square, size, interpolation=cv2.INTER_AREA)),
    )  # fmt: skip
    clips = [np.asarray(cv2.resize(frame.image, size), np.uint8) for frame in frames]
    for name, encoding, pictures in (("clip", CLIP, clips), ("pose video", POSE, drawings)):
        path = folder / f"{encoding.name}.mp4"
        run = functools.partial(encode, path, pictures, encoding, fps)
        if pictures:
            steps.time(f"encoding the {name}", "frame", len(pictures), run)
    path = folder / "large"
    path.write_bytes(bytes(50_000_000))
    steps.time("hashing a file", "50 MB", 1, lambda: sha256_of(path))


def encode(path: Path, pictures: list[Picture], encoding: Encoding, fps: Fraction) -> None:
    """Write a video of the size of a clip."""
    with VideoWriter(
        path, width_px=_CLIP_PX, height_px=_CLIP_PX, fps=fps, encoding=encoding
    ) as writer:
        for picture in pictures:
            writer.write(picture)


def each(run: Callable[[Any], object], items: Iterable[Any]) -> None:
    """Run it for each."""
    for item in items:
        run(item)


def main() -> None:
    """Time all steps, and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video", type=Path)
    parser.add_argument("--frames", type=int, default=64)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    video, count, steps = options.video, options.frames, Steps()
    info = probe(video)

    def decoded() -> Iterator[object]:
        return zip(range(count), decode_frames(video, info=info), strict=False)

    steps.time("decoding, without conversion", "frame", count, lambda: each(id, decoded()))
    frames: list[Frame] = []
    read = read_frames(video, info=info, end_frame=count)
    steps.time("decoding, as RGB", "frame", count, lambda: frames.extend(read))
    networks(steps)
    found, calls = detection(steps, frames)
    screening(steps, video, frames)
    following(steps, frames, found)
    with tempfile.TemporaryDirectory(prefix="tpbench-bench-") as folder:
        writing(steps, Path(folder), info.fps, frames, found)
    per_frame = {name: number / count for name, number in calls.items()}
    print(json.dumps({"steps": steps.taken, "calls": per_frame}))


if __name__ == "__main__":
    main()
