"""What the help of each command says beside its options: examples to paste, and `--verbose`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand
from typer.models import CommandInfo

EXAMPLES: Final[dict[str, tuple[str, ...]]] = {
    "fetch": (
        "tpbench fetch video_ids.csv --out RAW --limit 20",
        "tpbench fetch https://example.org/ids.csv --out RAW --licence cc-by",
        "tpbench fetch ids.txt --out RAW --exclude excluded.txt --dry-run",
    ),
    "extract": (
        "tpbench extract talks/ --out DATASET --skeleton mediapipe",
        "tpbench extract s3://BUCKET/raw --out s3://BUCKET/dataset --shard 2/4",
        "tpbench extract video_ids.csv --fetch --delete-raw --out DATASET",
    ),
    "demo": ("tpbench demo", "tpbench demo --out DIR"),
    "status": (
        "tpbench status DATASET",
        "tpbench status s3://BUCKET/dataset --json",
        "tpbench status RUN --watch 60",
    ),
    "inspect": (
        "tpbench inspect DATASET",
        "tpbench inspect DATASET CLIP",
        "tpbench inspect DATASET --verify",
    ),
    "check": (
        "tpbench check DATASET",
        "tpbench check DATASET --json",
    ),
    "split": (
        "tpbench split DATASET --test 0.5 --seed 0",
        "tpbench split DATASET --identities people.csv --version-name test-v1",
        "tpbench split DATASET --from train.csv --from test.csv",
    ),
    "export": (
        "tpbench export DATASET --to hf --out for_hub/",
        "tpbench export DATASET --to talkingpose-json --out lists/ --root DATASET",
        "tpbench export DATASET --to pack --out PACK",
    ),
    "card": ("tpbench card DATASET", "tpbench card DATASET --json"),
    "import": (
        "tpbench import CLIPS --out DATASET --skeleton mediapipe",
        "tpbench import CLIPS --out DATASET --poses POSES --table clips.csv",
        "tpbench import CLIPS --out DATASET --fit crop --fps 30",
    ),
    "remove": (
        "tpbench remove DATASET --source SOURCE --reason 'asked by the speaker'",
        "tpbench remove DATASET --clip CLIP --clip CLIP_2 --dry-run",
        "tpbench remove DATASET --file removals.json",
    ),
    "rebuild": (
        "tpbench rebuild PACK --raw raw/ --out DATASET",
        "tpbench rebuild PACK --fetch --out DATASET",
    ),
    "eval": (
        "tpbench eval --model warp --data DATASET",
        "tpbench eval --model my_module:MyModel --data DATASET --metrics psnr,ssim",
        "tpbench eval --model precomputed --name Mine --videos MINE --data DATASET",
    ),
    "generate": (
        "tpbench generate --model warp --data DATASET --out runs/",
        "tpbench generate --model talkingpose --data DATASET --dry-run",
        "tpbench generate --model talkingpose --data DATASET --shard 1/2",
    ),
    "score": (
        "tpbench score --real REAL --generated MINE --out scores",
        "tpbench score --real REAL --generated A=DIR_A --generated B=DIR_B",
        "tpbench score --real DATASET --generated MINE --dry-run",
    ),
    "compare": (
        "tpbench compare RUN_A RUN_B",
        "tpbench compare RUN_A RUN_B --format latex > table.tex",
    ),
    "verify": (
        "tpbench verify RUN --data DATASET",
        "tpbench verify RUN --no-recompute",
    ),
    "leaderboard build": (
        "tpbench leaderboard build runs/ --data DATASET --out site/",
        "tpbench leaderboard build RUN_A RUN_B --no-page",
    ),
    "models list": ("tpbench models list", "tpbench models list --json"),
    "models show": ("tpbench models show talkingpose", "tpbench models show my_spec.yaml"),
    "models install": (
        "tpbench models install talkingpose",
        "tpbench models install mimicmotion > install.sh",
    ),
    "models check": (
        "tpbench models check talkingpose",
        "tpbench models check talkingpose --device cuda --dtype fp16",
    ),
    "metrics list": ("tpbench metrics list --all", "tpbench metrics list --protocol disco"),
    "metrics show": ("tpbench metrics show tje_d2", "tpbench metrics show tpbench-v2"),
    "metrics check": ("tpbench metrics check", "tpbench metrics check my_clip.mp4"),
    "weights list": ("tpbench weights list", "tpbench weights list --json"),
    "weights pull": (
        "tpbench weights pull talkingpose",
        "tpbench weights pull metrics dwpose",
        "tpbench weights pull lpips-alexnet --from FILE",
    ),
    "weights check": ("tpbench weights check", "tpbench weights check talkingpose"),
    "weights path": ("tpbench weights path lpips-alexnet",),
    "cache show": ("tpbench cache show", "tpbench cache show --json"),
    "cache trim": ("tpbench cache trim --max-gb 20", "tpbench cache trim --max-days 30"),
    "cache clear": ("tpbench cache clear", "tpbench cache clear my_clip.mp4"),
    "bench extract": (
        "tpbench bench extract talk.mp4 --skeleton mediapipe",
        "tpbench bench extract talk.mp4 --workers 1,2,4 --device cuda",
    ),
    "doctor": ("tpbench doctor", "tpbench doctor --quiet"),
}
"""Examples of each command; names in capitals stand for folders, runs and clips of the user."""


def log_steps(wanted: bool) -> None:
    """Log each step from now on, if wanted: the callback of `--verbose`."""
    if wanted:
        logging.getLogger("tpbench").setLevel(logging.INFO)


Verbose = Annotated[
    bool,
    typer.Option("--verbose", "-v", help="Log each step.", callback=log_steps, expose_value=False),
]


def _option_verbose() -> Any:  # noqa: ANN401 - typer has no public name for the class of options
    app = typer.Typer(add_completion=False)

    @app.command()
    def _only(_verbose: Verbose = False) -> None: ...

    return typer.main.get_command(app).params[0]


class Command(TyperCommand):
    """A command that takes `--verbose` behind its name, as `tpbench` takes it before."""

    def __init__(self, name: str | None, **settings: Any) -> None:  # noqa: ANN401 - typer's own
        settings["params"] = [*settings["params"], _option_verbose()]
        super().__init__(name, **settings)


def complete(app: typer.Typer) -> None:
    """Give every command its examples and `--verbose`."""
    for path, command in _commands(app):
        lines = "\n".join(f"  {line}" for line in EXAMPLES[path])
        command.epilog = f"\b\nExamples:\n{lines}"
        command.cls = Command


def _commands(app: typer.Typer) -> Iterator[tuple[str, CommandInfo]]:
    for command in app.registered_commands:
        yield command.name or _name_of(command.callback), command
    for group in app.registered_groups:
        if group.typer_instance is not None:
            for path, command in _commands(group.typer_instance):
                yield f"{group.name} {path}", command


def _name_of(callback: Callable[..., Any] | None) -> str:
    return "" if callback is None else callback.__name__
