from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.metrics.random_networks import random_pictures, weights_path
from tpbench.errors import ConfigError
from tpbench.metrics import i3d
from tpbench.metrics.i3d import I3DFeatures, Pads, WindowStream, load_i3d, pooled


class StandIn(torch.nn.Module):
    """The signature of the published TorchScript: (n, 3, T, H, W) in [0, 255] to (n, 400)."""

    def __init__(self) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(0)
        self.weight = torch.nn.Parameter(torch.randn(400, 3 * 16 * 4, generator=draw))

    def forward(
        self,
        x: torch.Tensor,
        rescale: bool = False,  # noqa: FBT001, FBT002 - the published signature
        resize: bool = False,  # noqa: FBT001, FBT002 - as above
        return_features: bool = False,  # noqa: FBT001, FBT002 - as above
    ) -> torch.Tensor:
        if rescale:
            x = x / 255.0 * 2.0 - 1.0
        frames = x.permute(0, 2, 1, 3, 4).flatten(0, 1)
        if resize:
            frames = torch.nn.functional.interpolate(
                frames, size=[224, 224], mode="bilinear", align_corners=False
            )
        quarters = torch.nn.functional.adaptive_avg_pool2d(frames, (2, 2))
        logits = quarters.reshape(x.shape[0], -1) @ self.weight.t()
        if return_features:
            return logits
        return torch.softmax(logits, dim=1)


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """The stand-in, as a TorchScript file."""
    path = tmp_path / "stand_in.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch would rather have exported programs
        torch.jit.script(StandIn()).save(str(path))  # type: ignore[no-untyped-call]  # its gap
    return path


def windows_of(n: int, *, length: int = 16, size: tuple[int, int] = (20, 12)) -> NDArray[np.uint8]:
    return random_pictures(n * length, size=size, seed=4).reshape(n, length, *size, 3)


def reference_numpy_stand_in(windows: NDArray[np.uint8]) -> NDArray[np.float64]:
    """What the stand-in is to return, in float64; the resize alone is torch's."""
    x = torch.from_numpy(windows.astype(np.float64)).permute(0, 1, 4, 2, 3)
    frames = (x / 127.5 - 1).flatten(0, 1)
    big = torch.nn.functional.interpolate(frames, size=(224, 224), mode="bilinear").numpy()
    quarters = big.reshape(len(big), 3, 2, 112, 2, 112).mean(axis=(3, 5))
    weight = StandIn().weight.detach().numpy().astype(np.float64)
    logits: NDArray[np.float64] = quarters.reshape(len(windows), -1) @ weight.T
    return logits


def test_the_network_is_told_to_scale_to_squash_and_to_return_logits() -> None:
    extractor = I3DFeatures(StandIn(), batch_size=2)
    windows = windows_of(3)
    found = extractor.features(windows)
    assert found.shape == (3, 400)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, reference_numpy_stand_in(windows), rtol=0, atol=1e-4)
    assert extractor.features(windows[:0]).shape == (0, 400)


def test_the_torchscript_comes_from_the_weights_folder(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = weights_path("i3d-torchscript", cache=tmp_path, monkeypatch=monkeypatch)
    published.rename(path)
    windows = windows_of(1)
    expected = reference_numpy_stand_in(windows)
    np.testing.assert_allclose(load_i3d().features(windows), expected, rtol=0, atol=1e-4)


def test_a_file_that_is_no_torchscript_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = weights_path("i3d-torchscript", cache=tmp_path, monkeypatch=monkeypatch)
    path.write_bytes(b"text")
    with pytest.raises(ConfigError, match=r"i3d_torchscript.pt: is no TorchScript module"):
        load_i3d()


def test_what_are_no_windows_is_refused() -> None:
    extractor = I3DFeatures(StandIn())
    with pytest.raises(ValueError, match=r"want \(n, frames, height, width, 3\) uint8 RGB"):
        extractor.features(random_pictures(16))


def test_a_network_that_returns_something_else_is_a_bug() -> None:
    class Other(torch.nn.Module):
        def forward(self, x: torch.Tensor, **_: bool) -> torch.Tensor:
            return x.new_zeros(len(x), 10)

    with pytest.raises(RuntimeError, match=r"returned \(1, 10\), not \(n, 400\)"):
        I3DFeatures(Other()).features(windows_of(1))


def numbered(n: int) -> list[NDArray[np.uint8]]:
    return [np.full((2, 2, 3), number, np.uint8) for number in range(n)]


@pytest.mark.parametrize("stride", [1, 9, 16, 24])
@pytest.mark.parametrize("n", [0, 15, 16, 17, 32, 70])
def test_windows_are_those_of_the_whole_list(n: int, stride: int) -> None:
    stream = WindowStream(stride=stride)
    found = [window for image in numbered(n) if (window := stream.push(image)) is not None]
    assert [window[:, 0, 0, 0].tolist() for window in found] == [
        list(range(start, start + 16)) for start in range(0, n - 15, stride)
    ]
    assert len(stream._frames) <= 16


def test_a_frame_of_another_size_is_refused() -> None:
    stream = WindowStream(stride=16)
    stream.push(np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(ValueError, match=r"frame 1: \(4, 5, 3\) after frames of \(4, 4, 3\)"):
        stream.push(np.zeros((4, 5, 3), np.uint8))


POOLINGS = [
    ((3, 3, 3), (1, 1, 1)),
    ((1, 3, 3), (1, 2, 2)),
    ((3, 3, 3), (2, 2, 2)),
    ((2, 2, 2), (2, 2, 2)),
    ((1, 1, 1), (1, 1, 1)),
    ((2, 4, 3), (3, 1, 5)),
]
"""The four of I3D, and two that are not."""


@pytest.mark.parametrize("pads", [((0, 0), (0, 0), (0, 0)), ((1, 1), (0, 1), (2, 1))])
@pytest.mark.parametrize(("sides", "strides"), POOLINGS)
def test_pooling_axis_by_axis_is_that_of_torch_in_every_bit(
    sides: tuple[int, int, int], strides: tuple[int, int, int], pads: tuple[Pads, Pads, Pads]
) -> None:
    draw = torch.Generator().manual_seed(5)
    frames = torch.randn((2, 3, 8, 13, 7), generator=draw)
    around = [n for pad in reversed(pads) for n in pad]
    padded = torch.nn.functional.pad(frames, around)
    expected = torch.nn.functional.max_pool3d(padded, sides, strides)
    assert torch.equal(pooled(frames, sides, strides, pads), expected)


def test_a_window_larger_than_the_frames_is_refused() -> None:
    with pytest.raises(RuntimeError, match="no window of 14 fits"):
        pooled(torch.zeros(1, 1, 8, 13, 7), (1, 14, 1), (1, 1, 1))


class Padding(torch.nn.Module):
    """Padded, pooled and convolved as TensorFlow does it, and in some ways that are not ours."""

    def __init__(self) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(9)
        self.strided = torch.nn.Parameter(torch.randn(6, 3, 3, 7, 7, generator=draw) / 10)
        self.even = torch.nn.Parameter(torch.randn(5, 6, 3, 3, 3, generator=draw) / 10)
        self.pointwise = torch.nn.Parameter(torch.randn(4, 5, 1, 1, 1, generator=draw))

    def forward(
        self,
        x: torch.Tensor,
        rescale: bool = False,  # noqa: FBT001, FBT002 - the published signature
        resize: bool = False,  # noqa: FBT001, FBT002 - as above
        return_features: bool = False,  # noqa: FBT001, FBT002 - as above
    ) -> torch.Tensor:
        assert rescale
        assert resize
        assert return_features
        pad = torch.nn.functional.pad
        x = pad(x, [0, x.size(4) % 2, 0, x.size(3) % 2, 0, x.size(2) % 2])
        x = torch.conv3d(pad(x / 255, [2, 3, 2, 3, 1, 1]), self.strided, stride=[1, 2, 2])
        x = torch.constant_pad_nd(torch.relu(x), [1, 1, 1, 1, 1, 1])
        both = torch.conv3d(x, self.even), torch.max_pool3d(x, [3, 3, 3], [1, 1, 1])
        x = torch.cat([both[0], both[1][:, :1], pad(both[0], [0, 0, 0, 0, 0, 0])], dim=1)[:, :5]
        x = torch.conv3d(pad(x, [1, 1], value=2.0), self.pointwise, padding=[0, 1, 0])
        x = torch.max_pool3d(pad(x, [0, 1, 0, 1]), [1, 3, 3], [1, 2, 2])
        x = torch.max_pool3d(x, [3, 3, 3], [1, 1, 1], [1, 1, 1])
        x = torch.max_pool3d(pad(x, [1, 1, 0, 0, 0, 0], mode="replicate"), 2)
        return pad(x.flatten(1), [0, 400])[:, :400]


@pytest.fixture
def padding(tmp_path: Path) -> torch.nn.Module:
    """As TorchScript, loaded again."""
    path = tmp_path / "padding.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch would rather have exported programs
        torch.jit.script(Padding()).save(str(path))  # type: ignore[no-untyped-call]  # its gap
        network: torch.nn.Module = torch.jit.load(str(path))  # type: ignore[no-untyped-call]
    return network


def test_cheaper_frames_change_no_feature_of_a_torchscript(padding: torch.nn.Module) -> None:
    windows = windows_of(2)
    with torch.inference_mode():
        x = torch.from_numpy(windows).permute(0, 4, 1, 2, 3).float()
        expected = padding(x, rescale=True, resize=True, return_features=True).numpy()
    assert np.count_nonzero(expected) > 300
    found = I3DFeatures(padding).features(windows)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


def test_pooling_and_convolutions_of_a_torchscript_pad_by_themselves(
    padding: torch.nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[object, ...]] = []

    def noted(
        frames: torch.Tensor, sides: Sequence[int], strides: Sequence[int], pads: Sequence[Pads]
    ) -> torch.Tensor:
        seen.append((*sides, *strides, *pads))
        return pooled(frames, sides, strides, pads)

    monkeypatch.setattr(i3d, "pooled", noted)
    extractor = I3DFeatures(padding)
    extractor.features(windows_of(1))  # also compared with the network as it is
    seen.clear()
    extractor.features(windows_of(1))
    # The pooling that pads by itself is left to torch.
    assert seen == [
        (3, 3, 3, 1, 1, 1, (1, 1), (1, 1), (1, 1)),
        (1, 3, 3, 1, 2, 2, (0, 0), (0, 1), (0, 1)),
        (2, 2, 2, 2, 2, 2, (0, 0), (0, 0), (0, 0)),
    ]


def test_torch_does_not_import_its_compiler_for_cheaper_frames() -> None:
    """It wraps what a mode does in a function that imports it, unless it is told not to."""
    assert not hasattr(i3d.CheaperFrames.__torch_dispatch__, "__wrapped__")


@pytest.mark.parametrize("wrong", ["other values", "an error"])
def test_a_network_that_cheaper_frames_would_change_runs_as_it_is(
    wrong: str,
    padding: torch.nn.Module,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def spoilt(frames: torch.Tensor, *sizes: Sequence[Any]) -> torch.Tensor:
        if wrong == "an error":
            raise RuntimeError("got None")
        return pooled(frames, *sizes) + 1e-2

    monkeypatch.setattr(i3d, "pooled", spoilt)
    windows = windows_of(2)
    with torch.inference_mode():
        x = torch.from_numpy(windows).permute(0, 4, 1, 2, 3).float()
        expected = padding(x, rescale=True, resize=True, return_features=True).numpy()
    extractor = I3DFeatures(padding)
    for _ in range(2):
        np.testing.assert_array_equal(extractor.features(windows), expected)
    assert caplog.text.count("I3D runs as it is published") == 1


@pytest.mark.parametrize("size", [(20, 12), (224, 224), (256, 300)])
def test_frames_are_squashed_before_the_network_where_that_changes_nothing(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = StandIn()
    windows = windows_of(3, size=size)
    sizes: list[tuple[int, ...]] = []
    forward = network.forward

    def noted(x: torch.Tensor, **how: bool) -> torch.Tensor:
        sizes.append((len(x), *x.shape[3:]))
        return forward(x, **how)

    monkeypatch.setattr(network, "forward", noted)
    extractor = I3DFeatures(network, batch_size=2)
    extractor.features(windows[:1])
    sizes.clear()
    found = extractor.features(windows)
    assert sizes == [(2, 224, 224), (1, 224, 224)]
    expected = reference_numpy_stand_in(windows)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
