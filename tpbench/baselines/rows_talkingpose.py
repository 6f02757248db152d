"""The row of the native TalkingPose."""

from __future__ import annotations

from typing import Final

from tpbench.baselines.model_row import ModelRow

_WEIGHTS: Final = (
    "talkingpose-denoising-unet",
    "talkingpose-reference-unet",
    "talkingpose-pose-guider",
    "sd-image-encoder",
    "sd-image-encoder-config",
    "sd-vae-ft-mse",
    "sd-vae-ft-mse-config",
)

ROWS: Final[tuple[ModelRow, ...]] = (
    ModelRow(
        id="talkingpose",
        display_name="TalkingPose",
        kind="model",
        description="diffusion, frame by frame, each begun from the one before (closed loop)",
        factory="tpbench.baselines.talkingpose.generator:TalkingPose",
        variants={
            "no-feedback": {"gain": 0.0},
            "reference-quirks": {"reference_quirks": True},
        },
        needs=(
            "extra [talkingpose]: diffusers, transformers, safetensors",
            f"weights: {', '.join(_WEIGHTS)} (about 8.5 GB in fp32)",
            "a CUDA GPU: the networks alone take 4.2 GB in fp16; on a CPU a frame takes minutes",
        ),
        install=(
            "pip install 'tpbench[talkingpose]'",
            f"tpbench weights pull {' '.join(_WEIGHTS)}",
            "tpbench models check talkingpose",
        ),
        licence_code="MIT (of the released code, whose README says research only)",
        licence_weights="not stated; image encoder CreativeML OpenRAIL-M, VAE MIT",
        url="https://github.com/dfki-av/TalkingPose",
        params_b=2.108,
    ),
)
