"""The stand-in models that tests of DWPose share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.detectors.onnx_standins import save_simcc, save_yolox


@pytest.fixture(scope="session")
def onnx_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("onnx")


@pytest.fixture(scope="session")
def yolox_path(onnx_folder: Path) -> Path:
    return save_yolox(onnx_folder / "yolox.onnx")


@pytest.fixture(scope="session")
def simcc_path(onnx_folder: Path) -> Path:
    return save_simcc(onnx_folder / "simcc.onnx")
