"""Stands for inference.py of MimicMotion."""

from __future__ import annotations

import argparse
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tests.baselines.external.fakes.media import (
    animate,
    must_exist,
    rate_of,
    read_picture,
    read_video,
    resize,
    write_video,
)

if TYPE_CHECKING:
    from tests.baselines.external.fakes.media import Picture

RATIO = 9 / 16


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--log_file")
    parser.add_argument("--inference_config", default="configs/test.yaml")
    parser.add_argument("--output_dir", default="outputs/")
    parser.add_argument("--no_use_float16", action="store_true")
    args = parser.parse_args()
    config = yaml.safe_load(Path(args.inference_config).read_text(encoding="utf-8"))
    must_exist(config["base_model_path"], config["ckpt_path"])
    must_exist("models/DWPose/yolox_l.onnx", "models/DWPose/dw-ll_ucoco_384.onnx")
    now = f"{datetime.now(UTC):%Y%m%d%H%M%S}"
    Path(args.output_dir, f"{now}.log").write_text("started\n", encoding="utf-8")
    for task in config["test_case"]:
        frames = _made(task)
        name = Path(task["ref_video_path"]).name.split(".")[0]
        write_video(Path(args.output_dir, f"{name}_{now}.mp4"), frames, round(task["fps"]))


def _made(task: dict[str, Any]) -> list[Picture]:
    picture = read_picture(task["ref_image_path"])
    height_px, width_px = picture.shape[:2]
    short, long = task["resolution"], int(task["resolution"] / RATIO // 64) * 64
    target = (short, long) if height_px > width_px else (long, short)
    ratio = height_px / width_px
    if ratio < target[1] / target[0]:
        resized = resize(picture, math.ceil(target[1] / ratio), target[1])
    else:
        resized = resize(picture, target[0], math.ceil(target[0] * ratio))
    x0 = (resized.shape[1] - target[0]) // 2
    y0 = (resized.shape[0] - target[1]) // 2
    picture = resized[y0 : y0 + target[1], x0 : x0 + target[0]]

    stride = task["sample_stride"] * max(1, int(float(rate_of(task["ref_video_path"])) / 24))
    driving = [resize(image, *target) for image in read_video(task["ref_video_path"])[::stride]]
    frames = animate(picture, [picture, *driving])
    step = task["num_frames"] - task["frames_overlap"]
    tiles = list(range(0, len(frames) - task["num_frames"] + 1, step))
    tiles[-1]
    return frames[1:]
