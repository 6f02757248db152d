"""Scoring folders: what `tpbench score` and `tpbench.score` do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tpbench.errors import ConfigError
from tpbench.execution import explain_halts
from tpbench.metrics.protocols import DEFAULT_PROTOCOL
from tpbench.metrics.protocols import protocol as protocol_named
from tpbench.metrics.scoring.identities import read_identities, with_identities
from tpbench.metrics.scoring.pairing import pair_up, real_clips, videos_below
from tpbench.metrics.scoring.policies import Policies
from tpbench.metrics.scoring.run import ScoringSetting, score_pairs
from tpbench.video import passed_over

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tpbench.dataset.clip import SplitName
    from tpbench.metrics.protocols import Protocol
    from tpbench.metrics.scoring.driver import ProgressListener
    from tpbench.metrics.scoring.policies import LengthPolicy, RatePolicy, ResizePolicy
    from tpbench.metrics.scoring.report import ScoreReport


def score(  # noqa: PLR0913 - one argument for each thing a user may choose
    real: Path | str,
    generated: Path | str,
    *,
    out: Path | str,
    protocol: str = DEFAULT_PROTOCOL,
    metrics: Sequence[str] | None = None,
    split: SplitName | None = None,
    length: LengthPolicy | None = None,
    resize: ResizePolicy | None = None,
    rate: RatePolicy | None = None,
    first_frame: int = 0,
    identities: Path | str | None = None,
    device: str = "auto",
    workers: int | None = None,
    offline: bool = False,
    strict: bool = False,
    on_progress: ProgressListener | None = None,
) -> ScoreReport:
    """Score a folder of generated videos against real ones, in one pass over the frames.

    Videos are matched by clip id (a dataset) or by relative path without ending (any folder);
    folders of numbered pictures count as videos. A pair that can't be scored is named in the
    report's coverage, and the others go on. Run again into the same folder, it measures only what
    is not measured yet.

    Args:
        real: a dataset of tpbench, or any folder of videos.
        generated: the folder with the generated ones.
        out: folder for `scores.json`, `frames.parquet` and the records.
        protocol: `tpbench metrics list` shows them.
        metrics: only these; None for all of the protocol.
        split: of a dataset: only these clips.
        length: None for the protocol's policy.
        resize: None for the protocol's policy.
        rate: None for the protocol's policy.
        first_frame: frames before it are not scored: 1 where frame 0 is the reference itself.
        identities: a CSV table with columns `clip` and `identity`; intervals are over identities.
            None for those of the dataset; a folder has none.
        device: "auto", "cpu", "cuda", "cuda:1".
        workers: processes; None: one per core.
        offline: never fetch model files.
        strict: a metric that can't be measured is an error, and not a blank.
        on_progress: told how far it is.

    Raises:
        ConfigError: an option, a name, or a folder is wrong.
        DatasetError: the dataset is broken or has no such split.
        SubmissionError: nothing matches, or two generated videos claim one clip.
        TPBenchError: the disk is full; what is measured is kept.
    """
    real, generated, out = Path(real), Path(generated), Path(out)
    if first_frame < 0:
        msg = f"the first frame is 0 or later, not {first_frame}"
        raise ConfigError(msg)
    if workers is not None and workers < 1:
        msg = f"want 1 worker or more, not {workers}"
        raise ConfigError(msg)
    chosen = chosen_protocol(protocol, metrics)
    clips = real_clips(real, split=split)
    is_dataset = (real / "dataset.json").is_file()
    found = videos_below(generated, by_own_name=is_dataset)
    left_out = passed_over(generated, found.values())
    pairing = pair_up(clips, found, left_out=left_out, by_own_name=is_dataset)
    if not is_dataset:
        said = passed_over(real, [clip.path for clip in clips.values()]).note("real")
        pairing = replace(pairing, notes=(*pairing.notes, *filter(None, [said])))
    if identities is not None:
        table = Path(identities)
        pairing = with_identities(pairing, read_identities(table), table)
    setting = ScoringSetting(
        protocol=chosen,
        policies=Policies(
            length=length or chosen.length,
            resize=resize or chosen.resize,
            rate=rate or chosen.rate,
            first_frame=first_frame,
            shape="any" if chosen.squashes and resize is None else "same",
        ),
        device=device,
        workers=workers,
        offline=offline,
        strict=strict,
    )
    with explain_halts(out):
        return score_pairs(
            pairing,
            out=out,
            setting=setting,
            real=_about(real, split, is_dataset=is_dataset),
            on_progress=on_progress,
        )


def chosen_protocol(name: str, metrics: Sequence[str] | None) -> Protocol:
    """Return a protocol, narrowed to the metrics asked for.

    Raises:
        ConfigError: no such protocol or metric, or none is left.
    """
    whole = protocol_named(name)
    return whole if metrics is None else whole.with_metrics(metrics)


def _about(real: Path, split: str | None, *, is_dataset: bool) -> dict[str, str | None]:
    if not is_dataset:
        return {"kind": "folder", "name": real.resolve().name, "digest": None, "split": None}
    from tpbench.dataset import Dataset

    dataset = Dataset.open(real)
    return {
        "kind": "dataset",
        "name": dataset.info.name,
        "digest": dataset.digest,
        "split": split,
    }
