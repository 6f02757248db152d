"""Tokens of Ray: a Ray of this machine has one of its own, a cluster gets ours only if it asks.

A token is never written to disk or printed by us. Ray would write one into the user's home for a
Ray of this machine; that one would be sent to any cluster that the user names later.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any, Final

from tpbench.errors import ConfigError

_MODE: Final = "RAY_AUTH_MODE"
_TOKEN: Final = "RAY_AUTH_TOKEN"  # noqa: S105 - the name of a variable
_CLIENT: Final = "ray://"
_ASK: Final = {
    True: "/ray.rpc.RayletDriver/ClusterInfo",
    False: "/ray.rpc.NodeInfoGcsService/GetClusterId",
}
"""A call that any cluster answers, by whether it comes through its port for clients."""
_ANSWER_S: Final = 5.0


@contextmanager
def token_of_its_own() -> Iterator[None]:
    """Give a Ray that is started in the block a token that only it and this process know."""
    with _mode_token({_TOKEN: secrets.token_hex(32)}):
        yield


@contextmanager
def token_if_asked(address: str) -> Iterator[bool]:
    """Use the user's token in the block if the cluster asks for one; yields whether it does.

    Does nothing if the user has set $RAY_AUTH_MODE.

    Raises:
        ConfigError: the cluster asks for a token, and the user has none.
    """
    if _MODE in os.environ or not any(map(_asks, _endpoints(address))):
        yield False
        return
    with _mode_token({}) as has_token:
        if not has_token:
            raise ConfigError(
                f"--ray-address {address}: the cluster asks for a token; put the one of its nodes "
                "into $RAY_AUTH_TOKEN or ~/.ray/auth_token"
            )
        yield True


def _endpoints(address: str) -> list[str]:
    """Return where the cluster can be asked: `host:port`, with `ray://` before it for clients."""
    if address.startswith(_CLIENT):
        return [address.partition("?")[0].rstrip("/")]
    if address == "auto":
        with suppress(ImportError, AttributeError):
            return sorted(import_module("ray._private.services").find_gcs_addresses())
        return []
    return [address]


def _asks(endpoint: str) -> bool:
    """Whether a cluster refuses a call without a token; False also if it doesn't answer."""
    try:
        grpc = import_module("grpc")
    except ImportError:  # a Ray installed without its extra `client`
        return False
    is_client = endpoint.startswith(_CLIENT)
    with grpc.insecure_channel(endpoint.removeprefix(_CLIENT)) as channel:
        try:
            channel.unary_unary(_ASK[is_client])(b"", timeout=_ANSWER_S)
        except grpc.RpcError as error:
            return bool(error.code() == grpc.StatusCode.UNAUTHENTICATED)
    return False


@contextmanager
def _mode_token(more: Mapping[str, str]) -> Iterator[bool]:
    """Have Ray use tokens in the block; yields whether it finds one."""
    wanted = {_MODE: "token", **more}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield _reread()
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        _reread()


def _reread() -> bool:
    """Have Ray read its environment again; returns whether it finds a token."""
    raylet: Any = import_module("ray._raylet")
    if not hasattr(raylet, "AuthenticationTokenLoader"):  # earlier versions have no tokens
        return False
    raylet.Config.initialize("")
    loader = raylet.AuthenticationTokenLoader.instance()
    loader.reset_cache()
    return bool(loader.has_token(ignore_auth_mode=True))
