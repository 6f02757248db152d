"""Broken files that are no raw media: what each holds depends on seed, number and good file."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.fuzz.commands import Finished, Runner
from benchmarks.fuzz.outcomes import Outcome, Sort
from benchmarks.fuzz.places import DAMAGES, PLACES, Command, Place, is_slow
from benchmarks.fuzz.run_places import RUN_DAMAGES
from benchmarks.fuzz.signing import sign_again
from benchmarks.fuzz.spoiling import Rng, flipped, overwritten, rearranged, spliced, truncated
from benchmarks.fuzz.texts import Damage

_LIMIT_S: Final = 90.0
_LIMIT_MB: Final = 6000
BOUND_MB: Final = 1500
"""What the largest process of a command may take."""


def _whole(data: bytes) -> list[tuple[int, int]]:
    return [(0, len(data))]


_ANY: Final[Mapping[str, Damage]] = {
    "cut off": lambda rng, data: truncated(rng, data, _whole(data)),
    "bits flipped": lambda rng, data: flipped(rng, data, _whole(data)),
    "overwritten": lambda rng, data: overwritten(rng, data, _whole(data)),
    "pieces moved": lambda rng, data: rearranged(rng, data, _whole(data)),
    "spliced with noise": lambda rng, data: spliced(rng, data, rng.bytes(1000)),
    "empty, or something else": lambda rng, _: (b"", b"\0", b"GIF89a", rng.bytes(5000))[
        int(rng.integers(4))
    ],
}
"""Damage that any file can have."""
_SIGNED_SHARE: Final = 0.7
"""Of all broken files, those whose digests are right."""
_DAMAGES: Final = {**DAMAGES, **RUN_DAMAGES}
_INSTEAD_SHARE: Final = 1 / 8
_OWN_SHARE: Final = 0.65
"""Of all damage, that which knows the format."""


_INSTEAD: Final[Mapping[str, Callable[[Path], None]]] = {
    "gone": lambda _: None,
    "a folder": lambda path: path.mkdir(),
    "a pipe": os.mkfifo,
    "a dead link": lambda path: path.symlink_to("nowhere"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to everything": lambda path: path.symlink_to("/"),
}
"""What can be in the place of a file, and how it gets there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableCase:
    """A broken file, where it lies, and the command that reads it."""

    number: int
    place: Place
    damage: str
    data: bytes
    signed: bool
    """Whether digests that cover the file are made right again."""
    command: Command


def table_cases(
    seed: int,
    numbers: Sequence[int],
    material: Path,
    *,
    places: Sequence[Place] = PLACES,
    only_quick: bool = False,
) -> Iterator[TableCase]:
    """Yield the broken files of these numbers; formats take turns, and the places of each.

    In an eighth of the cases with places that say their turn, something else is in its place.

    Args:
        seed: of all files.
        numbers: of the files, from 0.
        material: the good files, from `write_material`.
        places: where files lie that may be broken.
        only_quick: leave out commands that start worker processes.
    """
    ways: dict[str, list[tuple[Place, Command]]] = {form: [] for form in DAMAGES}
    for place in places:
        found = ways.setdefault(place.turn or place.format, [])
        found += [(place, one) for one in place.commands if not (only_quick and is_slow(one))]
    turns = [turn for turn in ways if ways[turn]]
    for number in numbers:
        choices = ways[turns[number % len(turns)]]
        place, command = choices[(number // len(turns) + seed) % len(choices)]
        rng = np.random.default_rng([seed, 1, number])
        damage, data = spoilt(rng, place.format, _path(material, place).read_bytes())
        if place.turn and rng.random() < _INSTEAD_SHARE:
            damage = [*_INSTEAD][int(rng.integers(len(_INSTEAD)))]
        yield TableCase(
            number=number,
            place=place,
            damage=damage,
            data=data,
            signed=bool(rng.random() < _SIGNED_SHARE),
            command=command,
        )


def spoilt(rng: Rng, form: str, data: bytes) -> tuple[str, bytes]:
    """Return what was done to a good file of a format, and what it is then."""
    table = _DAMAGES[form] if rng.random() < _OWN_SHARE else _ANY
    damage = [*table][int(rng.integers(len(table)))]
    return damage, table[damage](rng, data)


def _path(material: Path, place: Place) -> Path:
    return sorted(material.glob(place.path))[0]


def run_case(case: TableCase, material: Path, folder: Path, run: Runner) -> Outcome:
    """Put a broken file among copies of the good ones, run its command, and judge what happened.

    Args:
        case: the file.
        material: the good files.
        folder: for the copies; removed again.
        run: runs the command.
    """
    shutil.copytree(material, folder)
    try:
        path = folder / _path(material, case.place).relative_to(material)
        if case.damage in _INSTEAD:
            path.unlink()
            _INSTEAD[case.damage](path)
        else:
            path.write_bytes(case.data)
            if case.signed:
                sign_again(path)
        command = [_found(folder, argument) for argument in case.command]
        ended = run(command, folder, limit_s=_LIMIT_S, limit_mb=_LIMIT_MB)
        sort, reason = _judged(case, folder, ended)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Outcome(
        command=_shown(case.command),
        format=case.place.format,
        case=f"{case.number} ({case.damage}; {case.place.path}; {' '.join(case.command)})",
        sort=sort,
        reason=reason,
        peak_mb=ended.peak_mb,
    )


def _found(folder: Path, argument: str) -> str:
    """Return an argument with its wildcards replaced by the first path that they match."""
    if "*" not in argument:
        return argument
    return min(folder.glob(argument)).relative_to(folder).as_posix()


def _shown(command: Command) -> str:
    if command[0] == "call":
        return command[1].rpartition(":")[2]
    return (
        " ".join(command[:2]) if command[0] in ("leaderboard", "weights", "models") else command[0]
    )


def _judged(case: TableCase, folder: Path, ended: Finished) -> tuple[Sort, str]:
    logs = [path.read_text(errors="replace") for path in _logs(folder)]
    sort, reason = ended.sort(*logs), ended.reason
    if sort == "traceback" and "Traceback" not in ended.printed:
        reason = next(log for log in logs if "Traceback" in log)[-300:]
    if sort in ("done", "code") and ended.peak_mb > BOUND_MB:
        return "memory", f"{ended.peak_mb} MB: {reason}"
    if sort in ("done", "code") and ended.code != 2 and case.place.good is not None:
        name, _, text = case.place.good.partition(":")
        paths = [path for path in folder.glob(name) if path.is_file()]
        writes = name.split("/")[0] in case.command and "--dry-run" not in case.command
        if writes and not any(text.encode() in path.read_bytes() for path in paths):
            return "good file lost", f"no {text} in {name}: {ended.printed[-200:]}"
    return sort, reason


def _logs(folder: Path) -> list[Path]:
    """Return the logs that the commands of a case wrote; those of the material are clean."""
    return [*folder.rglob("workers.log"), *folder.rglob("scoring.log")]
