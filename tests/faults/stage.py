"""A folder of videos, drivers that work on them with two workers, and what became of each video."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

from tests.faults.orders import log_of, orders_of, pipe_of
from tests.faults.works import EXTRACTION, States, Work

ROOT: Final = Path(__file__).resolve().parents[2]
_FORBIDDEN: Final = "-dac_override,-dac_read_search"
"""What is taken from a driver of root, so that permissions mean something to it as well."""
_PATIENCE_S: Final = {"quick": 100.0, "real": 900.0}
"""By kind of stage: what waits longer has failed."""
_GONE_S: Final = 20.0
"""Workers of a killed driver are gone by then; those of Ray take longest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Videos or clips in `talks`, of which one kills its workers, and where the results lie."""

    root: Path
    out: Path
    names: tuple[str, ...]
    """Of the videos, without their ending, in the order in which they are processed."""
    kind: str
    """`quick` or `real`: see `driver.py`."""
    options: tuple[str, ...]
    """Of the command: preset, engine."""
    work: Work = EXTRACTION
    """What drivers do."""
    unprivileged: bool = False
    """Whether permissions hold for drivers that root starts, too."""
    environment: dict[str, str] = field(default_factory=dict)
    said: str = "said"
    """Name of the file in `root` that a driver prints into."""

    @property
    def talks(self) -> Path:
        """Folder of the videos."""
        return self.root / "talks"

    @property
    def poison(self) -> str:
        """Name of the video that kills its workers."""
        return next(name for name in self.names if name.endswith("poison"))

    @property
    def good(self) -> list[str]:
        """Names of all other videos."""
        return [name for name in self.names if not name.endswith("poison")]

    @property
    def gates(self) -> tuple[str, str]:
        """Names of two videos in whose middle the two workers wait for the fault."""
        third = len(self.good) // 3
        return self.good[third], self.good[third + 1]

    @property
    def last(self) -> Path:
        """The last video, which no worker has begun when the fault comes."""
        return self.work.source(self.root, self.names[-1])

    def prepare(self) -> None:
        """Give the orders: the poison kills, and the gates are closed."""
        orders_of(self.root).mkdir(exist_ok=True)
        os.mkfifo(pipe_of(self.root))
        log_of(self.root).touch()
        self.order(self.poison, "die")
        for gate in self.gates:
            self.order(gate, "gate")

    def order(self, name: str, word: str) -> None:
        """Tell what happens to a video."""
        aside = orders_of(self.root) / f".{name}"
        aside.write_text(word)
        aside.replace(orders_of(self.root) / name)

    def withdraw(self, name: str) -> None:
        """Let a video be processed as usual."""
        (orders_of(self.root) / name).unlink(missing_ok=True)

    def open_gates(self) -> None:
        """Let the workers go on."""
        for gate in self.gates:
            self.withdraw(gate)

    @contextmanager
    def driver(self, *more: str) -> Iterator[Driver]:
        """Start a driver with these options; it is killed at the end of the block, if need be."""
        command = [sys.executable, "-m", "tests.faults.driver", str(self.root), self.kind]
        command += [self.work.obeys, *self.work.arguments(self.root, self.out), "--workers", "2"]
        command += [*self.options, *more]
        if self.unprivileged and os.geteuid() == 0:
            less = [f"--bounding-set={_FORBIDDEN}", f"--inh-caps={_FORBIDDEN}"]
            command = [shutil.which("setpriv") or "setpriv", *less, *command]
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        own = {"PYTHONPATH": path, "TPBENCH_STATE": str(self.root)}
        said = self.root / self.said
        with said.open("w") as file:
            process = subprocess.Popen(
                command,
                stdout=subprocess.DEVNULL,
                stderr=file,
                start_new_session=True,
                env=os.environ | own | self.environment,
                cwd=ROOT,
            )
        try:
            yield Driver(process=process, said=said, patience_s=_PATIENCE_S[self.kind])
        finally:
            process.kill()
            process.wait()

    @contextmanager
    def driver_at_gates(self, *more: str) -> Iterator[Driver]:
        """Start a driver; the block begins when both workers are in the middle of a video."""
        with self.driver(*more) as driver:
            driver.wait_until(lambda: all(self.at(gate) for gate in self.gates))
            driver.wait_until(lambda: self.counted("finished").keys() <= set(self.done()))
            yield driver

    def run(self, *more: str) -> tuple[int, str]:
        """Run a driver to its end; return its exit code and what it printed on stderr."""
        with self.driver(*more) as driver:
            return driver.wait()

    def at(self, name: str) -> int | None:
        """Return the process that is in the middle of a video."""
        lines = [line for line in self._log() if line[1] == name]
        return int(lines[-1][2]) if lines and lines[-1][0] == "reached" else None

    def counted(self, what: str) -> Counter[str]:
        """Return how often each video was begun, reached or finished."""
        return Counter(line[1] for line in self._log() if line[0] == what)

    def states(self) -> States:
        """Video -> its state in the records and its error; empty if there are none."""
        return self.work.states(self.out)

    def done(self) -> list[str]:
        """Return the videos that are recorded as done."""
        return sorted(name for name, (state, _) in self.states().items() if state == "done")

    def wait_for_workers(self) -> None:
        """Wait until no process of the log is left; fail if one outlives its driver."""
        pids = {int(line[2]) for line in self._log()}
        _wait(lambda: not any(map(_alive, pids)), _GONE_S, f"still there: {pids}")

    def _log(self) -> list[list[str]]:
        return [line.split("\t") for line in log_of(self.root).read_text().splitlines()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Driver:
    """A running driver."""

    process: subprocess.Popen[bytes]
    said: Path
    """What it prints on stderr."""
    patience_s: float

    def wait(self) -> tuple[int, str]:
        """Wait for its end; return its exit code and what it printed on stderr."""
        code = self.process.wait(self.patience_s)
        return code, self.said.read_text(errors="replace")

    def wait_until(self, reached: Callable[[], bool]) -> None:
        """Wait until something is reached; fail if the driver ends before."""

        def reached_in_time() -> bool:
            assert self.process.poll() is None, self.said.read_text()[-3000:]
            return reached()

        _wait(reached_in_time, self.patience_s, "waited in vain")

    def kill(self) -> None:
        """SIGKILL the driver, and wait for its end."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What became of the videos of a stage after a fault and a second start."""

    done: int
    """Good videos that are recorded as done."""
    twice: tuple[str, ...]
    """Good videos that a worker finished more than once."""
    quarantined: dict[str, str]
    """Video -> reason."""
    redone: tuple[str, ...]
    """Videos that were done before the second start, and begun again after it."""
    differs: str
    """First difference to the undisturbed dataset; empty if equal but for the poison's row."""


def audit(stage: Stage, undisturbed: Path) -> Audit:
    """Start the command again after a fault, and see what became of each video."""
    before, begun = stage.done(), stage.counted("began")
    code, said = stage.run()
    assert code == 3, said  # finished, but the poison failed
    again = stage.counted("began")
    states = stage.states()
    finished = stage.counted("finished")
    return Audit(
        done=sum(states.get(name, ("",))[0] == "done" for name in stage.good),
        twice=tuple(name for name in stage.good if finished[name] > 1),
        quarantined={n: error for n, (state, error) in states.items() if state == "quarantined"},
        redone=tuple(name for name in before if again[name] > begun[name]),
        differs=first_difference(
            stage.work.content(stage.out, stage.poison),
            stage.work.content(undisturbed, stage.poison),
        ),
    )


def first_difference(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    """Return the first difference of two contents in words; empty if they are equal."""
    for name in sorted(found.keys() | wanted.keys()):
        if found.get(name) != wanted.get(name):
            return f"{name}: {found.get(name)} instead of {wanted.get(name)}"
    return ""


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _wait(reached: Callable[[], bool], limit_s: float, why: str) -> None:
    end_s = time.monotonic() + limit_s
    while not reached():
        assert time.monotonic() < end_s, why
        time.sleep(0.02)
