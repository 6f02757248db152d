from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import Result

from tests.cli.conftest import invoke
from tpbench.errors import ConfigError
from tpbench.files import sha256_of
from tpbench.metrics.scoring.records import content_key


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TPBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def clip(tmp_path: Path, cache: Path) -> Path:
    """A video of which skeletons are kept, beside those of another."""
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"a video")
    for content in (sha256_of(path), "f" * 64):
        kept = cache / "features" / "skeletons" / "aa" / f"{content_key(content, '0' * 64)}.npz"
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(bytes(1_000_000))
    return path


def run(*arguments: str) -> Result:
    return invoke("cache", *arguments)


def n_kept(cache: Path) -> int:
    return len(list((cache / "features").rglob("*.npz")))


def test_show_counts_files_and_size_by_kind(clip: Path, cache: Path) -> None:
    shown = run("show").stdout
    rows = json.loads(run("show", "--json").stdout)["kinds"]
    assert clip.exists()
    assert f"2.0 MB in {cache / 'features'}" in shown
    assert [(row["kind"], row["files"], row["bytes"]) for row in rows] == [
        ("skeletons", 2, 2_000_000)
    ]


def test_show_of_an_empty_cache_says_so() -> None:
    assert run("show").stdout.startswith("0.0 MB in ")


def test_clear_of_one_clip_leaves_the_others(clip: Path, cache: Path) -> None:
    assert run("clear", str(clip)).stdout == "removed 1 file, 1.0 MB\n"
    assert n_kept(cache) == 1


def test_clear_removes_all(clip: Path, cache: Path) -> None:
    assert clip.exists()
    assert run("clear").stdout == "removed 2 files, 2.0 MB\n"
    assert n_kept(cache) == 0


def test_trim_bounds_the_size(clip: Path, cache: Path) -> None:
    assert clip.exists()
    assert run("trim", "--max-gb", "0.0015").stdout == "removed 1 file, 1.0 MB\n"
    assert n_kept(cache) == 1


def test_trim_without_a_bound_says_which_there_are() -> None:
    with pytest.raises(ConfigError, match="--max-gb, --max-days"):
        run("trim")


def test_a_kind_that_the_cache_does_not_hold_is_refused_with_those_it_does(clip: Path) -> None:
    assert clip.exists()
    with pytest.raises(ConfigError, match="did you mean 'skeletons'"):
        run("clear", "--kind", "skeleton")
