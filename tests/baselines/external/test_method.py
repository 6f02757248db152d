from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from tests.baselines.external.conftest import toy
from tpbench.baselines.external.method import (
    environment_for,
    find_installation,
    install_steps,
    last_line,
)
from tpbench.baselines.external.spec import load_spec, spec_ids
from tpbench.baselines.registry import MODELS, build
from tpbench.errors import ConfigError


@pytest.mark.parametrize("method_id", spec_ids())
def test_steps_lead_from_nothing_to_all_that_is_checked(method_id: str, methods: Path) -> None:
    spec = load_spec(method_id)
    checkout = methods / method_id / "checkout"
    lines = install_steps(spec)
    text = "\n".join(lines)
    typed = [line for line in lines if not line.startswith("#")]
    assert typed[0] == f"git clone {spec.url} {checkout}"
    assert typed[1] == f"git -C {checkout} checkout {spec.commit}"
    assert f"{methods / method_id / 'env'}" in typed[2]
    assert subprocess.run(["/bin/sh", "-n"], input=text, text=True, check=False).returncode == 0
    for weights in spec.weights:
        assert weights.licence in text
        assert all(path in text for path in weights.paths)
    assert all("\n" not in line and "{" not in line for line in lines)


def test_walls_and_terms_are_said() -> None:
    assert "registration" in "\n".join(install_steps(load_spec("champ")))
    assert "# by hand: fetch MagicPose" in "\n".join(install_steps(load_spec("magicpose")))
    assert "accept them on the page first" in "\n".join(install_steps(load_spec("mimicmotion")))
    assert "non-commercial" in "\n".join(install_steps(load_spec("stableanimator")))
    assert "non-profit" in "\n".join(install_steps(load_spec("magicpose")))


def test_rows_are_light_and_say_what_the_specs_say() -> None:
    found = {name: MODELS[name] for name in spec_ids()}
    for row in found.values():
        assert row.kind == "external"
        assert row.install
        assert row.licence_code
        assert row.licence_weights
    code = (
        "import sys; import tpbench.baselines.registry;"
        "print([m for m in ('torch', 'cv2', 'av') if m in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"


def test_every_row_builds_its_own_method() -> None:
    for name in spec_ids():
        with pytest.raises(ConfigError, match=f"^{name} keeps its weights in its checkout"):
            build(name, options={}, weights_dir=Path("x"))


def test_another_commit_than_the_spec_s_is_noted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    with caplog.at_level(logging.WARNING):
        found = find_installation(toy(), checkout=tmp_path, python=Path(sys.executable))
    assert found.commit is not None
    assert len(found.commit) == 40
    assert "the spec was written for 0000000" in caplog.text


@pytest.mark.parametrize(
    ("said", "line"),
    [
        (b"", ""),
        (b"one\ntwo\n\n  \n", "two"),
        (b"10%\r 50%\r 100%| done\r", "100%| done"),
        (b"\x1b[31mred\x1b[0m\ttab \xff\n", "red tab \ufffd"),
        (b"x" * 20_000, "x" * 200),
    ],
)
def test_the_last_line_is_what_a_terminal_shows(said: bytes, line: str, tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(said)
    assert last_line(tmp_path / "log") == line


@pytest.mark.parametrize(
    ("ours", "device", "theirs"),
    [
        (None, "auto", None),
        ("3", "auto", "3"),
        ("3", "cuda", "3"),
        (None, "cuda:2", "2"),
        ("5,6", "cuda:1", "6"),
        ("5,6", "cpu", ""),
    ],
)
def test_a_device_is_one_of_the_gpus_that_we_see(
    ours: str | None, device: str, theirs: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if ours is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ours)
    environment = environment_for(device, python=Path("/env/bin/python"), temporary=Path("/t"))
    assert environment.get("CUDA_VISIBLE_DEVICES") == theirs
    assert environment["PATH"].startswith("/env/bin:")
    assert environment["TMPDIR"] == "/t"


def test_a_gpu_that_we_do_not_see_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    with pytest.raises(ConfigError, match="CUDA_VISIBLE_DEVICES=5 shows no such GPU"):
        environment_for("cuda:1", python=Path("python"), temporary=Path("/t"))
