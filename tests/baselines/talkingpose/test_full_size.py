"""Checkpoints as large as the released ones, with made-up values, through `tpbench eval`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import psutil
import pytest
import torch
from safetensors.torch import save_file

from tests.baselines.talkingpose.tiny import SEED, old_vae_name, random_pose
from tests.benchmark.people import write_clip, write_manifest
from tpbench.baselines.talkingpose.networks import (
    NETWORK_NAMES,
    ModelSizes,
    NetworkName,
    _build,
)
from tpbench.baselines.talkingpose.parity import made_up_weights
from tpbench.video import probe, read_frames

FILES: Final[dict[NetworkName, str]] = {
    "denoising_unet": "denoising_unet.pth",
    "reference_unet": "reference_unet.pth",
    "pose_guider": "pose_guider.pth",
    "image_encoder": "image_encoder/pytorch_model.bin",
    "vae": "vae/diffusion_pytorch_model.safetensors",
}
SIDE_PX: Final = 256
N_PARAMETERS: Final = 2_107_736_315
MEMORY_NEEDED_BYTES: Final = 14e9
DISK_NEEDED_BYTES: Final = 12e9
PEAK_BYTES: Final = 12e9


def write_full_size_weights(folder: Path) -> int:
    """Write the files of a folder for `--weights`, one network at a time; returns their bytes."""
    sizes = ModelSizes()
    for name in NETWORK_NAMES:
        path = folder / FILES[name]
        path.parent.mkdir(parents=True, exist_ok=True)
        with torch.device("meta"):
            wanted = _build(name, sizes).state_dict()
        tensors = made_up_weights(SEED, name, wanted)
        if name == "vae":
            save_file({old_vae_name(key): found for key, found in tensors.items()}, path)
            continue
        if name == "image_encoder":
            tensors["vision_model.embeddings.position_ids"] = torch.arange(257)[None]
        torch.save(tensors, path)
    for part, found in (("image_encoder", sizes.image_encoder), ("vae", sizes.vae)):
        (folder / part / "config.json").write_text(found.model_dump_json())
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def write_dataset(folder: Path) -> None:
    """Write a clip of two frames: the reference, and the one frame that is scored."""
    images = np.random.default_rng(0).integers(0, 256, (2, SIDE_PX, SIDE_PX, 3), np.uint8)
    pose = random_pose(2, width_px=SIDE_PX, height_px=SIDE_PX)
    write_manifest(folder, [write_clip(folder, "anna", images, pose)])


def evaluated(*words: str) -> tuple[str, int]:
    """Run `tpbench eval` as its own process; returns its answer, and its peak of memory in bytes.

    The peak is that of the largest process, which is the worker with the networks.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "tpbench", "eval", *words], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process.stdout:
        answer = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, answer
    return answer, usage.ru_maxrss * 1024


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is counted in other units")
def test_checkpoints_of_the_full_size_load_and_generate_through_eval(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    if psutil.virtual_memory().available < MEMORY_NEEDED_BYTES:
        pytest.skip("needs 14 GB of free memory")
    if shutil.disk_usage(tmp_path).free < DISK_NEEDED_BYTES:
        pytest.skip("needs 12 GB of free disk")
    data, weights, runs = tmp_path / "DATASET", tmp_path / "weights", tmp_path / "runs"
    write_dataset(data)
    try:
        weights_bytes = write_full_size_weights(weights)
        start_s = time.monotonic()
        words = ["--model", "talkingpose", "--weights", str(weights), "--data", str(data)]
        words += ["--out", str(runs), "--device", "cpu", "--option", "steps=2", "--min-frames", "2"]
        answer, peak_bytes = evaluated(*words, "--metrics", "psnr,ssim", "--offline", "--json")
        whole_s = time.monotonic() - start_s
    finally:
        shutil.rmtree(weights)

    assert json.loads(answer)
    (run,) = runs.glob("talkingpose/*/*/seed42")
    described = json.loads((run / "run.json").read_text())
    configuration = json.dumps(described["model"]["configuration"])
    assert f'"parameters": {N_PARAMETERS},' in configuration
    made = run / "generated" / "anna.mkv"
    frames = list(read_frames(made))
    assert (probe(made).width_px, len(frames)) == (SIDE_PX, 2)
    assert all(frame.image.std() > 1 for frame in frames)
    measured = {"weights_bytes": weights_bytes, "peak_bytes": peak_bytes, "eval_s": whole_s}
    for name, value in measured.items():
        record_property(name, value)
    sys.stdout.write(f"{measured} {described['timings']}\n")
    assert peak_bytes < PEAK_BYTES
