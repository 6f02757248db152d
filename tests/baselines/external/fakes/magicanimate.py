"""Stands for magicanimate/pipelines/animation.py of MagicAnimate."""

from __future__ import annotations

import argparse
from pathlib import Path

import yaml

from tests.baselines.external.fakes.media import (
    animate,
    grid,
    must_exist,
    read_picture,
    read_video,
    resize,
    write_video,
)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", required=True)
    args = parser.parse_args()
    config = yaml.safe_load(Path(args.config).read_text(encoding="utf-8"))
    paths = (config[key] for key in config if key.startswith("pretrained_") and config[key])
    must_exist(*paths, config["motion_module"], config["inference_config"])
    assert config["max_length"] is None
    seeds = config["seed"]
    assert -1 not in seeds  # that would be a random one
    assert len(seeds) == len(config["source_image"])

    folder = Path(f"samples/{config['savename']}")
    folder.mkdir(parents=True, exist_ok=True)
    size, window = config["size"], config["L"]
    for source, video in zip(config["source_image"], config["video_path"], strict=False):
        control = read_video(video)
        if control[0].shape[0] != size:
            control = [resize(image, size, size) for image in control]
        length = len(control)
        control += [control[-1]] * (-length % window)
        picture = resize(read_picture(source), size, size)
        made = animate(picture, control)[:length]
        name = f"{Path(source).name.split('.')[0]}_{Path(video).name[:-4]}"
        write_video(folder / "videos" / f"{name}.mp4", made, 25)
        rows = [grid(picture, *pair) for pair in zip(control, made, strict=False)]
        write_video(folder / "videos" / name / "grid.mp4", rows, 25)
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
