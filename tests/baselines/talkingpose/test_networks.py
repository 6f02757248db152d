from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.baselines.talkingpose.tiny import tiny_networks
from tpbench.baselines.talkingpose.networks import (
    NETWORK_NAMES,
    ModelSizes,
    NetworkName,
    PoseGuider,
    PoseGuiderSizes,
    _build,
    load_networks,
)
from tpbench.baselines.talkingpose.parity import made_up_tensor


def released(name: NetworkName) -> torch.nn.Module:
    """A network of the released size, without weights."""
    with torch.device("meta"):
        return _build(name, ModelSizes())


@pytest.mark.parametrize(
    ("name", "entries", "millions"),
    [
        ("denoising_unet", 686, 859.52),
        ("reference_unet", 682, 859.51),
        ("pose_guider", 16, 1.09),
        ("image_encoder", None, 303.97),
        ("vae", None, 83.65),
    ],
)
def test_the_sizes_written_down_are_the_released_ones(
    name: NetworkName, entries: int | None, millions: float
) -> None:
    network = released(name)
    assert entries in (None, len(network.state_dict()))
    found = sum(tensor.numel() for tensor in network.parameters()) / 1e6
    assert found == pytest.approx(millions, abs=0.006)


def test_the_reference_unet_has_no_tail() -> None:
    whole, without = (
        set(released(name).state_dict()) for name in ("denoising_unet", "reference_unet")
    )
    assert without < whole
    assert whole - without == {
        "conv_norm_out.weight", "conv_norm_out.bias", "conv_out.weight", "conv_out.bias",
    }  # fmt: skip


def test_the_pose_guider_has_the_released_keys() -> None:
    guider = PoseGuider(PoseGuiderSizes())
    modules = ["conv_in", *(f"blocks.{number}" for number in range(6)), "conv_out"]
    assert list(guider.state_dict()) == [
        f"{module}.{kind}" for module in modules for kind in ("weight", "bias")
    ]
    assert guider(torch.zeros(1, 3, 40, 72)).shape == (1, 320, 5, 9)


def test_networks_come_filled_and_without_gradients() -> None:
    captured: dict[str, dict[str, torch.Tensor]] = {}
    networks = tiny_networks(captured)
    for name in NETWORK_NAMES:
        network: Any = getattr(networks, name)
        assert not network.training
        assert not any(parameter.requires_grad for parameter in network.parameters())
        assert not any(tensor.is_meta for tensor in [*network.parameters(), *network.buffers()])
        for key, tensor in network.state_dict().items():
            assert torch.equal(tensor, captured[name][key])
    assert networks.parameter_count == sum(
        tensor.numel() for tensors in captured.values() for tensor in tensors.values()
    )


def test_a_dtype_is_that_of_all_networks(caplog: pytest.LogCaptureFixture) -> None:
    sizes = ModelSizes.model_validate({"vae": {"block_out_channels": (32, 32, 32, 32)}})
    small = sizes.model_copy(
        update={
            "unet": sizes.unet.model_copy(update={"block_out_channels": (32, 32, 32, 32)}),
            "image_encoder": sizes.image_encoder.model_copy(update={"num_hidden_layers": 1}),
        }
    )

    networks = load_networks(
        small,
        lambda _, wanted: {key: torch.zeros(t.shape) for key, t in wanted.items()},
        device=torch.device("cpu"),
        dtype=torch.bfloat16,
    )

    assert networks.dtype == torch.bfloat16
    for name in NETWORK_NAMES:
        assert {tensor.dtype for tensor in getattr(networks, name).parameters()} == {torch.bfloat16}
    assert not caplog.records


def test_made_up_weights_are_those_of_the_formula() -> None:
    matrix = made_up_tensor(7, "vae", "a.weight", (4, 25))
    scale = made_up_tensor(7, "vae", "a.weight", (1000,))
    shift = made_up_tensor(7, "vae", "a.bias", (1000,))
    # Drawn once with numpy from the seed crc32("7/vae/a.weight").
    assert matrix.flatten()[:2].tolist() == pytest.approx(
        [0.21217297787981448, -0.17902455794740796]
    )
    assert float(scale.mean()) == pytest.approx(1, abs=0.02)
    assert float(scale.std()) == pytest.approx(0.1, abs=0.01)
    assert float(shift.std()) == pytest.approx(0.02, abs=0.002)
