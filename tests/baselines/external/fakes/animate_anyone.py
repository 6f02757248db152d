"""Stands for scripts/pose2vid.py of Moore-AnimateAnyone."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path

import yaml

from tests.baselines.external.fakes.media import (
    animate,
    grid,
    must_exist,
    rate_of,
    read_picture,
    read_video,
    resize,
    write_video,
)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config")
    parser.add_argument("-W", type=int, default=512)
    parser.add_argument("-H", type=int, default=784)
    parser.add_argument("-L", type=int, default=24)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--cfg", type=float, default=3.5)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--fps", type=int)
    args = parser.parse_args()
    config = yaml.safe_load(Path(args.config).read_text(encoding="utf-8"))
    must_exist(*(value for key, value in config.items() if key.endswith("_path")))
    must_exist(config["inference_config"])
    assert config["weight_dtype"] == "fp16"

    now = datetime.now(UTC)
    time = now.strftime("%H%M")
    folder = Path(f"output/{now:%Y%m%d}/{time}--seed_{args.seed}-{args.W}x{args.H}")
    folder.mkdir(parents=True, exist_ok=True)
    for ref, poses in config["test_cases"].items():
        for pose in poses:
            pose_name = Path(pose).stem.replace("_kps", "")
            frames = [resize(image, args.W, args.H) for image in read_video(pose)[: args.L]]
            if len(frames) != args.L:
                raise RuntimeError("Sizes of tensors must match except in dimension 0")
            picture = resize(read_picture(ref), args.W, args.H)
            rows = [
                grid(picture, frame, made)
                for frame, made in zip(frames, animate(picture, frames), strict=True)
            ]
            name = f"{Path(ref).stem}_{pose_name}_{args.H}x{args.W}_{int(args.cfg)}_{time}.mp4"
            write_video(folder / name, rows, args.fps or rate_of(pose))
