"""The `tpbench` command: registers the subcommands, prints errors, sets exit codes.

Exit codes: 0 done, 1 a bug (with its traceback), 2 wrong input (one line states what to do),
3 finished but something failed, 130 interrupted.
"""

from __future__ import annotations

import io
import logging
import sys
from typing import Annotated

import typer

from tpbench.cli import (
    boards,
    compare,
    dataset,
    demo,
    examples,
    extraction,
    metrics,
    models,
    runs,
    scores,
    weights,
)
from tpbench.cli.output import CleanFormatter, clean_streams
from tpbench.errors import TPBenchError
from tpbench.foreign import printable

_INTERRUPTED = 130
_RESUMED = frozenset({"extract", "demo", "eval", "generate", "score"})
"""Commands that continue where they were interrupted."""

app = typer.Typer(
    name="tpbench",
    help="Datasets, evaluation, metrics and a leaderboard for pose-driven human animation.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("extract")(extraction.extract)
app.command("demo")(demo.demo)
app.command("inspect")(dataset.inspect)
app.command("split")(dataset.split)
app.command("eval")(runs.evaluate)
app.command("generate")(runs.generate)
app.command("score")(scores.score)
app.command("compare")(compare.compare)
app.command("verify")(runs.verify)
app.add_typer(boards.leaderboard_app, name="leaderboard")
app.add_typer(models.models_app, name="models")
app.add_typer(metrics.metrics_app, name="metrics")
app.add_typer(weights.weights_app, name="weights")
app.add_typer(weights.cache_app, name="cache")
app.command("doctor")(models.doctor)
examples.complete(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        from tpbench import __version__

        typer.echo(f"tpbench {__version__}")
        raise typer.Exit


class _CurrentStderr(logging.Handler):
    """Writes to the current `sys.stderr`, which a progress bar may have replaced."""

    def emit(self, record: logging.LogRecord) -> None:
        sys.stderr.write(f"{self.format(record)}\n")


@app.callback()
def _options(
    _verbose: examples.Verbose = False,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    clean_streams()
    handler = _CurrentStderr()
    handler.setFormatter(CleanFormatter("%(levelname)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    # Downloads take a while and use the network, so they are always announced.
    logging.getLogger("tpbench.weights").setLevel(logging.INFO)


def main() -> None:
    """Run the command line and exit."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Finished work must not be lost by a character that the terminal can't show.
            stream.reconfigure(errors="replace")
    clean_streams()
    try:
        app()
    except TPBenchError as error:
        _fail(error)
    except (ImportError, OSError) as error:
        from tpbench.doctor import explain_import_error

        missing = explain_import_error(error)
        if missing is None:
            raise
        _fail(missing)
    except KeyboardInterrupt:
        _interrupted()
    except SystemExit as stop:
        if stop.code == _INTERRUPTED:
            _interrupted()
        raise


def _fail(error: TPBenchError) -> None:
    line = " ".join(part.strip() for part in str(error).splitlines())
    typer.echo(f"error: {printable(line)}", err=True)
    sys.exit(2)


def _interrupted() -> None:
    resumed = _RESUMED.intersection(sys.argv[1:2])
    more = ": the same command continues where it stopped" if resumed else ""
    typer.echo(f"interrupted{more}", err=True)
    sys.exit(_INTERRUPTED)
