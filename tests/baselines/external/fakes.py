"""Stand-ins of the methods' commands: their options, their files, their way with frames."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import cv2
import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image

Picture = NDArray[np.uint8]


def animate(reference: Picture, driving: Iterable[Picture]) -> list[Picture]:
    """Stand for a network: half the reference picture, half what drives it."""
    half = reference.astype(np.uint16)
    return [((half + image) // 2).astype(np.uint8) for image in driving]


def read_picture(path: Path | str) -> Picture:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    assert image is not None, path
    return cast("Picture", cv2.cvtColor(image, cv2.COLOR_BGR2RGB))


def write_picture(path: Path, image: Picture) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))


def read_video(path: Path | str) -> list[Picture]:
    with av.open(str(path)) as container:
        frames = container.decode(video=0)
        return [cast("Picture", frame.to_ndarray(format="rgb24")) for frame in frames]


def rate_of(path: Path | str) -> Fraction:
    with av.open(str(path)) as container:
        rate = container.streams.video[0].average_rate
        assert rate is not None
        return rate


def write_video(path: Path, frames: Sequence[Picture], rate: Fraction | int) -> None:
    """Write as PyAV, torchvision and imageio do by themselves: x264 at crf 23, yuv420p."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))


def grid(*panels: Picture) -> Picture:
    """Lay panels in a row as torchvision's make_grid does: 2 px of black around each."""
    if len(panels) == 1:
        return panels[0]
    bordered = [cv2.copyMakeBorder(panel, 2, 2, 2, 0, cv2.BORDER_CONSTANT) for panel in panels]
    row = np.concatenate(bordered, axis=1)
    return cast("Picture", cv2.copyMakeBorder(row, 0, 0, 0, 2, cv2.BORDER_CONSTANT))


def resize(image: Picture, width_px: int, height_px: int) -> Picture:
    return cast("Picture", cv2.resize(image, (width_px, height_px), interpolation=cv2.INTER_LINEAR))


def must_exist(*paths: str) -> None:
    """Fail as loading weights does: paths are relative to where the method runs."""
    for path in paths:
        if not Path(path).exists():
            raise FileNotFoundError(path)


def arguments(*flags: str, **defaults: object) -> argparse.Namespace:
    """Parse the command line of a method: its flags, and options by their defaults (or types)."""
    parser = argparse.ArgumentParser()
    for name in flags:
        parser.add_argument(f"--{name}", action="store_true")
    for name, default in defaults.items():
        given = isinstance(default, type)
        kind: Any = default if given else type(default)
        dashes = "-" if len(name) == 1 else "--"
        parser.add_argument(f"{dashes}{name}", type=kind, default=None if given else default)
    return parser.parse_args()


def config_of(args: argparse.Namespace) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load(Path(args.config).read_text("utf-8"))
    return config


def animate_anyone() -> None:
    """Stand for scripts/pose2vid.py of Moore-AnimateAnyone."""
    args = arguments(config=str, W=512, H=784, L=24, seed=42, cfg=3.5, steps=30, fps=int)
    config = config_of(args)
    must_exist(*(value for key, value in config.items() if key.endswith("_path")))
    must_exist(config["inference_config"])
    assert config["weight_dtype"] == "fp16"
    now = datetime.now(UTC)
    time = now.strftime("%H%M")
    folder = Path(f"output/{now:%Y%m%d}/{time}--seed_{args.seed}-{args.W}x{args.H}")
    for ref, poses in config["test_cases"].items():
        for pose in poses:
            pose_name = Path(pose).stem.replace("_kps", "")
            frames = [resize(image, args.W, args.H) for image in read_video(pose)[: args.L]]
            if len(frames) != args.L:
                raise RuntimeError("Sizes of tensors must match except in dimension 0")
            picture = resize(read_picture(ref), args.W, args.H)
            pairs = zip(frames, animate(picture, frames), strict=True)
            rows = [grid(picture, frame, made) for frame, made in pairs]
            name = f"{Path(ref).stem}_{pose_name}_{args.H}x{args.W}_{int(args.cfg)}_{time}.mp4"
            write_video(folder / name, rows, args.fps or rate_of(pose))


def champ() -> None:
    """Stand for inference.py of Champ."""
    config = config_of(arguments(config="./configs/inference.yaml"))
    must_exist(*(config[key] for key in config if key.endswith(("_model_path", "_dir"))))
    must_exist(config["motion_module_path"], config["image_encoder_path"])
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
    rows = [
        grid(picture, image, *parts) for image, *parts in zip(made, *guidance.values(), strict=True)
    ]
    write_video(folder / "animation.mp4", made, 24)
    write_video(folder / "grid.mp4", [grid(picture, image) for image in made], 24)
    write_video(folder / "grid_wguidance.mp4", rows, 24)


def magicanimate() -> None:
    """Stand for magicanimate/pipelines/animation.py of MagicAnimate."""
    config = config_of(arguments(config=str))
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


def magicpose() -> None:
    """Stand for test_any_image_pose.py of MagicPose."""
    args = arguments(
        "use_fp16", "v4", "with_text", "wonoise",
        model_config=str, num_train_steps=1_000_000, img_bin_limit="29", train_batch_size=16,
        val_batch_size=1, control_mode="balance", control_type="pose", train_dataset=str, seed=42,
        local_image_dir=str, local_log_dir=str, image_pretrain_dir=str, local_pose_path=str,
        local_cond_image_path=str,
    )  # fmt: skip
    # A single process, as torchrun starts it.
    assert [os.environ[name] for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE")] == ["0", "0", "1"]
    assert int(os.environ["MASTER_PORT"]) > 0
    assert os.environ["MASTER_ADDR"]
    assert (args.control_type, args.control_mode) == ("body+hand+face", "controlnet_important")
    must_exist(args.image_pretrain_dir, args.model_config)
    Path(args.local_log_dir).mkdir(parents=True)

    def cropped(path: Path | str) -> Picture:
        image = read_picture(path)
        # The method takes a random square of what is not square.
        assert image.shape[0] == image.shape[1], image.shape
        return resize(image, 512, 512)

    picture = cropped(args.local_cond_image_path)
    poses = [cropped(path) for path in sorted(Path(args.local_pose_path).iterdir())]
    for step in range(args.num_train_steps):
        folder = Path(args.local_image_dir, str(step))
        write_picture(folder / "condition.jpg", picture)
        for index, (pose, made) in enumerate(zip(poses, animate(picture, poses), strict=True)):
            write_picture(folder / "gen_images" / f"{index:03d}.jpg", made)
            write_picture(folder / "pose_maps" / f"{index:03d}.jpg", pose)


def mimicmotion() -> None:
    """Stand for inference.py of MimicMotion."""
    args = arguments(
        "no_use_float16", log_file=str, inference_config="configs/test.yaml", output_dir="outputs/"
    )
    config = yaml.safe_load(Path(args.inference_config).read_text(encoding="utf-8"))
    must_exist(config["base_model_path"], config["ckpt_path"])
    must_exist("models/DWPose/yolox_l.onnx", "models/DWPose/dw-ll_ucoco_384.onnx")
    now = f"{datetime.now(UTC):%Y%m%d%H%M%S}"
    Path(args.output_dir, f"{now}.log").write_text("started\n", encoding="utf-8")
    for task in config["test_case"]:
        name = Path(task["ref_video_path"]).name.split(".")[0]
        frames = _mimicmotion_frames(task)
        write_video(Path(args.output_dir, f"{name}_{now}.mp4"), frames, round(task["fps"]))


def _mimicmotion_frames(task: dict[str, Any]) -> list[Picture]:
    picture = read_picture(task["ref_image_path"])
    height_px, width_px = picture.shape[:2]
    short, long = task["resolution"], int(task["resolution"] / (9 / 16) // 64) * 64
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


def stableanimator() -> None:
    """Stand for inference_basic.py of StableAnimator."""
    args = arguments(
        "gradient_checkpointing",
        pretrained_model_name_or_path=str, validation_image=str, validation_control_folder=str,
        output_dir=str, height=768, width=512, guidance_scale=2.0, num_inference_steps=25,
        posenet_model_name_or_path=str, face_encoder_model_name_or_path=str,
        unet_model_name_or_path=str, tile_size=16, overlap=4, noise_aug_strength=0.0,
        frames_overlap=4, decode_chunk_size=int,
    )  # fmt: skip
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
    made = animate(resize(read_picture(args.validation_image), args.width, args.height), poses)
    out = Path(args.output_dir)
    gif = [Image.fromarray(image) for image in made]
    gif[0].save(out / "animation_video.gif", append_images=gif[1:], save_all=True, duration=125)
    for index, image in enumerate(made):
        write_picture(out / "animated_images" / f"frame_{index}.png", image)
