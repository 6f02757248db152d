"""Turn the rows of an extraction into a dataset folder that others can read."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tpbench import __version__
from tpbench.dataset.card import render_card
from tpbench.dataset.croissant import croissant_json
from tpbench.dataset.folder import LEDGER_FILE, Dataset
from tpbench.dataset.info import (
    INFO_NAME,
    DatasetInfo,
    content_digest,
    count,
    read_info,
    write_info,
)
from tpbench.dataset.manifest import write_manifest
from tpbench.dataset.split import (
    check_test_share,
    describe_split,
    empty_side_warning,
    split_clips,
    write_split_lists,
)
from tpbench.execution.ledger_file import lock, unlock
from tpbench.files import write_text_aside

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from tpbench.dataset.clip import Clip
    from tpbench.dataset.info import Measurement, RunStats, SplitInfo

_log = logging.getLogger(__name__)


def finalise(  # noqa: PLR0913 - each argument is one field of dataset.json
    folder: Path,
    rows: Iterable[Clip],
    *,
    name: str,
    version: str = "1.0.0",
    config: Mapping[str, Any],
    models: Mapping[str, str],
    measurements: Sequence[Measurement],
    run: RunStats | None = None,
    sources_pending: int = 0,
) -> Dataset:
    """Write manifest, splits, card, Croissant and `dataset.json` (last) of a dataset.

    Done after every run, over all rows: the result hangs only on them and the arguments. A dataset
    that was split before is split again the same way. The hashes in the rows are taken as they are;
    `Dataset.verify` holds them against the files.

    Args:
        folder: the dataset; clips, keypoints and poses lie in it already.
        rows: all candidates, in any order.
        name: shown to people.
        version: of the dataset, for those who publish it.
        config: the resolved configuration, as plain JSON values.
        models: role ("skeleton", "face", "hand") -> sha256 of the model files.
        measurements: what the measured columns mean.
        run: what extraction took.
        sources_pending: sources still to be done, after an interrupted run.

    Raises:
        DatasetError: two rows share a clip_id, or a former `dataset.json` is not readable.
    """
    former = read_info(folder).split if (folder / INFO_NAME).is_file() else None
    clips = sorted(rows, key=lambda clip: clip.clip_id)
    info = DatasetInfo(
        # A folder's name may hold bytes that are no text.
        name=name.encode("utf-8", "backslashreplace").decode("utf-8"),
        version=version,
        tool_version=__version__,
        digest=content_digest(clips),
        counts=count(clips),
        split=former,
        models=dict(models),
        measurements=tuple(measurements),
        config=dict(config),
        run=run,
        sources_pending=sources_pending,
    )
    return _write(folder, clips, info)


def split_dataset(folder: Path, *, test_share: float, seed: int) -> SplitInfo:
    """Split a finished dataset and write it down: lists, manifest, card, `dataset.json`.

    An empty side is logged, no error: a small dataset is no mistake. No extraction can publish into
    the dataset meanwhile: what is split is what is there.

    Raises:
        ConfigError: `test_share` is not strictly between 0 and 1.
        DatasetError: there is no finished dataset in `folder`, or another process is at it.
    """
    check_test_share(test_share)
    Dataset.open(folder)
    with _locked(folder):
        dataset = Dataset.open(folder)
        clips = dataset.clips(None)
        wanted = describe_split((), test_share=test_share, seed=seed)
        split = _write(folder, clips, dataset.info.model_copy(update={"split": wanted})).info.split
    assert split is not None  # noqa: S101 - `wanted` was given, `_write` only fills in its counts
    if warning := empty_side_warning(split):
        _log.info("%s: %s", folder, warning)
    return split


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock that whoever extends the dataset holds; one without a ledger has none."""
    ledger = folder / LEDGER_FILE
    if not ledger.parent.is_dir():
        yield
        return
    lock_fd = lock(ledger)
    try:
        yield
    finally:
        unlock(lock_fd)


def _write(folder: Path, clips: Sequence[Clip], info: DatasetInfo) -> Dataset:
    if info.split is not None:
        test_share, seed = info.split.test_share, info.split.seed
        clips = split_clips(clips, test_share=test_share, seed=seed)
        split = describe_split(clips, test_share=test_share, seed=seed)
        info = info.model_copy(update={"split": split})
        write_split_lists(folder, clips)
    manifest = write_manifest(folder, clips)
    write_text_aside(folder / "croissant.json", croissant_json(info, manifest))
    write_text_aside(folder / "README.md", render_card(info))
    write_info(folder, info)
    return Dataset(folder=folder, info=info)
