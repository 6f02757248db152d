"""A folder that `datasets.load_dataset(FOLDER)` opens: clips and drawings as videos, by split.

    README.md                   a card whose head says which files belong to which split
    DATASHEET.md                the card of the dataset
    train/00000/metadata.parquet    rows of up to 1,000 clips
    train/00000/<clip_id>.mp4 <clip_id>.pose.mp4 <clip_id>.npz

The columns `file_name` and `pose_file_name` become `video` and `pose`, of the feature `Video`,
which `datasets` decodes by torchcodec. Without torchcodec, `Video(decode=False)` gives the paths.
Keypoints are no feature of `datasets`: `keypoints_path` names their file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final

from tpbench.dataset.cards import datasheet, licence_fields
from tpbench.dataset.exports.clip_files import bytes_of, copy
from tpbench.dataset.exports.out_folder import Part
from tpbench.dataset.folder import CLIP_FILES, CLIP_VIDEO, KEYPOINTS, POSE_VIDEO, Dataset
from tpbench.dataset.info import Clip
from tpbench.dataset.manifest import Table, read_table
from tpbench.dataset.statements import Statements, read_statements
from tpbench.files import atomic_write, atomic_write_text, sync
from tpbench.foreign import printable

_PER_FOLDER: Final = 1000
_SYNCED_AT_ONCE: Final = 16
_ROW_BYTES: Final = 8_192
"""Of a row, at most."""
_CARD_BYTES: Final = 65_536
_NOT_NEEDED: Final = ("status", "reject_codes", "error")
"""Columns of the manifest that say nothing about a kept clip."""
_ENDINGS: Final = {CLIP_VIDEO: ".mp4", POSE_VIDEO: ".pose.mp4", KEYPOINTS: ".npz"}
_NAMES: Final = {"file_name": CLIP_VIDEO, "pose_file_name": POSE_VIDEO}


def parts(dataset: Dataset, sides: Mapping[str, Sequence[Clip]], out: Path) -> list[Part]:
    """Return what has to be written: folders of up to 1,000 clips, then the card.

    Args:
        dataset: an open one.
        sides: the kept clips of each split.
        out: folder of the export.

    Raises:
        DatasetError: files of a clip are missing, or the manifest can't be read.
    """
    table = _wanted(read_table(dataset.folder))
    rows = {clip_id: at for at, clip_id in enumerate(table["clip_id"].to_pylist())}
    found = [
        Part(
            name=name.replace("/", "-"),
            clips=clips,
            n_bytes=bytes_of(dataset, clips, CLIP_FILES) + _ROW_BYTES * len(clips),
            write=partial(
                _write_folder,
                dataset,
                clips,
                table.take([rows[c.clip_id] for c in clips]),
                out,
                name,
            ),
        )
        for name, clips in _folders(sides)
    ]
    card = partial(_write_card, dataset, sides, out)
    return [*found, Part(name="card", clips=(), n_bytes=_CARD_BYTES, write=card)]


def _wanted(table: Table) -> Table:
    return table.drop_columns(list(_NOT_NEEDED)).replace_schema_metadata(None)


def _folders(sides: Mapping[str, Sequence[Clip]]) -> Iterator[tuple[str, Sequence[Clip]]]:
    for side, clips in sides.items():
        for number, start in enumerate(range(0, len(clips), _PER_FOLDER)):
            yield f"{side}/{number:05d}", clips[start : start + _PER_FOLDER]


def _write_folder(
    dataset: Dataset, clips: Sequence[Clip], rows: Table, out: Path, name: str
) -> list[Path]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    home = out / name
    files = [
        copy(dataset, clip, kind, home / f"{clip.clip_id}{ending}")
        for clip in clips
        for kind, ending in _ENDINGS.items()
    ]
    # One after the other, a thousand clips would wait for the disk for half a minute.
    with ThreadPoolExecutor(_SYNCED_AT_ONCE) as threads:
        list(threads.map(sync, files))
    ids = [clip.clip_id for clip in clips]
    columns: dict[str, list[str]] = {
        column: [f"{clip_id}{_ENDINGS[kind]}" for clip_id in ids] for column, kind in _NAMES.items()
    }
    columns["keypoints_path"] = [f"{name}/{clip_id}{_ENDINGS[KEYPOINTS]}" for clip_id in ids]
    for at, (column, values) in enumerate(columns.items()):
        rows = rows.add_column(at, column, pa.array(values, pa.string()))
    path = home / "metadata.parquet"
    with atomic_write(path, durable=True) as temporary:
        pq.write_table(rows, temporary, compression="zstd")
    return [*files, path]


def _write_card(dataset: Dataset, sides: Mapping[str, Sequence[Clip]], out: Path) -> list[Path]:
    statements = read_statements(dataset.folder)
    texts = {
        "README.md": card(dataset, sides, statements),
        "DATASHEET.md": datasheet(dataset, statements),
    }
    for name, text in texts.items():
        atomic_write_text(out / name, text)
    return [out / name for name in texts]


def card(dataset: Dataset, sides: Mapping[str, Sequence[Any]], statements: Statements) -> str:
    """Return the card of an export: what `datasets` needs to know, and what people need."""
    info = dataset.info
    licence = "\n".join(
        f"{name}: {json.dumps(text, ensure_ascii=False)}"
        for name, text in licence_fields(statements).items()
    )
    splits = "\n".join(
        f'  - split: {side}\n    path: ["{side}/*/metadata.parquet", "{side}/*/*.mp4"]'
        for side in sides
    )
    counts = ", ".join(f"{len(clips):,} {side}" for side, clips in sides.items())
    first = next(iter(sides))
    return f"""---
pretty_name: {json.dumps(info.name, ensure_ascii=False)}
{licence}
task_categories: [image-to-video]
tags: [human-animation, upper-body, pose, dwpose, tpbench]
configs:
- config_name: default
  data_files:
{splits}
---

# {_inline(info.name)}

Upper-body clips of people talking with whole-body keypoints and DWPose drawings, frame for frame
({counts}), exported by tpbench {info.tool_version}.
Version {_inline(info.version)}, content digest `{info.digest}`.

```python
from datasets import Video, load_dataset

rows = load_dataset("FOLDER", split="{first}")
frame = rows[0]["video"][0]  # a tensor; decoding needs torchcodec
paths = rows.cast_column("video", Video(decode=False)).cast_column("pose", Video(decode=False))
```

`video` is the clip, `pose` its drawing, `keypoints_path` the file of its keypoints below this
folder (NumPy: `keypoints` (T, 133, 2) in px of the clip, `scores` (T, 133), COCO-WholeBody order).
All other columns are those of the dataset's manifest. DATASHEET.md says how the dataset was made,
from what, and what is not known of it.

## Licence and people

The rights to the clips are those of the source videos' owners, and nobody grants any here:
`licence`, `uploader` and `url` hold what was known of each source. The videos show people: honour
requests for removal in every copy.
"""


def _inline(text: str) -> str:
    """Return foreign text as one line of Markdown without markup."""
    return "".join(f"\\{sign}" if sign in r"\`*_[]<>|#" else sign for sign in printable(text))
