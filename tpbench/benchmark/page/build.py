"""One file that works from a folder, without a network: data, style and script inlined."""

from __future__ import annotations

import base64
import hashlib
import json
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any, Final

from tpbench.benchmark.leaderboard.board import Leaderboard
from tpbench.benchmark.leaderboard.tables import PAGE_NAME
from tpbench.benchmark.page.curves import make_curves
from tpbench.benchmark.page.data import page_data
from tpbench.benchmark.page.media import place_media
from tpbench.benchmark.site import Site

SCRIPTS: Final = (
    "dom", "numbers", "models", "tips", "columns", "table", "axes", "frames", "scatter", "player",
    "clips", "prose", "start",
)  # fmt: skip
"""Files of the script, in the order in which they stand in the page."""


def build_page(leaderboard: Leaderboard, site: Site) -> Path:
    """Write `index.html` and the videos that it shows, in `media`, into a site.

    All that came from outside reaches the page as data and is put into it as text. A content policy
    in the page allows its own style and script, by their hashes, and nothing from anywhere else.

    Args:
        leaderboard: what is shown.
        site: folder of the leaderboard; files of the user's own stay as they are.

    Returns:
        The path of the page.

    Raises:
        ConfigError: a file of the user's own is in the way, or the dataset is another one.
        DatasetError: the dataset can't be read.
    """
    site.require_free([PAGE_NAME])
    curves = make_curves(leaderboard)
    data = page_data(leaderboard, curves, place_media(leaderboard, site))
    return site.write_text(PAGE_NAME, render(data))


def render(data: dict[str, Any]) -> str:
    """Return the page that shows the data."""
    style = _read("style.css")
    parts = "\n".join(_read(f"script/{name}.js") for name in SCRIPTS)
    script = f'"use strict";\n(() => {{\n{parts}\n}})();\n'
    return Template(_read("page.html")).substitute(
        title=escape(f"{data['dataset']['name']} \N{MIDDLE DOT} leaderboard"),
        style=style,
        style_hash=_hash(style),
        script=script,
        script_hash=_hash(script),
        data=as_script_data(data),
    )


def as_script_data(data: dict[str, Any]) -> str:
    """Return JSON that nothing in it can end early: `<`, `>` and `&` stand as escapes."""
    text = json.dumps(data, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _read(name: str) -> str:
    return resources.files("tpbench.benchmark.page").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """Return what a content policy calls a text by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
