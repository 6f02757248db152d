"""The loop a user would write: MediaPipe's faces, hands and body on every frame; writes nothing.

    python benchmarks/once_plain.py MODELS VIDEO...

Knows nothing of tpbench: OpenCV decodes, three MediaPipe tasks look at each frame, as in
MediaPipe's own examples. MODELS is a folder with `face.tflite`, `hand.task` and `pose.task`. Prints
one line of JSON.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import cv2
import mediapipe as mp

vision = mp.tasks.vision


def open_task(kind: str, model: bytes, options: dict[str, int]) -> Any:  # noqa: ANN401 - untyped
    """Return a MediaPipe task in VIDEO mode."""
    made = getattr(vision, f"{kind}Options")(
        base_options=mp.tasks.BaseOptions(model_asset_buffer=model),
        running_mode=vision.RunningMode.VIDEO,
        **options,
    )
    return getattr(vision, kind).create_from_options(made)


def look_at(video: Path, models: dict[str, bytes]) -> tuple[int, int]:
    """Run all three tasks on each frame; return the frames, and those with face, hand and body."""
    capture = cv2.VideoCapture(str(video))
    fps = capture.get(cv2.CAP_PROP_FPS) or 25.0
    tasks = [
        open_task("FaceDetector", models["face.tflite"], {}),
        open_task("HandLandmarker", models["hand.task"], {"num_hands": 2}),
        open_task("PoseLandmarker", models["pose.task"], {"num_poses": 1}),
    ]
    frames = complete = 0
    while True:
        read, picture = capture.read()
        if not read:
            break
        image = mp.Image(
            image_format=mp.ImageFormat.SRGB, data=cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
        )
        time_ms = round(1000 * frames / fps)
        faces, hands, bodies = (task.detect_for_video(image, time_ms) for task in tasks)
        frames += 1
        complete += bool(faces.detections and hands.hand_landmarks and bodies.pose_landmarks)
    for task in tasks:
        task.close()
    capture.release()
    return frames, complete


def main() -> None:
    """Look at all videos, and print how much was seen."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", type=Path)
    parser.add_argument("videos", type=Path, nargs="+")
    options = parser.parse_args()
    models = {path.name: path.read_bytes() for path in options.models.iterdir()}
    seen = [look_at(video, models) for video in options.videos]
    frames, complete = (sum(column) for column in zip(*seen, strict=True))
    print(json.dumps({"frames": frames, "complete": complete}))


if __name__ == "__main__":
    main()
