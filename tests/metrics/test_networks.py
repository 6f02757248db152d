from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torchvision.transforms.functional import to_tensor

from tests.metrics.random_networks import random_pictures
from tpbench.errors import ConfigError
from tpbench.metrics.networks import check_pictures, exact_inference, read_state, unit_tensor

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

CPU = torch.device("cpu")


def test_pictures_become_what_torchvision_makes_of_them() -> None:
    pictures = random_pictures(2, size=(5, 7))

    expected = torch.stack([to_tensor(picture) for picture in pictures])
    assert torch.equal(unit_tensor(pictures, CPU), expected)


def test_views_and_read_only_pictures_are_taken() -> None:
    pictures = random_pictures(2, size=(5, 7))
    view = pictures[:, ::-1, :, ::-1]
    expected = unit_tensor(view.copy(), CPU)
    view.flags.writeable = False

    assert torch.equal(unit_tensor(view, CPU), expected)


@pytest.mark.parametrize(
    "pictures",
    [
        np.zeros((1, 4, 4, 3), np.float32),
        np.zeros((4, 4, 3), np.uint8),
        np.zeros((1, 4, 4, 4), np.uint8),
        np.zeros((1, 0, 4, 3), np.uint8),
    ],
)
def test_what_are_no_pictures_is_refused(pictures: NDArray[Any]) -> None:
    with pytest.raises(ValueError, match=r"want \(n, height, width, 3\) uint8 RGB, got \("):
        check_pictures(pictures, axes="n, height, width, 3")


def test_precision_is_full_inside_and_as_before_outside() -> None:
    before = torch.backends.cudnn.allow_tf32
    with exact_inference():
        assert torch.is_inference_mode_enabled()
        assert not torch.backends.cudnn.allow_tf32
        assert torch.backends.cudnn.deterministic
    assert torch.backends.cudnn.allow_tf32 == before
    assert not torch.is_inference_mode_enabled()


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 cut short"])
def test_a_file_that_is_no_model_is_one_clear_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    path.write_bytes(content)

    with pytest.raises(ConfigError, match=r"model.pth: is no model file") as raised:
        read_state(path)
    assert "\n" not in str(raised.value)


def test_a_file_that_would_run_code_is_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    torch.save(torch.nn.Linear(1, 1), path)

    with pytest.raises(ConfigError, match=r"model.pth: is no model file"):
        read_state(path)


def test_a_file_without_named_tensors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    torch.save({"epoch": 3}, path)

    with pytest.raises(ConfigError, match="want named tensors, got dict"):
        read_state(path)


def test_exactness_lasts_while_any_thread_is_inside() -> None:
    before = torch.backends.cudnn.allow_tf32
    first_is_in, second_is_in = threading.Event(), threading.Event()

    def first() -> None:
        with exact_inference():
            first_is_in.set()
            second_is_in.wait(10)

    thread = threading.Thread(target=first)
    thread.start()
    first_is_in.wait(10)
    with exact_inference():
        second_is_in.set()
        thread.join()
        assert not torch.backends.cudnn.allow_tf32
        assert torch.is_inference_mode_enabled()

    assert torch.backends.cudnn.allow_tf32 == before
