"""Tables as text: aligned for a terminal, Markdown, and LaTeX, with everything escaped."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from tpbench.benchmark.leaderboard.markdown import escaped as escaped_markdown
from tpbench.foreign import printable

Format = Literal["table", "md", "latex", "csv"]
"""How a table is written; table: for a terminal."""
WIDTH: Final = 80
"""Columns of a terminal that did not say how many it has."""
_MARKED_NOTE: Final = "best, and all that are not significantly worse"
NO_ROOM: Final = "no room for: {}; a wider terminal or --json shows them"
_GAP: Final = "  "
_SMALL_GAP: Final = " "

_LATEX_ESCAPES: Final = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    # Behind a line's end, these would be read as its option.
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    # Not in every font; in mathematics they are.
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "→": r"$\rightarrow$",
    "∞": r"$\infty$",
    "…": r"\dots{}",
    "±": r"$\pm$",
}


def marked_note(unjudged: Sequence[str] = ()) -> str:
    """Return what a mark means, and which methods the marks say nothing about.

    >>> marked_note(["X"])
    'best, and all that are not significantly worse; not judged: X (clips are missing)'
    """
    if not unjudged:
        return _MARKED_NOTE
    return f"{_MARKED_NOTE}; not judged: {', '.join(unjudged)} (clips are missing)"


def lacks_clips(names: Sequence[str]) -> str:
    """Return that methods lack clips, as a reason.

    >>> lacks_clips(["X"]), lacks_clips(["X", "Y"])
    ('clips of X are missing', 'clips of X, Y are missing')
    """
    return f"clips of {', '.join(names)} are missing"


@dataclass(frozen=True, slots=True)
class Markup:
    """How texts, numbers and intervals are written."""

    text: Callable[[str], str]
    number: Callable[[str], str]
    """Of a number as text, empty for none."""
    interval: Callable[[str, str], str]
    """Of two written numbers."""
    bold: Callable[[str], str]
    """Of written text."""


def escaped_latex(text: str) -> str:
    r"""Return text in one line that LaTeX sets literally.

    >>> escaped_latex("50% of a_b & {c}")
    '50\\% of a\\_b \\& \\{c\\}'
    """
    plain = printable(" ".join(text.split()))
    return "".join(_LATEX_ESCAPES.get(letter, letter) for letter in plain)


def bold_latex(text: str) -> str:
    """Return LaTeX in bold."""
    return rf"\textbf{{{text}}}"


def bold_markdown(text: str) -> str:
    """Return Markdown in bold."""
    return f"**{text}**"


def latex_number(text: str) -> str:
    """Return a number for LaTeX, with a minus sign instead of a hyphen."""
    sign, digits = ("$-$", text[1:]) if text.startswith("-") else ("", text)
    return sign + escaped_latex(digits)


MARKDOWN: Final = Markup(escaped_markdown, escaped_markdown, "{} … {}".format, bold_markdown)
LATEX: Final = Markup(escaped_latex, latex_number, "({}, {})".format, bold_latex)


def markdown_table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a table of GitHub's Markdown; the cells are marked up already."""
    rows = [heads, ["---", *["---:"] * (len(heads) - 1)], *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def latex_table(
    heads: Sequence[Sequence[str]], lines: Sequence[Sequence[str]], *, caption: Sequence[str] = ()
) -> str:
    """Return a `table` environment for the package booktabs; the cells are marked up already.

    Letters of any script stay as they are: the document is in UTF-8, the default of LaTeX since
    2018.

    Args:
        heads: one line or more.
        lines: of as many cells.
        caption: sentences, marked up; none: no caption.
    """
    return "\n".join(
        [
            r"% \usepackage{booktabs}",
            r"\begin{table}",
            r"  \centering",
            *([rf"  \caption{{{' '.join(caption)}}}"] if caption else []),
            rf"  \begin{{tabular}}{{l{'r' * (len(heads[0]) - 1)}}}",
            r"    \toprule",
            *(f"    {' & '.join(head)} \\\\" for head in heads),
            r"    \midrule",
            *(f"    {' & '.join(line)} \\\\" for line in lines),
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
        ]
    )


def without_spare(
    heads: Sequence[str],
    lines: Sequence[Sequence[str]],
    *,
    left: Collection[str],
    spare: Sequence[str],
    width: int,
) -> str:
    """Return an `aligned` table that fits a terminal.

    Where there is no room, columns come closer, then some are left out, which is said.

    Args:
        heads: of the columns.
        lines: of as many cells.
        left: columns to left-align.
        spare: columns to leave out, one after the other.
        width: of the terminal.
    """
    text, left_out = aligned(heads, lines, left=left), []
    if text_width(text) > width:
        text = aligned(heads, lines, left=left, gap=_SMALL_GAP)
    for head in spare:
        if text_width(text) > width and head in heads:
            left_out.append(head)
            at = list(heads).index(head)
            heads = [*heads[:at], *heads[at + 1 :]]
            lines = [[*line[:at], *line[at + 1 :]] for line in lines]
            text = aligned(heads, lines, left=left, gap=_SMALL_GAP)
    return "\n".join([text, *([NO_ROOM.format(", ".join(left_out))] if left_out else [])])


def aligned(
    heads: Sequence[str],
    lines: Sequence[Sequence[str]],
    *,
    left: Collection[str],
    above: Sequence[Sequence[str]] = (),
    gap: str = _GAP,
) -> str:
    """Return lines of cells in columns, below their heads and a rule.

    Args:
        heads: of the columns.
        lines: of as many cells.
        left: columns to left-align, by their heads; all others are numbers.
        above: further lines of the heads.
        gap: between columns.
    """
    from rich.cells import cell_len

    lines = [[printable(cell) for cell in line] for line in lines]
    whole = [*above, heads, *lines]
    widths = [max(cell_len(line[at]) for line in whole) for at in range(len(heads))]

    def line_of(cells: Sequence[str]) -> str:
        padded = []
        for at, cell in enumerate(cells):
            space = " " * (widths[at] - cell_len(cell))
            padded.append(cell + space if heads[at] in left else space + cell)
        return gap.join(padded).rstrip()

    rule = "─" * (sum(widths) + len(gap) * (len(widths) - 1))
    return "\n".join([*map(line_of, [*above, heads]), rule, *map(line_of, lines)])


def text_width(text: str) -> int:
    """Return how many columns of a terminal the longest line takes."""
    from rich.cells import cell_len

    return max(map(cell_len, text.splitlines()))
