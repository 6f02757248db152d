from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from typing import Any

from tests.benchmark.page.conftest import HOSTILE
from tpbench.benchmark.leaderboard.board import Leaderboard
from tpbench.benchmark.page.build import SCRIPTS, as_script_data, build_page
from tpbench.benchmark.site import Site


class Elements(HTMLParser):
    """Collects start tags and the text of style and script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.raw: list[tuple[str, str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] in {"style", "script"} and data.strip():
            self.raw.append((self.tags[-1][0], data))


def parsed(board: Leaderboard, out: Path) -> Elements:
    return Elements(build_page(board, Site.open(out)).read_text(encoding="utf-8"))


def test_the_page_is_written_into_the_folder(board: Leaderboard, tmp_path: Path) -> None:
    assert build_page(board, Site.open(tmp_path)) == tmp_path / "index.html"
    assert (tmp_path / "media").is_dir()


def test_equal_leaderboards_give_equal_pages(board: Leaderboard, tmp_path: Path) -> None:
    first, second = (build_page(board, Site.open(tmp_path / name)) for name in "ab")
    assert first.read_bytes() == second.read_bytes()


def test_names_that_are_markup_open_no_element(board: Leaderboard, tmp_path: Path) -> None:
    hostile = replace(
        board,
        dataset=board.dataset.model_copy(update={"name": HOSTILE}),
        notes=(HOSTILE, "<!--", "\u2028"),
        clips=tuple(replace(clip, identity=HOSTILE) for clip in board.clips),
    )

    page = parsed(hostile, tmp_path)

    tags = [tag for tag, _ in page.tags]
    assert "img" not in tags
    assert tags.count("script") == 2
    data = json.loads(next(text for tag, text in page.raw if tag == "script"))
    assert data["dataset"]["name"] == HOSTILE
    assert data["clips"][0]["identity"] == HOSTILE


def test_the_policy_allows_the_page_s_own_style_and_script_and_nothing_from_elsewhere(
    board: Leaderboard, tmp_path: Path
) -> None:
    page = parsed(board, tmp_path)
    policy = str(
        next(tag for _, tag in page.tags if tag.get("http-equiv") == "Content-Security-Policy")[
            "content"
        ]
    )
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    style = next(text for tag, text in page.raw if tag == "style")
    script = [text for tag, text in page.raw if tag == "script"][-1]

    def named(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    assert rules["default-src"] == "'none'"
    assert rules["style-src"] == named(style)
    assert rules["script-src"] == named(script)
    assert not re.search(r"https?:|\*", policy)


def test_nothing_in_the_page_points_to_the_network(board: Leaderboard, tmp_path: Path) -> None:
    page = parsed(replace(board, reported=()), tmp_path)
    for _, attributes in page.tags:
        for name in ("src", "href"):
            assert not (attributes.get(name) or "").startswith(("http", "//"))
    style = next(text for tag, text in page.raw if tag == "style")
    assert "url(" not in style
    assert "@import" not in style


def test_script_data_survives_what_would_end_it_early() -> None:
    data: dict[str, Any] = {"a": "</script><!--<script>&\u2028", "b": [1.5, None, "inf"]}
    text = as_script_data(data)
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == data


def test_every_script_file_is_in_the_page_and_none_parses_markup() -> None:
    folder = resources.files("tpbench.benchmark.page") / "script"
    scripts = {entry.name: entry.read_text(encoding="utf-8") for entry in folder.iterdir()}
    assert set(scripts) == {f"{name}.js" for name in SCRIPTS}
    for text in scripts.values():
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)
