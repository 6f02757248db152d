"""The command line: thin commands on top of public functions."""

from tpbench.cli.main import main

__all__ = ["main"]
