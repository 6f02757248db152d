"""Exports of a dataset: folders and files that other tools read as they are.

    webdataset          shards of 1,000 clips, for training from a stream       webdataset.py
    hf                  a folder that `datasets.load_dataset` opens             hugging_face.py
    talkingpose-json    the list that the released training code reads          talkingpose_json.py
    coco                keypoints of every frame in COCO-WholeBody's format     coco.py
    pack                all but pictures and sound, for `tpbench rebuild`       ../pack.py

An export depends on the kept clips and its options alone: the same dataset gives the same bytes.
What is copied is compared with the manifest on the way.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

from tpbench.canonical import canonical_json
from tpbench.dataset.cards import WHOLE
from tpbench.dataset.exports import coco, hugging_face, talkingpose_json, webdataset
from tpbench.dataset.exports.out_folder import Part, opened_out, require_space
from tpbench.dataset.folder import Dataset
from tpbench.dataset.info import Clip
from tpbench.dataset.pack import write_pack
from tpbench.errors import ConfigError, DatasetError, did_you_mean
from tpbench.work.faults import explain_halts
from tpbench.work.progress import ProgressCounter, ProgressListener

ExportKind = Literal["webdataset", "hf", "talkingpose-json", "coco", "pack"]

__all__ = ["PER_SHARD", "ExportKind", "ExportReport", "export"]

PER_SHARD: Final = 1000
"""Clips of a shard, unless another number is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """What an export holds."""

    kind: ExportKind
    folder: Path
    clips: Mapping[str, int]
    """Split -> its clips; the split of a dataset that is not split is "whole"."""
    n_files: int
    n_bytes: int


def export(
    dataset: Path | str,
    out: Path | str,
    *,
    to: ExportKind,
    per_shard: int | None = None,
    root: str | None = None,
    on_progress: ProgressListener | None = None,
) -> ExportReport:
    """Write the kept clips of a dataset in a format that other tools read.

    An interrupted export continues where it stopped; nothing that is finished is written again,
    except of a pack.

    Args:
        dataset: its folder.
        out: a new or empty folder, or the one of the same export, interrupted.
        to: the format.
        per_shard: of "webdataset": clips in one shard, 1,000 if not given.
        root: of "talkingpose-json": what the paths in the list begin with, instead of `dataset`.
        on_progress: called whenever more clips are finished.

    Raises:
        ConfigError: an unknown format, or an option that it does not have.
        DatasetError: there is no finished dataset, it has no kept clips or lacks some of their
            files, a file is not the one that the manifest describes, or `out` is not free.
        TPBenchError: the disk has too little space, or the machine has another fault.
    """
    _check_options(to, per_shard=per_shard, root=root)
    opened, out = Dataset.open(dataset), Path(out)
    sides = _sides(opened)
    if to == "pack":
        return _pack(opened, sides, out, on_progress)
    total = sum(map(len, sides.values()))
    root = Path(dataset).as_posix() if root is None else root
    per_shard = PER_SHARD if per_shard is None else per_shard
    parts = _parts(opened, sides, out, to, per_shard=per_shard, root=root)
    content = _content(opened, sides, [to, per_shard, root if to == "talkingpose-json" else ""])
    with opened_out(out, kind=to, dataset=opened, content=content) as folder:
        left = [part for part in parts if not folder.is_finished(part)]
        require_space(out, sum(part.n_bytes for part in left))
        before = total - sum(len(part.clips) for part in left)
        progress = ProgressCounter("export", total=total, before=before, listener=on_progress)
        for part in left:
            folder.finish(part, part.write())
            frames = sum(clip.n_frames or 0 for clip in part.clips)
            progress.finish(part.name, done=len(part.clips), frames=frames, counts={})
        n_files, n_bytes = folder.size(parts)
    return ExportReport(
        kind=to,
        folder=out,
        clips={side: len(clips) for side, clips in sides.items()},
        n_files=n_files,
        n_bytes=n_bytes,
    )


def _pack(
    dataset: Dataset,
    sides: Mapping[str, Sequence[Clip]],
    out: Path,
    on_progress: ProgressListener | None,
) -> ExportReport:
    with explain_halts(out):
        pack = write_pack(dataset, out, on_progress=on_progress)
    sizes = [path.stat().st_size for path in pack.folder.rglob("*") if path.is_file()]
    return ExportReport(
        kind="pack",
        folder=out,
        clips={side: len(clips) for side, clips in sides.items()},
        n_files=len(sizes),
        n_bytes=sum(sizes),
    )


def _check_options(to: str, *, per_shard: int | None, root: str | None) -> None:
    if to not in (known := get_args(ExportKind)):
        raise ConfigError(f"unknown format '{to}'{did_you_mean(to, known)}")
    if per_shard is not None and to != "webdataset":
        raise ConfigError(f"--per-shard is of --to webdataset; {to} has no shards")
    if per_shard is not None and per_shard < 1:
        raise ConfigError(f"--per-shard must be at least 1, got {per_shard}")
    if root is not None and to != "talkingpose-json":
        raise ConfigError(f"--root is of --to talkingpose-json; {to} holds no such paths")


def _sides(dataset: Dataset) -> dict[str, list[Clip]]:
    """Return the kept clips of each split that has some, in the order of their ids."""
    sides: dict[str, list[Clip]] = {}
    for clip in dataset.clips():
        sides.setdefault(clip.split or WHOLE, []).append(clip)
    if not sides:
        raise DatasetError(f"{dataset.folder}: has no kept clips, so there is nothing to export")
    return {side: sides[side] for side in ("train", "test", WHOLE) if side in sides}


def _parts(
    dataset: Dataset,
    sides: Mapping[str, Sequence[Clip]],
    out: Path,
    to: ExportKind,
    *,
    per_shard: int,
    root: str,
) -> list[Part]:
    if to == "webdataset":
        return webdataset.parts(dataset, sides, out, per_shard=per_shard)
    if to == "hf":
        return hugging_face.parts(dataset, sides, out)
    if to == "talkingpose-json":
        return talkingpose_json.parts(dataset, sides, out, root=root)
    return coco.parts(dataset, sides, out)


def _content(
    dataset: Dataset, sides: Mapping[str, Sequence[Clip]], options: Sequence[str | int]
) -> str:
    """Return a sha256 over all that the files of an export depend on."""
    digest = hashlib.sha256(canonical_json([*options, dataset.info.name, dataset.digest]).encode())
    for side, clips in sides.items():
        for clip in clips:
            digest.update(canonical_json([side, clip.to_json()]).encode())
    return digest.hexdigest()
