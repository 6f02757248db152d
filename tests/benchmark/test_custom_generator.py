"""A generator of the user's own: the lines of docs/evaluation.md, as an object and by name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.benchmark.generators import Numbered
from tpbench.benchmark.evaluate import evaluate
from tpbench.benchmark.run_folder import Run
from tpbench.dataset import clip_path
from tpbench.errors import ConfigError
from tpbench.video import read_frames

ROOT = Path(__file__).resolve().parents[2]

EXAMPLE = '''\
from tpbench.baselines.base import GeneratedFrame


class Darker:
    """Shows the reference, a little darker with every frame."""

    def generate(self, tasks):
        for task in tasks:
            for index in range(task.n_frames):
                image = (task.reference * 0.99**index).astype("uint8")
                yield GeneratedFrame(clip_id=task.clip_id, index=index, image=image)
'''

AS_OBJECT = """
from tpbench.benchmark.evaluate import evaluate

result = evaluate("darker", "{data}", generator=Darker(), metrics=["psnr", "motion_ratio"])
print(result.table()[["value", "unit"]])
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the user works."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def assert_darker(path: Path, talks: Path) -> None:
    run = Run.open(path)
    real = next(iter(read_frames(clip_path(talks, "b")))).image
    frames = [frame.image for frame in read_frames(run.folder.generated("b"))]
    assert (run.info.counts.done, len(frames)) == (3, 104)
    assert np.array_equal(frames[0], real)
    assert np.array_equal(frames[50], (real * 0.99**50).astype("uint8"))


def test_as_an_object_in_a_script_without_a_main_guard(home: Path, talks: Path) -> None:
    script = home / "darker.py"
    script.write_text(EXAMPLE + AS_OBJECT.format(data=talks))

    done = subprocess.run(
        [sys.executable, script.name],
        cwd=home,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "psnr" in done.stdout
    assert "motion_ratio" in done.stdout
    (path,) = home.glob("runs/darker/*/self-tpbench-v2/seed42")
    assert_darker(path, talks)


def test_by_module_and_class(home: Path, talks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "mine").mkdir()
    (home / "mine" / "darker.py").write_text(EXAMPLE)
    monkeypatch.setattr(sys, "path", list(sys.path))
    result = evaluate("mine.darker:Darker", talks, metrics=["psnr"])
    assert result.complete
    assert_darker(result.runs[0].folder.path, talks)
    assert result.runs[0].info.model.configuration["class"] == "mine.darker:Darker"


def test_an_object_can_not_have_the_name_of_a_model_of_the_package(home: Path, talks: Path) -> None:
    with pytest.raises(ConfigError, match="'warp' is a model of tpbench; give your generator"):
        evaluate("warp", talks, generator=Numbered(), metrics=["psnr"])
    assert not list(home.iterdir())


def test_one_seed_and_one_metric_as_such(home: Path, talks: Path) -> None:
    with pytest.raises(ConfigError, match=r"metrics wants a list of names: \['psnr'\]"):
        evaluate("mine", talks, generator=Numbered(), metrics="psnr")
    result = evaluate("mine", talks, generator=Numbered(), metrics=["psnr"], seeds=7, limit=1)
    assert result.seeds == (7,)
    assert (home / "runs" / "mine").is_dir()


def test_the_docs_show_this_example() -> None:
    assert EXAMPLE in (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
