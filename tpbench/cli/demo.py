"""`tpbench demo`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Final

import typer

from tpbench.cli import options as opt
from tpbench.cli.extraction import extract

_MODELS: Final = ("oracle", "gt-reencode", "frozen", "warp")
"""Models that need no weights: the anchors and the classical baseline."""


def demo(
    out: Annotated[Path, opt.out_option("the dataset, all runs and the leaderboard")] = Path(
        "demo"
    ),
    offline: opt.Offline = False,
) -> None:
    """Try everything on sample clips: dataset, runs, leaderboard."""
    import tpbench
    from tpbench.benchmark.leaderboard.tables import build_leaderboard
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
            # Otherwise the same missing weights would be logged again for each model.
            logging.getLogger("tpbench").setLevel(logging.ERROR)
            line = ", ".join(
                f"{name} {scores[name].value:.4g}" for name in ("psnr", "ssim", "tje_d2")
            )
            typer.echo(f"  {line}, motion_ratio {scores['motion_ratio'].value:.4g}")
        built = build_leaderboard([out / "runs"], out / "leaderboard", data=dataset)
    typer.echo(f"leaderboard: {out / 'leaderboard' / 'leaderboard.csv'}")
    typer.echo(f"page: {built.page}")
