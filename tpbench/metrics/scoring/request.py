"""What is to be scored against what, and how: settings, the real clips, and pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tpbench import work
from tpbench.canonical import digest_of
from tpbench.devices import require_device
from tpbench.errors import ConfigError, MediaError
from tpbench.metrics.registry import DEFAULT_PROTOCOL, Protocol
from tpbench.metrics.registry import protocol as protocol_named
from tpbench.metrics.scoring.clip_pass import FACTORY
from tpbench.metrics.scoring.pairing import (
    Pairing,
    RealClip,
    is_clip_folder,
    pair_up,
    read_identities,
    real_clips,
    videos_below,
    with_identities,
)
from tpbench.metrics.scoring.policies import (
    LengthPolicy,
    Policies,
    RatePolicy,
    ResizePolicy,
    policies_of,
)
from tpbench.video import content_sha256, passed_over

EACH_CLIP: Final = "each-clip"
"""In place of a table of identities: each clip shows another person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringSetting:
    """Everything that decides how pairs are scored."""

    protocol: Protocol
    policies: Policies
    device: str = "auto"
    """Device for networks: "auto" takes a GPU if there is one."""
    workers: int | None = None
    """Processes; None: one per core. With 1, all runs in this process, with a thread per core."""
    offline: bool = False
    """Never fetch model files."""
    strict: bool = False
    """Whether a metric that can't be measured is an error, and not a blank."""
    factory: str = FACTORY
    """Factory of the task in worker processes."""
    engine: work.Engine = work.LOCAL
    """Where the worker processes run."""
    item_timeout_s: float = work.ITEM_TIMEOUT_S
    """A clip without progress for so long is stopped and tried again, which costs an attempt; 0 for
    no limit. With one worker, all runs in this process, and nothing is stopped."""
    retry_failed: bool = False
    """Try clips again that were given up: see `work.attempts`."""

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise ConfigError(f"want 1 worker or more, not {self.workers}")
        work.item_limit_s(self.item_timeout_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRequest:
    """What generated videos are scored against, and how."""

    real: Path | str
    """A dataset of tpbench, or any folder of videos."""
    protocol: str = DEFAULT_PROTOCOL
    """`tpbench metrics list` shows them."""
    metrics: Sequence[str] | None = None
    """Only these; None for all of the protocol."""
    split: str | None = None
    """Only these clips of a dataset."""
    length: LengthPolicy | None = None
    """See `Policies`; None for the protocol's, as for the next two."""
    resize: ResizePolicy | None = None
    rate: RatePolicy | None = None
    first_frame: int = 0
    """Frames before it are not scored: 1 where frame 0 is the reference itself."""
    identities: Path | str | None = None
    """A CSV table with columns `clip` and `identity`; None for the dataset's own; `EACH_CLIP`: each
    clip shows another person."""
    device: str = "auto"
    """Device for networks: "auto", "cpu", "cuda", "cuda:1"."""
    workers: int | None = None
    """Processes; None: one per core."""
    offline: bool = False
    """Never fetch model files."""
    strict: bool = False
    """Whether a metric that can't be measured is an error, and not a blank."""
    engine: work.Engine = work.LOCAL
    """Where the worker processes run."""
    item_timeout_s: float = work.ITEM_TIMEOUT_S
    """See `ScoringSetting`."""
    retry_failed: bool = False
    """Try clips again that were given up, as they killed every worker that had them."""

    def setting(self) -> ScoringSetting:
        """Return the settings of the scoring.

        Raises:
            ConfigError: no such protocol, metric or device, or an option has an impossible value.
        """
        require_device(self.device)
        chosen = chosen_protocol(self.protocol, self.metrics)
        return ScoringSetting(
            protocol=chosen,
            policies=policies_of(
                chosen,
                length=self.length,
                resize=self.resize,
                rate=self.rate,
                first=self.first_frame,
            ),
            device=self.device,
            workers=self.workers,
            offline=self.offline,
            strict=self.strict,
            engine=self.engine,
            item_timeout_s=self.item_timeout_s,
            retry_failed=self.retry_failed,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RealSide:
    """The real clips that folders of generated videos are scored against."""

    clips: Mapping[str, RealClip]
    about: Mapping[str, str | None]
    """Kind, name, digest and split, for the report."""
    notes: tuple[str, ...]
    """What a reader of the scores has to know about them, one line each."""
    by_own_name: bool
    """Whether sub-folders don't count: clip ids of a dataset are unique in all of them."""

    @property
    def is_dataset(self) -> bool:
        """Whether they are those of a dataset, and not of any folder of videos."""
        return self.about["kind"] == "dataset"


def open_real(request: ScoreRequest, *, hashed: bool = True) -> RealSide:
    """List the real clips; those of a plain folder are hashed, for the digest of the folder.

    Args:
        request: names them.
        hashed: False: without the digest, to look at the folder only.

    Raises:
        ConfigError, DatasetError: the folder or its table of identities is wrong.
    """
    root = Path(request.real)
    clips = real_clips(root, split=request.split)
    if is_dataset(root):
        from tpbench.dataset import Dataset
        from tpbench.dataset.rebuilt import coverage_notes

        dataset = Dataset.open(root)
        about = {"kind": "dataset", "name": dataset.info.name, "digest": dataset.digest}
        return RealSide(
            clips=clips,
            about={**about, "split": request.split},
            notes=coverage_notes(root, request.split or "all"),
            by_own_name=True,
        )
    said = passed_over(root, [clip.path for clip in clips.values()]).note("real")
    if hashed:
        clips = {name: replace(clip, sha256=_hashed(clip.path)) for name, clip in clips.items()}
    digest = digest_of({name: clip.sha256 for name, clip in clips.items()})
    about = {"kind": "folder", "name": root.resolve().name, "digest": digest}
    return RealSide(
        clips=clips,
        about={**about, "split": None},
        notes=tuple(filter(None, [said])),
        by_own_name=is_clip_folder(root),
    )


def _hashed(path: Path) -> str | None:
    """Return the sha256 of a clip; None if it can't be read: scoring its pair says why."""
    try:
        return content_sha256(path)
    except MediaError:
        return None


def pair_folder(real: RealSide, generated: Path, identities: Path | str | None) -> Pairing:
    """Match a folder of generated videos with the real ones.

    Videos are matched by clip id (a dataset) or by relative path without ending (any folder); a
    folder of numbered pictures is a video.

    Args:
        real: the real clips.
        generated: the folder with the generated ones.
        identities: see `ScoreRequest.identities`.

    Raises:
        ConfigError: there is no such folder, it is empty, or the table is wrong or lacks a clip.
        SubmissionError: nothing matches, or two generated videos claim one clip.
    """
    found = videos_below(generated, by_own_name=real.by_own_name)
    if not found and not any(generated.iterdir()):
        raise ConfigError(f"{generated}: is empty; name the folder of the generated videos")
    left_out = passed_over(generated, found.values())
    pairing = pair_up(real.clips, found, left_out=left_out, by_own_name=real.by_own_name)
    pairing = replace(pairing, notes=(*pairing.notes, *real.notes))
    if identities is None:
        return pairing
    if str(identities) == EACH_CLIP:
        pairs = tuple(replace(pair, identity=pair.clip_id) for pair in pairing.pairs)
        said = "each clip counts as another identity, as asked for"
        return replace(pairing, pairs=pairs, notes=(*pairing.notes, said))
    table = Path(identities)
    return with_identities(pairing, read_identities(table), table)


def chosen_protocol(name: str, metrics: Sequence[str] | None) -> Protocol:
    """Return a protocol, narrowed to the metrics asked for.

    Raises:
        ConfigError: no such protocol or metric, or none is left.
    """
    whole = protocol_named(name)
    return whole if metrics is None else whole.with_metrics(metrics)


def is_dataset(folder: Path) -> bool:
    """Whether a folder is a dataset of tpbench."""
    return (folder / "dataset.json").is_file()
