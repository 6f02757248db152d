"""One run at a time works in a folder of a bucket, and a dead one does not hold it for ever."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.storage.buckets import keys
from tpbench.storage import lease, objects
from tpbench.storage.addresses import Address
from tpbench.storage.lease import holders, leased
from tpbench.work.faults import HaltError
from tpbench.work.locks import InUseError
from tpbench.work.records import Shard


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "_SETTLE_S", 0.0)


def left_by_a_dead_run(bucket: Address, name: str = "of another") -> None:
    objects.write(bucket.below(".leases/run"), f'{{"token": "{name}"}}'.encode())


def test_a_second_run_is_refused_and_the_lease_ends_with_the_first(
    bucket: Address, tmp_path: Path
) -> None:
    with leased(bucket, None, note=tmp_path / "one"):
        with (
            pytest.raises(InUseError, match="in use by another run, which renewed"),
            leased(bucket, None, note=tmp_path / "two"),
        ):
            pytest.fail("two runs at once")
        with pytest.raises(InUseError), leased(bucket, Shard.parse("1/2"), note=tmp_path / "three"):
            pytest.fail("a shard beside a whole run")
    assert keys(bucket) == set()


def test_shards_of_one_count_work_side_by_side_and_exclude_others(
    bucket: Address, tmp_path: Path
) -> None:
    with (
        leased(bucket, Shard.parse("1/2"), note=tmp_path / "one"),
        leased(bucket, Shard.parse("2/2"), note=tmp_path / "two"),
    ):
        for other in (None, Shard.parse("1/3")):
            with pytest.raises(InUseError), leased(bucket, other, note=tmp_path / "three"):
                pytest.fail("they exclude one another")
    with leased(bucket, None, note=tmp_path / "four"):
        assert keys(bucket) == {".leases/run"}


@pytest.mark.parametrize("content", [b"[" * 100_000, b"\xff", b"{", b"9" * 5000, b"[]", b""])
def test_a_lease_that_is_none_of_ours_says_nothing_and_is_respected(
    content: bytes, bucket: Address, tmp_path: Path
) -> None:
    objects.write(bucket.below(".leases/run"), content)
    assert holders(bucket) == {"run": {}}
    with pytest.raises(InUseError, match="in use"), leased(bucket, None, note=tmp_path / "note"):
        pytest.fail("it may be in use")


def test_a_dead_run_of_this_machine_is_followed_at_once(bucket: Address, tmp_path: Path) -> None:
    left_by_a_dead_run(bucket, name="abc")
    (tmp_path / "note").write_text("abc")
    with leased(bucket, None, note=tmp_path / "note") as held:
        held.require()


def test_a_dead_run_of_another_machine_is_followed_once_its_lease_expired(
    bucket: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_by_a_dead_run(bucket)
    with pytest.raises(InUseError), leased(bucket, None, note=tmp_path / "note"):
        pytest.fail("too early")
    monkeypatch.setattr(lease, "EXPIRY_S", 0.5)
    time.sleep(2.0)  # the server counts whole seconds
    with leased(bucket, None, note=tmp_path / "note"):
        assert keys(bucket) == {".leases/run"}


def test_a_run_whose_lease_was_taken_stops(
    bucket: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEW_S", 0.02)
    with leased(bucket, None, note=tmp_path / "note") as held:
        time.sleep(0.2)
        held.require()
        left_by_a_dead_run(bucket)
        end_s = time.monotonic() + 10
        while not held._lost and time.monotonic() < end_s:
            time.sleep(0.02)
        with pytest.raises(HaltError, match="another run has taken over"):
            held.require()
    assert keys(bucket) == {".leases/run"}, "it is the other's"


def test_a_run_that_cant_renew_its_lease_stops(
    bucket: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with leased(bucket, None, note=tmp_path / "note") as held:
        monkeypatch.setattr(lease, "EXPIRY_S", 0.0)
        with pytest.raises(HaltError, match="could not be renewed"):
            held.require()
