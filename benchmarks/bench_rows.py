"""A dataset of a million rows without its clips: what opening, filtering, digesting and more take.

    python -m benchmarks.bench_rows [--rows 1000000] [--folder FOLDER] [--only open filter ...]

The rows are made of random numbers with a seed, about 40 of each source, a third of them kept.
Every step runs in a process of its own, whose start and imports count: wall and processor seconds
of all its threads, and the most memory that it had. To be reached: open, filter, digest and split
together under 20 s and 2 GB, and a source that is added writes one part.
`publish` is the end of a run: all rows come as objects, one after the other, and manifest, split,
tables, cards and report are written.
"""

from __future__ import annotations

import argparse
import json
import logging
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.sides import print_table
from tpbench.dataset.folder import Dataset
from tpbench.dataset.info import Counts, DatasetInfo, Measurement, read_info, write_info
from tpbench.dataset.manifest import COLUMNS, read_table, rows_of, write_table
from tpbench.dataset.parts import PARTS_FOLDER

_SEED: Final = 1
_ROWS_PER_SOURCE: Final = 40
_SOURCES_AT_ONCE: Final = 100
_KEPT_SHARE: Final = 1 / 3
_MEASURED: Final = (
    "face_height_px", "face_yaw_deg", "moving_share", "both_hands_share", "sharpness",
    "brightness", "jitter_px", "motion_px",
)  # fmt: skip


def made_rows(n_rows: int, *, first_source: int = 0) -> Any:  # noqa: ANN401 - an Arrow table
    """Return rows of sources that follow one another, as columns sorted by clip id."""
    import pyarrow as pa

    rng = np.random.default_rng(_SEED + first_source)
    source = first_source + np.arange(n_rows) // _ROWS_PER_SOURCE
    start_ms = np.arange(n_rows) % _ROWS_PER_SOURCE * 10_000
    is_kept = rng.random(n_rows) < _KEPT_SHARE
    names = [f"talk-{number:08x}" for number in source]
    ids = [f"{name}_{at:08d}_{at + 8000:08d}" for name, at in zip(names, start_ms, strict=True)]
    hashes = [rng.bytes(32).hex() for _ in range(n_rows)]
    kept_only = pa.array(hashes, pa.string(), mask=~is_kept)
    given = {
        "clip_id": pa.array(ids),
        "status": pa.array(np.where(is_kept, "kept", "rejected")),
        "reject_codes": pa.array(
            [[] if kept else ["face.too_small"] for kept in is_kept],
            pa.list_(pa.field("element", pa.string(), nullable=False)),
        ),
        "source_id": pa.array(names),
        "source_path": pa.array([f"raw/{name}.mp4" for name in names]),
        "identity": pa.array(names),
        "licence": pa.array(np.where(source % 3 == 0, "CC-BY-4.0", "CC0")),
        "uploader": pa.array([f"channel {number // 50}" for number in source]),
        "n_frames": pa.array(rng.integers(50, 400, n_rows)),
        "fps_num": pa.array(np.full(n_rows, 25)),
        "fps_den": pa.array(np.ones(n_rows, dtype=np.int64)),
        "start_s": pa.array(start_ms / 1000),
        "end_s": pa.array(start_ms / 1000 + 8),
        **dict.fromkeys(("clip_sha256", "keypoints_sha256", "pose_sha256"), kept_only),
    }
    types = {"string": pa.string(), "int64": pa.int64(), "float64": pa.float64()}
    columns = {
        name: given[name] if name in given else pa.nulls(n_rows, types[kind])
        for name, kind in COLUMNS.items()
    }
    for name in sorted(_MEASURED):
        columns[f"m_{name}"] = pa.array(rng.random(n_rows))
        columns[f"t_{name}"] = pa.array(np.full(n_rows, 0.5))
    return pa.table(columns).replace_schema_metadata({"tpbench.manifest_version": "1"})


def make(folder: Path, n_rows: int) -> str:
    """Write a dataset of made rows; its clips do not exist."""
    from tpbench.dataset.manifest import ManifestIndex

    folder.mkdir(parents=True, exist_ok=True)
    table = made_rows(n_rows)
    write_table(folder, table)
    n_kept = table["clip_sha256"].length() - table["clip_sha256"].null_count
    info = DatasetInfo(
        name="rows",
        version="1.0.0",
        tool_version="0",
        digest=ManifestIndex(folder).digest(),
        counts=Counts(
            sources=-(-n_rows // _ROWS_PER_SOURCE),
            candidates=n_rows,
            kept=n_kept,
            rejected=n_rows - n_kept,
            failed=0,
            quarantined=0,
            kept_frames=0,
            kept_s=0,
            identities=0,
            reject_codes={"face.too_small": n_rows - n_kept},
        ),
        measurements=tuple(Measurement(name=name, title=name) for name in _MEASURED),
    )
    write_info(folder, info)
    return f"{len(list((folder / PARTS_FOLDER).iterdir()))} parts"


def _open(folder: Path) -> str:
    return f"{Dataset.open(folder).info.counts.candidates:,} rows"


def _filter(folder: Path) -> str:
    import pyarrow.compute as pc

    names = ["clip_id", "m_face_yaw_deg"]
    table = read_table(folder, columns=names, statuses={"kept"})
    found = table.filter(pc.less(table["m_face_yaw_deg"], 0.1))
    return f"{len(found):,} clips"


def _digest(folder: Path) -> str:
    # Compared with the digest that dataset.json states.
    return f"{len(Dataset.open(folder).table(['clip_id'])):,} rows"


def _inspect(folder: Path) -> str:
    from tpbench.cli.dataset import dataset_json

    return f"{len(json.dumps(dataset_json(Dataset.open(folder)))) >> 20} MB of JSON"


def _cards(folder: Path) -> str:
    from tpbench.dataset.cards import card_dataset

    return f"{len(card_dataset(folder).files)} files"


def _publish(folder: Path) -> str:
    from tpbench.dataset import finalise
    from tpbench.extraction.report import write_report

    logging.disable(logging.WARNING)  # on clips whose files are missing: all of them
    info = read_info(folder)
    n_rows = info.counts.candidates
    # As from records of sources: one after the other, and in no particular order.
    starts = range(0, n_rows // _ROWS_PER_SOURCE, _SOURCES_AT_ONCE)
    tables = (
        made_rows(min(_SOURCES_AT_ONCE * _ROWS_PER_SOURCE, n_rows), first_source=first)
        for first in reversed(starts)
    )
    dataset = finalise(
        folder,
        (row for table in tables for row in rows_of(table)),
        name=info.name,
        config={},
        models={},
        measurements=info.measurements,
    )
    report = write_report(folder)
    return f"{dataset.info.counts.kept:,} clips, a report of {report.stat().st_size >> 10:,} KB"


def _add(folder: Path) -> str:
    import pyarrow as pa

    before = {path.name for path in (folder / PARTS_FOLDER).iterdir()}
    table = read_table(folder)
    added = made_rows(_ROWS_PER_SOURCE, first_source=table.num_rows)
    write_table(folder, pa.concat_tables([table, added]).combine_chunks())
    written = {path.name for path in (folder / PARTS_FOLDER).iterdir()} - before
    return f"{len(written)} of {len(before)} parts written"


def _split(folder: Path) -> str:
    from tpbench.dataset import split_dataset

    return f"{split_dataset(folder).test_clips:,} test clips"


STEPS: Final[Mapping[str, Callable[[Path], str]]] = {
    "open": _open,
    "filter": _filter,
    "digest": _digest,
    "inspect": _inspect,
    "cards": _cards,
    "split": _split,
    "publish": _publish,
    "add": _add,
}
"""In this order: the last ones change the dataset."""


def _step(name: str, folder: Path, n_rows: int) -> None:
    """Run one step and print what it took as JSON."""
    said = make(folder, n_rows) if name == "make" else STEPS[name](folder)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"said": said, "cpu_s": time.process_time(), "peak_mb": peak_mb}))


def measured(name: str, folder: Path, n_rows: int) -> list[str]:
    """Run one step in a process of its own; return a row of the table."""
    started_s = time.monotonic()
    command = [sys.executable, "-m", "benchmarks.bench_rows", "--rows", f"{n_rows}"]
    command += ["--folder", str(folder), "--step", name]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603 - ourselves
    took_s = time.monotonic() - started_s
    spent = json.loads(done.stdout.splitlines()[-1])
    return [
        name, f"{took_s:.1f}", f"{spent['cpu_s']:.1f}", f"{spent['peak_mb']:,.0f}", spent["said"],
    ]  # fmt: skip


def main() -> None:
    """Make the rows, run all steps, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="kept; default: a temporary one")
    parser.add_argument("--only", nargs="*", choices=[*STEPS], default=[*STEPS])
    parser.add_argument("--step", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step is not None:
        _step(given.step, given.folder, given.rows)
        return
    with tempfile.TemporaryDirectory(prefix="tpbench-bench-") as temporary:
        folder = given.folder or Path(temporary) / "dataset"
        rows = [measured(name, folder, given.rows) for name in ("make", *given.only)]
    print_table(["step", "wall, s", "CPU, s", "peak, MB", "result"], rows)


if __name__ == "__main__":
    main()
