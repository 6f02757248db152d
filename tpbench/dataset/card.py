"""`README.md` of a dataset: the card that tells a stranger what they hold."""

from __future__ import annotations

import json
from importlib import resources
from string import Template
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tpbench.dataset.info import DatasetInfo

_SIZES: Final = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
)
"""Size classes of dataset hubs, by number of clips below a limit."""


def render_card(info: DatasetInfo) -> str:
    """Return the card as Markdown with a YAML head; it hangs on `dataset.json` alone."""
    template = resources.files("tpbench.dataset").joinpath("card_template.md")
    counts = info.counts
    return Template(template.read_text(encoding="utf-8")).substitute(
        # JSON strings are YAML strings, whatever the name holds.
        yaml_name=json.dumps(info.name, ensure_ascii=False),
        size=next((tag for limit, tag in _SIZES if counts.kept < limit), "n>1M"),
        name=_inline(info.name),
        version=_inline(info.version),
        tool_version=info.tool_version,
        digest=info.digest,
        sources=f"{counts.sources:,}",
        kept=f"{counts.kept:,}",
        kept_frames=f"{counts.kept_frames:,}",
        kept_hours=f"{counts.kept_hours:.2f}",
        identities=f"{counts.identities:,}",
        counts=_counts(info),
        config=json.dumps(info.config, indent=2, sort_keys=True, ensure_ascii=False),
        models=_models(info),
        rejects=_rejects(info),
        split=_split(info),
    )


def _counts(info: DatasetInfo) -> str:
    counts = info.counts
    rows = (
        ("source videos", f"{counts.sources:,}"),
        ("candidate clips", f"{counts.candidates:,}"),
        ("kept", f"{counts.kept:,}"),
        ("rejected by a filter", f"{counts.rejected:,}"),
        ("sources not readable", f"{counts.failed:,}"),
        ("sources given up", f"{counts.quarantined:,}"),
        ("frames kept", f"{counts.kept_frames:,}"),
        ("hours kept", f"{counts.kept_hours:.2f}"),
        ("identities kept", f"{counts.identities:,}"),
    )
    return _table(("what", "count"), rows)


def _models(info: DatasetInfo) -> str:
    if not info.models:
        return "No model digests were recorded."
    return _table(("model", "sha256"), ((role, f"`{info.models[role]}`") for role in info.models))


def _rejects(info: DatasetInfo) -> str:
    if not info.counts.reject_codes:
        return "Nothing was rejected."
    titles = {row.code: row.title for row in info.measurements if row.code}
    rows = (
        (f"`{code}`", _inline(titles.get(code, "")), f"{number:,}")
        for code, number in info.counts.reject_codes.items()
    )
    return _table(("code", "measured", "clips"), rows) + "\n\nA clip may bear several codes."


def _split(info: DatasetInfo) -> str:
    split = info.split
    if split is None:
        return "Not split yet: `tpbench split` writes `splits/`."
    rows = (
        ("train", f"{split.train_clips:,}", f"{split.train_identities:,}"),
        ("test", f"{split.test_clips:,}", f"{split.test_identities:,}"),
    )
    return (
        f"By hash of the identity (test share {split.test_share:g}, seed {split.seed}): whole\n"
        "identities on one side, stable when clips are added. An identity is a source video until\n"
        "something better is known, so one person in two videos counts as two.\n\n"
        + _table(("side", "clips", "identities"), rows)
    )


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    heads = list(head)
    lines = [heads, ["---"] * len(heads), *map(list, rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _inline(text: str) -> str:
    """Make foreign text one harmless line of Markdown."""
    line = " ".join(text.split())
    return "".join(f"\\{char}" if char in r"\`*_[]<>|#" else char for char in line)
