"""Who is seen in which clip, from a table."""

from __future__ import annotations

import csv
from dataclasses import replace
from typing import TYPE_CHECKING

from tpbench.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tpbench.metrics.scoring.pairing import Pairing

_COLUMNS = ("clip", "identity")


def read_identities(path: Path) -> dict[str, str]:
    """Read a CSV table with the columns `clip` and `identity`.

    Raises:
        ConfigError: it can't be read, lacks a column, or gives a clip twice or no identity.
    """
    identities: dict[str, str] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            rows.fieldnames = [name.strip() for name in rows.fieldnames or ()]
            if not set(_COLUMNS) <= set(rows.fieldnames or ()):
                found = ", ".join(rows.fieldnames or ()) or "none"
                msg = f"{path}: want the columns 'clip' and 'identity', found {found}"
                raise ConfigError(msg)
            for row in rows:
                # A blank beside a comma makes nobody another person.
                clip, identity = ((row[name] or "").strip() for name in _COLUMNS)
                if not clip or not identity or clip in identities:
                    what = "comes twice" if clip in identities else "lacks a name"
                    msg = f"{path}, line {rows.line_num}: clip '{clip}' {what}"
                    raise ConfigError(msg)
                identities[clip] = identity
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        msg = f"{path}: no table that can be read ({error})"
        raise ConfigError(msg) from error
    return identities


def with_identities(pairing: Pairing, identities: Mapping[str, str], path: Path) -> Pairing:
    """Return the pairs with the identities of a table.

    Raises:
        ConfigError: the table lacks a clip.
    """
    lacking = [pair.clip_id for pair in pairing.pairs if pair.clip_id not in identities]
    if lacking:
        msg = f"{path}: has no identity for {len(lacking)} clips, the first is '{lacking[0]}'"
        raise ConfigError(msg)
    pairs = (replace(pair, identity=identities[pair.clip_id]) for pair in pairing.pairs)
    return replace(pairing, pairs=tuple(pairs))
