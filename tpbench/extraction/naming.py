"""What a user asks to remove, and the tombstones that follow from it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, get_args

from tpbench.dataset import Clip
from tpbench.dataset.removal import Kind, Removals, Tombstone, clip_tombstone, today
from tpbench.errors import ConfigError, did_you_mean
from tpbench.foreign import ForeignFileError, printable, read_bytes
from tpbench.privacy import public_message

_KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
_LONG_HINT: Final = 200
_MAX_REASON_CHARS: Final = 500
_MAX_FILE_BYTES: Final = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Something to remove."""

    kind: Kind
    id: str


def wanted_by_options(
    *, clips: Iterable[str] = (), sources: Iterable[str] = (), identities: Iterable[str] = ()
) -> list[Wanted]:
    """Return what the options `--clip`, `--source` and `--identity` ask for."""
    given: Mapping[Kind, Iterable[str]] = {"clip": clips, "source": sources, "identity": identities}
    return [Wanted(kind=kind, id=name) for kind, names in given.items() for name in names]


def read_wanted(path: Path) -> list[Wanted]:
    """Read a list of what to remove: one kind and id a line, with a blank or a comma between.

    Empty lines, a header `kind,id` and what follows a `#` at the beginning of a line are skipped.

    Raises:
        ConfigError: it can't be read, lists nothing, or a line has another form.
    """
    try:
        text = read_bytes(path, max_bytes=_MAX_FILE_BYTES).decode("utf-8-sig")
    except (OSError, ForeignFileError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{path}: no readable list ({reason})") from error
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        kind, _, name = re.sub(r"[\s,]+", " ", line.strip(), count=1).partition(" ")
        if number == 1 and (kind.lower(), name.strip().lower()) == ("kind", "id"):
            continue
        known = next((one for one in _KINDS if one == kind.lower()), None)
        if known is None or not name.strip():
            raise ConfigError(
                f"{path} line {number}: want clip, source or identity, and an id, such as "
                f"`source talk-0123abcd`; got {printable(line.strip())!r}"
            )
        found.append(Wanted(kind=known, id=name.strip()))
    if not found:
        raise ConfigError(f"{path}: lists nothing to remove")
    return found


def tombstones_of(
    wanted: Sequence[Wanted], rows: Sequence[Clip], known: Removals, *, folder: Path, reason: str
) -> tuple[tuple[Tombstone, ...], tuple[Tombstone, ...]]:
    """Return the tombstones of what was removed before, and the new ones.

    A person's sources are removed with the person; of a source that shows others as well, only the
    person's stretches.

    Args:
        wanted: what to remove.
        rows: of the dataset.
        known: what was removed before.
        folder: of the dataset, for messages.
        reason: for the new ones.

    Raises:
        ConfigError: nothing is wanted, an id is unknown, or the reason is too long.
    """
    if not wanted:
        raise ConfigError("nothing to remove: give --clip, --source or --identity, or a --file")
    reason = public_message(" ".join(reason.split()))
    if len(reason) > _MAX_REASON_CHARS:
        raise ConfigError(
            f"the reason has {len(reason):,} characters, more than {_MAX_REASON_CHARS}: it is "
            "published, and a few words are enough"
        )
    made = _Tombstones(rows, folder=folder, reason=reason)
    before, new = [], list[Tombstone]()
    for item in wanted:
        if (stone := known.find(item.kind, item.id)) is not None:
            before.append(stone)
        else:
            new += made.of(item)
    fresh = Removals().joined(new).tombstones
    return tuple(before), tuple(one for one in fresh if known.find(one.kind, one.id) is None)


class _Tombstones:
    """Makes tombstones of what the rows of a dataset know."""

    def __init__(self, rows: Iterable[Clip], *, folder: Path, reason: str) -> None:
        self._folder, self._reason, self._date = folder, reason, today()
        self._clips: dict[str, Clip] = {}
        self._of_source: dict[str, list[Clip]] = defaultdict(list)
        self._of_identity: dict[str, list[Clip]] = defaultdict(list)
        for row in rows:
            self._clips[row.clip_id] = row
            self._of_source[row.source_id].append(row)
            if row.identity is not None:
                self._of_identity[row.identity].append(row)

    def of(self, item: Wanted) -> list[Tombstone]:
        if item.id not in self._known(item.kind):
            raise ConfigError(
                f"{self._folder}: no {item.kind} {item.id!r}{self._hint(item)}; nothing was removed"
            )
        if item.kind == "clip":
            return [self._of_clip(self._clips[item.id])]
        stone = Tombstone(kind=item.kind, id=item.id, date=self._date, reason=self._reason)
        if item.kind == "source":
            return [stone]
        sources = sorted({row.source_id for row in self._of_identity[item.id]})
        return [stone, *(one for name in sources for one in self._of_person(name, item.id))]

    def _of_clip(self, row: Clip) -> Tombstone:
        if _is_whole(row):
            raise ConfigError(
                f"{self._folder}: {row.clip_id!r} is no stretch of a source but a whole one; "
                f"remove it with --source {row.source_id}; nothing was removed"
            )
        return clip_tombstone(row, reason=self._reason, date=self._date)

    def _of_person(self, source_id: str, identity: str) -> list[Tombstone]:
        rows = self._of_source[source_id]
        people = {row.identity for row in rows if row.status == "kept"} or {identity}
        theirs = [row for row in rows if row.identity == identity]
        if people == {identity} or any(map(_is_whole, theirs)):
            return [Tombstone(kind="source", id=source_id, date=self._date, reason=self._reason)]
        return [clip_tombstone(row, reason=self._reason, date=self._date) for row in theirs]

    def _known(self, kind: Kind) -> Mapping[str, object]:
        known: dict[Kind, Mapping[str, object]] = {
            "clip": self._clips,
            "source": self._of_source,
            "identity": self._of_identity,
        }
        return known[kind]

    def _hint(self, item: Wanted) -> str:
        for kind in _KINDS:
            if item.id in self._known(kind):
                return f"; it is a{'n' if kind == 'identity' else ''} {kind}: --{kind} {item.id}"
        known = self._known(item.kind)
        if not known:
            return "; the dataset has none"
        longer = sorted(name for name in known if name.startswith(item.id))
        hint = f"; did you mean {longer[0]!r}?" if longer else did_you_mean(item.id, known)
        if len(hint) < _LONG_HINT:
            return hint
        return f"; `tpbench inspect {self._folder} --json` lists what there is"


def _is_whole(row: Clip) -> bool:
    """Whether a row stands for a source as a whole: it failed, or was refused."""
    return row.status != "kept" and row.start_s is None
