"""How many workers a model gets, and which device each of them uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tpbench.errors import ConfigError
from tpbench.execution import usable_cores

if TYPE_CHECKING:
    from tpbench.benchmark.choice import ModelChoice


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """The workers of a run."""

    workers: int
    devices: tuple[str, ...]
    """One for each worker, or one for all."""

    threads: int
    """Processor threads of each."""


def crew_for(choice: ModelChoice, *, device: str, workers: int | None, clips: int) -> Crew:
    """Say who makes the clips.

    Models without weights get a worker per core. All others get one per GPU if `device` leaves that
    open, else one, which may use all cores.

    Raises:
        ConfigError: fewer than one worker is asked for.
    """
    if workers is not None and workers < 1:
        msg = f"--workers must be at least 1, got {workers}"
        raise ConfigError(msg)
    if choice.weight_free:
        count = min(workers or usable_cores(), clips)
        return Crew(workers=count, devices=(device,), threads=1)
    gpus = _gpus() if device in {"auto", "cuda"} else ()
    count = min(workers or max(1, len(gpus)), clips)
    devices = tuple(gpus[i % len(gpus)] for i in range(count)) if len(gpus) > 1 else (device,)
    return Crew(workers=count, devices=devices, threads=max(1, usable_cores() // count))


def _gpus() -> tuple[str, ...]:
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return tuple(f"cuda:{index}" for index in range(count))
