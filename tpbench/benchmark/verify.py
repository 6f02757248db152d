"""`verify_run`: whether a run's files match their records, and its scores can be reproduced.

Three checks, each of what the previous one can't see: the files against the records; `run.json` and
`scores.json` against the records; and the scores against new measurements of the generated clips.
That the clips come from the named model can't be verified from the files; for that, the run has to
be generated again.
"""

from __future__ import annotations

import logging
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
from tpbench.devices import require_device
from tpbench.errors import ConfigError, SubmissionError, TPBenchError
from tpbench.metrics.registry import PROTOCOLS, RETIRED_PROTOCOLS, Protocol, headline_of
from tpbench.metrics.scoring.policies import policies_of
from tpbench.metrics.scoring.report import SCORES_NAME, ScoreReport
from tpbench.metrics.scoring.request import ScoringSetting
from tpbench.work import ProgressListener

logger = logging.getLogger(__name__)


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
    """Check a run, and write `verified.json` into it if there are no problems.

    Args:
        folder: of the run.
        data: folder of its dataset; None: as recorded when the run was generated, or $TPBENCH_DATA.
        recompute: compute the scores again; else only digests and counts are checked.
        device: where networks run.
        workers: processes.
        offline: never download model files.
        on_progress: called with the progress of the scoring.

    Raises:
        SubmissionError: there is no run, or it is of another version of the task.
        ConfigError: the scores are to be computed again, but the dataset is missing; or there is no
            such device.
    """
    folder = Path(folder)
    require_device(device)
    try:
        run = Run.open(folder)
    except SubmissionError as error:
        if not (folder / RUN_INFO_NAME).is_file():
            raise
        return Verification(folder=folder, level="none", problems=(str(error),))
    check = RunCheck(run)
    logger.info("checking the files of %s", folder)
    if run.is_scored:
        return check.verify_scored()
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
            logger.info("computing the scores of %s again", folder)
            check.compute_again(plan, report, scoring, on_progress)
    else:
        check.notes.append("the scores were not computed again")
    return check.conclude(rerun=recompute)


def _dataset_of(run: Run, data: Path | str | None) -> Dataset:
    """Open the dataset of a run.

    Raises:
        ConfigError: it is missing, or has another digest.
    """
    info = run.info.dataset
    # Older versions recorded the whole path in `run.json`.
    noted = run.folder.noted_dataset() or Path(info.folder)
    there = noted.is_absolute() and (noted / "dataset.json").is_file()
    try:
        dataset = Dataset.open(data_folder(noted if data is None and there else data))
    except TPBenchError as error:
        msg = f"{run.folder.path}: its dataset '{info.name}' is needed ({error}); give its folder "
        msg += "by --data, or use --no-recompute"
        raise ConfigError(msg) from error
    if dataset.digest != info.digest:
        raise ConfigError(
            f"{dataset.folder}: not the dataset of the run (digest {dataset.digest[:12]}, want "
            f"{info.digest[:12]}); name the right one by --data, or use --no-recompute"
        )
    return dataset


def _plan(run: Run, dataset: Dataset) -> RunPlan:
    """Rebuild the plan of a run from its `run.json`.

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
        msg = f"{run.folder.path}: its clips are not those now in the {info.dataset.split} split "
        msg += f"of {dataset.folder}: the dataset was split again; use --no-recompute"
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
    """Return the protocol of existing scores.

    Raises:
        SubmissionError: it is unknown or retired, or its metrics have other versions now.
    """
    settings: Mapping[str, Any] = {k: v for k, v in report.protocol.items() if k != "digest"}
    name = str(settings.get("id")).partition("+")[0]
    if name in PROTOCOLS and settings.get("version") != PROTOCOLS[name].version:
        raise SubmissionError(
            f"{folder / SCORES_NAME}: scored by version {settings.get('version')} of protocol "
            f"'{name}', and this tpbench has version {PROTOCOLS[name].version}: score the run "
            "again, or use --no-recompute"
        )
    if name in RETIRED_PROTOCOLS:
        raise SubmissionError(
            f"{folder / SCORES_NAME}: protocol '{name}' is retired: score the run again by "
            f"'{RETIRED_PROTOCOLS[name]}', or use --no-recompute"
        )
    try:
        found = Protocol(
            **{
                **settings,
                "metrics": tuple(settings["metrics"]),
                "headline": headline_of(settings),
                "quirks": tuple(settings["quirks"]),
            }
        )
        digest = found.digest
    except (TPBenchError, KeyError, TypeError) as error:
        raise SubmissionError(
            f"{folder / SCORES_NAME}: its protocol is unknown to this tpbench ({error})"
        ) from error
    if digest != report.protocol["digest"]:
        raise SubmissionError(
            f"{folder / SCORES_NAME}: metrics have other versions now: score the run again, or "
            "use --no-recompute"
        )
    return found
