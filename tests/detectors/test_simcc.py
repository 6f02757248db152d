from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.detectors.onnx_standins import save_simcc
from tpbench.detectors.dwpose import PoseModel
from tpbench.detectors.onnx_session import OnnxModel
from tpbench.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def cpu_model(path: Path) -> OnnxModel:
    return OnnxModel(path, device="cpu", num_threads=1, max_batch=2)


def test_responses_that_are_not_finite_give_no_point(simcc_path: Path) -> None:
    bins = [np.full((133, count), 0.5, dtype=np.float32) for count in (576, 768)]
    bins[0][7, 100] = np.nan
    bins[1][8, 100] = np.inf

    window = np.array([[0.0, 0.0], [288.0, 384.0]])
    person = PoseModel(cpu_model(simcc_path))._decode(tuple(bins), window)

    lost = np.flatnonzero(np.isnan(person.keypoints_px).any(axis=1))
    assert lost.tolist() == np.flatnonzero(person.scores == 0).tolist() == [7, 8]


def test_a_body_model_of_17_points_is_refused(tmp_path: Path) -> None:
    path = save_simcc(tmp_path / "body.onnx", points=17)
    model = cpu_model(path)

    with pytest.raises(ConfigError, match=r"want \(N, 133, 576\) and \(N, 133, 768\)"):
        PoseModel(model)
