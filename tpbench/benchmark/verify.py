"""`verify_run`: whether a run's files are what they say, and its scores what comes out again.

Three looks, each at what the one before can't see: the records against the files, `run.json` and
`scores.json` against the records, and the scores against what the metrics say now of the generated
clips, measured afresh. What a run claims of its model it proves to nobody: for that, it has to be
made again.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tpbench.benchmark.checks import RunCheck, Verification
from tpbench.benchmark.model import ModelChoice
from tpbench.benchmark.request import RunPlan, data_folder
from tpbench.benchmark.run_folder import Run
from tpbench.benchmark.run_info import RUN_INFO_NAME
from tpbench.benchmark.tasks import select_clips, task_rule
from tpbench.dataset import Dataset
from tpbench.errors import ConfigError, SubmissionError, TPBenchError
from tpbench.metrics.registry import PROTOCOLS, RETIRED_PROTOCOLS, Protocol
from tpbench.metrics.scoring.policies import policies_of
from tpbench.metrics.scoring.report import SCORES_NAME, ScoreReport
from tpbench.metrics.scoring.run import ScoringSetting
from tpbench.work import ProgressListener


def verify_run(
    folder: Path | str,
    *,
    data: Path | str | None = None,
    recompute: bool = True,
    device: str = "auto",
    workers: int | None = None,
    offline: bool = False,
    on_progress: ProgressListener | None = None,
) -> Verification:
    """Check a run, and write `verified.json` into it if all is well.

    Args:
        folder: of the run.
        data: folder of its dataset; None: where it lay when the run was made, or $TPBENCH_DATA.
        recompute: compute the scores again; else only digests and bookkeeping are looked at.
        device: where networks run.
        workers: processes.
        offline: never fetch model files.
        on_progress: told how far the scoring is.

    Raises:
        SubmissionError: there is no run, or it was made by another version of the task.
        ConfigError: the scores are to be computed again, and the dataset is not there.
    """
    folder = Path(folder)
    try:
        run = Run.open(folder)
    except SubmissionError as error:
        if not (folder / RUN_INFO_NAME).is_file():
            raise
        return Verification(folder=folder, level="none", problems=(str(error),))
    check = RunCheck(run)
    check.verify_files()
    report = check.verify_scores()
    if recompute:
        plan = _plan(run, _dataset_of(run, data))
        check.verify_inputs(plan)
        if report is not None and report.clips and check.has_lossless:
            protocol = _protocol_of(report, folder)
            scoring = ScoringSetting(
                protocol=protocol,
                policies=policies_of(protocol, first=plan.rule.first_frame),
                device=device,
                workers=workers,
                offline=offline,
            )
            check.compute_again(plan, report, scoring, on_progress)
    else:
        check.notes.append("the scores were not computed again")
    return check.conclude(rerun=recompute)


def _dataset_of(run: Run, data: Path | str | None) -> Dataset:
    """Open the dataset that a run was made on.

    Raises:
        ConfigError: it is not there, or is another one.
    """
    info = run.info.dataset
    # Older versions wrote the whole path into `run.json`.
    noted = run.folder.noted_dataset() or Path(info.folder)
    there = noted.is_absolute() and (noted / "dataset.json").is_file()
    try:
        dataset = Dataset.open(data_folder(noted if data is None and there else data))
    except TPBenchError as error:
        msg = f"{run.folder.path}: its dataset '{info.name}' is needed ({error}); name its folder "
        msg += "by --data, or use --no-recompute"
        raise ConfigError(msg) from error
    if dataset.digest != info.digest:
        raise ConfigError(
            f"{dataset.folder}: not the dataset of the run (digest {dataset.digest[:12]}, want "
            f"{info.digest[:12]}); name the right one by --data, or use --no-recompute"
        )
    return dataset


def _plan(run: Run, dataset: Dataset) -> RunPlan:
    """Look up again what a run was made of.

    Raises:
        SubmissionError: it is of another version of the task, or of other clips.
    """
    info = run.info
    task_id, _, _variant = info.task.id.partition(".")
    rule = task_rule(task_id, min_frames=info.task.min_frames)
    if (rule.name, rule.version) != (info.task.id, info.task.version):
        raise SubmissionError(
            f"{run.folder.path}: made by task {info.task.id} v{info.task.version}, this tpbench "
            f"has {rule.name} v{rule.version}; use --no-recompute"
        )
    selection = select_clips(dataset, rule, split=info.dataset.split)
    if selection.digest != info.dataset.clips_digest:
        msg = f"{run.folder.path}: not of the clips that the {info.dataset.split} side of "
        msg += f"{dataset.folder} has now: it was split anew; use --no-recompute"
        raise SubmissionError(msg)
    return RunPlan(
        choice=ModelChoice(name=info.model.name),
        dataset=dataset,
        selection=selection,
        rule=rule,
        protocol=info.task.protocol,
        seed=info.seed,
    )


def _protocol_of(report: ScoreReport, folder: Path) -> Protocol:
    """Return the protocol that scores were made by.

    Raises:
        SubmissionError: metrics have other versions by now, or it is none.
    """
    settings: Mapping[str, Any] = {k: v for k, v in report.protocol.items() if k != "digest"}
    name = str(settings.get("id")).partition("+")[0]
    if name in PROTOCOLS and settings.get("version") != PROTOCOLS[name].version:
        raise SubmissionError(
            f"{folder / SCORES_NAME}: scored by version {settings.get('version')} of protocol "
            f"'{name}', and this tpbench has version {PROTOCOLS[name].version}: score the run "
            "anew, or use --no-recompute"
        )
    if name in RETIRED_PROTOCOLS:
        raise SubmissionError(
            f"{folder / SCORES_NAME}: nothing is scored by protocol '{name}' any more: score the "
            f"run anew by '{RETIRED_PROTOCOLS[name]}', or use --no-recompute"
        )
    try:
        found = Protocol(
            **{
                **settings,
                "metrics": tuple(settings["metrics"]),
                "quirks": tuple(settings["quirks"]),
            }
        )
        digest = found.digest
    except (TPBenchError, KeyError, TypeError) as error:
        raise SubmissionError(
            f"{folder / SCORES_NAME}: has no protocol that this tpbench knows ({error})"
        ) from error
    if digest != report.protocol["digest"]:
        raise SubmissionError(
            f"{folder / SCORES_NAME}: metrics have other versions by now: score the run again, or "
            "use --no-recompute"
        )
    return found
