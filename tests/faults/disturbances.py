"""The faults: each is really done to drivers and workers in the middle of a run.

A fault ends when its drivers have ended and what it broke is mended; `audit` then starts the
command again, as a user would.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tests.faults.orders import pipe_of
from tests.faults.stage import Stage

_FULL_BYTES: Final = 1 << 20
_NO_MEMORY: Final = "memory ran out"
_REAL_LIMIT_S: Final = 20
"""After which a real video without progress is given up."""
_CLOCK_READ_S: Final = 1
"""How often a process reads the file that says how far its clock is set back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault."""

    name: str
    act: Callable[[Stage], None]
    unprivileged: bool = False
    """Whether permissions must hold for drivers that root starts, too."""
    disk_bytes: int | None = None
    """Size of a disk of its own for the dataset."""
    only_ray: bool = False
    loses_all: bool = False
    """Whether it deletes finished work, so that all is done again."""
    reason: str = "the worker was lost: it was killed by SIGKILL (out of memory?)"
    """Why the poison is given up."""


def expect(ended: tuple[int, str], code: int, words: str) -> None:
    """Check how a driver ended; an error is one line that contains the words."""
    assert ended[0] == code, ended
    lines = [line for line in ended[1].splitlines() if line.startswith("error:")]
    assert "Traceback" not in ended[1], ended[1]
    if words:
        assert len(lines) == 1, ended[1]
        assert words in " ".join(ended[1].split()), ended[1]


def nothing_else(stage: Stage) -> None:
    """Only the video that kills its worker every time."""
    stage.open_gates()
    expect(stage.run(), 3, "")


def worker_killed(stage: Stage) -> None:
    """SIGKILL of a worker in the middle of a good video."""
    with stage.driver_at_gates() as driver:
        os.kill(_worker(stage), signal.SIGKILL)
        stage.open_gates()
        expect(driver.wait(), 3, "")


def driver_killed(stage: Stage) -> None:
    """SIGKILL of the driver while both workers are busy."""
    with stage.driver_at_gates() as driver:
        driver.kill()
    stage.wait_for_workers()
    stage.open_gates()


def node_removed(stage: Stage) -> None:
    """One of two Ray nodes is gone in mid-run, with the worker on it."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        second = cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        joined = replace(stage, options=(*stage.options, "--ray-address", cluster.address))
        with joined.driver_at_gates() as driver:
            cluster.remove_node(second, allow_graceful=False)
            stage.open_gates()
            expect(driver.wait(), 3, "")
    finally:
        cluster.shutdown()


def disk_full(stage: Stage) -> None:
    """The disk of the dataset is full; later there is room again."""
    filler = stage.out.parent / "filler"
    with stage.driver_at_gates() as driver:
        _fill(filler)
        stage.open_gates()
        expect(driver.wait(), 2, "No space left on device")
    filler.unlink()


def source_gone(stage: Stage) -> None:
    """A video vanishes after the run was planned, and is back for the next."""
    aside = stage.root / "aside"
    with stage.driver_at_gates() as driver:
        path = stage.last
        path.rename(aside)
        stage.open_gates()
        expect(driver.wait(), 3, "")
    assert stage.states()[path.stem][0] == stage.work.when_gone
    aside.rename(path)


def source_is_a_pipe(stage: Stage) -> None:
    """A video is replaced by a pipe that nobody writes to, and is back for the next run."""
    aside = stage.root / "aside"
    with stage.driver_at_gates() as driver:
        path = stage.last
        path.rename(aside)
        os.mkfifo(path)
        stage.open_gates()
        expect(driver.wait(), 3, "")
    assert stage.states()[path.stem][0] == stage.work.when_gone
    path.unlink()
    aside.rename(path)


def decoder_hangs(stage: Stage) -> None:
    """A worker waits for ever for the bytes of a pipe, once."""
    gate, other = stage.gates
    with stage.driver_at_gates(*_limit(stage)) as driver:
        hung = stage.at(gate)
        stage.order(gate, "hang")
        stage.withdraw(other)
        driver.wait_until(lambda: _waits_in(pipe_of(stage.root), hung))
        stage.withdraw(gate)
        expect(driver.wait(), 3, "")


def worker_stopped(stage: Stage) -> None:
    """SIGSTOP of a worker, which never goes on."""
    with stage.driver_at_gates(*_limit(stage)) as driver:
        os.kill(_worker(stage), signal.SIGSTOP)
        stage.open_gates()
        expect(driver.wait(), 3, "")


def clock_set_back(stage: Stage) -> None:
    """The clock of the driver and its workers goes back by five hours, by libfaketime."""
    clock = stage.root / "clock"
    clock.write_text("+0")
    library = faketime_library()
    assert library is not None
    faked = {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        # Not at each reading: while one thread reads the file, others are told the true time.
        "FAKETIME_CACHE_DURATION": str(_CLOCK_READ_S),
        "DONT_FAKE_MONOTONIC": "1",  # a clock that is set back does not go back there
        "NO_FAKE_STAT": "1",
    }
    with replace(stage, environment=stage.environment | faked).driver_at_gates() as driver:
        clock.with_suffix(".new").write_text("-5h")
        clock.with_suffix(".new").replace(clock)
        time.sleep(1.5 * _CLOCK_READ_S)  # so that all have read it
        stage.open_gates()
        expect(driver.wait(), 3, "")


def record_cut(stage: Stage) -> None:
    """The last third of a record is lost while no driver runs."""
    _damage_a_record(stage, lambda data: data[: len(data) * 2 // 3])


def record_flipped(stage: Stage) -> None:
    """A bit of a record flips while no driver runs."""
    _damage_a_record(stage, _with_flipped_bit)


def permission_lost(stage: Stage) -> None:
    """The folders of the dataset become read-only in mid-run; the driver has no privileges."""
    with stage.driver_at_gates() as driver:
        _allow(stage.out, 0o555)
        stage.open_gates()
        expect(driver.wait(), 2, "Permission denied")
    _allow(stage.out, 0o755)


def output_moved(stage: Stage) -> None:
    """The dataset is moved away in mid-run, and put back later."""
    aside = stage.root / "aside"
    with stage.driver_at_gates() as driver:
        stage.out.rename(aside)
        stage.open_gates()
        expect(driver.wait(), 2, "removed or replaced during the run")
    assert not stage.out.exists()
    aside.rename(stage.out)


def output_deleted(stage: Stage) -> None:
    """The dataset is deleted in mid-run, with all that was finished."""
    with stage.driver_at_gates() as driver:
        shutil.rmtree(stage.out)
        stage.open_gates()
        expect(driver.wait(), 2, "removed or replaced during the run")
    assert not stage.out.exists()


def two_drivers(stage: Stage) -> None:
    """A second driver is started on the same folder."""
    with stage.driver_at_gates() as driver:
        second = replace(stage, said="said by the second")
        expect(second.run(), 2, f"in use by process {driver.process.pid}")
        stage.open_gates()
        expect(driver.wait(), 3, "")


def memory_limit(stage: Stage) -> None:
    """A worker may take no more memory (RLIMIT_AS) in the middle of a video, once."""
    gate = stage.gates[0]
    with stage.driver_at_gates() as driver:
        begun = stage.counted("began").total()
        stage.order(gate, "memory")
        driver.wait_until(lambda: stage.counted("began").total() > begun)  # in a new worker
        stage.open_gates()
        expect(driver.wait(), 3, "")


def memory_hog(stage: Stage) -> None:
    """A video takes more memory than its worker may have, every time; others do not."""
    stage.order(stage.poison, "memory")
    stage.open_gates()
    expect(stage.run(), 3, "")


def no_memory(stage: Stage) -> None:
    """No worker may take more memory, whatever its video; later they may."""
    with stage.driver_at_gates() as driver:
        for name in stage.good:
            stage.order(name, "memory")
        expect(driver.wait(), 2, "more memory, or fewer workers")
    for name in stage.good:
        stage.withdraw(name)


FAULTS: Final = {
    fault.name: fault
    for fault in (
        Fault(name="a video kills its worker every time", act=nothing_else),
        Fault(name="a worker is killed", act=worker_killed),
        Fault(name="the driver is killed", act=driver_killed),
        Fault(name="a node is removed", act=node_removed, only_ray=True),
        Fault(name="the disk is full", act=disk_full, disk_bytes=64 << 20),
        Fault(name="a source vanishes", act=source_gone),
        Fault(name="a source becomes a pipe", act=source_is_a_pipe),
        Fault(name="a decoder hangs in a pipe", act=decoder_hangs),
        Fault(name="a worker is stopped", act=worker_stopped),
        Fault(name="the clock is set back", act=clock_set_back),
        Fault(name="a record is cut short", act=record_cut),
        Fault(name="a record has a flipped bit", act=record_flipped),
        Fault(name="permission is lost", act=permission_lost, unprivileged=True),
        Fault(name="the output is moved away", act=output_moved),
        Fault(name="the output is deleted", act=output_deleted, loses_all=True),
        Fault(name="two drivers on one folder", act=two_drivers),
        Fault(name="a worker hits its memory limit", act=memory_limit),
        Fault(name="a video takes too much memory", act=memory_hog, reason=_NO_MEMORY),
        Fault(name="the memory of the machine is full", act=no_memory),
    )
}
"""By name."""


def why_not(fault: Fault, engine: str) -> str | None:
    """Return why a fault can't be done here; None if it can."""
    if fault.only_ray and engine != "ray":
        return "there are no nodes without Ray"
    if fault.disk_bytes is not None and os.geteuid() != 0:
        return "only root may mount a disk"
    if fault.act is clock_set_back and faketime_library() is None:
        return "needs the package libfaketime"
    if fault.unprivileged and os.geteuid() == 0 and shutil.which("setpriv") is None:
        return "nothing is forbidden to root"
    return None


def faketime_library() -> Path | None:
    """Return the library of the package libfaketime; None where there is none."""
    found = importlib.util.find_spec("libfaketime")
    if found is None or found.origin is None:
        return None
    return next(Path(found.origin).parent.rglob("libfaketime.so.1"), None)


@contextmanager
def small_disk(path: Path, size_bytes: int) -> Iterator[Path]:
    """Mount a disk of this size, in memory."""
    path.mkdir()
    mount, umount = shutil.which("mount") or "mount", shutil.which("umount") or "umount"
    subprocess.run(
        [mount, "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(path)], check=True
    )
    try:
        yield path
    finally:
        subprocess.run([umount, "-l", str(path)], check=True)


def _limit(stage: Stage) -> tuple[str, str]:
    limit_s = _REAL_LIMIT_S if stage.kind == "real" else stage.work.limit_s
    return "--item-timeout", str(limit_s)


def _worker(stage: Stage) -> int:
    pid = stage.at(stage.gates[0])
    assert pid is not None
    return pid


def _fill(filler: Path) -> None:
    for size_bytes in (_FULL_BYTES, 1):
        try:
            with filler.open("ab", buffering=0) as file:
                while file.write(b"\0" * size_bytes):
                    pass
        except OSError:
            continue


def _waits_in(pipe: Path, pid: int | None) -> bool:
    """Whether a process has come as far as opening the pipe: it sleeps in there."""
    try:
        return "fifo" in Path(f"/proc/{pid}/wchan").read_text() or _opening(pipe, pid)
    except OSError:
        return False


def _opening(pipe: Path, pid: int | None) -> bool:
    state = Path(f"/proc/{pid}/syscall").read_text().split()
    return bool(state) and state[0] in {"2", "257"} and pipe.exists()  # open, openat


def _damage_a_record(stage: Stage, damage: Callable[[bytes], bytes]) -> None:
    driver_killed(stage)
    first = stage.done()[0]
    (record,) = stage.out.glob(stage.work.records.format(item=first))
    whole = record.read_bytes()
    record.write_bytes(damage(whole))
    if stage.work.redoes_broken:
        return
    expect(stage.run(), 2, "put back a copy")
    record.write_bytes(whole)


def _allow(folder: Path, mode: int) -> None:
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            path.chmod(mode)


def _with_flipped_bit(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
