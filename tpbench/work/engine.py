"""Where a run's workers are: processes of this machine, or of a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from tpbench.errors import ConfigError
from tpbench.work.crew import MAX_ATTEMPTS
from tpbench.work.pool import Executor, Pool, num_workers

_SHARES: Final = 10_000
"""Ray divides a GPU no further."""
_ROUNDING: Final = 1e-9
EngineName = Literal["local", "ray"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """What runs the workers of a run; what they do and record is the same everywhere.

    Raises:
        ConfigError: an address or a share of a GPU without Ray, or a share that is none.
    """

    name: EngineName = "local"
    ray_address: str | None = None
    """Of an existing Ray cluster: `auto`, `host:port` or `ray://host:port`. None: the value of
    $RAY_ADDRESS, or else a Ray of this machine alone, which ends with the run."""

    gpu_share: float | None = None
    """Share of a GPU that each worker of a model with networks takes, under Ray: 0.25 puts four
    workers on one. None: see `on_gpus` and `benchmark.model.plan_workers`."""

    def __post_init__(self) -> None:
        if self.gpu_share is not None and self.name != "ray":
            raise ConfigError("--gpu-share goes with --executor ray; workers here share all GPUs")
        if self.gpu_share is not None and not 0 < self.gpu_share <= 1:
            raise ConfigError(f"--gpu-share: want over 0 and at most 1, got {self.gpu_share:g}")
        if self.ray_address is not None and self.name != "ray":
            raise ConfigError("--ray-address goes with --executor ray")
        if "@" in (self.ray_address or ""):
            raise ConfigError(
                "--ray-address: want HOST:PORT, ray://HOST:PORT or auto, without user and password"
            )

    @property
    def is_local(self) -> bool:
        """Whether the workers are processes of this machine that no scheduler starts."""
        return self.name == "local"

    @property
    def spans_machines(self) -> bool:
        """Whether workers may run on other machines than this one."""
        if self.is_local:
            return False
        from tpbench.work.ray_cluster import is_own

        return not is_own(self.ray_address)

    @contextmanager
    def session(self) -> Iterator[None]:
        """Connect to Ray, or start it, for the duration of a block; sessions may be nested.

        Raises:
            ConfigError: Ray is not installed, or there is no cluster at the address.
        """
        if self.is_local:
            yield
            return
        from tpbench.work.ray_cluster import connected

        with connected(self.ray_address):
            yield

    def num_workers(self, asked: int | None) -> int:
        """Return how many workers to use: as many as asked for, or one per core of the cluster.

        Raises:
            ConfigError: fewer than one was asked for, or Ray can't be used.
        """
        if self.is_local or asked is not None:
            return num_workers(asked)
        from tpbench.work.ray_cluster import is_own, num_cores

        if is_own(self.ray_address):
            return num_workers(None)
        with self.session():
            return num_cores()

    def num_gpus(self) -> int:
        """Return how many GPUs the cluster has; 0 without Ray, whose workers share those here.

        Raises:
            ConfigError: shares of them are asked for, and there are none.
        """
        if self.is_local:
            return 0
        from tpbench.work.ray_cluster import num_gpus

        with self.session():
            found = num_gpus()
        if self.gpu_share is not None and not found:
            raise ConfigError("--gpu-share: no node of the Ray cluster has a GPU; leave it out")
        return found

    def on_gpus(self, asked: int | None) -> tuple[int, float]:
        """Return how many workers share the GPUs, and which share of one each takes.

        If the user names no share, it is an equal one for each of as many workers as without GPUs,
        as on one machine: all cores work. If he does, there are by default as many workers as have
        room on the GPUs. The share is 0 if there are no GPUs, or without Ray.

        Raises:
            ConfigError: as `num_workers` and `num_gpus`.
        """
        workers, gpus = self.num_workers(asked), self.num_gpus()
        if self.gpu_share is None:
            return workers, min(1.0, gpus * _SHARES // workers / _SHARES)
        if asked is None:
            workers = min(workers, gpus * places_on_gpu(self.gpu_share))
        return workers, self.gpu_share

    def pool(
        self,
        *,
        num_workers: int,
        max_attempts: int = MAX_ATTEMPTS,
        recycle_after: int = 25,
        item_timeout_s: float | None = None,
        worker_log: Path | None = None,
        gpu_share: float = 0.0,
    ) -> Executor:
        """Return the executor of a run; see `Pool` for what both kinds have in common.

        Args:
            num_workers: at most as many items are in work at once.
            max_attempts: see `Pool`, as for the next two.
            recycle_after: see `Pool`.
            item_timeout_s: see `Pool`.
            worker_log: file that workers' output is appended to. Under Ray, its folder must be on
                storage that all machines share.
            gpu_share: share of a GPU that each worker takes, under Ray; 0 takes none.
        """
        if self.is_local:
            return Pool(
                num_workers=num_workers,
                max_attempts=max_attempts,
                recycle_after=recycle_after,
                item_timeout_s=item_timeout_s,
                worker_log=worker_log,
            )
        from tpbench.work.ray_pool import RayPool

        return RayPool(
            address=self.ray_address,
            num_workers=num_workers,
            max_attempts=max_attempts,
            recycle_after=recycle_after,
            item_timeout_s=item_timeout_s,
            worker_log=worker_log,
            gpu_share=gpu_share,
        )


def places_on_gpu(share: float) -> int:
    """Return how many workers have room on one GPU, if each takes this share of it."""
    return int(1 / share + _ROUNDING)


LOCAL: Final = Engine()
"""Processes of this machine."""
