"""A folder to publish: what is ours there, and what is not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tpbench.benchmark.site import LIST_NAME, Site
from tpbench.errors import ConfigError


def build(out: Path, **files: str) -> None:
    site = Site.open(out)
    for name, text in files.items():
        site.write_text(name, text)
    site.finish(sweep=True)


def test_what_we_wrote_is_replaced_and_taken_away(tmp_path: Path) -> None:
    build(tmp_path, a="1", b="1")
    build(tmp_path, a="2")
    assert {path.name: path.read_text() for path in tmp_path.glob("[a-z]")} == {"a": "2"}


@pytest.mark.parametrize("kind", ["file", "link", "dangling link", "folder", "changed", "pipe"])
def test_what_is_the_users_own_is_refused_before_anything_is_written(
    tmp_path: Path, kind: str
) -> None:
    out, page = tmp_path / "out", tmp_path / "out" / "index.html"
    out.mkdir()
    (tmp_path / "thesis").write_text("mine")
    if kind == "file":
        page.write_text("mine")
    elif kind == "link":
        page.symlink_to(tmp_path / "thesis")
    elif kind == "dangling link":
        page.symlink_to(tmp_path / "nowhere")
    elif kind == "folder":
        page.mkdir()
    elif kind == "pipe":
        os.mkfifo(page)
    else:
        build(out, **{"index.html": "ours"})
        page.write_text("mine")

    with pytest.raises(ConfigError, match=r"index.html: .*; move it away, or choose another --out"):
        build(out, **{"index.html": "ours"})

    assert (tmp_path / "thesis").read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()
    if kind in {"file", "changed"}:
        assert page.read_text() == "mine"


def test_a_build_that_was_killed_leaves_nothing_that_the_next_does_not_know(
    tmp_path: Path,
) -> None:
    site = Site.open(tmp_path)
    site.write_text("a", "1")  # and no `finish`
    (tmp_path / ".tpbench-0123456789abcdef.tmp").write_text("half")
    build(tmp_path, a="2")
    assert (tmp_path / "a").read_text() == "2"
    assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.parametrize("name", ["../victim", "/victim", "a/../../victim"])
def test_a_list_that_somebody_sent_takes_nothing_away_outside(tmp_path: Path, name: str) -> None:
    out, victim = tmp_path / "out", tmp_path / "victim"
    out.mkdir()
    victim.write_text("mine")
    digest = "2a5d7c0f2f5a5b0b5d1d7bd1b2a4d6d4f0f3c2c5b6a798897a6b5c4d3e2f1a0b"
    (out / LIST_NAME).write_text(f"{digest}  {name}\nno line of ours\n")
    build(out, a="1")
    assert victim.read_text() == "mine"


def test_a_list_that_is_a_link_or_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / LIST_NAME).symlink_to("mine")
    with pytest.raises(ConfigError, match="can't be read as a list of files"):
        Site.open(tmp_path)
    (tmp_path / LIST_NAME).unlink()
    (tmp_path / LIST_NAME).write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="can't be read as a list of files"):
        Site.open(tmp_path)
