from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lpips
import numpy as np
import pytest
import torch
import torchvision
from numpy.typing import NDArray
from PIL import Image
from pytorch_fid import fid_score, inception
from torchvision.transforms.functional import to_tensor

from tests.metrics.random_networks import random_pictures, random_state, save_state, weights_path
from tpbench.errors import ConfigError, MissingWeightsError
from tpbench.metrics.i3d import I3DFeatures, load_i3d
from tpbench.metrics.networks import (
    LPIPS_MIN_SIZE_PX,
    Backbone,
    FedRange,
    InceptionFeatures,
    LpipsDistance,
    check_pictures,
    exact_inference,
    inception_network,
    load_inception,
    load_lpips,
    lpips_network,
    read_state,
    unit_tensor,
)

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


@pytest.mark.parametrize("kind", [InceptionFeatures, I3DFeatures, LpipsDistance])
def test_a_batch_of_none_is_refused(
    kind: type[InceptionFeatures] | type[I3DFeatures] | type[LpipsDistance],
) -> None:
    with pytest.raises(ValueError, match="batch_size: want 1 or more, got 0"):
        kind(torch.nn.Identity(), batch_size=0)


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


@pytest.mark.parametrize(
    ("load", "name"),
    [
        (load_inception, "fid-inception"),
        (load_i3d, "i3d-torchscript"),
        (lambda: load_lpips("alex"), "lpips-alexnet"),
        (lambda: load_lpips("vgg"), "lpips-vgg16"),
    ],
)
def test_missing_weights_are_an_error_and_never_downloaded(
    load: Callable[[], object], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TPBENCH_CACHE", str(tmp_path))
    with pytest.raises(MissingWeightsError, match=f"tpbench weights pull {name}"):
        load()


def test_weights_of_another_network_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = weights_path("fid-inception", cache=tmp_path, monkeypatch=monkeypatch)
    save_state({"fc.weight": torch.zeros(3, 3)}, path)
    with pytest.raises(ConfigError, match="no weights of pytorch-fid's Inception"):
        load_inception()


# --- LPIPS ------------------------------------------------------------------------------------


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
def test_equals_the_package_of_lpips(
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


def test_building_moves_no_random_generator_of_lpips(states: dict[Backbone, State]) -> None:
    before = torch.get_rng_state()
    network = lpips_network("alex", states["alex"])
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(tensor.is_meta for tensor in network.state_dict().values())


def test_weights_come_from_the_weights_folder_of_lpips(
    states: dict[Backbone, State],
    pairs: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = weights_path("lpips-alexnet", cache=tmp_path, monkeypatch=monkeypatch)
    save_state(states["alex"] | {"classifier.6.bias": torch.zeros(1000)}, path)
    expected = LpipsDistance(lpips_network("alex", states["alex"])).distances(*pairs)
    np.testing.assert_allclose(load_lpips().distances(*pairs), expected, rtol=1e-6)


@pytest.mark.parametrize("empty", [True, False])
def test_weights_of_another_network_are_refused_of_lpips(
    empty: bool,  # noqa: FBT001 - a parameter
    states: dict[Backbone, State],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = weights_path("lpips-alexnet", cache=tmp_path, monkeypatch=monkeypatch)
    save_state({} if empty else states["vgg"], path)
    with pytest.raises(ConfigError, match="no weights of torchvision's network"):
        load_lpips("alex")
