"""Stands for test_any_image_pose.py of MagicPose."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from tests.baselines.external.fakes.media import (
    animate,
    must_exist,
    read_picture,
    resize,
    write_picture,
)

if TYPE_CHECKING:
    from tests.baselines.external.fakes.media import Picture


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model_config")
    parser.add_argument("--num_train_steps", type=int, default=1_000_000)
    parser.add_argument("--img_bin_limit", default=29)
    parser.add_argument("--train_batch_size", type=int, default=16)
    parser.add_argument("--val_batch_size", type=int, default=1)
    parser.add_argument("--use_fp16", action="store_true")
    parser.add_argument("--control_mode", default="balance")
    parser.add_argument("--control_type", nargs="+", default=["pose"])
    parser.add_argument("--train_dataset")
    parser.add_argument("--v4", action="store_true")
    parser.add_argument("--with_text", action="store_false")
    parser.add_argument("--wonoise", action="store_true")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--local_image_dir", required=True)
    parser.add_argument("--local_log_dir")
    parser.add_argument("--image_pretrain_dir")
    parser.add_argument("--local_pose_path")
    parser.add_argument("--local_cond_image_path")
    args = parser.parse_args()
    # A single process, as torchrun starts it.
    assert [os.environ[name] for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE")] == ["0", "0", "1"]
    assert int(os.environ["MASTER_PORT"]) > 0
    assert os.environ["MASTER_ADDR"]
    assert args.control_type == ["body+hand+face"]
    assert args.control_mode == "controlnet_important"
    must_exist(args.image_pretrain_dir, args.model_config)
    Path(args.local_log_dir).mkdir(parents=True)

    picture = _cropped(args.local_cond_image_path)
    poses = [_cropped(path) for path in sorted(Path(args.local_pose_path).iterdir())]
    for step in range(args.num_train_steps):
        folder = Path(args.local_image_dir, str(step))
        write_picture(folder / "condition.jpg", picture)
        for index, (pose, made) in enumerate(zip(poses, animate(picture, poses), strict=True)):
            write_picture(folder / "gen_images" / f"{index:03d}.jpg", made)
            write_picture(folder / "pose_maps" / f"{index:03d}.jpg", pose)


def _cropped(path: Path | str) -> Picture:
    image = read_picture(path)
    # The method takes a random square of what is not square.
    assert image.shape[0] == image.shape[1], image.shape
    return resize(image, 512, 512)
