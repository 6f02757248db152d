"""CONTRIBUTING's recipes for baselines: a class and a row, or one YAML file alone."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.benchmark.conftest import write_dataset
from tests.recipes.recipe import code_of, copied_package, tpbench_in
from tpbench.baselines.external.spec import load_spec
from tpbench.cli.main import app
from tpbench.dataset import clip_path
from tpbench.video import read_frames

pytestmark = pytest.mark.usefixtures("in_this_process")

CHEAP = ("--workers", "1", "--device", "cpu")

METHOD = """\
import shutil, sys
import cv2

ref, poses, out, steps = sys.argv[1:]
drawings = cv2.VideoCapture(poses)
index = 0
while drawings.read()[0]:
    shutil.copy(ref, f"{out}/{index}.png")
    index += 1
"""
"""Shows the reference in every frame."""

Run = Callable[..., str]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dataset, in the folder of somebody who works elsewhere."""
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "home")
    monkeypatch.setenv("TPBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TPBENCH_METHODS", str(tmp_path / "methods"))
    write_dataset(tmp_path / "data", {"a": 101})
    return tmp_path / "data"


@pytest.fixture
def spec(data: Path) -> Path:
    """The recipe's file outside the package, and the method that it speaks of."""
    checkout = data.parent / "methods" / "my-method" / "checkout"
    (checkout / "weights").mkdir(parents=True)
    (checkout / "weights" / "model.pth").write_bytes(b"weights")
    (checkout / "animate.py").write_text(METHOD, "utf-8")
    program = checkout.parent / "env" / "bin" / "python"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n', "utf-8")
    program.chmod(0o755)
    path = data.parent / "secret place" / "mine.yaml"
    path.parent.mkdir()
    (code,) = code_of("Add a method with its own environment")
    path.write_text(code, "utf-8")
    return path


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Types a command in this process and returns what it says, errors too."""

    def _run(*words: object, code: int = 0) -> str:
        command = [str(word) for word in words]
        monkeypatch.setattr(sys, "argv", ["tpbench", *command])
        ended = CliRunner().invoke(app, command)
        said = ended.output if ended.exception is None or ended.exit_code != 1 else ""
        if ended.exit_code == 1:
            said = str(ended.exception)
        assert ended.exit_code == code, said
        return said

    return _run


def test_a_python_baseline_is_a_class_and_a_row(data: Path) -> None:
    class_code, row = code_of("Add a baseline in Python")
    baselines = copied_package(data.parent) / "baselines"
    (baselines / "mirrored.py").write_text(class_code, "utf-8")
    with (baselines / "registry.yaml").open("a") as file:
        file.write(f"\n{row}")
    code, _, errors = tpbench_in(
        data.parent, "generate", "--model", "mirrored", "--data", "data", "--out", "runs", *CHEAP
    )
    assert code == 0, errors
    (video,) = (data.parent / "runs").rglob("generated/a.mkv")
    frames = [frame.image for frame in read_frames(video)]
    reference = next(iter(read_frames(clip_path(data, "a")))).image
    assert len(frames) == 101
    assert all(np.array_equal(frame, reference[:, ::-1]) for frame in frames)
    assert "Mirrored reference" in tpbench_in(data.parent, "models", "show", "mirrored")[1]


def test_a_method_is_one_yaml_file_anywhere(spec: Path, data: Path, run: Run) -> None:
    assert "My method" in run("models", "show", spec)
    assert "git clone https://example.org/my-method" in run("models", "install", spec)
    assert "my-method: its checkout, Python and weights are in place" in run(
        "models", "check", spec
    )
    said = run("eval", "--model", spec, "--data", data, "--metrics", "l1,motion_ratio", *CHEAP)
    assert "my-method on Small talks (all clips)" in said
    (folder,) = Path("runs").glob("my-method/*/*/seed42")
    reference = next(iter(read_frames(clip_path(data, "a")))).image
    frames = [frame.image for frame in read_frames(folder / "generated" / "a.mkv")]
    assert len(frames) == 101
    assert all(np.array_equal(frame, reference) for frame in frames)


def test_a_run_names_the_spec_by_its_digest_and_content_and_never_its_folder(
    spec: Path, data: Path, run: Run
) -> None:
    run("eval", "--model", spec, "--data", data, "--metrics", "l1", *CHEAP)
    run("leaderboard", "build", "runs", "--out", "board")
    (folder,) = Path("runs").glob("my-method/*/*/seed42")
    model = json.loads((folder / "run.json").read_text("utf-8"))["model"]
    assert (model["name"], model["kind"], model["licence_code"]) == ("my-method", "external", "MIT")
    assert model["configuration"]["spec_sha256"] == load_spec(str(spec)).digest
    assert model["configuration"]["spec"] == load_spec(str(spec)).model_dump(mode="json")
    published = [*folder.rglob("*.json"), *Path("board").glob("*.*")]
    assert all("secret place" not in path.read_text("utf-8", "replace") for path in published)
    assert "tpbench eval --model my-method.yaml" in Path("board/index.html").read_text("utf-8")


def test_a_run_goes_on_with_the_same_spec_and_not_with_another(
    spec: Path, data: Path, run: Run
) -> None:
    command = ("generate", "--model", spec, "--data", data, "--out", "runs", *CHEAP)
    run(*command)
    (record,) = Path("runs").rglob("records/a.json")
    written = record.stat().st_mtime_ns
    run(*command)
    assert record.stat().st_mtime_ns == written
    spec.write_text(spec.read_text("utf-8").replace("steps: 30", "steps: 31"), "utf-8")
    assert "made with another configuration" in run(*command, code=1)


def test_in_the_package_the_same_file_is_a_model_by_its_id(spec: Path, data: Path) -> None:
    specs = copied_package(data.parent) / "baselines" / "external" / "specs"
    (specs / "my-method.yaml").write_bytes(spec.read_bytes())
    assert "my-method" in tpbench_in(data.parent, "models", "list")[1]
    command = ("generate", "--model", "my-method", "--data", "data", "--out", "runs", *CHEAP)
    code, _, errors = tpbench_in(data.parent, *command)
    assert code == 0, errors


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "can't be read: No such file or directory"),
        ("a: [", "is no YAML: "),
        ("\udcff", "is no YAML: 'utf-8' codec can't decode"),
        ("[]", "Input should be a valid dictionary"),
        ("id: ../up", "id: String should match pattern"),
        ("id: champ", "id 'champ' is a model of tpbench; give it its own id"),
    ],
)
def test_what_is_no_spec_is_one_line(
    text: str | None, message: str, spec: Path, data: Path, run: Run
) -> None:
    content = spec.read_text("utf-8")
    spec.unlink()
    if text is not None:
        text = content.replace("id: my-method", text) if text.startswith("id: ") else text
        spec.write_bytes(text.encode("utf-8", "surrogateescape"))
    for command in (("models", "show", spec), ("eval", "--model", spec, "--data", data)):
        said = run(*command, code=1).strip()
        assert message in said
        assert str(spec) in said
        assert "\n" not in said


def test_a_copy_of_a_spec_of_the_package_is_that_model(tmp_path: Path, run: Run) -> None:
    import tpbench

    original = Path(tpbench.__file__).parent / "baselines" / "external" / "specs" / "champ.yaml"
    (tmp_path / "champ.yaml").write_bytes(original.read_bytes())
    assert run("models", "show", tmp_path / "champ.yaml", "--json") == run(
        "models", "show", "champ", "--json"
    )
