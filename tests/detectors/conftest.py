"""The picture of a person and the stand-in models of DWPose that tests share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from skimage.data import astronaut

from tests.detectors.onnx_standins import save_simcc, save_yolox


@pytest.fixture(scope="session")
def portrait() -> np.ndarray:
    """A woman to the waist, 512x512, her right eye at (202, 102), her left eye at (246, 104)."""
    return np.asarray(astronaut())


@pytest.fixture(scope="session")
def onnx_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("onnx")


@pytest.fixture(scope="session")
def yolox_path(onnx_folder: Path) -> Path:
    return save_yolox(onnx_folder / "yolox.onnx")


@pytest.fixture(scope="session")
def simcc_path(onnx_folder: Path) -> Path:
    return save_simcc(onnx_folder / "simcc.onnx")
