"""The list that TalkingPose's released training code reads: `train_meta.json`, `test_meta.json`.

Each entry names a video and its pose drawing, `{"video_path": ..., "kps_path": ...}`, and the code
opens both as they are written. So they stay where they lie in the dataset, and the paths begin with
the dataset's folder as it was named, or with what is given instead: the folder on the machine that
trains. (The released tool that makes such lists does the same.)
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from tpbench.dataset.exports.clip_files import below, bytes_of
from tpbench.dataset.exports.out_folder import Part
from tpbench.dataset.folder import CLIP_VIDEO, POSE_VIDEO, Dataset
from tpbench.dataset.info import Clip
from tpbench.files import atomic_write

_ENTRY_BYTES: Final = 600
"""Of one entry without the paths' beginning, at most."""


def parts(
    dataset: Dataset, sides: Mapping[str, Sequence[Clip]], out: Path, *, root: str
) -> list[Part]:
    """Return what has to be written: one list per split.

    Args:
        dataset: an open one.
        sides: the kept clips of each split.
        out: folder of the export.
        root: what the paths begin with.

    Raises:
        DatasetError: files of a clip are missing.
    """
    for clips in sides.values():
        bytes_of(dataset, clips, (CLIP_VIDEO, POSE_VIDEO))
    return [
        Part(
            name=f"{side}_meta",
            clips=clips,
            n_bytes=(_ENTRY_BYTES + 2 * len(root.encode())) * len(clips),
            write=partial(_write_list, dataset, clips, out / f"{side}_meta.json", root),
        )
        for side, clips in sides.items()
    ]


def _write_list(dataset: Dataset, clips: Sequence[Clip], path: Path, root: str) -> list[Path]:
    beginning = f"{root.rstrip('/')}/" if root != "." else ""
    with (
        atomic_write(path, durable=True) as temporary,
        temporary.open("w", encoding="utf-8", newline="\n") as file,
    ):
        file.write("[")
        for at, clip in enumerate(clips):
            entry = {
                "video_path": f"{beginning}{below(dataset, clip, CLIP_VIDEO)}",
                "kps_path": f"{beginning}{below(dataset, clip, POSE_VIDEO)}",
            }
            file.write(",\n" if at else "\n")
            file.write(json.dumps(entry))
        file.write("\n]\n")
    return [path]
