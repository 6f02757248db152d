"""Stands for inference_basic.py of StableAnimator."""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

from tests.baselines.external.fakes.media import (
    animate,
    must_exist,
    read_picture,
    resize,
    write_picture,
)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pretrained_model_name_or_path", required=True)
    parser.add_argument("--validation_image")
    parser.add_argument("--validation_control_folder")
    parser.add_argument("--output_dir", required=True)
    parser.add_argument("--height", type=int, default=768)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--guidance_scale", type=float, default=2.0)
    parser.add_argument("--num_inference_steps", type=int, default=25)
    parser.add_argument("--posenet_model_name_or_path")
    parser.add_argument("--face_encoder_model_name_or_path")
    parser.add_argument("--unet_model_name_or_path")
    parser.add_argument("--tile_size", type=int, default=16)
    parser.add_argument("--overlap", type=int, default=4)
    parser.add_argument("--noise_aug_strength", type=float, default=0.0)
    parser.add_argument("--frames_overlap", type=int, default=4)
    parser.add_argument("--gradient_checkpointing", action="store_true")
    parser.add_argument("--decode_chunk_size", type=int)
    args = parser.parse_args()
    must_exist(
        args.pretrained_model_name_or_path,
        args.posenet_model_name_or_path,
        args.face_encoder_model_name_or_path,
        args.unet_model_name_or_path,
        "models/antelopev2/glintr100.onnx",
    )
    paths = list(Path(args.validation_control_folder).glob("*.png"))
    paths.sort(key=lambda path: int(path.name.split("_")[1].split(".")[0]))
    poses = [resize(read_picture(path), args.width, args.height) for path in paths]
    assert args.tile_size <= len(poses)
    picture = resize(read_picture(args.validation_image), args.width, args.height)
    made = animate(picture, poses)
    out = Path(args.output_dir)
    gif = [Image.fromarray(image) for image in made]
    gif[0].save(out / "animation_video.gif", append_images=gif[1:], save_all=True, duration=125)
    for index, image in enumerate(made):
        write_picture(out / "animated_images" / f"frame_{index}.png", image)
