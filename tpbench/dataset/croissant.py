"""`croissant.json`: a dataset described for machines, Croissant 1.1 with the RAI vocabulary.

The parts common to all datasets, including the context that Croissant 1.1 prescribes, are in
`croissant.json` beside this file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final

from tpbench.dataset.facts import FilterEffect, Provenance
from tpbench.dataset.info import DatasetInfo
from tpbench.dataset.manifest import COLUMNS, MANIFEST_NAME
from tpbench.dataset.parts import PARTS_FOLDER, PARTS_INDEX
from tpbench.dataset.statements import Statements
from tpbench.files import sha256_of

CROISSANT_NAME: Final = "croissant.json"
_TYPES: Final = {
    "string": "sc:Text",
    "int64": "cr:Int64",
    "float64": "cr:Float64",
    "list": "sc:Text",
}
_SIGNS: Final = {"at_least": "at least ", "at_most": "at most "}


_IMPORTED: Final = {
    "rai:dataPreprocessingProtocol": [
        "Clips of an existing set, made into squares at their own rate; nothing was filtered."
    ],
    "rai:dataLimitations": [
        "Keypoints are model output, unless the set came with others.",
        "No attribute of people or settings was balanced.",
    ],
}
"""What is different where clips were imported and not extracted."""
_OF_PARTS: Final = {
    "@id": PARTS_INDEX,
    "name": PARTS_INDEX,
    "description": "The parts of the manifest, with the sha256 of each.",
    "contentUrl": PARTS_INDEX,
    "encodingFormat": "application/json",
}
"""What is different where the manifest is in parts."""
_PARTS: Final = {
    "@type": "cr:FileSet",
    "@id": PARTS_FOLDER,
    "name": PARTS_FOLDER,
    "description": "One row per candidate clip, kept and rejected.",
    "encodingFormat": "application/x-parquet",
    "includes": f"{PARTS_FOLDER}/*.parquet",
}


_COLLECTED: Final = {
    False: "Clips cut automatically from the videos that the extraction was given.",
    True: "All clips of an existing set.",
}


def citation(info: DatasetInfo, creators: list[str] | None = None) -> str:
    """Return a BibTeX entry for exactly these clips: name, version and content digest.

    Without creators, the authors are for its publisher to add.
    """
    key = re.sub(r"[^A-Za-z0-9]+", "-", info.name).strip("-") or "dataset"
    fields = {"title": f"{{{_latex(info.name)}}}", "version": _latex(info.version)}
    if creators:
        fields = {"author": " and ".join(f"{{{_latex(name)}}}" for name in creators)} | fields
    if info.finished_on is not None:
        fields["year"] = info.finished_on[:4]
    fields["note"] = (
        f"{info.counts.kept} upper-body clips, {_made(info)} by tpbench "
        f"{_latex(info.tool_version)}, content digest {info.digest}"
    )
    lines = [f"  {name} = {{{value}}}" for name, value in fields.items()]
    return ",\n".join([f"@misc{{{key}-{info.digest[:8]}", *lines]) + "\n}"


def _made(info: DatasetInfo) -> str:
    return "imported" if info.is_imported else "extracted"


def _latex(text: str) -> str:
    """Escape foreign text for LaTeX; braces and backslashes, which could end the field, go."""
    line = " ".join(re.sub(r"[{}\\]", "", text).split())
    line = re.sub(r"([&%$#_])", r"\\\1", line)
    return line.replace("~", r"\textasciitilde{}").replace("^", r"\textasciicircum{}")


def croissant_json(
    info: DatasetInfo,
    manifest: Path,
    *,
    statements: Statements,
    effects: list[FilterEffect],
    origin: Provenance,
) -> str:
    """Return the Croissant description of a dataset as JSON text.

    Args:
        info: the dataset.
        manifest: its `manifest.parquet`, or the index of its parts, already written; the
            description holds its sha256.
        statements: of its publisher.
        effects: what each filter removed.
        origin: what is known of the sources.
    """
    common = resources.files("tpbench.dataset").joinpath(CROISSANT_NAME)
    described = json.loads(common.read_text(encoding="utf-8"))
    described |= {
        "name": info.name,
        "version": info.version,
        "description": (
            f"{info.counts.kept} upper-body clips ({info.counts.kept_length}, "
            f"{info.counts.identities} identities) with whole-body keypoints and DWPose drawings, "
            f"{_made(info)} by tpbench {info.tool_version}. Content digest {info.digest}."
        ),
        "citeAs": citation(info, statements.creators),
        "rai:machineAnnotationTools": [
            f"tpbench {info.tool_version}",
            *(f"{role}: sha256 {digest}" for role, digest in sorted(info.models.items())),
        ],
    }
    if info.is_imported:
        described |= {name: list(lines) for name, lines in _IMPORTED.items()}
    if info.finished_on is not None:
        described["datePublished"] = info.finished_on
    described |= _stated(statements)
    described |= _responsible(info, statements, effects, origin)
    described["rai:dataPreprocessingProtocol"] += [
        f"Filter {effect_text(effect)}." for effect in effects if effect.measurement
    ]
    described["distribution"][0]["sha256"] = sha256_of(manifest)
    rows: dict[str, Any] = {"fileObject": {"@id": MANIFEST_NAME}}
    if manifest.name == PARTS_INDEX:
        described["distribution"][0] |= _OF_PARTS
        described["distribution"].insert(1, _PARTS)
        rows = {"fileSet": {"@id": _PARTS["@id"]}}
    described["recordSet"][0]["field"] = _fields(info, rows)
    return json.dumps(described, indent=2, ensure_ascii=False) + "\n"


def _stated(statements: Statements) -> dict[str, Any]:
    """Return the fields that exist only if the publisher states them."""
    found: dict[str, Any] = {}
    if statements.creators:
        found["creator"] = [{"@type": "sc:Person", "name": name} for name in statements.creators]
    if statements.publisher:
        found["publisher"] = {"@type": "sc:Organization", "name": statements.publisher}
    if statements.url:
        found["url"] = statements.url
    if statements.languages:
        found["inLanguage"] = statements.languages
    if statements.licence or statements.licence_url:
        found["license"] = statements.licence_url or statements.licence
    return found


def _responsible(
    info: DatasetInfo, statements: Statements, effects: list[FilterEffect], origin: Provenance
) -> dict[str, Any]:
    """Return the RAI fields; what the publisher left open is said to be not stated."""
    counts = info.counts
    known = f"{origin.sources} sources of kept clips: {origin.with_url} with an address"
    found: dict[str, Any] = {
        "rai:dataCollection": (
            f"{_COLLECTED[info.is_imported]} "
            f"{_said('How the videos were chosen', statements.collection)}"
        ),
        "rai:dataCollectionRawData": f"{known}, {origin.with_licence} with a licence.",
        "rai:dataCollectionMissingData": (
            f"{counts.failed} sources were not readable, {counts.quarantined} were given up, "
            f"{counts.rejected} of {counts.candidates} candidates were rejected."
        ),
        "rai:personalSensitiveInformation": [
            "Faces, voices and gestures of identifiable people.",
            _said("Who is shown", statements.people),
            _said("Consent of the people shown", statements.consent),
        ],
        "rai:dataBiases": [
            "Whatever biases the source videos and the detectors have are kept.",
            _said("Known biases", statements.biases),
        ],
        "rai:dataUseCases": [
            "Training and evaluating pose-driven animation of the upper body.",
            _said("Uses", statements.uses),
            "Not meant for recognising people.",
            _said("Other uses to avoid", statements.not_for),
        ],
        "rai:dataSocialImpact": _said("Motivation", statements.motivation),
        "rai:dataReleaseMaintenancePlan": " ".join(
            (
                _said("Maintenance", statements.maintenance),
                _said("Contact", statements.contact),
                _said("Removal on request", statements.take_down),
                "Clips go when the people shown or the makers of a video ask for it.",
            )
        ),
    }
    if origin.first_retrieved and origin.last_retrieved:
        found["rai:dataCollectionTimeFrame"] = [origin.first_retrieved, origin.last_retrieved]
    return found


def effect_text(effect: FilterEffect) -> str:
    """Return a filter, its threshold and what it removed, in one line."""
    item = effect.measurement
    if item is None:
        return f"{effect.code}: removed {effect.removed}"
    if not effect.limits:
        return f"{effect.code}: not applied"
    limits = " to ".join(f"{limit:g}" for limit in sorted({effect.limits[0], effect.limits[-1]}))
    wanted = f"{item.title} {_SIGNS.get(item.direction, '')}{limits} {item.unit}".strip()
    return f"{effect.code} ({wanted}): removed {effect.removed}, {effect.only} by it alone"


def _said(what: str, text: str | None) -> str:
    return f"{what}: {' '.join(text.split()) if text else 'not stated.'}"


def _fields(info: DatasetInfo, rows: Mapping[str, Any]) -> list[dict[str, Any]]:
    fields = [_field(name, _TYPES[kind], rows) for name, kind in COLUMNS.items()]
    for row in sorted(info.measurements, key=lambda item: item.name):
        title = f"{row.title} ({row.unit})" if row.unit else row.title
        for prefix, what in (("m", "measured"), ("t", "threshold")):
            field = _field(f"{prefix}_{row.name}", "cr:Float64", rows)
            fields.append(field | {"description": f"{title}, {what}."})
    return fields


def _field(name: str, data_type: str, rows: Mapping[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"candidates/{name}",
        "name": name,
        "dataType": data_type,
        "source": {**rows, "extract": {"column": name}},
    }
    if COLUMNS.get(name) == "list":
        described |= {"isArray": True, "arrayShape": "-1"}
    return described
