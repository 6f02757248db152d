"""Shards for webdataset: tar files of some clips each, in the order of their ids, and an index.

    train-000000.tar
        <clip_id>.mp4 <clip_id>.pose.mp4 <clip_id>.npz <clip_id>.json
    train-index.json    the shards with their sizes, as `wids` reads them
    index.csv           clip_id, split, identity, shard

A sample's key ends at the first dot, and clip ids have none. The tars name no user, no machine and
no time, so that they are the same wherever they are made.
"""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, cast

from tpbench.canonical import canonical_json
from tpbench.dataset.exports.clip_files import bytes_of, opened
from tpbench.dataset.exports.out_folder import Part
from tpbench.dataset.folder import CLIP_FILES, CLIP_VIDEO, KEYPOINTS, POSE_VIDEO, Dataset
from tpbench.dataset.info import Clip
from tpbench.files import atomic_write, atomic_write_text
from tpbench.foreign import spreadsheet_safe

INDEX_NAME: Final = "index.csv"
_MEMBERS: Final = ((CLIP_VIDEO, ".mp4"), (POSE_VIDEO, ".pose.mp4"), (KEYPOINTS, ".npz"))
_AROUND_BYTES: Final = 16_384
"""Of a clip beside its files: headers, padding and its row as JSON, at most."""
_INDEX_BYTES: Final = 512
"""Of a clip in the index, at most."""


def parts(
    dataset: Dataset, sides: Mapping[str, Sequence[Clip]], out: Path, *, per_shard: int
) -> list[Part]:
    """Return what has to be written: the shards of each split, then the index.

    Args:
        dataset: an open one.
        sides: the kept clips of each split.
        out: folder of the export.
        per_shard: clips in one shard.

    Raises:
        DatasetError: files of a clip are missing.
    """
    shards = list(_shards(sides, per_shard))
    written = [
        Part(
            name=name,
            clips=clips,
            n_bytes=bytes_of(dataset, clips, CLIP_FILES) + _AROUND_BYTES * len(clips),
            write=partial(_write_shard, dataset, clips, out / name),
        )
        for _, name, clips in shards
    ]
    n_bytes = _INDEX_BYTES * sum(len(clips) for _, _, clips in shards)
    index = partial(_write_index, dataset, shards, out)
    return [*written, Part(name="index", clips=(), n_bytes=n_bytes, write=index)]


def _shards(
    sides: Mapping[str, Sequence[Clip]], per_shard: int
) -> Iterator[tuple[str, str, Sequence[Clip]]]:
    """Yield split, file name and clips of each shard."""
    for side, clips in sides.items():
        for number, start in enumerate(range(0, len(clips), per_shard)):
            yield side, f"{side}-{number:06d}.tar", clips[start : start + per_shard]


def _write_shard(dataset: Dataset, clips: Sequence[Clip], path: Path) -> list[Path]:
    with (
        atomic_write(path, durable=True) as temporary,
        tarfile.open(temporary, "w", format=tarfile.GNU_FORMAT) as tar,
    ):
        for clip in clips:
            for kind, ending in _MEMBERS:
                with opened(dataset, clip, kind) as (file, n_bytes):
                    member = _member(f"{clip.clip_id}{ending}", n_bytes)
                    tar.addfile(member, cast("io.BufferedReader", file))
            row = canonical_json(clip.to_json()).encode()
            tar.addfile(_member(f"{clip.clip_id}.json", len(row)), io.BytesIO(row))
    return [path]


def _member(name: str, n_bytes: int) -> tarfile.TarInfo:
    """Return a header without owner and time."""
    member = tarfile.TarInfo(name)
    member.size = n_bytes
    return member


def _write_index(
    dataset: Dataset, shards: Sequence[tuple[str, str, Sequence[Clip]]], out: Path
) -> list[Path]:
    paths = []
    for side in dict.fromkeys(side for side, _, _ in shards):
        described = {
            "__kind__": "wids-shard-index-v1",
            "wids_version": 1,
            "name": f"{dataset.info.name} {side}",
            "shardlist": [
                {"url": name, "nsamples": len(clips), "filesize": (out / name).stat().st_size}
                for of_side, name, clips in shards
                if of_side == side
            ],
        }
        paths.append(out / f"{side}-index.json")
        atomic_write_text(paths[-1], json.dumps(described, indent=1, ensure_ascii=False) + "\n")
    with (
        atomic_write(out / INDEX_NAME) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("clip_id", "split", "identity", "shard"))
        for side, name, clips in shards:
            for clip in clips:
                identity = spreadsheet_safe(clip.identity or "")
                table.writerow((clip.clip_id, side, identity, name))
    return [*paths, out / INDEX_NAME]
