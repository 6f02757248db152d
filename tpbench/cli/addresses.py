"""Which commands take addresses of object storage, and where; the others refuse them in one line.

Without this, `--out s3://talks` would create a folder called `s3:`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from tpbench.errors import ConfigError
from tpbench.storage.addresses import Address

_ARGUMENT: Final = ""
"""Stands for a word that is the value of no option."""
_TAKEN: Final[Mapping[str, frozenset[str]]] = {
    "extract": frozenset({_ARGUMENT, "--out", "-o"}),
    "status": frozenset({_ARGUMENT}),
    "inspect": frozenset({_ARGUMENT}),
    "check": frozenset({_ARGUMENT}),
    "eval": frozenset({"--data"}),
    "generate": frozenset({"--data"}),
    "score": frozenset({"--real", "--data"}),
}
"""Command -> its options whose value may be an address."""
_PATHS: Final = frozenset({"--out", "-o", "--raw", "--preset", "--cookies", "--exclude"})
"""Options whose value is a path; after another one, a word may be an argument of the command."""
_OF_A_CLUSTER: Final = "--ray-address"
"""Its `ray://` is no object storage."""


def refuse_addresses(words: Sequence[str]) -> None:
    """Refuse an address where a command wants a path of this machine.

    Args:
        words: of the command line, without the program.

    Raises:
        ConfigError: there is one, or one is no valid address.
    """
    command = next((word for word in words if not word.startswith("-")), "")
    taken = _TAKEN.get(command, frozenset())
    for before, word in zip(["", *words], words, strict=False):
        option, equals, value = word.partition("=")
        is_assigned = bool(equals) and option.startswith("-")
        place = option if is_assigned else before if before.startswith("-") else _ARGUMENT
        if place == _OF_A_CLUSTER:
            continue
        if (address := Address.of(value if is_assigned else word)) is None:
            continue
        if place in taken or (_ARGUMENT in taken and place not in _PATHS):
            continue
        what = f"`tpbench {command}`" if place == _ARGUMENT else f"{place} of `tpbench {command}`"
        raise ConfigError(f"{address}: {what} works on local folders; copy it here first")
