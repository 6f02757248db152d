"""The `tpbench` command: registers the subcommands, prints errors, sets exit codes.

Exit codes: 0 done, 1 a bug (with its traceback), 2 wrong input (one line states what to do),
3 finished but something failed, 130 interrupted.
"""

from __future__ import annotations

import errno
import io
import logging
import sys
from collections.abc import Sequence
from typing import Annotated, Any, Final, NoReturn, cast

import typer

from tpbench.cli import (
    bench,
    boards,
    cards,
    checking,
    compare,
    dataset,
    demo,
    examples,
    exports,
    extraction,
    fetch,
    importing,
    metrics,
    models,
    rebuilding,
    removal,
    runs,
    scores,
    splitting,
    status,
    weights,
)
from tpbench.cli.addresses import refuse_addresses
from tpbench.cli.output import CleanFormatter, clean_streams
from tpbench.errors import ConfigError, TPBenchError
from tpbench.foreign import printable
from tpbench.storage.addresses import plain_argument

_INTERRUPTED = 130
_USAGE_ERROR: Final = cast("type[Exception]", typer.BadParameter.__mro__[1])
"""The class of all usage errors, which is typer's own in some versions and click's in others."""
_WORDS: Final = {
    "Value error, ": "",
    ". Did you mean": "; did you mean",
    "Input should be a valid integer, unable to parse string as an integer": "want a whole number",
    "Input should be a valid number, unable to parse string as a number": "want a number",
}
"""Wordings of libraries, and ours."""
_FAULTS: Final = {
    errno.EACCES: "check its permissions",
    errno.EPERM: "check its permissions",
    errno.EROFS: "choose a folder that can be written",
    errno.ENOSPC: "make space and run the same command again",
    errno.EDQUOT: "make space and run the same command again",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "a link leads to itself; name the file or folder itself",
    errno.EISDIR: "a folder lies where a file is wanted; move it away",
    errno.ENOTDIR: "a folder is wanted here",
}
"""Errors of a path that the user, not we, can mend -> how. Others are bugs."""
_RESUMED = frozenset(
    {"fetch", "extract", "demo", "eval", "generate", "score", "export", "rebuild", "import"}
)
"""Commands that continue where they were interrupted."""

app = typer.Typer(
    name="tpbench",
    help="Datasets, evaluation, metrics and a leaderboard for pose-driven human animation.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("fetch")(fetch.fetch)
app.command("extract")(extraction.extract)
app.command("demo")(demo.demo)
app.command("status")(status.status)
app.command("inspect")(dataset.inspect)
app.command("check")(checking.check)
app.command("split")(splitting.split)
app.command("remove")(removal.remove)
app.command("export")(exports.export)
app.command("card")(cards.card)
app.command("import")(importing.import_clips)
app.command("rebuild")(rebuilding.rebuild)
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
app.add_typer(bench.bench_app, name="bench")
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
        code = _run()
    except TPBenchError as error:
        _fail(error)
    except (ImportError, OSError) as error:
        from tpbench.doctor import explain_import_error

        told: TPBenchError | None = explain_import_error(error)
        # While writing, the system doesn't name the file.
        is_full = isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}
        if isinstance(error, OSError) and error.errno in _FAULTS and (error.filename or is_full):
            place = error.filename2 or error.filename or "a file can't be written"
            told = ConfigError(f"{place}: {error.strerror}; {_FAULTS[error.errno]}")
        if told is None:
            raise
        _fail(told)
    if code == _INTERRUPTED:
        _interrupted()
    sys.exit(code)


def _run() -> int:
    """Run the command and return its exit code; usage errors end here."""
    _refuse_empty(sys.argv[1:])
    words = [plain_argument(word) for word in sys.argv[1:]]
    refuse_addresses(words)
    try:
        code = app(words, standalone_mode=False)
    except _USAGE_ERROR as error:
        _fail_by_usage(error)
    except (KeyboardInterrupt, typer.Abort):
        return _INTERRUPTED
    except SystemExit as stop:
        if stop.code == _INTERRUPTED:
            return _INTERRUPTED
        raise
    return code if isinstance(code, int) else 0


def _refuse_empty(arguments: Sequence[str]) -> None:
    """Refuse an empty argument: as a path, it would be the working directory.

    Raises:
        ConfigError: an argument, or the value of an option, is empty.
    """
    for before, argument in zip(["", *arguments], arguments, strict=False):
        option, equals, value = argument.partition("=")
        empty = not argument or (argument.startswith("--") and equals and not value)
        if empty:
            what = option or (before if before.startswith("-") else "an argument")
            raise ConfigError(f"{what} is empty; is a variable in the command not set?")


def _fail_by_usage(error: Any) -> NoReturn:  # noqa: ANN401 - see _USAGE_ERROR
    """End with a usage error in one line; a command of commands alone shows its help."""
    context = error.ctx
    if type(error).__name__ == "NoArgsIsHelpError":
        typer.echo(context.get_help(), err=True)
        sys.exit(2)
    line = " ".join(error.format_message().split()).rstrip(".")
    for theirs, ours in _WORDS.items():
        line = line.replace(theirs, ours)
    command = context.command_path if context else "tpbench"
    line = f"{line[:1].lower()}{line[1:]}"
    _fail(ConfigError(line if "did you mean" in line else f"{line}; see `{command} --help`"))


def _fail(error: TPBenchError) -> NoReturn:
    line = " ".join(part.strip() for part in str(error).splitlines())
    typer.echo(f"error: {printable(line)}", err=True)
    sys.exit(2)


def _interrupted() -> NoReturn:
    resumed = _RESUMED.intersection(sys.argv[1:2])
    more = ": the same command continues where it stopped" if resumed else ""
    typer.echo(f"interrupted{more}", err=True)
    sys.exit(_INTERRUPTED)
