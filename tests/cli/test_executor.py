"""The commands that take `--executor ray`: what they make is the same as by local workers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from tests.benchmark.generators import MODULE
from tests.cli.conftest import invoke
from tests.metrics.scoring.clips import pictures, worse, write_set
from tests.talks import short_settings, talk_frames, write_talk
from tpbench.dataset import Dataset
from tpbench.work import Engine

pytest.importorskip("ray")
pytestmark = pytest.mark.slow

MODEL = f"{MODULE}:Numbered"


@pytest.fixture(scope="module", autouse=True)
def _ray() -> Iterator[None]:
    """One Ray of this machine for all tests: it takes seconds to start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        with Engine(name="ray").session():
            yield


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TPBENCH_CACHE", str(tmp_path / "cache"))


def made(tmp_path: Path, *words: str | Path) -> dict[str, Path]:
    """Run a command by both executors; return the folder of each."""
    folders = {}
    for executor in ("local", "ray"):
        out = folders[executor] = tmp_path / executor
        result = invoke(*words, "--out", out, "--executor", executor, "--workers", "2")
        assert result.exit_code == 0, result.output
    return folders


def files(folder: Path, *endings: str) -> Mapping[str, bytes]:
    """Return the files with these endings, by where they lie in the folder."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.suffix in endings]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_generate_makes_the_same_clips(tmp_path: Path, data: Path) -> None:
    folders = made(tmp_path, "generate", "--model", MODEL, "--data", data)
    found = files(folders["ray"], ".mkv", ".mp4")
    assert sorted(map(name_of, found)) == ["a.mkv", "a.mp4", "b.mkv", "b.mp4"]
    assert found == files(folders["local"], ".mkv", ".mp4")


def test_score_makes_the_same_scores(tmp_path: Path) -> None:
    clips = {"a": pictures(4), "b": pictures(5, seed=1)}
    real = write_set(tmp_path / "real", clips)
    generated = write_set(tmp_path / "generated", {name: worse(clips[name]) for name in clips})
    words = ("--real", real, "--generated", generated, "--metrics", "psnr,l1")
    folders = made(tmp_path, "score", *words)
    assert scores(folders["ray"]) == scores(folders["local"])
    tables = files(folders["ray"], ".parquet")
    assert list(map(name_of, tables)) == ["frames.parquet"]
    assert tables == files(folders["local"], ".parquet")


def test_extract_makes_the_same_dataset_and_eval_of_warp_on_it_the_same_scores(
    tmp_path: Path,
) -> None:
    (tmp_path / "short.yaml").write_text(yaml.safe_dump(short_settings().model_dump(mode="json")))
    for number in range(3):
        frames = [picture[:, ::-1] if number == 2 else picture for picture in talk_frames()]
        write_talk(tmp_path / "talks" / f"{number}.mp4", frames[number:])
    words = ("--skeleton", "mediapipe", "--preset", tmp_path / "short.yaml", "--name", "talks")
    folders = made(tmp_path, "extract", tmp_path / "talks", *words)
    local, ray = (Dataset.open(folders[name]) for name in ("local", "ray"))
    assert sum(clip.status == "kept" for clip in ray.clips()) == 3
    assert ray.digest == local.digest
    kept = (".mp4", ".npz")
    assert files(folders["ray"], *kept) == files(folders["local"], *kept)

    words = ("--model", "warp", "--data", folders["local"], "--metrics", "psnr,l1")
    runs = made(tmp_path / "runs", "eval", *words, "--min-frames", "24")
    found = files(runs["ray"], ".mkv", ".parquet")
    assert len(found) == 4
    assert found == files(runs["local"], ".mkv", ".parquet")
    assert scores(runs["ray"]) == scores(runs["local"])


def scores(folder: Path) -> bytes:
    (found,) = folder.rglob("scores.json")
    return found.read_bytes()


def name_of(path: str) -> str:
    return Path(path).name
