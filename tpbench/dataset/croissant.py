"""`croissant.json`: a dataset described for machines (Croissant 1.1 with its RAI vocabulary).

Built by hand: the format is small, and publishing must not take a further package.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from tpbench.dataset.folder import (
    CLIPS_FOLDER,
    KEYPOINTS_FOLDER,
    POSES_FOLDER,
)
from tpbench.dataset.manifest import COLUMNS
from tpbench.files import sha256_of

if TYPE_CHECKING:
    from pathlib import Path

    from tpbench.dataset.info import DatasetInfo

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
