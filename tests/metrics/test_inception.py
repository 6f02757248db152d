from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_fid import fid_score, inception

from tests.metrics.random_networks import random_pictures, random_state, save_state, weights_path
from tpbench.errors import ConfigError, MissingWeightsError
from tpbench.metrics.networks import InceptionFeatures, inception_network, load_inception

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    """Made-up weights of the network that pytorch-fid builds."""
    built = []

    def spy(module: torch.nn.Module, *_args: object, **_kwargs: object) -> None:
        built.append(module)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inception, "load_state_dict_from_url", lambda *_args, **_kwargs: None)
        patch.setattr(torch.nn.Module, "load_state_dict", spy)
        inception.fid_inception_v3()
    return random_state(built[0], seed=3)


@pytest.fixture(scope="module")
def extractor(state: dict[str, torch.Tensor]) -> InceptionFeatures:
    return InceptionFeatures(inception_network(state), batch_size=3)


@pytest.fixture(scope="module")
def pictures() -> NDArray[np.uint8]:
    return random_pictures(4, size=(48, 64))


@pytest.fixture(scope="module")
def features(extractor: InceptionFeatures, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    return extractor.features(pictures)


def reference_pytorch_fid_features(
    pictures: NDArray[np.uint8], state: dict[str, torch.Tensor], folder: Path
) -> NDArray[np.float64]:
    """Features by the package's own way, from picture files to `get_activations`."""
    files = []
    for number, picture in enumerate(pictures):
        files.append(folder / f"{number}.png")
        Image.fromarray(picture).save(files[-1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inception, "load_state_dict_from_url", lambda *_args, **_kwargs: state)
        model = inception.InceptionV3([inception.InceptionV3.BLOCK_INDEX_BY_DIM[2048]])
    found: NDArray[np.float64] = fid_score.get_activations(
        files, model, batch_size=2, dims=2048, device="cpu", num_workers=0
    )
    return found


def test_equals_the_package(
    features: NDArray[np.float32],
    pictures: NDArray[np.uint8],
    state: dict[str, torch.Tensor],
    tmp_path: Path,
) -> None:
    expected = reference_pytorch_fid_features(pictures, state, tmp_path)

    assert features.shape == (4, 2048)
    assert features.dtype == np.float32
    assert expected.std(axis=0).max() > 1e-2 * expected.max()
    np.testing.assert_allclose(features, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_the_batch_size_changes_rounding_only(
    features: NDArray[np.float32], pictures: NDArray[np.uint8], extractor: InceptionFeatures
) -> None:
    one = extractor.features(pictures[2:3])[0]

    np.testing.assert_allclose(one, features[2], rtol=0, atol=1e-5 * np.abs(features).max())


def test_no_pictures_give_no_features(extractor: InceptionFeatures) -> None:
    assert extractor.features(np.zeros((0, 8, 8, 3), np.uint8)).shape == (0, 2048)


def test_floats_are_refused(extractor: InceptionFeatures) -> None:
    with pytest.raises(ValueError, match="float64"):
        extractor.features(np.zeros((1, 8, 8, 3)))  # type: ignore[arg-type]  # the mistake tested


def test_a_batch_of_none_is_refused() -> None:
    with pytest.raises(ValueError, match="batch_size: want 1 or more, got 0"):
        InceptionFeatures(torch.nn.Identity(), batch_size=0)


def test_building_moves_no_random_generator_and_restores_the_package(
    state: dict[str, torch.Tensor],
) -> None:
    download = inception.load_state_dict_from_url
    before = torch.get_rng_state()

    inception_network(state)

    assert torch.equal(torch.get_rng_state(), before)
    assert inception.load_state_dict_from_url is download


def test_weights_come_from_the_weights_folder(
    features: NDArray[np.float32],
    pictures: NDArray[np.uint8],
    state: dict[str, torch.Tensor],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = weights_path("fid-inception", cache=tmp_path, monkeypatch=monkeypatch)
    save_state(state, path)

    found = load_inception().features(pictures[:1])

    np.testing.assert_allclose(found, features[:1], rtol=0, atol=1e-5 * np.abs(features).max())


def test_missing_weights_are_an_error_and_never_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TPBENCH_CACHE", str(tmp_path))

    with pytest.raises(MissingWeightsError, match="tpbench weights pull fid-inception"):
        load_inception()


def test_weights_of_another_network_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = weights_path("fid-inception", cache=tmp_path, monkeypatch=monkeypatch)
    save_state({"fc.weight": torch.zeros(3, 3)}, path)

    with pytest.raises(ConfigError, match="no weights of pytorch-fid's Inception"):
        load_inception()
