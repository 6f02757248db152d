"""`extract`: a folder of videos in, a dataset out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence, Set
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, Final

from tpbench.dataset import Clip, Dataset, finalise
from tpbench.dataset.folder import LEDGER_FILE
from tpbench.detectors.base import Device
from tpbench.errors import ConfigError
from tpbench.execution import Ledger, drain
from tpbench.execution.ledger_file import FileId
from tpbench.extraction.bookkeeping import (
    WORKER_LOG,
    add_wall_time,
    make_folder,
    num_pending,
    plan,
    replaced_clips,
    rows_of,
    run_stats,
)
from tpbench.extraction.books import check_books, read_former
from tpbench.extraction.config import ExtractionConfig, load_preset
from tpbench.extraction.filters import described_measurements
from tpbench.extraction.leftovers import holds_work, prune, sweep
from tpbench.extraction.naming import SourceNames
from tpbench.extraction.progress import ProgressCounter, ProgressListener
from tpbench.extraction.report import write_report
from tpbench.extraction.sources import find_sources, plain_path
from tpbench.extraction.steadying import visibility
from tpbench.wholebody import PoseSource
from tpbench.work import Pool, TaskSpec, explain_halts, usable_cores

_RECYCLE_AFTER: Final = 50
"""Sources after which a worker is replaced: native libraries keep some memory for good."""
_ROWS_VERSION: Final = 2
"""Raised when the same settings would give other rows; part of the ledger's digest."""


def extract(  # noqa: PLR0913 - the options of the command
    inputs: Sequence[Path | str],
    out: Path | str,
    *,
    preset: str | ExtractionConfig = "talkingpose",
    skeleton: PoseSource = "dwpose",
    workers: int | None = None,
    device: Device = "auto",
    offline: bool = False,
    redo: bool = False,
    retry_failed: bool = False,
    name: str | None = None,
    on_progress: ProgressListener | None = None,
) -> Dataset:
    """Turn raw videos into an upper-body dataset.

    Stopped at any moment and called again, it goes on with the sources that are not finished.
    Nothing finished is done twice, and the result is the same as that of an undisturbed run.

    Args:
        inputs: folders of videos (searched to the bottom) and single videos.
        out: folder of the dataset; made if need be, extended if it is one already.
        preset: name of a preset, path of a YAML file, or the settings themselves.
        skeleton: whose skeletons; "dwpose" needs weights that are not on PyPI.
        workers: processes, one core each; all cores if not given.
        device: where ONNX models run.
        offline: never fetch model files.
        redo: have all sources done again with the settings of now. What is there stays until its
            source is done.
        retry_failed: try sources again that failed or were given up. Those that were out of reach
            (no permission, a share that dropped out) are tried again anyhow.
        name: of the dataset; if not given the name it has, at first the folder's.
        on_progress: told about every step.

    Returns:
        The dataset, read back from disk. Sources that failed have a row with their error.

    Raises:
        ConfigError: a preset, option or input makes no sense.
        MissingWeightsError: a model file is missing.
        DatasetError: `out` is no place for this dataset, or its books are damaged or incomplete.
        TPBenchError: the machine has a fault (the disk is full, a permission or a share is gone,
            memory ran out) or the dataset was removed in mid-run; what is finished is kept.
    """
    from tpbench.detectors.base import weights_digest

    config = preset if isinstance(preset, ExtractionConfig) else load_preset(preset)
    folder = plain_path(Path(out))
    count = workers if workers is not None else usable_cores()
    if count < 1:
        raise ConfigError(f"--workers must be at least 1, got {count}")
    sources = find_sources([Path(given) for given in inputs], excluded=folder)
    models = weights_digest(skeleton, offline=offline)
    make_folder(folder)
    former = read_former(folder)
    with (
        explain_halts(folder),
        Ledger.open(
            folder / LEDGER_FILE,
            config_digest=_digest(config, skeleton, models),
            config=_described(config, skeleton) | {"models": models},
            redo=redo,
            must_exist=holds_work(folder),
            look_first=partial(check_books, folder=folder),
        ) as ledger,
    ):
        sweep(folder)
        planned = plan(ledger, sources, folder, retry_failed=retry_failed)
        publish = partial(
            _publish,
            ledger,
            planned,
            folder,
            config,
            skeleton,
            workers=count,
            name=name or (former.name if former is not None else folder.name),
        )
        progress = ProgressCounter(ledger, folder, planned, on_progress)
        progress.start()
        began_s = monotonic()
        try:
            drain(
                ledger,
                Pool(
                    num_workers=count,
                    recycle_after=_RECYCLE_AFTER,
                    worker_log=folder / WORKER_LOG,
                ),
                _task(config, folder, skeleton, device, offline=offline, ledger=ledger.file_id),
                keys=planned,
                prepare=SourceNames(ledger.entries()),
                on_outcome=progress.on_outcome,
                on_progress=progress.on_frames,
            )
        except KeyboardInterrupt:
            add_wall_time(ledger, monotonic() - began_s)
            publish()
            raise
        add_wall_time(ledger, monotonic() - began_s)
        return publish()


def _task(
    config: ExtractionConfig,
    folder: Path,
    skeleton: PoseSource,
    device: Device,
    *,
    offline: bool,
    ledger: FileId,
) -> TaskSpec:
    return TaskSpec(
        factory="tpbench.extraction.worker:build",
        config={
            "settings": config.model_dump(mode="json"),
            "folder": str(folder),
            "ledger": [str(LEDGER_FILE), *ledger],
            "skeleton": skeleton,
            "device": device,
            "offline": offline,
        },
    )


def _publish(
    ledger: Ledger,
    keys: Set[str],
    folder: Path,
    config: ExtractionConfig,
    skeleton: PoseSource,
    *,
    workers: int,
    name: str,
) -> Dataset:
    """Write the dataset's files from all that the ledger has finished.

    Old clips go after the manifest that does without them is written, and only then.
    """
    ledger.require_in_place()
    rows = list(rows_of(ledger))
    sweep(folder)
    dataset = finalise(
        folder,
        rows,
        name=name,
        config=_described(config, skeleton),
        models=_model_digests(rows),
        measurements=described_measurements(),
        run=run_stats(ledger, workers=workers),
        sources_pending=num_pending(ledger, keys),
    )
    prune(folder, rows, replaced_clips(ledger))
    ledger.settle()
    write_report(folder)
    ledger.require_in_place()
    return dataset


def _described(config: ExtractionConfig, skeleton: PoseSource) -> dict[str, Any]:
    return config.model_dump(mode="json") | {
        "skeleton": skeleton,
        "visibility": visibility(skeleton),
    }


def _digest(config: ExtractionConfig, skeleton: PoseSource, models: str) -> str:
    parts = [config.digest(), skeleton, visibility(skeleton), models, _ROWS_VERSION]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _model_digests(rows: Sequence[Clip]) -> dict[str, str]:
    roles = {"skeleton": "skeleton_digest", "face": "face_digest", "hand": "hand_digest"}
    return {
        role: digest
        for role, column in roles.items()
        if (digest := next((d for row in rows if (d := getattr(row, column))), None))
    }
