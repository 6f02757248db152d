"""What a dataset says to people and tools: README.md, croissant.json, tables for `datasets`.

README.md is a datasheet: what the extraction knows comes from the manifest and `dataset.json`, what
only its publisher can know from `card.yaml` (`statements`). What nobody stated is said to be not
stated.

`datasets.load_dataset(FOLDER)` reads the `configs` at the head of README.md. One loader serves all
of them, so they are all Parquet: a table of the kept clips per side of the split, and the manifest.
The same tables name the files of each clip relative to the folder in the columns `file_name` and
`pose_file_name`, which is what the loader `videofolder` expects.
"""

from __future__ import annotations

import json
import logging
import re
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

from tpbench.dataset.croissant import CROISSANT_NAME, citation, croissant_json
from tpbench.dataset.facts import (
    Balance,
    Candidates,
    FilterEffect,
    Group,
    Provenance,
    filter_effects,
    groups_by,
    measured_columns,
    provenance,
    split_balance,
)
from tpbench.dataset.folder import (
    CLIP_VIDEO,
    KEYPOINTS,
    POSE_VIDEO,
    RECORDS_FOLDER,
    RECORDS_LOCK,
    Dataset,
)
from tpbench.dataset.info import DatasetInfo, Measurement, SplitName, length_text
from tpbench.dataset.manifest import MANIFEST_NAME, Table, manifest_file, read_table
from tpbench.dataset.parts import PARTS_FOLDER, PARTS_INDEX
from tpbench.dataset.rebuilt import Rebuilt, read_rebuilt
from tpbench.dataset.removal import Removals
from tpbench.dataset.statements import Statements, read_statements, write_template
from tpbench.errors import ConfigError, DatasetError
from tpbench.files import atomic_write, atomic_write_text
from tpbench.spread import relative_paths
from tpbench.work.locks import locked

if TYPE_CHECKING:
    from jinja2 import Template

logger = logging.getLogger(__name__)

CARD_NAME: Final = "README.md"

WHOLE: Final = "whole"
"""Split of a table that is not split; `datasets` reserves "all"."""

_SIZES: Final = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
)
"""Size classes of dataset hubs: (limit, tag); the number of clips is below the limit."""
_HUB_LICENCES: Final = frozenset({
    "apache-2.0", "mit", "cc", "cc0-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0",
    "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nd-4.0",
    "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0",
    "cdla-sharing-1.0", "cdla-permissive-1.0", "cdla-permissive-2.0", "odc-by", "odbl", "pddl",
    "unlicense",
})  # fmt: skip
"""Licences of data that Hugging Face knows by name; all others are "other" there."""
_COMPARED: Final = (
    "clip.too_short",
    "motion.static",
    "hands.hidden",
    "hands.rarely_both",
    "face.turned",
    "face.too_small",
)
"""Filters whose measurements show whether the sides of a split resemble one another."""
_COUNTED: Final = (
    "status", "reject_codes", "source_id", "identity", "split", "url", "licence", "uploader",
    "retrieved_at", "n_frames", "fps_num", "fps_den", "start_s", "end_s",
)  # fmt: skip
"""Columns that cards count on, besides the measurements."""
_ADDRESS: Final = re.compile(r"https?://[\w.~:/?#@!$&+,;=%-]+")
PATH_COLUMNS: Final = {
    "file_name": CLIP_VIDEO,
    "pose_file_name": POSE_VIDEO,
    # A column "*_file_name" becomes a video in `videofolder`, which keypoints are not.
    "keypoints_path": KEYPOINTS,
}
"""Columns of the tables of clips that hold the paths of their files, and their kinds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFacts:
    """What a card states of the manifest."""

    effects: list[FilterEffect]
    """What each filter removed."""
    licences: list[Group]
    sides: list[Group]
    """Of the split."""
    balance: list[Balance]
    origin: Provenance
    n_removed: int = 0
    """Clips, sources and people that were taken out for good."""
    rebuilt: Rebuilt | None = None
    """Of a dataset that was rebuilt from a pack."""
    in_parts: bool = False
    """Whether the manifest is in parts, see `parts`."""

    @classmethod
    def of(
        cls,
        table: Table,
        info: DatasetInfo,
        *,
        n_removed: int = 0,
        rebuilt: Rebuilt | None = None,
        in_parts: bool = False,
    ) -> CardFacts:
        """Count on the columns of a manifest."""
        candidates = Candidates(table=table)
        compared = [item for item in info.measurements if item.code in _COMPARED]
        return cls(
            effects=filter_effects(candidates, info.measurements),
            licences=groups_by(candidates, "licence"),
            sides=groups_by(candidates, "split") if info.split is not None else [],
            balance=split_balance(candidates, compared),
            origin=provenance(candidates),
            n_removed=n_removed,
            rebuilt=rebuilt,
            in_parts=in_parts,
        )


def write_cards(folder: Path, info: DatasetInfo, table: Table | None = None) -> Statements:
    """Write README.md and croissant.json of a dataset whose manifest is written.

    Args:
        folder: the dataset.
        info: what `dataset.json` says, or will say.
        table: the rows of the manifest; None: they are read.

    Returns:
        what its publisher states in `card.yaml`. If that can't be read, a warning says why, and
        the card is written without it: a long run must not end with nothing for a misspelt field.
    """
    try:
        statements = read_statements(folder)
    except ConfigError as error:
        logger.warning("the card is written without what card.yaml states: %s", error)
        statements = Statements.none()
    _write(folder, info, statements, table)
    return statements


def card_dataset(folder: Path) -> Card:
    """Write the cards of a finished dataset anew, and the template of `card.yaml` if there is none.

    Raises:
        ConfigError: `card.yaml` can't be read; nothing is written.
        DatasetError: there is no finished dataset in `folder`, or another process is using it.
    """
    Dataset.open(folder)
    records = folder / RECORDS_FOLDER
    # An extraction into the dataset holds this lock; without records it can't be extended.
    with locked(records / RECORDS_LOCK) if records.is_dir() else nullcontext():
        statements = read_statements(folder)
        first = write_template(folder)
        _write(folder, Dataset.open(folder).info, statements)
    return Card(folder=folder, template_written=first, open_fields=statements.open_fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What `card_dataset` wrote."""

    folder: Path
    template_written: bool
    """There was no `card.yaml` before."""
    open_fields: tuple[str, ...]
    """Fields of `card.yaml` that state nothing."""

    @property
    def files(self) -> tuple[Path, Path]:
        """README.md and croissant.json."""
        return self.folder / CARD_NAME, self.folder / CROISSANT_NAME


def datasheet(dataset: Dataset, statements: Statements) -> str:
    """Return the card of a dataset as Markdown without its head, to go with other forms of it."""
    facts = _facts(dataset.folder, dataset.info)
    card = render_card(dataset.info, facts=facts, statements=statements)
    return card.split("\n---\n", 1)[1].lstrip("\n")


def _facts(folder: Path, info: DatasetInfo, table: Table | None = None) -> CardFacts:
    n_removed = len(Removals.read(folder).tombstones)
    try:
        rebuilt = read_rebuilt(folder)
    except DatasetError as error:
        logger.warning("the card does not say that the dataset was rebuilt: %s", error)
        rebuilt = None
    return CardFacts.of(
        read_table(folder, columns=_stated_columns(info)) if table is None else table,
        info,
        n_removed=n_removed,
        rebuilt=rebuilt,
        in_parts=manifest_file(folder).name == PARTS_INDEX,
    )


def _stated_columns(info: DatasetInfo) -> list[str]:
    """Return the columns that cards count on."""
    return [*_COUNTED, *measured_columns(info.measurements)]


def _write(
    folder: Path, info: DatasetInfo, statements: Statements, table: Table | None = None
) -> None:
    facts = _facts(folder, info, table)
    described = croissant_json(
        info,
        manifest_file(folder),
        statements=statements,
        effects=facts.effects,
        origin=facts.origin,
    )
    atomic_write_text(folder / CROISSANT_NAME, described)
    atomic_write_text(folder / CARD_NAME, render_card(info, facts=facts, statements=statements))


def render_card(info: DatasetInfo, *, facts: CardFacts, statements: Statements) -> str:
    """Return the card as Markdown with a YAML header."""
    return _template().render(
        info=info,
        counts=info.counts,
        facts=facts,
        statements=statements,
        head=_head(info, statements, in_parts=facts.in_parts),
        off=_switched_off(info),
        imported=info.is_imported,
        n_removed=facts.n_removed,
        rebuilt=facts.rebuilt,
        citation=citation(info, statements.creators),
        tables=clip_tables(info),
        config=json.dumps(info.config, indent=2, sort_keys=True, ensure_ascii=False),
    )


@cache
def _template() -> Template:
    """Return the card's template, which a process compiles once."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=False,  # noqa: S701 - Markdown; `inline` makes foreign text harmless
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "inline": _inline,
        "prose": _prose,
        "number": "{:,}".format,
        "short": "{:.4g}".format,
        "duration": length_text,
        "limit": _limit,
    }
    template = resources.files("tpbench.dataset").joinpath("card.md.j2").read_text(encoding="utf-8")
    return environment.from_string(template)


def licence_fields(statements: Statements) -> dict[str, str]:
    """Return the licence of the whole as the head of a card on Hugging Face names it."""
    named = (statements.licence or "").lower()
    if named in _HUB_LICENCES:
        return {"license": named}
    slug = re.sub(r"[^a-z0-9.]+", "-", named).strip("-.")[:60]
    link = statements.licence_url or CARD_NAME
    return {"license": "other", "license_name": slug or "not-stated", "license_link": link}


def _head(info: DatasetInfo, statements: Statements, *, in_parts: bool) -> str:
    """Return the YAML between the dashes, as Hugging Face reads it."""
    import yaml

    values: dict[str, Any] = {"pretty_name": info.name, **licence_fields(statements)}
    if statements.languages:
        values["language"] = statements.languages
    values |= {
        "task_categories": ["image-to-video"],
        "tags": ["human-animation", "upper-body", "pose", "dwpose", "tpbench"],
        "size_categories": [
            next((tag for limit, tag in _SIZES if info.counts.kept < limit), "n>1M")
        ],
    }
    if info.counts.candidates:
        values["configs"] = _configs(info, in_parts=in_parts)
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=1_000)


def _configs(info: DatasetInfo, *, in_parts: bool) -> list[dict[str, Any]]:
    clips = [{"split": side, "path": name} for side, name in clip_tables(info).items()]
    first = [{"config_name": "clips", "default": True, "data_files": clips}] if clips else []
    manifest = f"{PARTS_FOLDER}/*.parquet" if in_parts else MANIFEST_NAME
    whole = [{"split": WHOLE, "path": manifest}]
    return [*first, {"config_name": "candidates", "data_files": whole}]


def _switched_off(info: DatasetInfo) -> list[Measurement]:
    """Return the filters that the settings name with no threshold, or do not name."""
    settings = info.config.get("filters")
    if not isinstance(settings, dict):
        return []  # a dataset of an earlier version, or one made by hand
    return [row for row in info.measurements if row.code and settings.get(row.code) is None]


def _limit(effect: FilterEffect) -> str:
    """Return what a filter keeps, such as "≥ 48 px"."""
    item = effect.measurement
    if item is None or not effect.limits:
        return ""
    sign = {"at_least": "\N{GREATER-THAN OR EQUAL TO} ", "at_most": "\N{LESS-THAN OR EQUAL TO} "}
    limits = " to ".join(f"{limit:g}" for limit in sorted({effect.limits[0], effect.limits[-1]}))
    return f"{sign.get(item.direction, '')}{limits} {item.unit}".strip()


def _inline(text: str) -> str:
    """Escape foreign text into a single line of Markdown without markup."""
    line = " ".join(text.split())
    return "".join(f"\\{char}" if char in r"\`*_[]<>|#" else char for char in line)


def _prose(text: str | None) -> str:
    """Return what a publisher states as paragraphs without markup; addresses become links."""
    if text is None:
        return "*Not stated.*"
    paragraphs = re.split(r"\n\s*\n", text)
    return "\n\n".join(" ".join(map(_word, part.split())) for part in paragraphs)


def _word(word: str) -> str:
    bare = word.rstrip(".,;:!?")
    if _ADDRESS.fullmatch(bare):
        return f"<{bare}>{word[len(bare) :]}"
    return _inline(word)


def clip_tables(info: DatasetInfo) -> dict[str, str]:
    """Return split -> name of the table of its kept clips.

    A side without clips has no table: `datasets` can't load an empty one.
    """
    if info.split is None:
        sizes = {WHOLE: info.counts.kept}
    else:
        sizes = {"train": info.split.train_clips, "test": info.split.test_clips}
    return {side: _table_name(side) for side, clips in sizes.items() if clips}


def write_clip_tables(folder: Path, info: DatasetInfo, table: Table) -> list[Path]:
    """Write the tables named by `clip_tables`, and delete those of before.

    Each has the columns of the manifest, and the paths of the clip's files in the folder.

    Args:
        folder: the dataset.
        info: what `dataset.json` will say.
        table: the rows of the manifest.
    """
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    wanted = clip_tables(info)
    kept = pc.equal(table["status"], "kept")
    for side in (WHOLE, *get_args(SplitName)):
        if side not in wanted:
            (folder / _table_name(side)).unlink(missing_ok=True)
    for side, name in wanted.items():
        chosen = kept if side == WHOLE else pc.and_(kept, pc.equal(table["split"], side))
        rows = table.filter(chosen)
        with atomic_write(folder / name) as temporary:
            pq.write_table(_with_paths(folder, rows), temporary, compression="zstd")
    return [folder / name for name in wanted.values()]


def _table_name(side: str) -> str:
    return f"clips-{side}.parquet"


def _with_paths(folder: Path, rows: Table) -> Table:
    import pyarrow as pa

    clip_ids = rows["clip_id"].to_pylist()
    for at, (column, kind) in enumerate(PATH_COLUMNS.items()):
        paths = relative_paths(kind.home(folder), map(kind.name, clip_ids))
        below = [f"{kind.folder_name}/{path}" for path in paths]
        rows = rows.add_column(at, column, pa.array(below, pa.string()))
    return rows
