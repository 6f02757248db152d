"""Stands for inference.py of Champ."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import yaml

from tests.baselines.external.fakes.media import (
    animate,
    grid,
    must_exist,
    read_picture,
    resize,
    write_video,
)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", default="./configs/inference.yaml")
    args = parser.parse_args()
    config = yaml.safe_load(Path(args.config).read_text(encoding="utf-8"))
    must_exist(
        *(config[key] for key in config if key.endswith(("_model_path", "_dir"))),
        config["motion_module_path"],
        config["image_encoder_path"],
    )
    folder = Path(f"results/{config['exp_name']}-{datetime.now(UTC):%Y-%m-%dT%H-%M-%S}")
    folder.mkdir(parents=True)

    data = config["data"]
    guidance = {}
    for kind in config["guidance_types"]:
        paths = sorted(Path(data["guidance_data_folder"], kind).iterdir())
        if data["frame_range"]:
            paths = paths[slice(*data["frame_range"])]
        guidance[kind] = [read_picture(path) for path in paths]
        if kind == "semantic_map":
            masks = [read_picture(path.parent.parent / "mask" / path.name) for path in paths]
            for image, mask in zip(guidance[kind], masks, strict=True):
                image[mask == 0] = 0
    assert len({len(images) for images in guidance.values()}) == 1

    picture = read_picture(data["ref_image_path"])
    height_px, width_px = picture.shape[:2]
    size = config["width"], config["height"]
    means = [
        np.asarray(np.mean(images, axis=0, dtype=np.float32), dtype=np.uint8)
        for images in zip(*guidance.values(), strict=True)
    ]
    made = animate(resize(picture, *size), [resize(image, *size) for image in means])
    made = [resize(image, width_px, height_px) for image in made]
    write_video(folder / "animation.mp4", made, 24)
    write_video(folder / "grid.mp4", [grid(picture, image) for image in made], 24)
    rows = [
        grid(picture, image, *parts) for image, *parts in zip(made, *guidance.values(), strict=True)
    ]
    write_video(folder / "grid_wguidance.mp4", rows, 24)
