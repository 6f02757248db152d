"""`tpbench extract`, `inspect`, `split`, `demo`, `doctor`."""

from __future__ import annotations

import json
import logging
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

if TYPE_CHECKING:
    from tpbench.dataset import Clip, Dataset
    from tpbench.doctor import Check
    from tpbench.extraction.progress import ProgressListener, RunProgress

FAILED_EXIT_CODE = 3


def extract(
    inputs: Annotated[list[Path], typer.Argument(help="Videos, or folders to search for videos.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Dataset folder, new or to be extended.")
    ],
    preset: Annotated[
        str, typer.Option(help="talkingpose, demo, or the path of a .yaml file.")
    ] = "talkingpose",
    skeleton: Annotated[
        Literal["dwpose", "mediapipe"],
        typer.Option(help="Skeleton detector; mediapipe needs no download beyond PyPI."),
    ] = "dwpose",
    workers: Annotated[
        int | None, typer.Option(help="Number of worker processes. Default: one per core.")
    ] = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="Device that DWPose runs on.")
    ] = "auto",
    offline: Annotated[bool, typer.Option("--offline", help="Never download model files.")] = False,
    redo: Annotated[
        bool,
        typer.Option(
            "--redo",
            help="Reprocess everything with the current settings; old results stay until replaced.",
        ),
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Retry sources that failed or were quarantined.")
    ] = False,
    name: Annotated[
        str | None, typer.Option(help="Name of the dataset. Default: the folder's name.")
    ] = None,
) -> None:
    """Turn raw talk videos into an upper-body dataset; an interrupted run is resumed."""
    import tpbench
    from tpbench.cli.console import CleanConsole
    from tpbench.cli.output import render_summary
    from tpbench.work import terminate_as_interrupt

    with terminate_as_interrupt(), _progress_bar() as listener:
        dataset = tpbench.extract(
            inputs,
            out,
            preset=preset,
            skeleton=skeleton,
            workers=workers,
            device=device,
            offline=offline,
            redo=redo,
            retry_failed=retry_failed,
            name=name,
            on_progress=listener,
        )
    CleanConsole().print(render_summary(dataset.info))
    if not dataset.info.counts.kept:
        typer.echo(
            "No clips were kept. The table shows why; report.html shows how close each came."
        )
    typer.echo(f"report: {dataset.folder / 'report.html'}")
    missing = dataset.missing()
    if missing:
        typer.echo(
            f"files of kept clips that are missing: {len(missing)}, such as {missing[0]}; "
            "pass their source videos too, to recreate them",
            err=True,
        )
    counts = dataset.info.counts
    if counts.failed or counts.quarantined:
        typer.echo(
            f"sources failed: {counts.failed}, quarantined: {counts.quarantined}; "
            f"`tpbench inspect {shlex.quote(str(out))}` lists them, --retry-failed retries them",
            err=True,
        )
    if missing or counts.failed or counts.quarantined:
        raise typer.Exit(FAILED_EXIT_CODE)


@contextmanager
def _progress_bar() -> Iterator[ProgressListener]:
    from tpbench.cli.output import progress_bar

    with progress_bar("videos") as show:

        def listener(state: RunProgress) -> None:
            news = f"{state.kept} kept  {state.rejected} rejected  {state.frames:,} frames"
            if state.failed:
                news += f"  {state.failed} failed"
            show(done=state.sources_done, total=state.sources_total, news=news)

        yield listener


_MODELS: Final = ("oracle", "gt-reencode", "frozen", "warp")
"""Models that need no weights: the anchors and the classical baseline."""


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Output folder.")] = Path("demo"),
    offline: Annotated[bool, typer.Option("--offline", help="Never download model files.")] = False,
) -> None:
    """Extract a small dataset, evaluate models that need no weights, build a leaderboard."""
    import tpbench
    from tpbench.benchmark.leaderboard.build import build_leaderboard
    from tpbench.doctor import demo_clips
    from tpbench.work import terminate_as_interrupt

    dataset = out / "dataset"
    extract(
        demo_clips(), dataset, preset="demo", skeleton="mediapipe", offline=offline, name="demo"
    )
    with terminate_as_interrupt():
        for model in _MODELS:
            typer.echo(f"evaluating {model}")
            evaluation = tpbench.evaluate(
                model,
                dataset,
                out=out / "runs",
                offline=offline,
                command=("tpbench", "eval", "--model", model, "--data", str(dataset)),
            )
            scores = evaluation.scores
            # Each model would be told of the same missing weights again.
            logging.getLogger("tpbench").setLevel(logging.ERROR)
            line = ", ".join(
                f"{name} {scores[name].value:.4g}" for name in ("psnr", "ssim", "tje_d2")
            )
            typer.echo(f"  {line}, motion_ratio {scores['motion_ratio'].value:.4g}")
        built = build_leaderboard([out / "runs"], out / "leaderboard", data=dataset)
    typer.echo(f"leaderboard: {out / 'leaderboard' / 'leaderboard.csv'}")
    typer.echo(f"page: {built.page}")


_FINISHED_WITH_FAILURES = 3


def inspect(
    dataset: Annotated[Path, typer.Argument(help="Dataset folder.", show_default=False)],
    clip: Annotated[
        str | None, typer.Argument(help="Clip id: show everything known about this clip.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check the sha256 of every file against the manifest.")
    ] = False,
) -> None:
    """Show the contents and reject reasons of a dataset, or all measurements of one clip."""
    from tpbench.cli.output import render_clip, render_failures, render_summary
    from tpbench.dataset import Dataset

    opened = Dataset.open(dataset)
    row = opened.clip(clip) if clip is not None else None
    problems = opened.verify() if verify else []
    if as_json:
        content = _dataset_json(opened) if row is None else _clip_json(opened, row)
        _echo_json({**content, "problems": problems} if verify else content)
    else:
        _print(
            render_summary(opened.info)
            if row is None
            else render_clip(opened.info, row, _paths(opened, row))
        )
        if row is None and (failures := _failures(opened)):
            _print(render_failures(failures))
        for problem in problems:
            typer.echo(problem, err=True)
        if problems:
            typer.echo(
                "delete the damaged files and run the same `tpbench extract` again", err=True
            )
        if verify and not problems:
            typer.echo("verified: all files match the manifest")
    if problems:
        raise typer.Exit(_FINISHED_WITH_FAILURES)


def split(
    dataset: Annotated[Path, typer.Argument(help="Dataset folder.", show_default=False)],
    test: Annotated[float, typer.Option(help="Share of identities in the test split.")] = 0.1,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
) -> None:
    """Split a dataset into train and test by identity; stable when clips are added."""
    from tpbench.dataset import empty_side_warning, split_dataset

    info = split_dataset(dataset, test_share=test, seed=seed)
    typer.echo(
        f"train: {info.train_clips:,} clips of {info.train_identities:,} identities\n"
        f"test:  {info.test_clips:,} clips of {info.test_identities:,} identities\n"
        f"lists: {dataset / 'splits'}"
    )
    if warning := empty_side_warning(info):
        typer.echo(f"warning: {warning}", err=True)


def _failures(dataset: Dataset) -> list[Clip]:
    counts = dataset.info.counts
    if not counts.failed and not counts.quarantined:
        return []
    return [clip for clip in dataset.clips(None) if clip.status in {"failed", "quarantined"}]


def _dataset_json(dataset: Dataset) -> dict[str, Any]:
    from tpbench.dataset import read_clips

    content: dict[str, Any] = dataset.info.model_dump(mode="json")
    run = dataset.info.run
    if run is not None:
        content["run"]["frames_per_s"] = run.frames_per_s
        content["run"]["video_hours_per_core_hour"] = run.video_hours_per_core_hour
    content["clips"] = [
        {"clip_id": row.clip_id, "status": row.status, "reject_codes": list(row.reject_codes)}
        for row in read_clips(dataset.folder)
    ]
    return content


def _clip_json(dataset: Dataset, clip: Clip) -> dict[str, Any]:
    from tpbench.cli.output import verdicts

    return {
        **clip.to_json(),
        "verdicts": verdicts(dataset.info, clip),
        "paths": _paths(dataset, clip),
    }


def _paths(dataset: Dataset, clip: Clip) -> dict[str, str]:
    if clip.status != "kept":
        return {}
    return {
        "clip": str(dataset.clip_path(clip)),
        "keypoints": str(dataset.keypoints_path(clip)),
        "pose video": str(dataset.pose_path(clip)),
    }


def _echo_json(content: dict[str, Any]) -> None:
    import json

    typer.echo(json.dumps(content, indent=2, ensure_ascii=False))


def _print(renderable: Any) -> None:  # noqa: ANN401 - whatever rich can draw
    from tpbench.cli.console import CleanConsole

    CleanConsole(highlight=False).print(renderable)


_STYLES = {"ok": "green", "warn": "yellow", "fail": "red"}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print only essential things that are missing.")
    ] = False,
) -> None:
    """Check what this machine has. Exit code 3 if something essential is missing."""
    from tpbench.doctor import examine

    checks = examine()
    if as_json:
        typer.echo(json.dumps([asdict(check) for check in checks], indent=2))
    elif not quiet:
        _print_checks(checks)
    else:
        for check in checks:
            if check.status == "fail":
                remedy = f"; {check.remedy}" if check.remedy else ""
                typer.echo(f"{check.name}: {check.detail}{remedy}", err=True)
    if any(check.status == "fail" for check in checks):
        raise typer.Exit(3)


def _print_checks(checks: list[Check]) -> None:
    from rich.text import Text

    from tpbench.cli.console import CleanConsole

    console = CleanConsole(highlight=False, soft_wrap=True)
    area = ""
    for check in checks:
        if check.area != area:
            area = check.area
            console.print(Text(area, style="bold"))
        line = Text("  ")
        line.append(f"{check.status:<5}", style=_STYLES[check.status])
        line.append(f"{check.name}: {check.detail}")
        console.print(line)
        if check.remedy:
            console.print(Text(f"         -> {check.remedy}"))
    counts = [f"{sum(check.status == s for check in checks)} {s}" for s in _STYLES]
    console.print(Text(", ".join(counts)))
