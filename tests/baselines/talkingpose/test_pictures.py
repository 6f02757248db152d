from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from tpbench.baselines.talkingpose.pipeline import clip_batch, stretched, to_bytes, unit_batch


def test_colours_are_rounded_or_cut_off() -> None:
    image = torch.tensor([0.0, 0.6 / 255, 1.5 / 255, 254.9 / 255, 1.0]).expand(3, 2, 5)

    assert to_bytes(image, truncated=False)[0, :, 0].tolist() == [0, 1, 2, 255, 255]
    assert to_bytes(image, truncated=True)[0, :, 0].tolist() == [0, 0, 1, 254, 255]


def test_every_level_survives_the_way_in_and_out() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)

    assert np.array_equal(to_bytes(unit_batch([levels])[0], truncated=False), levels)


def test_a_picture_of_the_right_size_is_not_touched() -> None:
    image = np.zeros((40, 72, 3), np.uint8)

    assert stretched(image, width_px=72, height_px=40) is image
    assert stretched(image, width_px=64, height_px=64).shape == (64, 64, 3)


def test_clip_sees_a_square_with_its_own_normalisation() -> None:
    grey = np.full((30, 50, 3), 128, np.uint8)

    batch = clip_batch(grey, side_px=224)

    assert batch.shape == (1, 3, 224, 224)
    expected = (128 / 255 - torch.tensor([0.48145466, 0.4578275, 0.40821073])) / torch.tensor(
        [0.26862954, 0.26130258, 0.27577711]
    )
    torch.testing.assert_close(batch[0, :, 100, 100], expected)


def test_stretching_is_pillows_lanczos() -> None:
    image = np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8)
    pillow = Image.fromarray(image)

    ours = stretched(image, width_px=64, height_px=64)

    lanczos, bicubic = (
        np.asarray(pillow.resize((64, 64), kind))
        for kind in (Image.Resampling.LANCZOS, Image.Resampling.BICUBIC)
    )
    assert np.array_equal(ours, lanczos)
    assert not np.array_equal(ours, bicubic)
