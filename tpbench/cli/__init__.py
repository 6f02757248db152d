"""The command line: one module per group of commands, each a thin skin on public functions."""

from tpbench.cli.main import main

__all__ = ["main"]
