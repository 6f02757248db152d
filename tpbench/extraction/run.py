"""`extract`: a folder of videos in, a dataset out."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Final, Literal

from tpbench.dataset import finalise
from tpbench.errors import ConfigError
from tpbench.execution import Ledger, LocalExecutor, TaskSpec, drain, usable_cores
from tpbench.extraction.bookkeeping import (
    LEDGER_FILE,
    add_wall_time,
    make_folder,
    plan,
    prune,
    rows_of,
    run_stats,
)
from tpbench.extraction.config import ExtractionConfig, load_preset
from tpbench.extraction.judging import described_measurements
from tpbench.extraction.report import write_report
from tpbench.extraction.sources import find_sources

if TYPE_CHECKING:
    from tpbench.dataset import Clip, Dataset
    from tpbench.execution import JsonObject, Outcome
    from tpbench.wholebody import PoseSource

_log = logging.getLogger(__name__)

_RECYCLE_AFTER: Final = 50
"""Sources after which a worker is replaced: native libraries keep some memory for good."""

_ROWS_VERSION: Final = 1
"""Raised when the same settings would give other rows; part of the ledger's digest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunProgress:
    """How far a run is."""

    sources_total: int
    """Of this run's inputs."""

    sources_done: int
    """Earlier runs included."""

    kept: int
    rejected: int
    """Clips of the sources done in this run."""

    failed: int
    """Sources that could not be done, in this run."""

    frames: int
    """Frames read in this run, unfinished sources included."""


ProgressListener = Callable[[RunProgress], None]


def extract(  # noqa: PLR0913 - the options of the command
    inputs: Sequence[Path | str],
    out: Path | str,
    *,
    preset: str | ExtractionConfig = "talkingpose",
    skeleton: PoseSource = "dwpose",
    workers: int | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    offline: bool = False,
    redo: bool = False,
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
        redo: forget what an earlier run with other settings made here.
        name: of the dataset; the folder's name if not given.
        on_progress: told about every step.

    Returns:
        The dataset, read back from disk. Sources that failed have a row with their error.

    Raises:
        ConfigError: a preset, option or input makes no sense.
        MissingWeightsError: a model file is missing.
        DatasetError: `out` is no place for this dataset.
    """
    from tpbench.detectors.suite import weights_digest

    config = preset if isinstance(preset, ExtractionConfig) else load_preset(preset)
    folder = Path(out).expanduser().absolute()
    count = workers if workers is not None else usable_cores()
    if count < 1:
        msg = f"--workers must be at least 1, got {count}"
        raise ConfigError(msg)
    sources = find_sources([Path(given) for given in inputs], excluded=folder)
    models = weights_digest(skeleton, offline=offline)
    make_folder(folder)
    with Ledger.open(
        folder / LEDGER_FILE, config_digest=_digest(config, skeleton, models), redo=redo
    ) as ledger:
        planned = plan(ledger, sources)
        progress = _Progress(ledger, planned, on_progress)
        task = TaskSpec(
            factory="tpbench.extraction.worker:build",
            config={
                "settings": config.model_dump(mode="json"),
                "folder": str(folder),
                "skeleton": skeleton,
                "device": device,
                "offline": offline,
            },
        )
        began_s = monotonic()
        try:
            drain(
                ledger,
                LocalExecutor(num_workers=count, recycle_after=_RECYCLE_AFTER),
                task,
                keys=planned,
                on_outcome=progress.on_outcome,
                on_progress=progress.on_frames,
            )
        except KeyboardInterrupt:
            add_wall_time(ledger, monotonic() - began_s)
            _publish(ledger, folder, config, skeleton, workers=count, name=name)
            raise
        add_wall_time(ledger, monotonic() - began_s)
        return _publish(ledger, folder, config, skeleton, workers=count, name=name)


def _publish(
    ledger: Ledger,
    folder: Path,
    config: ExtractionConfig,
    skeleton: PoseSource,
    *,
    workers: int,
    name: str | None,
) -> Dataset:
    """Write the dataset's files from all that the ledger has finished."""
    rows = list(rows_of(ledger))
    prune(folder, rows)
    dataset = finalise(
        folder,
        rows,
        name=name or folder.name,
        config=config.model_dump(mode="json") | {"skeleton": skeleton},
        models=_model_digests(rows),
        measurements=described_measurements(),
        run=run_stats(ledger, workers=workers),
    )
    write_report(folder)
    return dataset


def _digest(config: ExtractionConfig, skeleton: PoseSource, models: str) -> str:
    parts = [config.digest(), skeleton, models, _ROWS_VERSION]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _model_digests(rows: Sequence[Clip]) -> dict[str, str]:
    roles = {"skeleton": "skeleton_digest", "face": "face_digest", "hand": "hand_digest"}
    return {
        role: digest
        for role, column in roles.items()
        if (digest := next((d for row in rows if (d := getattr(row, column))), None))
    }


class _Progress:
    """Counts what happens and passes it on."""

    def __init__(self, ledger: Ledger, keys: Set[str], listener: ProgressListener | None) -> None:
        final = {"done", "failed", "quarantined"}
        done = sum(entry.state in final for entry in ledger.entries() if entry.key in keys)
        self._state = RunProgress(
            sources_total=len(keys), sources_done=done, kept=0, rejected=0, failed=0, frames=0
        )
        self._running: dict[str, int] = {}
        self._finished_frames = 0
        self._listener = listener

    def on_frames(self, key: str, report: JsonObject) -> None:
        self._running[key] = int(report["frames"])
        self._tell(self._state)

    def on_outcome(self, outcome: Outcome) -> None:
        self._running.pop(outcome.key, None)
        result = outcome.result or {"clips": [], "n_frames": 0}
        statuses = Counter(clip["status"] for clip in result["clips"])
        self._finished_frames += result["n_frames"]
        if outcome.kind != "done":
            _log.warning("%s", outcome.error)
        self._tell(
            replace(
                self._state,
                sources_done=self._state.sources_done + 1,
                kept=self._state.kept + statuses["kept"],
                rejected=self._state.rejected + statuses["rejected"],
                failed=self._state.failed + (outcome.kind != "done"),
            )
        )

    def _tell(self, state: RunProgress) -> None:
        frames = self._finished_frames + sum(self._running.values())
        self._state = replace(state, frames=frames)
        if self._listener is not None:
            self._listener(self._state)
