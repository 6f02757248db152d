"""Whose token is sent where; a Ray of this machine is the cluster that asks for one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tpbench.errors import ConfigError
from tpbench.work import Engine

pytest.importorskip("ray")
import ray

from tpbench.work.ray_token import token_if_asked, token_of_its_own

CONNECT = """
import sys
from tpbench.work import Engine
with Engine(name="ray", ray_address=sys.argv[1]).session():
    print("connected")
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def cluster(home: Path) -> Iterator[tuple[str, str]]:
    """Address and token of a Ray of this machine, started by a user without any token."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
            patch.delenv(name, raising=False)
        patch.setenv("HOME", str(home))
        with Engine(name="ray").session():
            address = ray.get_runtime_context().gcs_address
            token = os.environ["RAY_AUTH_TOKEN"]
            patch.delenv("RAY_AUTH_MODE")
            patch.delenv("RAY_AUTH_TOKEN")
            yield address, token


def connecting(address: str, **environment: str) -> tuple[int, str]:
    path = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, "-c", CONNECT, address],
        env=os.environ | {"PYTHONPATH": path} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_ray_of_this_machine_writes_no_token(cluster: tuple[str, str], home: Path) -> None:
    written = [path for path in home.rglob("*") if path.is_file()]
    assert not [path for path in written if cluster[1] in path.read_text(errors="replace")]
    assert not (home / ".ray" / "auth_token").exists()


def test_a_cluster_that_asks_for_a_token_gets_no_worker_without_one(
    cluster: tuple[str, str],
) -> None:
    wanted = r"--ray-address \S+: the cluster asks for a token; put .* ~/\.ray/auth_token"
    with pytest.raises(ConfigError, match=wanted), token_if_asked(cluster[0]):
        pass
    assert "RAY_AUTH_MODE" not in os.environ


def test_a_cluster_that_does_not_ask_or_answer_is_sent_no_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)
    with token_if_asked("127.0.0.1:1") as asked:
        assert not asked
        assert "RAY_AUTH_MODE" not in os.environ


def test_the_users_token_is_used_where_it_is_asked_for(
    cluster: tuple[str, str], tmp_path: Path
) -> None:
    address, token = cluster
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text(token)
    assert connecting(address, HOME=str(tmp_path)) == (0, "connected\n")
    code, said = connecting(address, RAY_AUTH_TOKEN=token)
    assert (code, said) == (0, "connected\n")


def test_the_environment_is_as_before_once_a_token_is_not_needed_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "1" * 64)
    before = dict(os.environ)
    with token_of_its_own():
        assert os.environ["RAY_AUTH_TOKEN"] != "1" * 64
        assert os.environ["RAY_AUTH_MODE"] == "token"
    assert dict(os.environ) == before
