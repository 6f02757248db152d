"""`extract`: a folder of videos in, a dataset out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any, Final

from tpbench.canonical import settings_digest
from tpbench.dataset import Clip, Dataset, finalise
from tpbench.dataset.manifest import Table, first_known
from tpbench.dataset.removal import REMOVALS_NAME
from tpbench.detectors.base import Device
from tpbench.devices import require_device
from tpbench.errors import ConfigError, number_of
from tpbench.extraction.bucket import BucketDataset, opened_bucket
from tpbench.extraction.config import ExtractionConfig, load_preset
from tpbench.extraction.filters import described_measurements
from tpbench.extraction.former import read_former
from tpbench.extraction.leftovers import PRUNED_BY, prune, sweep
from tpbench.extraction.old_ledger import convert_ledger
from tpbench.extraction.planning import make_folder, plan, work_items
from tpbench.extraction.publishing import published
from tpbench.extraction.records import WORKER_LOG, SourceRecords, open_records
from tpbench.extraction.remote import require_scratch
from tpbench.extraction.removed_files import delete_left_out
from tpbench.extraction.report import write_report
from tpbench.extraction.sources import Source, find_sources, plain_path
from tpbench.extraction.speed import Tally, gpus_of
from tpbench.extraction.standing import RunStanding, outdated_signs, signs_file
from tpbench.extraction.steadying import visibility
from tpbench.extraction.worker import task_spec
from tpbench.storage.addresses import Address, local_path
from tpbench.wholebody import PoseSource
from tpbench.work import (
    ITEM_TIMEOUT_S,
    LOCAL,
    Engine,
    Executor,
    Outcome,
    Progress,
    ProgressCounter,
    ProgressListener,
    TaskSpec,
    WorkItem,
    explain_halts,
    item_limit_s,
    num_workers,
    run_items,
)
from tpbench.work.records import Shard
from tpbench.work.signs import DriverState, signs

logger = logging.getLogger(__name__)

RECYCLE_AFTER: Final = 500
"""A worker is replaced after this many sources: native libraries never free some memory."""
_ROWS_VERSION: Final = 3
"""Incremented when the same settings would give other rows; part of the digest of the settings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractionRequest:
    """What is to be extracted, and how; the fields are the arguments of `extract`."""

    inputs: Sequence[Path | str]
    out: Path | str
    preset: str | ExtractionConfig = "talkingpose"
    skeleton: PoseSource = "dwpose"
    workers: int | None = None
    device: Device = "auto"
    offline: bool = False
    redo: bool = False
    retry_failed: bool = False
    name: str | None = None
    item_timeout_s: float = ITEM_TIMEOUT_S
    engine: Engine = LOCAL


def extract(  # noqa: PLR0913 - the options of the command
    inputs: Sequence[Path | str] | Path | str,
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
    item_timeout_s: float = ITEM_TIMEOUT_S,
    engine: Engine = LOCAL,
    on_progress: ProgressListener | None = None,
) -> Dataset:
    """Turn raw videos into an upper-body dataset.

    Called again after an interruption, it continues with the unfinished sources. Finished sources
    are never reprocessed, and the result equals that of an uninterrupted run.

    Args:
        inputs: folders of videos (searched recursively) and single videos, or one of them;
            also addresses of object storage (`s3://`, `gs://`).
        out: folder of the dataset; created if needed, extended if it already is a dataset. An
            address of object storage is worked on in a copy on this machine.
        preset: name of a preset, path of a YAML file, or the settings themselves.
        skeleton: the skeleton detector; "dwpose" needs weights that are not on PyPI.
        workers: processes, one core each; all cores if not given.
        device: where ONNX models run.
        offline: never fetch model files.
        redo: reprocess all sources with the current settings. Existing clips of a source stay
            until it is finished.
        retry_failed: retry sources that failed or were given up. Unreachable ones (no permission,
            a share that dropped out) are always retried.
        name: name of the dataset; by default its existing name, for a new one the folder's.
        item_timeout_s: a source without progress for this long is retried; 0 for no limit.
        engine: where the workers run.
        on_progress: called at every step.

    Returns:
        The dataset, read back from disk. Sources that failed have a row with their error. Of one
        in object storage, its tables: the files of its clips are empty here.

    Raises:
        ConfigError: a preset, option or input is invalid.
        MissingWeightsError: a model file is missing.
        DatasetError: `out` can't hold this dataset, or its records are damaged or incomplete.
        TPBenchError: the machine has a fault (disk full, permission or share lost, out of memory)
            or the dataset was removed during the run; finished sources are kept.
    """
    request = ExtractionRequest(
        inputs=[inputs] if isinstance(inputs, str | Path) else inputs,
        out=out,
        preset=preset,
        skeleton=skeleton,
        workers=workers,
        device=device,
        offline=offline,
        redo=redo,
        retry_failed=retry_failed,
        name=name,
        item_timeout_s=item_timeout_s,
        engine=engine,
    )
    return run_extraction(request, on_progress)


def run_extraction(
    request: ExtractionRequest, on_progress: ProgressListener | None = None
) -> Dataset:
    """Run `extract` on a request. An interrupted run publishes its finished sources."""
    with (
        _destination(request, None) as (placed, bucket),
        opened(placed, shard=None, bucket=bucket) as run,
    ):
        _, interruption = run.work(on_progress)
        dataset = run.publish()
        if interruption is not None:
            raise interruption
        return dataset


def run_shard(
    request: ExtractionRequest, shard: Shard, on_progress: ProgressListener | None = None
) -> Progress:
    """Process one shard, in parallel with others in the same folder, and publish nothing.

    Once all shards have ended, `run_extraction` processes the rest and writes the manifest.

    Raises:
        ConfigError: as `extract`; also for `redo`, which a single shard can't do.
        DatasetError: as `extract`; also while a run with another number of shards is active.
    """
    if request.redo:
        raise ConfigError(
            "--redo starts everything over, which no single shard can do; choose a new output "
            "folder, or run it without --shard"
        )
    with (
        _destination(request, shard) as (placed, bucket),
        opened(placed, shard=shard, bucket=bucket) as run,
    ):
        state, interruption = run.work(on_progress)
        if bucket is not None:
            bucket.publish()
        if interruption is not None:
            raise interruption
        return state


@contextmanager
def _destination(
    request: ExtractionRequest, shard: Shard | None
) -> Iterator[tuple[ExtractionRequest, BucketDataset | None]]:
    """Provide the folder to work in, in place of an address, and the bucket behind it."""
    address = Address.of(request.out)
    if address is None:
        yield replace(request, out=local_path(request.out)), None
        return
    with opened_bucket(address, shard) as bucket:
        yield replace(request, out=bucket.mirror.folder), bucket


@contextmanager
def opened(
    request: ExtractionRequest,
    *,
    shard: Shard | None,
    sources: Sequence[Source] | None = None,
    bucket: BucketDataset | None = None,
) -> Iterator[Run]:
    """Check everything, lock the folder and plan, before any source is processed.

    Args:
        request: what is to be extracted.
        shard: the part to process; None for all.
        sources: already found; None: those of the inputs.
        bucket: whose working copy `request.out` is.

    Raises:
        ConfigError, MissingWeightsError, DatasetError: as `extract`.
    """
    from tpbench.detectors.base import weights_digest

    preset, skeleton = request.preset, request.skeleton
    config = preset if isinstance(preset, ExtractionConfig) else load_preset(preset)
    folder = plain_path(Path(request.out))
    num_workers(request.workers)  # refused before anything is written
    item_limit_s(request.item_timeout_s)
    if request.engine.is_local:
        require_device(request.device, library="onnxruntime")
    if sources is None:
        sources = find_sources(
            [Path(given) for given in request.inputs],
            excluded=folder,
            excluded_address=None if bucket is None else bucket.address,
        )
    if request.engine.is_local:
        require_scratch(sources)
    models = weights_digest(skeleton, offline=request.offline)
    convert_ledger(folder)
    make_folder(folder)
    former = read_former(folder)
    parts = [config.digest(), skeleton, visibility(skeleton), models, _ROWS_VERSION]
    with (
        explain_halts(folder),
        request.engine.session(),
        open_records(
            folder,
            settings=settings_digest(parts),
            config=described_settings(config, skeleton) | {"models": models},
            redo=request.redo,
            shard=shard,
        ) as records,
    ):
        if shard is None:
            sweep(folder)
        workers, gpu_share = _workers(request)
        run = Run(
            request=request,
            shard=shard,
            config=config,
            folder=folder,
            workers=workers,
            gpu_share=gpu_share,
            gpus=gpus_of(request.skeleton, request.device),
            name=request.name or (former.name if former is not None else folder.name),
            records=records,
            keys=plan(
                records,
                sources,
                retry_failed=request.retry_failed,
                shard=shard,
                workers=workers,
            ),
            bucket=bucket,
        )
        if bucket is not None:
            bucket.begin()
        yield run


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A planned run that holds the lock of its folder; create it with `opened`."""

    request: ExtractionRequest
    shard: Shard | None
    config: ExtractionConfig
    folder: Path
    workers: int
    gpu_share: float
    """Of a GPU, that each worker takes under Ray."""
    gpus: int
    name: str
    records: SourceRecords
    keys: Set[str]
    """Of all inputs, finished ones included; for a shard, only its own."""
    bucket: BucketDataset | None = None
    """Where the dataset lies, if `folder` is its working copy."""

    def work(
        self, on_progress: ProgressListener | None
    ) -> tuple[Progress, KeyboardInterrupt | None]:
        """Process the planned sources; return the progress and the interruption, if any."""
        total, before = len(self.keys), self.records.num_finished(self.keys)
        progress = ProgressCounter("extract", total=total, before=before, listener=on_progress)
        interruption = self.process(work_items(self.records), progress)
        return progress.state(), interruption

    def process(
        self,
        items: Iterable[WorkItem | None],
        progress: ProgressCounter,
        *,
        then: Callable[[Outcome], None] = lambda _: None,
    ) -> KeyboardInterrupt | None:
        """Process sources as they are drawn; return the interruption, if any.

        Args:
            items: of sources that are planned by the time they are drawn.
            progress: of the run.
            then: called with each outcome after it is recorded.
        """
        state = progress.state()
        logger.info(
            "extracting into %s: %d of %d videos left, %s, skeletons by %s",
            self.folder,
            state.total - state.before,
            state.total,
            number_of(self.workers, "worker"),
            self.request.skeleton,
        )
        interruption = process_items(
            _task(self),
            items,
            self.records,
            executor=_pool(self),
            tally=Tally(workers=self.workers, gpus=self.gpus),
            progress=progress,
            keys=self.keys,
            workers=self.workers,
            shard=self.shard,
            then=self._put_then(then),
            tell=self._tell,
        )
        if self.bucket is not None:
            self.bucket.drain()
        return interruption

    def _tell(self, state: DriverState) -> None:
        if self.bucket is not None:
            self.bucket.lease.say(state.model_dump(mode="json"))

    def _put_then(self, then: Callable[[Outcome], None]) -> Callable[[Outcome], None]:
        bucket = self.bucket
        if bucket is None:
            return then

        def put_then(outcome: Outcome) -> None:
            bucket.add(outcome, self.records)
            then(outcome)

        return put_then

    def publish(self) -> Dataset:
        """Write the dataset's files from all finished sources.

        Replaced clips are deleted only after the manifest without them is written.
        """
        self.records.require_in_place()
        logger.info("writing the manifest, the card and the report of %s", self.folder)
        table, stats = published(self.records, workers=self.workers, gpus=self.gpus)
        if self.records.removed:
            logger.warning(
                "%s: %s left out, as removed from it before (%s)",
                self.folder,
                number_of(len(self.records.removed), "video"),
                REMOVALS_NAME,
            )
        sweep(self.folder)
        dataset = finalise(
            self.folder,
            table,
            name=self.name,
            config=described_settings(self.config, self.request.skeleton),
            models=_model_digests(table),
            measurements=described_measurements(),
            run=stats,
            sources_pending=self.records.num_pending(self.keys),
        )
        delete_left_out(dataset, table)
        del table  # what follows reads the columns that it needs
        prune(self.folder, dataset.table(PRUNED_BY), self.records.replaced_clips())
        self.records.end_period()
        self._write_report()
        self.records.require_in_place()
        if self.bucket is not None:
            self.bucket.publish()
        return dataset

    def _write_report(self) -> None:
        bucket = self.bucket
        if bucket is None:
            write_report(self.folder)
            return
        shown: list[Clip] = []

        def provide(clips: Sequence[Clip]) -> None:
            shown.extend(clips)
            bucket.provide(clips)

        write_report(self.folder, provide=provide)
        bucket.release(shown)


def process_items(  # noqa: PLR0913 - a task, its items, and all that keep track of them
    task: TaskSpec,
    items: Iterable[WorkItem | None],
    records: SourceRecords,
    *,
    executor: Executor,
    tally: Tally,
    progress: ProgressCounter,
    keys: Set[str],
    workers: int,
    shard: Shard | None = None,
    then: Callable[[Outcome], None] = lambda _: None,
    tell: Callable[[DriverState], None] = lambda _: None,
) -> KeyboardInterrupt | None:
    """Process items, record their outcomes and what the run took; return the interruption, if any.

    Args:
        task: what to do with each item.
        items: of sources that are planned by the time they are drawn.
        records: of the dataset.
        executor: processes the items.
        tally: of this run.
        progress: of the run.
        keys: of all inputs.
        workers: processes at work.
        shard: the part of the sources that this run processes, if not all.
        then: called with each outcome after it is recorded.
        tell: called with what the driver says of itself.
    """
    standing = RunStanding(records, keys)
    tallied = _Tallied(records=records, tally=tally, standing=standing, then=then)
    outdated = outdated_signs(records.home, shard)
    if shard is not None and not records.planned and outdated:
        return None  # all is done, and those who did it have said more than this shard could
    for path in outdated:
        path.unlink(missing_ok=True)
    given = signs(
        signs_file(records.home, shard),
        progress,
        part="" if shard is None else str(shard),
        workers=workers,
        standing=standing.state,
        tell=tell,
    )
    interruption = None
    began_s = monotonic()
    try:
        with given:
            run_items(task, items, tallied, executor=executor, progress=progress)
    except KeyboardInterrupt as error:
        interruption = error
    if tally.attempts:
        records.add_run(tally.stats(monotonic() - began_s), shard)
    return interruption


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tallied:
    """Records that also count what this run took."""

    records: SourceRecords
    tally: Tally
    standing: RunStanding
    then: Callable[[Outcome], None]

    def add(self, outcome: Outcome, progress: ProgressCounter) -> None:
        """See `Records.add`."""
        self.records.add(outcome, progress)
        self.tally.add(outcome)
        self.standing.add(outcome)
        self.then(outcome)


def _pool(run: Run) -> Executor:
    return run.request.engine.pool(
        num_workers=run.workers,
        recycle_after=RECYCLE_AFTER,
        item_timeout_s=item_limit_s(run.request.item_timeout_s),
        worker_log=run.folder / WORKER_LOG,
        gpu_share=run.gpu_share,
    )


def _workers(request: ExtractionRequest) -> tuple[int, float]:
    """Return the number of workers, and the share of a GPU that each takes under Ray."""
    if request.skeleton == "dwpose" and request.device in {"auto", "cuda"}:
        return request.engine.on_gpus(request.workers)
    return request.engine.num_workers(request.workers), 0.0


def _task(run: Run) -> TaskSpec:
    return task_spec(
        config=run.config,
        folder=run.folder,
        # Elsewhere, the same disk may have another number.
        records_id=run.records.home_id if run.request.engine.is_local else None,
        skeleton=run.request.skeleton,
        device=run.request.device,
        offline=run.request.offline,
    )


def described_settings(config: ExtractionConfig, skeleton: PoseSource) -> dict[str, Any]:
    """Return the settings of an extraction as they are recorded, without the model files."""
    return config.model_dump(mode="json") | {
        "skeleton": skeleton,
        "visibility": visibility(skeleton),
    }


def _model_digests(table: Table) -> dict[str, str]:
    roles = {"skeleton": "skeleton_digest", "face": "face_digest", "hand": "hand_digest"}
    return {
        role: digest for role, column in roles.items() if (digest := first_known(table, column))
    }
