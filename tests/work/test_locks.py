from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest

from tpbench.errors import ConfigError, DatasetError
from tpbench.work import locks
from tpbench.work.faults import HaltError
from tpbench.work.locks import DEAD_AFTER_VARIABLE, InUseError, locked, require_held

HOLDER = Path(__file__).with_name("lock_holder.py")
DEAD_AFTER_S = 0.6
Kind = Literal["exclusive", "shared"]


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "folder" / ".lock"


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dead holders are looked for, as on a network share, with little patience."""
    monkeypatch.setenv(DEAD_AFTER_VARIABLE, str(DEAD_AFTER_S))


@pytest.fixture
def no_flock(watched: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without locks."""

    def refused(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refused)


@contextmanager
def holder(lock: Path, kind: Kind = "exclusive") -> Iterator[subprocess.Popen[str]]:
    """Another process that has the lock."""
    process = subprocess.Popen(
        [sys.executable, str(HOLDER), str(lock), kind],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": str(HOLDER.parents[2])},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n", process.communicate()
        yield process
    finally:
        process.kill()
        process.communicate()


def left(lock: Path) -> list[str]:
    return sorted(path.name for path in lock.parent.iterdir())


def test_a_holder_on_this_disk_is_refused_at_once_and_its_death_frees_the_lock(lock: Path) -> None:
    with holder(lock) as other:
        began_s = time.monotonic()
        with pytest.raises(InUseError, match=f"in use by process {other.pid} on"), locked(lock):
            pass
        assert time.monotonic() - began_s < locks._DEAD_AFTER_S / locks._BEATS
        other.kill()
        other.wait()
        with locked(lock):
            assert f"process {os.getpid()}\n" in lock.read_text()
    assert left(lock) == [".lock"]
    assert lock.read_bytes() == b""


def test_a_killed_shared_holder_is_in_nobodys_way(lock: Path) -> None:
    with holder(lock, "shared") as other:
        with pytest.raises(InUseError, match=f"process {other.pid} on"), locked(lock):
            pass
        with locked(lock, shared=True):
            pass
        other.kill()
        other.wait()
    with locked(lock):
        pass
    assert left(lock) == [".lock"]


@pytest.mark.usefixtures("watched")
@pytest.mark.parametrize(("theirs", "ours"), [
    ("exclusive", "exclusive"), ("exclusive", "shared"), ("shared", "exclusive"),
])  # fmt: skip
def test_the_lock_of_a_dead_machine_is_taken_over_and_should_it_wake_it_halts(
    lock: Path, theirs: Kind, ours: Kind, caplog: pytest.LogCaptureFixture
) -> None:
    with holder(lock, theirs) as other:
        other.send_signal(signal.SIGSTOP)
        with locked(lock, shared=ours == "shared"):
            require_held(lock.parent)
            assert f"process {other.pid} has given no sign of life" in caplog.text
            other.send_signal(signal.SIGCONT)
            assert other.wait(20) == 1
            _, error = other.communicate()
            assert "another process took over the lock" in error
            require_held(lock.parent)
    assert left(lock) == [".lock"]


@pytest.mark.usefixtures("watched")
@pytest.mark.parametrize("theirs", ["exclusive", "shared"])
def test_a_holder_that_lives_keeps_its_lock(lock: Path, theirs: Kind) -> None:
    with holder(lock, theirs) as other:
        for _ in range(2):
            with pytest.raises(InUseError, match=f"process {other.pid} on"), locked(lock):
                pass
        assert other.poll() is None


@pytest.mark.usefixtures("watched")
def test_a_holder_that_gives_no_signs_is_never_given_up(lock: Path) -> None:
    """A tpbench of before, or a disk so full that no sign can be written."""
    lock.parent.mkdir()
    with lock.open("w") as file:
        file.write("process 12")
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(InUseError, match="process 12 on"), locked(lock):
            pass


@pytest.mark.usefixtures("watched")
def test_one_of_several_who_watch_a_dead_holder_gets_its_lock(lock: Path) -> None:
    begun = threading.Barrier(4)
    got = []

    def ask() -> None:
        begun.wait()
        try:
            with locked(lock):
                got.append(threading.get_ident())
                time.sleep(3 * DEAD_AFTER_S)
                require_held(lock.parent)
        except InUseError:
            pass

    with holder(lock) as other, ThreadPoolExecutor(4) as threads:
        other.send_signal(signal.SIGSTOP)
        for asked in [threads.submit(ask) for _ in range(4)]:
            asked.result()
    assert len(got) == 1


@pytest.mark.usefixtures("watched")
def test_who_waits_gets_the_lock_of_a_holder_that_dies_meanwhile(lock: Path) -> None:
    with holder(lock) as other:
        timer = threading.Timer(DEAD_AFTER_S, other.send_signal, [signal.SIGSTOP])
        timer.start()
        with locked(lock, wait=True):
            assert other.poll() is None
        timer.join()


def test_who_waits_on_this_disk_gets_the_lock_as_soon_as_it_is_free(lock: Path) -> None:
    with holder(lock) as other:
        threading.Timer(0.1, other.kill).start()
        with locked(lock, wait=True):
            assert other.wait(20) == -signal.SIGKILL


@pytest.mark.usefixtures("no_flock")
def test_without_locks_of_the_kernel_a_file_that_one_can_create_keeps_others_out(
    lock: Path,
) -> None:
    with locked(lock):
        for shared in (False, True):
            with pytest.raises(InUseError, match=f"process {os.getpid()} on"):
                locked(lock, shared=shared).__enter__()
    with locked(lock, shared=True), locked(lock, shared=True):
        with pytest.raises(InUseError, match=f"process {os.getpid()} on"), locked(lock):
            pass
        require_held(lock.parent)
    assert left(lock) == [".lock"]


@pytest.mark.usefixtures("no_flock")
@pytest.mark.parametrize("name", [".lock.held", ".lock.01234567.alive"])
def test_without_locks_of_the_kernel_what_a_killed_process_left_is_seen_to_be_dead(
    lock: Path, name: str
) -> None:
    lock.parent.mkdir()
    (lock.parent / name).write_text("process 12\nsign 000000000003, every 0.05 s\n")
    with locked(lock):
        pass
    assert left(lock) == [".lock"]


def test_a_run_whose_lock_was_replaced_halts(lock: Path) -> None:
    with locked(lock):
        require_held(lock.parent)
        lock.rename(lock.with_name("other"))
        lock.touch()
        require_held(lock.parent / "elsewhere")
        with pytest.raises(HaltError, match="another process took over the lock"):
            require_held()
    require_held()


def test_what_cannot_be_locked_or_written_is_one_line(
    lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock.parent.mkdir()
    lock.mkdir()
    with pytest.raises(DatasetError, match="Is a directory; the output folder must be"):
        locked(lock).__enter__()
    monkeypatch.setenv(DEAD_AFTER_VARIABLE, "soon")
    with pytest.raises(ConfigError, match="must be a number of seconds, got 'soon'"):
        locked(lock).__enter__()


MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
31 22 0:42 / /data rw,relatime shared:2 master:1 - nfs4 server:/data rw,vers=4.2
32 22 0:43 / /scratch rw - lustre 10.0.0.1@tcp:/scratch rw,flock
33 22 0:44 / /bucket rw - fuse.s3fs s3fs rw
34 22 0:45 / /merged rw - fuse.fuse-overlayfs fuse-overlayfs rw
"""


@pytest.mark.parametrize(("device", "network"), [
    ("8:1", False), ("0:42", True), ("0:43", True), ("0:44", True), ("0:45", False), ("9:9", False),
])  # fmt: skip
def test_network_shares_are_told_by_the_kind_of_their_file_system(
    device: str, *, network: bool
) -> None:
    assert locks._is_network(locks._kind_of(MOUNTS, device)) == network


def test_this_disk_is_no_network_share(tmp_path: Path) -> None:
    assert not locks.is_network_share(tmp_path / "not" / "there")


def test_a_folder_that_is_gone_is_not_said_to_be_taken_over(lock: Path) -> None:
    with locked(lock):
        lock.parent.rename(lock.parent.with_name("elsewhere"))
        with pytest.raises(HaltError, match="was removed or replaced during the run"):
            require_held()
        lock.parent.with_name("elsewhere").rename(lock.parent)
        require_held()
