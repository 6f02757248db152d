"""What a dataset says of itself: README.md and croissant.json."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any, Final

from tpbench.dataset.folder import COLUMNS
from tpbench.dataset.info import DatasetInfo
from tpbench.files import sha256_of

_SIZES: Final = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
)
"""Size classes of dataset hubs, by number of clips below a limit."""
_TYPES: Final = {
    "string": "sc:Text",
    "int64": "cr:Int64",
    "float64": "cr:Float64",
    "list": "sc:Text",
}


def render_card(info: DatasetInfo) -> str:
    """Return the card as Markdown with a YAML head; it hangs on `dataset.json` alone."""
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
        # JSON strings are YAML strings, whatever the name holds.
        yaml_name=json.dumps(info.name, ensure_ascii=False),
        size=next((tag for limit, tag in _SIZES if info.counts.kept < limit), "n>1M"),
        titles={row.code: row.title for row in info.measurements if row.code},
        config=json.dumps(info.config, indent=2, sort_keys=True, ensure_ascii=False),
    )


def _resource(name: str) -> str:
    return resources.files("tpbench.dataset").joinpath(name).read_text(encoding="utf-8")


def _inline(text: str) -> str:
    """Make foreign text one harmless line of Markdown."""
    line = " ".join(text.split())
    return "".join(f"\\{char}" if char in r"\`*_[]<>|#" else char for char in line)


def croissant_json(info: DatasetInfo, manifest: Path) -> str:
    """Return the Croissant description of a dataset as JSON text.

    What is the same for all datasets, the context that Croissant 1.1 prescribes among it, lies in
    `croissant.json` beside this file.

    Args:
        info: the dataset.
        manifest: its written `manifest.parquet`; the description holds its sha256.
    """
    described = json.loads(_resource("croissant.json"))
    described |= {
        "name": info.name,
        "version": info.version,
        "description": (
            f"{info.counts.kept} upper-body clips ({info.counts.kept_hours:.2f} hours, "
            f"{info.counts.identities} identities) with whole-body keypoints and DWPose drawings, "
            f"extracted by tpbench {info.tool_version}. Content digest {info.digest}."
        ),
        "rai:machineAnnotationTools": [
            f"tpbench {info.tool_version}",
            *(f"{role}: sha256 {digest}" for role, digest in sorted(info.models.items())),
        ],
    }
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
        "source": {"fileObject": {"@id": "manifest.parquet"}, "extract": {"column": name}},
    }
    if COLUMNS.get(name) == "list":
        described |= {"isArray": True, "arrayShape": "-1"}
    return described
