"""The commonest wish, by the README's own commands: folders of videos to the table of a paper."""

from __future__ import annotations

import re
import shlex
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser
from pylatexenc.latexwalker import LatexEnvironmentNode, LatexWalker
from typer.testing import CliRunner

from tests.benchmark.page.browsing import names, open_page
from tpbench.cli.main import app
from tpbench.doctor import demo_clips
from tpbench.video import CLIP, VideoWriter, read_frames

README = Path(__file__).resolve().parents[3] / "README.md"
HEAD = "to the table of a paper"
STARTS = (0, 60)
N_FRAMES = 18
Images = list[NDArray[np.uint8]]


def commands() -> list[list[str]]:
    """Return the commands of README below the sentence that promises the table."""
    text = README.read_text("utf-8").split(HEAD, 1)[1]
    block = re.search(r"```sh\n(.*?)```", text, re.DOTALL)
    assert block
    return [shlex.split(line, comments=True) for line in block[1].splitlines()]


def write(path: Path, images: Images) -> None:
    height_px, width_px = images[0].shape[:2]
    path.parent.mkdir(exist_ok=True)
    with VideoWriter(
        path, width_px=width_px, height_px=height_px, fps=Fraction(25), encoding=CLIP
    ) as writer:
        for image in images:
            writer.write(image)


def drifting(images: Images) -> Images:
    """Brighter with every frame, and noisy: the method that loses."""
    noise = np.random.default_rng(0)
    return [
        np.clip(image + noise.normal(3 * at, 6, image.shape), 0, 255).astype(np.uint8)
        for at, image in enumerate(images)
    ]


def blurred(images: Images) -> Images:
    return [np.asarray(cv2.blur(image, (2, 2)), np.uint8) for image in images]


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """REAL, THEIRS and MINE: pieces of the demo's talk, and two methods of different quality."""
    (talk,) = (path for path in demo_clips() if "carphone" in path.name)
    every = [frame.image[:144, :176] for frame in read_frames(talk, end_frame=120)]
    for start in STARTS:
        images = [np.ascontiguousarray(image) for image in every[start : start + N_FRAMES]]
        name = f"talk {start}.mp4"
        write(tmp_path / "REAL" / name, images)
        write(tmp_path / "THEIRS" / name, drifting(images))
        write(tmp_path / "MINE" / name, blurred(images))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tpbench.work.usable_cores", lambda: 1)  # processes take long to start
    return tmp_path


def test_two_folders_of_videos_become_a_table_differences_and_a_page(
    folders: Path, browser: Browser
) -> None:
    said = []
    for words in commands():
        done = CliRunner().invoke(app, words[1:], catch_exceptions=False)
        assert done.exit_code == 0, (words, done.output)
        said.append(done.stdout)
    table, latex, compared, built = said

    assert "Method X" in table.splitlines()[0]
    assert re.search(r"^psnr +↑ +dB", table, re.MULTILINE)
    assert "How to report: Scored with tpbench " in table
    (environment,) = (
        node
        for node in LatexWalker(latex).get_latex_nodes()[0]
        if isinstance(node, LatexEnvironmentNode)
    )
    assert environment.environmentname == "table"
    assert latex.index("Method X &") < latex.index("Mine &")
    assert "Mine" in compared
    assert "motion_ratio" in compared
    assert str(Path("site/index.html")) in built

    scores = pd.read_csv(folders / "site/leaderboard.csv").set_index("model")
    assert list(scores.sort_values("psnr").index) == ["Method X", "Mine"]
    assert list(scores.sort_values("tje_d2").index) == ["Mine", "Method X"]
    for page in (folders / "site/index.html", folders / "table/leaderboard/index.html"):
        for opened in open_page(browser, page.as_uri(), width=1280):
            assert names(opened.page) == ["Method X", "Mine"]
            assert opened.page.locator("#clips video").count() >= 2
            assert opened.complaints == []
