"""Connecting to a Ray cluster, or to one of this machine alone that ends with its driver.

A Ray of this machine is started by a keeper: a process of its own session, which shuts Ray down
once its standard input ends, so in whatever way the driver ends. Signals to the driver's process
group (Ctrl-C, SIGTERM of a batch system) don't reach Ray's processes, so the driver can stop its
workers in order.
"""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import tpbench
from tpbench.errors import ConfigError, TPBenchError
from tpbench.foreign import printable
from tpbench.work.pool import usable_cores
from tpbench.work.ray_token import token_if_asked, token_of_its_own

logger = logging.getLogger(__name__)

_ADDRESS_VARIABLE: Final = "RAY_ADDRESS"
_OBJECT_STORE_BYTES: Final = 200 * 2**20
"""Items and results are small; batches of pictures for a GPU are the largest things in it."""
_END_S: Final = 15.0
_CONNECT_S: Final = 10.0
_PLACE: Final = re.compile(r"(ray://)?(?P<host>[^/?@]+):(?P<port>\d{1,5})(/.*)?")
"""Of a cluster's address: where it listens."""
_SETTINGS: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Only with ray://: how long a cluster keeps the actors of a driver that is gone.
    "RAY_CLIENT_RECONNECT_GRACE_PERIOD": "5",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
"""Environment variables of Ray, set where the user has not set them."""
_KEEPER: Final = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    "from tpbench.work.ray_cluster import keep; keep(int(sys.argv[2]))"
)


def import_ray() -> Any:  # noqa: ANN401 - what is used of it is untyped
    """Import Ray, quietly.

    Raises:
        ConfigError: it is not installed.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import ray
    except ImportError as error:
        raise ConfigError("--executor ray needs Ray: pip install 'tpbench[ray]'") from error
    return ray


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Connect this process to Ray for the duration of a block, unless it is connected already.

    Args:
        address: see `Engine.ray_address`.

    Raises:
        ConfigError: Ray is not installed, or there is no cluster at the address.
    """
    ray = import_ray()
    if ray.is_initialized():
        yield
        return
    address = address or os.environ.get(_ADDRESS_VARIABLE) or None
    with _own_ray() if address is None else _existing(address) as (found, shown):
        with _signals_kept():
            _connect(ray, found, shown=shown)
        try:
            yield
        finally:
            with _signals_kept():
                ray.shutdown()


def is_own(address: str | None) -> bool:
    """Whether there is no cluster to connect to, so that a Ray of this machine is started."""
    return not (address or os.environ.get(_ADDRESS_VARIABLE))


def num_cores() -> int:
    """Return how many cores the cluster has, at least 1; this process must be connected."""
    return max(1, int(import_ray().cluster_resources().get("CPU", 0)))


def num_gpus() -> int:
    """Return how many GPUs the cluster has; this process must be connected."""
    return int(import_ray().cluster_resources().get("GPU", 0))


@contextmanager
def _existing(address: str) -> Iterator[tuple[str, str]]:
    """Yield the address of a cluster, and how it is shown in errors.

    Raises:
        ConfigError: nothing answers there; Ray itself would wait for minutes.
    """
    if (place := _PLACE.fullmatch(address)) is not None:
        try:
            where = (place["host"].strip("[]"), int(place["port"]))
            with socket.create_connection(where, timeout=_CONNECT_S):
                pass
        except (OSError, OverflowError) as error:
            raise _no_cluster(address, printable(str(error))) from error
    with token_if_asked(address) as asked:
        yield address, f"{address} (which asks for a token)" if asked else address


def _connect(ray: Any, address: str, *, shown: str) -> None:  # noqa: ANN401 - untyped
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ray.init(
                address=address,
                log_to_driver=False,
                configure_logging=False,
                namespace="tpbench",
            )
        except Exception as error:
            reason = printable(str(error).strip().split("\n", 1)[0]) or type(error).__name__
            raise _no_cluster(shown, reason) from error


def _no_cluster(shown: str, reason: str) -> ConfigError:
    return ConfigError(
        f"--ray-address {shown}: can't connect ({reason}); `ray status` on a node of the "
        "cluster shows whether it runs"
    )


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Put back the handlers of signals that Ray replaces."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    wanted = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.getsignal(number) for number in wanted}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _own_ray() -> Iterator[tuple[str, str]]:
    """Start a Ray of this machine alone; yields its address, and how it is shown in errors."""
    root = str(Path(tpbench.__file__).parents[1])
    search = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    with (
        token_of_its_own(),
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log,
    ):
        keeper = subprocess.Popen(  # noqa: S603 - our own interpreter and arguments
            [sys.executable, "-P", "-c", _KEEPER, json.dumps(sys.path), str(usable_cores())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, "PYTHONPATH": search},
            start_new_session=True,
        )
        try:
            yield _address_of(keeper, log), "the Ray of this machine"
        finally:
            _end(keeper)


def _address_of(keeper: subprocess.Popen[str], log: Any) -> str:  # noqa: ANN401 - a text file
    assert keeper.stdout is not None  # noqa: S101 - piped
    address = keeper.stdout.readline().strip()
    if not address:
        log.seek(0)
        last = printable((log.read().strip().splitlines() or ["it says nothing"])[-1])
        raise TPBenchError(
            f"can't start Ray on this machine: {last}; try --executor local, or name a cluster "
            "with --ray-address"
        )
    return address


def _end(keeper: subprocess.Popen[str]) -> None:
    """Let the keeper shut Ray down, and make sure that nothing of its session is left."""
    assert keeper.stdin is not None  # noqa: S101 - piped
    assert keeper.stdout is not None  # noqa: S101 - piped
    try:
        with suppress(OSError):
            keeper.stdin.close()
        keeper.wait(_END_S)
    except subprocess.TimeoutExpired:
        logger.debug("the keeper of Ray did not end in time")
    finally:  # also if interrupted while waiting
        with suppress(ProcessLookupError, PermissionError):  # no process left
            os.killpg(keeper.pid, signal.SIGKILL)
        keeper.wait()
        keeper.stdout.close()


def keep(num_cpus: int) -> None:
    """Start Ray, print its address, and shut it down once the standard input ends.

    Args:
        num_cpus: cores that its workers may use.
    """
    # What Ray prints goes to stderr, which is a file.
    address_to = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    os.environ.pop(_ADDRESS_VARIABLE, None)
    ray = import_ray()
    found = ray.init(
        address="local",
        _node_ip_address="127.0.0.1",  # of no use to other machines, so out of their reach
        num_cpus=num_cpus,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=_OBJECT_STORE_BYTES,
    )
    with address_to:
        print(found.address_info["gcs_address"], file=address_to)
    sys.stdin.read()
    ray.shutdown()
