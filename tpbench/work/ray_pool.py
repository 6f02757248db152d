"""Items processed by Ray actors; Ray places the workers, the attempt policy is ours (`crew`).

Ray never restarts an actor and never tries a call again.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tpbench.work.crew import Crew, Limits, ReportListener
from tpbench.work.ray_cluster import connected, import_ray, num_cores
from tpbench.work.ray_slot import Slot, described_driver
from tpbench.work.worker import (
    OUT_OF_MEMORY,
    Lost,
    Message,
    Outcome,
    Report,
    Started,
    TaskSpec,
    WorkItem,
)

logger = logging.getLogger(__name__)

_POLL_S: Final = 1.0
"""How long an actor waits for its worker before it says how far it is."""
_END_S: Final = 2.0
"""How long an actor may take to answer beyond what it waits for its worker."""
_NO_MEMORY: Final = ("low on memory", "memory monitor")
"""What Ray says of an actor that it has killed itself for want of memory."""
_LOOK_S: Final = 10.0
"""Time without a new worker after which missing ones are reported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RayPool(Limits):
    """Processes items in `num_workers` actors, of one core each; otherwise as `Pool`.

    Fewer work while the cluster has no room for all; those that wait for room hold no item.
    """

    worker_log: Path | None = None
    """See `Pool`."""
    gpu_share: float = 0.0
    """Share of a GPU that each worker takes."""
    address: str | None = None
    """See `Engine.ray_address`."""

    def run(
        self,
        task: TaskSpec,
        items: Iterable[WorkItem | None],
        *,
        on_report: ReportListener | None = None,
    ) -> Generator[Outcome, None, None]:
        """See `Executor.run`; also raises `ConfigError` if Ray can't be used."""
        with connected(self.address), _proof(self.worker_log) as seen:
            hiring = _Hiring(pool=self, task=task, seen=seen)
            yield from Crew(hiring, self, task, items, on_report).run()


@contextmanager
def _proof(log: Path | None) -> Iterator[Path | None]:
    """Write a file beside the log, by which nodes show that they see the folder."""
    if log is None:
        yield None
        return
    path = log.absolute().with_name(f".{log.name}.{secrets.token_hex(4)}.tmp")
    try:
        path.touch()
        yield path
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)


class RayWorker:
    """The driver's side of a `Slot`; see `crew.Worker`."""

    def __init__(self, slot: Any, *, poll_s: float) -> None:  # noqa: ANN401 - an actor is untyped
        self.item: WorkItem | None = None
        self.ready = False
        self.given = 0
        self.since_s = self.moved_s = time.monotonic()
        self.node = ""
        self.call: Any = slot.listen.remote(poll_s)
        """What it is doing for us; None while it is idle."""
        self._slot, self._poll_s = slot, poll_s
        self._about = slot.about.remote()
        self._ray = import_ray()
        self._pid = 0
        self._killed = False

    @property
    def where(self) -> str:
        """The process, as shown to the user."""
        return f"process {self._pid} on {self.node}"

    def listen(self, *, limit_s: float | None = None) -> None:
        """Have the actor send its worker's next messages."""
        self.call = self._slot.listen.remote(self._poll_s if limit_s is None else limit_s)

    def give(self, item: WorkItem) -> None:
        """Send an item to a worker that is ready."""
        self.call = self._slot.work.remote(item, self._poll_s)

    def receive(self) -> list[Message]:
        """Return the messages that the call has brought."""
        call, self.call = self.call, None
        try:
            messages: list[Message] = self._ray.get(call)
            if any(isinstance(message, Started) for message in messages):
                self.node, self._pid = self._ray.get(self._about)
        except self._ray.exceptions.RayError as error:
            return [Lost(why=why_lost(error))]
        answered = self.item is None or any(not isinstance(message, Report) for message in messages)
        started = self.ready or any(isinstance(message, Started) for message in messages)
        if not (answered and started):
            self.listen()
        return messages

    def has_message(self) -> bool:
        """Whether a message has arrived that is not received yet."""
        return self.call is not None and bool(self._ray.wait([self.call], timeout=0)[0])

    def ask_to_stop(self) -> None:
        """Ask an idle worker to end, or interrupt one that is busy or still starting."""
        if self._ray.wait([self._about], timeout=0)[0]:
            self._slot.ask_to_stop.remote()
        else:  # it has no room yet, and is not to get that of a worker that ends now
            self.kill()

    def end(self, *, grace_s: float) -> str:
        """Wait for the worker to end, then kill it; return in words how it ended."""
        how = "its Ray actor didn't answer"
        if self._killed:
            return how
        try:
            ended = self._slot.end.remote(grace_s)
            how = self._ray.get(ended, timeout=self._poll_s + grace_s + _END_S)
        except self._ray.exceptions.RayError as error:
            logger.debug("a Ray actor ended before its worker: %s", error)
        finally:
            self.kill()
        return how

    def kill(self) -> None:
        """Kill the actor, and by that its worker; may be called repeatedly."""
        if not self._killed:
            self._killed = True
            self._ray.kill(self._slot, no_restart=True)


@dataclass(kw_only=True)
class _Hiring:
    """Starts actors, and waits for what they say."""

    pool: RayPool
    task: TaskSpec
    seen: Path | None
    _ray: Any = field(default_factory=import_ray)
    _actor: Any = None
    _driver: dict[str, Any] = field(default_factory=described_driver)
    _looked_s: float = field(default_factory=time.monotonic)
    _told: bool = False

    @property
    def poll_s(self) -> float:
        """How long an actor waits for its worker before it says how far it is."""
        limit_s = self.pool.item_timeout_s
        return _POLL_S if limit_s is None else min(_POLL_S, limit_s / 3)

    def start(self) -> RayWorker:
        """See `crew.Hiring`."""
        pool = self.pool
        if self._actor is None:
            settings: dict[str, Any] = {"num_cpus": 1, "max_restarts": 0, "max_task_retries": 0}
            if pool.gpu_share:
                settings["num_gpus"] = pool.gpu_share
            self._actor = self._ray.remote(**settings)(Slot)
        log = None if pool.worker_log is None else str(pool.worker_log.absolute())
        seen = None if self.seen is None else str(self.seen)
        slot = self._actor.remote(self.task, log, self._driver, seen)
        return RayWorker(slot, poll_s=self.poll_s)

    def wait(self, workers: Sequence[RayWorker], timeout_s: float | None) -> list[RayWorker]:
        """See `crew.Hiring`."""
        self._report_missing(workers)
        for worker in workers:
            if worker.call is None:  # idle, as no item is ready
                worker.listen(limit_s=0.0)
        calls = {worker.call: worker for worker in workers}
        if not calls:
            time.sleep(timeout_s or 0.0)
            return []
        limit_s = _LOOK_S if timeout_s is None else min(timeout_s, _LOOK_S)
        done, _ = self._ray.wait(list(calls), num_returns=len(calls), timeout=0)
        if not done:
            done, _ = self._ray.wait(list(calls), num_returns=1, timeout=limit_s)
        return [calls[call] for call in done]

    def _report_missing(self, workers: Sequence[RayWorker]) -> None:
        """Say once that the cluster has no room for all workers."""
        lacking = sum(not worker.ready for worker in workers)
        if self._told or not lacking or time.monotonic() - self._looked_s < _LOOK_S:
            return
        self._told = True
        logger.warning(
            "%d of %d workers wait for room on the Ray cluster, which has %d cores; they start "
            "as nodes join",
            lacking,
            len(workers),
            num_cores(),
        )


def why_lost(error: Exception) -> str:
    """Say in words why an actor died; machines are not named, as records are published."""
    text = str(error)
    if "OutOfMemory" in type(error).__name__ or any(words in text for words in _NO_MEMORY):
        return f"Ray ended it because its node ran {OUT_OF_MEMORY}"
    if "node has died" in text or "node died" in text.lower() or "NODE_DIED" in text:
        return "its node died"
    return "its Ray actor died"
