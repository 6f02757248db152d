"""What a dataset says to other tools: README.md, croissant.json, and tables for `datasets`.

`datasets.load_dataset(FOLDER)` reads the `configs` at the head of README.md. One loader serves all
of them, so they are all Parquet: a table of the kept clips per side of the split, and the manifest.
The same tables name the files of each clip relative to the folder in the columns `file_name` and
`pose_file_name`, which is what the loader `videofolder` expects.
"""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path
from typing import Any, Final, get_args

from tpbench.dataset.folder import (
    CLIP_VIDEO,
    COLUMNS,
    KEYPOINTS,
    MANIFEST_NAME,
    POSE_VIDEO,
    Table,
    read_table,
)
from tpbench.dataset.info import DatasetInfo, SplitName
from tpbench.files import atomic_write, sha256_of
from tpbench.spread import relative_paths

WHOLE: Final = "whole"
"""Split of a table that is not split; `datasets` reserves "all"."""

_SIZES: Final = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
)
"""Size classes of dataset hubs: (limit, tag); the number of clips is below the limit."""
_TYPES: Final = {
    "string": "sc:Text",
    "int64": "cr:Int64",
    "float64": "cr:Float64",
    "list": "sc:Text",
}


def render_card(info: DatasetInfo) -> str:
    """Return the card as Markdown with a YAML header; it depends on `dataset.json` only."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=False,  # noqa: S701 - Markdown; `inline` makes foreign text harmless
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"inline": _inline, "number": "{:,}".format}
    return environment.from_string(_resource("card.md.j2")).render(
        info=info,
        counts=info.counts,
        # Every JSON string is a valid YAML string.
        yaml_name=json.dumps(info.name, ensure_ascii=False),
        tables=clip_tables(info),
        size=next((tag for limit, tag in _SIZES if info.counts.kept < limit), "n>1M"),
        titles={row.code: row.title for row in info.measurements if row.code},
        config=json.dumps(info.config, indent=2, sort_keys=True, ensure_ascii=False),
    )


def _resource(name: str) -> str:
    return resources.files("tpbench.dataset").joinpath(name).read_text(encoding="utf-8")


def _inline(text: str) -> str:
    """Escape foreign text into a single line of Markdown without markup."""
    line = " ".join(text.split())
    return "".join(f"\\{char}" if char in r"\`*_[]<>|#" else char for char in line)


def clip_tables(info: DatasetInfo) -> dict[str, str]:
    """Return split -> name of the table of its kept clips.

    A side without clips has no table: `datasets` can't load an empty one.
    """
    if info.split is None:
        sizes = {WHOLE: info.counts.kept}
    else:
        sizes = {"train": info.split.train_clips, "test": info.split.test_clips}
    return {side: _table_name(side) for side, clips in sizes.items() if clips}


def write_clip_tables(folder: Path, info: DatasetInfo) -> list[Path]:
    """Write the tables named by `clip_tables` from the manifest, and delete those of before.

    Each has the columns of the manifest, and the paths of the clip's files in the folder.
    """
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    table = read_table(folder)
    kept = table.filter(pc.equal(table["status"], "kept"))
    wanted = clip_tables(info)
    for side in (WHOLE, *get_args(SplitName)):
        if side not in wanted:
            (folder / _table_name(side)).unlink(missing_ok=True)
    for side, name in wanted.items():
        rows = kept if side == WHOLE else kept.filter(pc.equal(kept["split"], side))
        with atomic_write(folder / name) as temporary:
            pq.write_table(_with_paths(folder, rows), temporary, compression="zstd")
    return [folder / name for name in wanted.values()]


def _table_name(side: str) -> str:
    return f"clips-{side}.parquet"


def _with_paths(folder: Path, rows: Table) -> Table:
    import pyarrow as pa

    # A column "*_file_name" becomes a video in `videofolder`, which keypoints are not.
    files = (
        ("file_name", CLIP_VIDEO),
        ("pose_file_name", POSE_VIDEO),
        ("keypoints_path", KEYPOINTS),
    )
    clip_ids = rows["clip_id"].to_pylist()
    for at, (column, kind) in enumerate(files):
        paths = relative_paths(kind.home(folder), map(kind.name, clip_ids))
        below = [f"{kind.folder_name}/{path}" for path in paths]
        rows = rows.add_column(at, column, pa.array(below, pa.string()))
    return rows


def citation(info: DatasetInfo) -> str:
    """Return a BibTeX entry for exactly these clips: name, version and content digest.

    The authors are for its publisher to add.
    """
    key = re.sub(r"[^A-Za-z0-9]+", "-", info.name).strip("-") or "dataset"
    fields = {"title": f"{{{_latex(info.name)}}}", "version": _latex(info.version)}
    if info.finished_on is not None:
        fields["year"] = info.finished_on[:4]
    fields["note"] = (
        f"{info.counts.kept} upper-body clips, extracted by tpbench {_latex(info.tool_version)}, "
        f"content digest {info.digest}"
    )
    lines = [f"  {name} = {{{value}}}" for name, value in fields.items()]
    return ",\n".join([f"@misc{{{key}-{info.digest[:8]}", *lines]) + "\n}"


def _latex(text: str) -> str:
    """Escape foreign text for LaTeX; braces and backslashes, which could end the field, go."""
    line = " ".join(re.sub(r"[{}\\]", "", text).split())
    line = re.sub(r"([&%$#_])", r"\\\1", line)
    return line.replace("~", r"\textasciitilde{}").replace("^", r"\textasciicircum{}")


def croissant_json(info: DatasetInfo, manifest: Path) -> str:
    """Return the Croissant description of a dataset as JSON text.

    The parts common to all datasets, including the context that Croissant 1.1 prescribes, are in
    `croissant.json` beside this file.

    Args:
        info: the dataset.
        manifest: its `manifest.parquet`, already written; the description holds its sha256.
    """
    described = json.loads(_resource("croissant.json"))
    described |= {
        "name": info.name,
        "version": info.version,
        "description": (
            f"{info.counts.kept} upper-body clips ({info.counts.kept_length}, "
            f"{info.counts.identities} identities) with whole-body keypoints and DWPose drawings, "
            f"extracted by tpbench {info.tool_version}. Content digest {info.digest}."
        ),
        "citeAs": citation(info),
        "rai:machineAnnotationTools": [
            f"tpbench {info.tool_version}",
            *(f"{role}: sha256 {digest}" for role, digest in sorted(info.models.items())),
        ],
    }
    if info.finished_on is not None:
        described["datePublished"] = info.finished_on
    described["distribution"][0]["sha256"] = sha256_of(manifest)
    fields = [_field(name, _TYPES[kind]) for name, kind in COLUMNS.items()]
    for row in sorted(info.measurements, key=lambda item: item.name):
        title = f"{row.title} ({row.unit})" if row.unit else row.title
        for prefix, what in (("m", "measured"), ("t", "threshold")):
            field = _field(f"{prefix}_{row.name}", "cr:Float64")
            fields.append(field | {"description": f"{title}, {what}."})
    described["recordSet"][0]["field"] = fields
    return json.dumps(described, indent=2, ensure_ascii=False) + "\n"


def _field(name: str, data_type: str) -> dict[str, Any]:
    described: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"candidates/{name}",
        "name": name,
        "dataType": data_type,
        "source": {"fileObject": {"@id": MANIFEST_NAME}, "extract": {"column": name}},
    }
    if COLUMNS.get(name) == "list":
        described |= {"isArray": True, "arrayShape": "-1"}
    return described
