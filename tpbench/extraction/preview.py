"""`preview_extraction`: what `extract` would do, without doing it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tpbench import weights
from tpbench.dataset.folder import RECORDS_FOLDER
from tpbench.detectors.base import models_of
from tpbench.devices import device_problem
from tpbench.errors import ConfigError, DatasetError
from tpbench.extraction.bucket import looked_at
from tpbench.extraction.config import ExtractionConfig, load_preset
from tpbench.extraction.former import read_former
from tpbench.extraction.planning import refusal, sources_left
from tpbench.extraction.records import SETTINGS_FILE, Settings, SourceRecords
from tpbench.extraction.remote import require_scratch
from tpbench.extraction.run import ExtractionRequest, described_settings
from tpbench.extraction.sharing import divide
from tpbench.extraction.sources import Source, find_sources, plain_path
from tpbench.storage.addresses import Address, local_path
from tpbench.work import item_limit_s
from tpbench.work.records import RecordError, Shard, describe_differences


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractionPreview:
    """What a call of `extract` would do."""

    folder: Path | str
    """Of the dataset; or its address."""
    videos: int
    """Inputs, or those of the shard."""
    videos_left: int
    """Of these, not processed yet; equal files are counted, although only one is processed."""
    bytes_left: int
    """Size of the videos left."""
    preset: str
    skeleton: str
    workers: int
    models_missing: tuple[str, ...]
    """Model files that would be downloaded first."""
    problems: tuple[str, ...]
    """What would stop the call."""
    shard_hours_left: tuple[float, ...] = ()
    """Hours of video left to each shard, the first one first; empty without shards."""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {**asdict(self), "folder": str(self.folder)}


def preview_extraction(
    request: ExtractionRequest,
    shard: Shard | None = None,
    *,
    sources: list[Source] | None = None,
) -> ExtractionPreview:
    """Find out what `extract` would do, and what would stop it. Writes nothing.

    Args:
        request: the call.
        shard: the part to process; None for all.
        sources: already found; None: those of the inputs.

    Raises:
        ConfigError: a preset, option or input is wrong.
        DatasetError: the records of the dataset are damaged.
    """
    address = Address.of(request.out)
    if address is not None:
        with looked_at(address) as folder:
            copied = replace(request, out=folder)
            found = _preview(copied, shard, sources, excluded_address=address)
            return replace(found, folder=str(address))
    return _preview(replace(request, out=local_path(request.out)), shard, sources)


def _preview(
    request: ExtractionRequest,
    shard: Shard | None,
    sources: list[Source] | None,
    *,
    excluded_address: Address | None = None,
) -> ExtractionPreview:
    preset = request.preset
    config = preset if isinstance(preset, ExtractionConfig) else load_preset(preset)
    item_limit_s(request.item_timeout_s)
    workers = request.engine.num_workers(request.workers)
    folder = plain_path(Path(request.out))
    if sources is None:
        inputs = [Path(given) for given in request.inputs]
        sources = find_sources(inputs, excluded=folder, excluded_address=excluded_address)
    settings = _settings(folder)
    left = sources if settings is None else _left(folder, settings, sources, request)
    hours: tuple[float, ...] = ()
    if shard is not None:
        division = divide(
            folder / RECORDS_FOLDER,
            sources,
            left={source.key for source in left},
            count=shard.count,
            workers=workers,
            keep=False,
        )
        hours = tuple(seconds / 3600 for seconds in division.left_s)
        parts = division.parts.tolist()
        sources = [one for one, part in zip(sources, parts, strict=True) if part == shard.number]
        ours = {source.key for source in sources}
        left = [source for source in left if source.key in ours]
    names = models_of(request.skeleton)
    missing = tuple(name for name in names if not weights.state(name).usable)
    return ExtractionPreview(
        folder=folder,
        videos=len(sources),
        videos_left=len(left),
        bytes_left=sum(source.size_bytes for source in left),
        preset=preset if isinstance(preset, str) else "",
        skeleton=request.skeleton,
        workers=workers,
        models_missing=missing,
        problems=(
            *_problems(folder, settings, config, request, missing),
            *_scratch_problems(request, left),
        ),
        shard_hours_left=hours,
    )


def _settings(folder: Path) -> Settings | None:
    """Return the settings of an existing dataset; None for a new one."""
    path = folder / SETTINGS_FILE
    if not path.is_file():
        return None
    try:
        return Settings.read(path)
    except RecordError as error:
        raise ConfigError(str(error)) from error


def _left(
    folder: Path, settings: Settings, sources: list[Source], request: ExtractionRequest
) -> list[Source]:
    if request.redo:
        return sources
    records = SourceRecords(folder, settings)
    return sources_left(records, sources, retry_failed=request.retry_failed)


def _problems(
    folder: Path,
    settings: Settings | None,
    config: ExtractionConfig,
    request: ExtractionRequest,
    missing: tuple[str, ...],
) -> Iterator[str]:
    """Yield what would stop the call."""
    if settings is None:
        if (why := refusal(folder)) is not None:
            yield why
    elif not request.redo:
        before = {key: value for key, value in settings.config.items() if key != "models"}
        if differences := describe_differences(
            before, described_settings(config, request.skeleton)
        ):
            yield (
                f"{folder}: made with another config ({differences}); choose another folder, or "
                "pass --redo to reprocess everything"
            )
    try:
        read_former(folder)
    except DatasetError as error:
        yield str(error)
    if (why := device_problem(request.device, library="onnxruntime")) is not None:
        yield why
    to_pull = [name for name in missing if weights.weight(name).wheel is None]
    if to_pull:
        yield (
            f"model files are missing, run: {weights.pull_command(to_pull)}; or choose "
            "--skeleton mediapipe"
        )
    elif missing and request.offline:
        yield f"model files are missing, and --offline forbids downloads: {', '.join(missing)}"


def _scratch_problems(request: ExtractionRequest, left: list[Source]) -> Iterator[str]:
    if request.engine.is_local:
        try:
            require_scratch(left)
        except ConfigError as error:
            yield str(error)
