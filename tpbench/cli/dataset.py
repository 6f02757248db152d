"""`tpbench inspect` and `tpbench split`: looking at a finished dataset, and splitting it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from tpbench.dataset import Clip, Dataset

_FINISHED_WITH_FAILURES = 3


def inspect(
    dataset: Annotated[Path, typer.Argument(help="Dataset folder.", show_default=False)],
    clip: Annotated[
        str | None, typer.Argument(help="Clip id: shows all that is known of it.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Hash all files and compare with the manifest.")
    ] = False,
) -> None:
    """Show what a dataset holds, why clips were rejected, or all measurements of one clip."""
    from tpbench.cli.summary import render_clip, render_failures, render_summary
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
            typer.echo("delete what is damaged and run the same `tpbench extract` again", err=True)
        if verify and not problems:
            typer.echo("verified: every file is the one that the manifest describes")
    if problems:
        raise typer.Exit(_FINISHED_WITH_FAILURES)


def split(
    dataset: Annotated[Path, typer.Argument(help="Dataset folder.", show_default=False)],
    test: Annotated[float, typer.Option(help="Share of identities on the test side.")] = 0.1,
    seed: Annotated[int, typer.Option(help="Another seed, another draw.")] = 0,
) -> None:
    """Split a dataset into train and test: by identity, stable when clips are added."""
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
    from tpbench.cli.summary import verdicts

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
