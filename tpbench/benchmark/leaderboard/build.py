"""`build_leaderboard`: runs in, a folder to publish out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tpbench.benchmark.leaderboard.assemble import assemble, commands_of_missing_anchors
from tpbench.benchmark.leaderboard.collect import collect
from tpbench.benchmark.leaderboard.csv import leaderboard_csv
from tpbench.benchmark.leaderboard.markdown import leaderboard_markdown
from tpbench.benchmark.leaderboard.model import Leaderboard
from tpbench.benchmark.leaderboard.reported import reported_csv
from tpbench.benchmark.leaderboard.schema import schema_text
from tpbench.benchmark.site import Site
from tpbench.errors import ConfigError

CSV_NAME: Final = "leaderboard.csv"
SCHEMA_NAME: Final = "leaderboard.schema.json"
REPORTED_NAME: Final = "reported.csv"
MARKDOWN_NAME: Final = "leaderboard.md"
PAGE_NAME: Final = "index.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltLeaderboard:
    """A leaderboard and the files that were made of it."""

    leaderboard: Leaderboard
    files: tuple[Path, ...]
    """Written now; the page, if there is one, is the last."""

    page: Path | None
    """`index.html`; None: not asked for."""

    missing_anchors: Mapping[str, str]
    """By anchor that is not in the table: what to type on this machine to make it."""


def build_leaderboard(
    runs: Sequence[Path | str],
    out: Path | str,
    *,
    data: Path | str | None = None,
    page: bool = True,
) -> BuiltLeaderboard:
    """Put runs into one table, and write it as CSV, schema, Markdown and page.

    Equal runs give equal files, in whatever order they are named. Runs that are partial, not
    scored, or scored before their clips were made again are left out, and named in
    `leaderboard.left_out`.

    Args:
        runs: folders of runs, or folders with such somewhere below.
        out: folder to write into; files of an older leaderboard are replaced, unless somebody
            changed them, and no others.
        data: folder of the dataset that the runs were made on, for the page's real clips and poses;
            None: the page has none. Where runs say that it lies is never looked at.
        page: also write `index.html` and `media/`.

    Raises:
        ConfigError: a folder is not there, `out` can't be written or holds a file of the user's
            own that is in the way, or `data` is another dataset.
        DatasetError: `data` can't be read.
        SubmissionError: the runs can't stand in one table, none is left, or a file was tampered
            with.
    """
    folder = Path(out)
    collection = collect(runs)
    board = assemble(collection, data=None if data is None else Path(data))
    texts = {
        CSV_NAME: leaderboard_csv(board),
        SCHEMA_NAME: schema_text(board),
        REPORTED_NAME: reported_csv(board.reported),
        MARKDOWN_NAME: leaderboard_markdown(board),
    }
    index = None
    try:
        site = Site.open(folder)
        site.require_free([*texts, PAGE_NAME] if page else texts)
        if page:
            from tpbench.benchmark.page import build_page

            index = build_page(board, site)
        for name, text in texts.items():
            site.write_text(name, text)
        site.finish(sweep=page)
    except OSError as error:
        raise ConfigError(f"{folder}: can't be written ({error.strerror or error})") from error
    return BuiltLeaderboard(
        leaderboard=board,
        files=(*(folder / name for name in texts), *([index] if index else [])),
        page=index,
        missing_anchors=commands_of_missing_anchors(collection, board),
    )
