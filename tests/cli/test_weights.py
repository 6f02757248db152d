from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import invoke
from tpbench.errors import ConfigError
from tpbench.weights import WEIGHTS, store

MESH = "mediapipe-face-mesh"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty weights folder, and no network."""
    monkeypatch.setenv("TPBENCH_CACHE", str(tmp_path))
    monkeypatch.setenv("TPBENCH_OFFLINE", "1")
    (tmp_path / "weights").mkdir()
    return tmp_path / "weights"


@pytest.fixture
def mesh(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that passes for the face mesh."""
    row = next(row for row in WEIGHTS if row.name == MESH)
    path = folder / row.filename
    path.write_bytes(b"mesh")
    monkeypatch.setattr(
        store, "sha256_of", lambda p: row.sha256 if p.read_bytes() == b"mesh" else "0" * 64
    )
    return path


def test_list_shows_every_file_with_its_state(mesh: Path) -> None:
    shown = invoke("weights", "list").stdout.splitlines()
    states = {line.split()[0]: line.split()[1] for line in shown[1 : 1 + len(WEIGHTS)]}
    assert states == {row.name: "missing" for row in WEIGHTS} | {MESH: "verified"}
    assert shown[-1] == f"in {mesh.parent}"


def test_list_as_json_gives_all_there_is_to_know(mesh: Path) -> None:
    rows = json.loads(invoke("weights", "list", "--json").stdout)
    assert [row["name"] for row in rows] == [row.name for row in WEIGHTS]
    by_name = {row["name"]: row for row in rows}
    assert by_name[MESH]["state"] == "verified"
    assert by_name[MESH]["path"] == str(mesh)
    assert by_name[MESH]["size_on_disk_bytes"] == 4
    assert by_name["yolox-l"]["source"].endswith("DWPose/resolve/main/yolox_l.onnx")
    assert by_name["yolox-l"]["sha256_on_disk"] is None


def test_list_shows_every_group_with_its_size_as_far_as_it_is_known() -> None:
    shown = invoke("weights", "list").stdout.splitlines()[1 + len(WEIGHTS) :]
    groups = {line.split()[0]: line.split()[1:] for line in shown if line}
    assert groups["dwpose"][:3] == ["2", "2", "351.1"]
    assert groups["talkingpose"][:5] == ["7", "7", "1,550.6", "+", "?"]
    assert groups["extraction"][:2] == ["9", "9"]


@pytest.mark.usefixtures("mesh")
def test_a_group_is_checked_and_pulled_by_its_name() -> None:
    result = invoke("weights", "check", "mediapipe")
    assert len(result.stdout.splitlines()) == 7
    assert result.stderr == "6 files are missing; run: tpbench weights pull mediapipe\n"
    with pytest.raises(ConfigError, match="TPBENCH_OFFLINE forbids"):
        invoke("weights", "pull", "metrics", "dwpose")


@pytest.mark.parametrize(
    ("typo", "hint"),
    [
        ("talkingpoes", "did you mean 'talkingpose'"),
        ("metric", "did you mean 'metrics'"),
        ("lpips-alex", "did you mean 'lpips-alexnet'"),
        ("zzz", "groups: extraction, dwpose, mediapipe, metrics, talkingpose; files: see"),
    ],
)
def test_a_name_that_is_neither_file_nor_group_gets_a_hint(typo: str, hint: str) -> None:
    for command in ("pull", "check"):
        with pytest.raises(ConfigError, match=f"no weights are called '{typo}'; {hint}"):
            invoke("weights", command, typo)


def test_pull_without_a_name_says_which_groups_there_are() -> None:
    with pytest.raises(ConfigError, match=r"groups: extraction, .*talkingpose; single files: see"):
        invoke("weights", "pull")


def test_pull_tells_where_the_file_is(mesh: Path) -> None:
    result = invoke("weights", "pull", MESH)
    assert result.stdout == f"{MESH}: verified, {mesh}\n"


def test_check_is_content_with_files_that_nobody_pulled(mesh: Path) -> None:
    result = invoke("weights", "check")
    assert result.exit_code == 0
    assert f"{MESH}: verified, {mesh}\n" in result.stdout
    assert "yolox-l: missing\n" in result.stdout


def test_path_prints_the_path_alone(mesh: Path) -> None:
    result = invoke("weights", "path", MESH)
    assert result.stdout == f"{mesh}\n"


@pytest.mark.parametrize(("name", "state"), [(MESH, "changed"), ("yolox-l", "missing")])
def test_check_fails_on_a_file_that_changed_or_a_named_one_that_is_missing(
    name: str, state: str, mesh: Path
) -> None:
    mesh.write_bytes(b"mush")
    result = invoke("weights", "check", name)
    assert result.exit_code == 3
    assert result.stderr == f"{name} is {state}; run: tpbench weights pull {name}\n"
