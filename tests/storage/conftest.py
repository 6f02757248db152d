"""An S3 server in a process of its own, with a bucket for each test."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.extraction import quick_worker
from tests.storage.s3_server import KEYS, s3_server
from tpbench.extraction import run
from tpbench.storage import objects
from tpbench.storage.addresses import Address
from tpbench.work import InThisProcess


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The address of moto's S3 server."""
    with s3_server() as address:
        yield address


@pytest.fixture
def bucket(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Address]:
    """An empty bucket; the cache and scratch of this machine are the test's own."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("TPBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TPBENCH_SCRATCH", str(tmp_path / "scratch"))
    monkeypatch.setattr(objects, "FIRST_PAUSE_S", 0.01)
    objects._filesystem.cache_clear()
    made = Address(scheme="s3", bucket=f"talks-{secrets.token_hex(4)}", key="")
    objects._files(made).mkdir(made.bucket)
    yield made
    objects._filesystem.cache_clear()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clips of a few bytes are made, in this process: see `quick_worker`."""
    make_task = run._task
    monkeypatch.syspath_prepend(Path(quick_worker.__file__).parent)
    monkeypatch.setattr(
        run, "_task", lambda *args: replace(make_task(*args), factory="quick_worker:build")
    )
    monkeypatch.setattr(run, "write_report", lambda *_, **__: None)
    monkeypatch.setattr(run, "_pool", lambda _: InThisProcess(build=quick_worker.build))
