from __future__ import annotations

from pathlib import Path

import lpips
import numpy as np
import pytest
import torch
import torchvision
from numpy.typing import NDArray

from tests.metrics.random_networks import random_pictures, random_state, save_state, weights_path
from tpbench.errors import ConfigError, MissingWeightsError
from tpbench.metrics.lpips_distance import (
    LPIPS_MIN_SIZE_PX,
    Backbone,
    FedRange,
    LpipsDistance,
    load_lpips,
    lpips_network,
)

State = dict[str, torch.Tensor]
BACKBONES: list[Backbone] = ["alex", "vgg"]


@pytest.fixture(scope="module")
def states() -> dict[Backbone, State]:
    """Made-up weights of torchvision's networks, by torchvision's names."""
    with torch.device("meta"):
        networks = {"alex": torchvision.models.alexnet(), "vgg": torchvision.models.vgg16()}
    return {
        backbone: {
            f"features.{name}": tensor
            for name, tensor in random_state(networks[backbone].features, seed=5).items()
        }
        for backbone in BACKBONES
    }


@pytest.fixture(scope="module")
def pairs() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    real = random_pictures(4, size=(64, 48), seed=1)
    noise = np.random.default_rng(2).integers(-30, 31, real.shape)
    return real, np.clip(real + noise, 0, 255).astype(np.uint8)


def reference_lpips_lpips(
    real: NDArray[np.uint8],
    generated: NDArray[np.uint8],
    *,
    backbone: Backbone,
    state: State,
    normalize: bool,
) -> NDArray[np.float64]:
    """Package lpips as it is built by its users, with torchvision's features put into its slices.

    `normalize=True` is its own way from [0, 1] to [-1, 1].
    """
    network = lpips.LPIPS(net=backbone, pnet_rand=True, verbose=False)
    for name, module in network.net.named_modules():
        index = name.rpartition(".")[2]
        if isinstance(module, torch.nn.Conv2d):
            module.weight = torch.nn.Parameter(state[f"features.{index}.weight"])
            module.bias = torch.nn.Parameter(state[f"features.{index}.bias"])
    a, b = (torch.from_numpy(x).permute(0, 3, 1, 2) / 255 for x in (real, generated))
    with torch.no_grad():
        values = [
            network(x[None], y[None], normalize=normalize).item() for x, y in zip(a, b, strict=True)
        ]
    return np.array(values)


@pytest.mark.filterwarnings("ignore::UserWarning")  # the reference says pretrained=False
@pytest.mark.parametrize(
    ("backbone", "fed"), [("alex", "signed"), ("vgg", "signed"), ("vgg", "unit")]
)
def test_equals_the_package(
    backbone: Backbone,
    fed: FedRange,
    states: dict[Backbone, State],
    pairs: tuple[NDArray[np.uint8], NDArray[np.uint8]],
) -> None:
    state = states[backbone]
    metric = LpipsDistance(lpips_network(backbone, state), backbone=backbone, fed=fed, batch_size=3)
    found = metric.distances(*pairs)
    expected = reference_lpips_lpips(
        *pairs, backbone=backbone, state=state, normalize=fed == "signed"
    )
    assert found.shape == (4,)
    assert found.dtype == np.float64
    assert expected.min() > 1e-3
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_range_that_is_fed_matters(
    states: dict[Backbone, State], pairs: tuple[NDArray[np.uint8], NDArray[np.uint8]]
) -> None:
    network = lpips_network("alex", states["alex"])
    signed, unit = (LpipsDistance(network, fed=fed).distances(*pairs) for fed in ("signed", "unit"))
    assert np.abs(signed - unit).min() > 1e-2 * signed.max()


def test_equal_pictures_are_at_distance_0_and_order_of_a_pair_is_nothing(
    states: dict[Backbone, State], pairs: tuple[NDArray[np.uint8], NDArray[np.uint8]]
) -> None:
    metric = LpipsDistance(lpips_network("alex", states["alex"]))
    real, generated = pairs
    assert metric.distances(real, real).tolist() == [0.0] * 4
    np.testing.assert_allclose(
        metric.distances(generated, real), metric.distances(real, generated), rtol=1e-6
    )


def test_the_batch_size_changes_rounding_only(
    states: dict[Backbone, State], pairs: tuple[NDArray[np.uint8], NDArray[np.uint8]]
) -> None:
    network = lpips_network("alex", states["alex"])
    one, four = (LpipsDistance(network, batch_size=n).distances(*pairs) for n in (1, 4))
    np.testing.assert_allclose(one, four, rtol=1e-5)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_least_size_is_the_least_that_the_network_takes(
    backbone: Backbone, states: dict[Backbone, State]
) -> None:
    network = lpips_network(backbone, states[backbone])
    metric = LpipsDistance(network, backbone=backbone)
    size_px = LPIPS_MIN_SIZE_PX[backbone]
    pictures = random_pictures(2, size=(size_px, size_px))
    assert np.isfinite(metric.distances(pictures[:1], pictures[1:])).all()
    with pytest.raises(ValueError, match=f"{size_px}x{size_px - 1} px are too small"):
        metric.distances(pictures[:1, 1:], pictures[1:, 1:])
    metric._min_size_px = 1
    with pytest.raises(RuntimeError):
        metric.distances(pictures[:1, 1:], pictures[1:, 1:])


def test_pairs_that_do_not_fit_are_refused() -> None:
    metric = LpipsDistance(torch.nn.Identity())
    with pytest.raises(ValueError, match=r"differ, \(2, 64, 64, 3\) and \(1, 64, 64, 3\)"):
        metric.distances(random_pictures(2), random_pictures(1))
    with pytest.raises(ValueError, match=r"want \(n, height, width, 3\)"):
        metric.distances(random_pictures(2)[0], random_pictures(2)[0])
    with pytest.raises(ValueError, match="batch_size: want 1 or more, got 0"):
        LpipsDistance(torch.nn.Identity(), batch_size=0)


def test_building_moves_no_random_generator(states: dict[Backbone, State]) -> None:
    before = torch.get_rng_state()
    network = lpips_network("alex", states["alex"])
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(tensor.is_meta for tensor in network.state_dict().values())


def test_weights_come_from_the_weights_folder(
    states: dict[Backbone, State],
    pairs: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = weights_path("lpips-alexnet", cache=tmp_path, monkeypatch=monkeypatch)
    save_state(states["alex"] | {"classifier.6.bias": torch.zeros(1000)}, path)
    expected = LpipsDistance(lpips_network("alex", states["alex"])).distances(*pairs)
    np.testing.assert_allclose(load_lpips().distances(*pairs), expected, rtol=1e-6)


@pytest.mark.parametrize(("backbone", "name"), [("alex", "lpips-alexnet"), ("vgg", "lpips-vgg16")])
def test_missing_weights_are_an_error_and_never_downloaded(
    backbone: Backbone, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TPBENCH_CACHE", str(tmp_path))
    with pytest.raises(MissingWeightsError, match=f"tpbench weights pull {name}"):
        load_lpips(backbone)


@pytest.mark.parametrize("empty", [True, False])
def test_weights_of_another_network_are_refused(
    empty: bool,  # noqa: FBT001 - a parameter
    states: dict[Backbone, State],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = weights_path("lpips-alexnet", cache=tmp_path, monkeypatch=monkeypatch)
    save_state({} if empty else states["vgg"], path)
    with pytest.raises(ConfigError, match="no weights of torchvision's network"):
        load_lpips("alex")
