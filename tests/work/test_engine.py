"""What a user asks of Ray, before there is any."""

from __future__ import annotations

import re

import pytest

from tpbench.errors import ConfigError
from tpbench.work import LOCAL, Engine


def on_gpus(
    monkeypatch: pytest.MonkeyPatch, *, gpus: int, share: float | None, asked: int | None = None
) -> tuple[int, float]:
    monkeypatch.setattr("tpbench.work.ray_cluster.num_gpus", lambda: gpus)
    monkeypatch.setattr("tpbench.work.ray_cluster.num_cores", lambda: 12)
    monkeypatch.setattr("tpbench.work.ray_cluster.connected", lambda _: LOCAL.session())
    engine = Engine(name="ray", ray_address="cluster:6379", gpu_share=share)
    return engine.on_gpus(asked)


def test_workers_share_gpus_equally(monkeypatch: pytest.MonkeyPatch) -> None:
    assert on_gpus(monkeypatch, gpus=3, share=None) == (12, 0.25)
    assert on_gpus(monkeypatch, gpus=1, share=None, asked=3) == (3, 0.3333), "room for all three"
    assert on_gpus(monkeypatch, gpus=40, share=None) == (12, 1.0)
    assert on_gpus(monkeypatch, gpus=0, share=None) == (12, 0.0)


def test_as_many_workers_as_have_room_take_the_share_that_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert on_gpus(monkeypatch, gpus=2, share=0.4) == (4, 0.4)
    assert on_gpus(monkeypatch, gpus=1, share=0.1) == (10, 0.1)
    assert on_gpus(monkeypatch, gpus=2, share=0.1) == (12, 0.1)
    assert on_gpus(monkeypatch, gpus=1, share=0.5, asked=7) == (7, 0.5)


def test_shares_of_gpus_that_are_not_there_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="no node of the Ray cluster has a GPU; leave it out"):
        on_gpus(monkeypatch, gpus=0, share=0.5)


@pytest.mark.parametrize("share", [0.0, -0.1, 1.01, float("nan")])
def test_a_share_is_a_share(share: float) -> None:
    with pytest.raises(ConfigError, match="--gpu-share: want over 0 and at most 1, got"):
        Engine(name="ray", gpu_share=share)


def test_shares_go_with_ray_alone() -> None:
    assert LOCAL.on_gpus(3) == (3, 0.0)
    with pytest.raises(ConfigError, match="--gpu-share goes with --executor ray"):
        Engine(gpu_share=0.5)


def test_a_password_in_an_address_is_refused_and_not_shown() -> None:
    with pytest.raises(ConfigError, match="without user and password") as refused:
        Engine(name="ray", ray_address="ann:secret@cluster:6379")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "[::1]:1", "127.0.0.1:0"])
def test_a_cluster_that_does_not_answer_is_told_at_once(address: str) -> None:
    pytest.importorskip("ray")
    with (
        pytest.raises(ConfigError, match=f"{re.escape(address)}: can't connect"),
        Engine(name="ray", ray_address=address).session(),
    ):
        pass
