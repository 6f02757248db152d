"""Where a run's workers are: processes of this machine, or of a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from tpbench.errors import ConfigError
from tpbench.work.pool import Executor, Pool, num_workers

EngineName = Literal["local", "ray"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """What runs the workers of a run; what they do and record is the same everywhere.

    Raises:
        ConfigError: an address without Ray.
    """

    name: EngineName = "local"
    ray_address: str | None = None
    """Of an existing Ray cluster: `auto`, `host:port` or `ray://host:port`. None: the value of
    $RAY_ADDRESS, or else a Ray of this machine alone, which ends with the run."""

    def __post_init__(self) -> None:
        if self.ray_address is not None and self.name != "ray":
            raise ConfigError("--ray-address goes with --executor ray")

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
        """Return how many GPUs the cluster has; 0 without Ray, whose workers share those here."""
        if self.is_local:
            return 0
        from tpbench.work.ray_cluster import num_gpus

        with self.session():
            return num_gpus()

    def pool(
        self,
        *,
        num_workers: int,
        max_attempts: int = 3,
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


LOCAL: Final = Engine()
"""Processes of this machine."""
