"""`tpbench export --to pack` and `rebuild` as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import invoke
from tests.films import Filmed, write_film, write_filmed
from tpbench.errors import ConfigError, DatasetError
from tpbench.extraction import rebuild_task, rebuilding
from tpbench.work import InThisProcess


@pytest.fixture(scope="module")
def filmed(tmp_path_factory: pytest.TempPathFactory) -> Filmed:
    return write_filmed(tmp_path_factory.mktemp("filmed"), ("a", "b"))


@pytest.fixture(scope="module")
def pack(filmed: Filmed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("packs") / "pack"
    result = invoke("export", filmed.dataset.folder, "--to", "pack", "--out", path)
    assert result.exit_code == 0
    assert "4 clips" in result.stdout
    assert "tpbench rebuild PACK --raw RAW" in result.stdout
    return path


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuilding, "Pool", lambda **_: InThisProcess(build=rebuild_task.build))
    monkeypatch.setattr(rebuilding, "write_report", lambda _: None)


def test_the_original_is_said_to_be_it(filmed: Filmed, pack: Path, tmp_path: Path) -> None:
    result = invoke("rebuild", pack, "--raw", filmed.raw, "--out", tmp_path / "out")
    code, said, complained = result.exit_code, result.stdout, result.stderr
    assert (code, complained) == (0, "")
    assert "the same bytes" in said
    assert f"digest {filmed.dataset.digest}: that of the original" in said


def test_what_is_lacking_is_listed_and_ends_with_3(
    filmed: Filmed, pack: Path, tmp_path: Path
) -> None:
    raw = tmp_path / "raw"
    write_film(raw / "a.mp4", 50)
    result = invoke("rebuild", pack, "--raw", raw, "--out", tmp_path / "out")
    code, said, complained = result.exit_code, result.stdout, result.stderr
    assert code == 3
    assert "other pictures" in said
    assert "source gone" in said
    assert "split: 0 of " in said
    assert "a.mp4: shows other pictures (distance 0." in complained
    assert "no video with the bytes, the id or the name of b.mp4" in complained
    result = invoke("rebuild", pack, "--raw", raw, "--out", tmp_path / "out", "--json")
    found = json.loads(result.stdout)
    assert result.exit_code == 3
    assert (found["complete"], found["original"]) == (False, False)
    assert {clip["outcome"] for clip in found["clips"]} == {"other pictures", "source gone"}
    assert found["original_digest"] == filmed.dataset.digest


def test_one_line_says_what_is_wrong(filmed: Filmed, pack: Path, tmp_path: Path) -> None:
    options = ("--out", tmp_path / "out")
    with pytest.raises(DatasetError, match="this is a dataset, not a pack"):
        invoke("rebuild", filmed.dataset.folder, "--raw", filmed.raw, *options)
    with pytest.raises(ConfigError, match="--fetch wants one folder"):
        invoke("rebuild", pack, "--raw", filmed.raw, "--raw", tmp_path, "--fetch", *options)
    with pytest.raises(ConfigError, match=r"raw videos \(--raw\), or fetch them \(--fetch\)"):
        invoke("rebuild", pack, *options)
    with pytest.raises(
        ConfigError, match=r"names no address of the sources that are not in .*-raw"
    ):
        invoke("rebuild", pack, "--fetch", *options)
