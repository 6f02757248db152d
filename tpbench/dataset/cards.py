"""What a dataset says of itself: README.md and croissant.json."""

from __future__ import annotations

import json
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any, Final

from tpbench.dataset.folder import (
    CLIPS_FOLDER,
    COLUMNS,
    KEYPOINTS_FOLDER,
    POSES_FOLDER,
)
from tpbench.dataset.info import DatasetInfo
from tpbench.files import sha256_of

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


CROISSANT_VERSION: Final = "http://mlcommons.org/croissant/1.1"

CONTEXT: Final[dict[str, Any]] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The JSON-LD context that Croissant 1.1 prescribes."""
_TYPES: Final = {
    "string": "sc:Text",
    "int64": "cr:Int64",
    "float64": "cr:Float64",
    "list": "sc:Text",
}

_FILE_SETS: Final = (
    (CLIPS_FOLDER, "*.mp4", "video/mp4", "The clips, one H.264 file each."),
    (KEYPOINTS_FOLDER, "*.npz", "application/x-npz", "133 keypoints and scores of every frame."),
    (POSES_FOLDER, "*.mp4", "video/mp4", "The DWPose drawing of every clip, frame for frame."),
)

_RAI: Final = {
    "rai:dataCollection": "Clips cut automatically from the videos that the extraction was given.",
    "rai:dataCollectionType": ["Secondary Data Analysis"],
    "rai:dataPreprocessingProtocol": [
        "Shot detection, screening, tracking of one person.",
        "Filters whose thresholds and measurements are recorded for every candidate.",
        "One fixed square crop a clip, H.264 at the source's frame rate made constant.",
    ],
    "rai:dataLimitations": [
        "Keypoints are model output.",
        "Filters favour single, frontal, well-lit people with visible hands.",
        "No attribute of people or settings was balanced.",
    ],
    "rai:dataBiases": ["Whatever biases the source videos and the detectors have are kept."],
    "rai:dataUseCases": [
        "Training and evaluating pose-driven animation of the upper body.",
        "Not meant for recognising people.",
    ],
    "rai:personalSensitiveInformation": ["Faces, voices and gestures of identifiable people."],
    "rai:dataReleaseMaintenancePlan": (
        "Set by whoever publishes the dataset; clips are to be removed when the people shown or "
        "the makers of a video ask for it."
    ),
}


def croissant_json(info: DatasetInfo, manifest: Path) -> str:
    """Return the Croissant description of a dataset as JSON text.

    Args:
        info: the dataset.
        manifest: its written `manifest.parquet`; the description holds its sha256.
    """
    models = [f"{role}: sha256 {digest}" for role, digest in sorted(info.models.items())]
    described = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CROISSANT_VERSION,
        "name": info.name,
        "version": info.version,
        "description": (
            f"{info.counts.kept} upper-body clips ({info.counts.kept_hours:.2f} hours, "
            f"{info.counts.identities} identities) with whole-body keypoints and DWPose drawings, "
            f"extracted by tpbench {info.tool_version}. Content digest {info.digest}."
        ),
        "license": "The rights stay with the makers of the source videos; see README.md.",
        "keywords": ["human animation", "upper body", "pose", "DWPose", "talking people"],
        "distribution": [_manifest_file(manifest), *map(_file_set, range(len(_FILE_SETS)))],
        "recordSet": [_record_set(info)],
        **_RAI,
        "rai:machineAnnotationTools": [f"tpbench {info.tool_version}", *models],
    }
    return json.dumps(described, indent=2, ensure_ascii=False) + "\n"


def _manifest_file(manifest: Path) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": manifest.name,
        "name": manifest.name,
        "description": "One row per candidate clip, kept and rejected.",
        "contentUrl": manifest.name,
        "encodingFormat": "application/x-parquet",
        "sha256": sha256_of(manifest),
    }


def _file_set(index: int) -> dict[str, Any]:
    folder, pattern, kind, description = _FILE_SETS[index]
    return {
        "@type": "cr:FileSet",
        "@id": folder,
        "name": folder,
        "description": description,
        "encodingFormat": kind,
        "includes": f"{folder}/{pattern}",
    }


def _record_set(info: DatasetInfo) -> dict[str, Any]:
    columns = [(name, _TYPES[kind], kind == "list", "") for name, kind in COLUMNS.items()]
    for row in sorted(info.measurements, key=lambda item: item.name):
        unit = f" ({row.unit})" if row.unit else ""
        columns.append((f"m_{row.name}", "cr:Float64", False, f"{row.title}{unit}, measured."))
        columns.append((f"t_{row.name}", "cr:Float64", False, f"{row.title}{unit}, threshold."))
    return {
        "@type": "cr:RecordSet",
        "@id": "candidates",
        "name": "candidates",
        "description": "The rows of the manifest.",
        "key": {"@id": "candidates/clip_id"},
        "field": [_field(*column) for column in columns],
    }


def _field(name: str, data_type: str, is_list: bool, description: str) -> dict[str, Any]:  # noqa: FBT001 - one column of a table row
    described: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"candidates/{name}",
        "name": name,
        "dataType": data_type,
        "source": {"fileObject": {"@id": "manifest.parquet"}, "extract": {"column": name}},
    }
    if description:
        described["description"] = description
    if is_list:
        described |= {"isArray": True, "arrayShape": "-1"}
    return described
