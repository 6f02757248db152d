"""`status`: how far a dataset, a run or a scoring is, told from any machine while others work.

Nothing is written and no lock is taken. What drivers say of themselves (`tpbench.work.signs`) is
read; of folders without that, directories are listed. Whether a driver is alive is never told from
the clock of another machine: on a disk of this machine by the age of its file, elsewhere by looking
twice.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import ValidationError

from tpbench.benchmark.run_folder import RunFolder
from tpbench.benchmark.run_info import RUN_INFO_NAME, read_run_info
from tpbench.dataset.folder import RECORDS_FOLDER
from tpbench.dataset.info import INFO_NAME, read_info
from tpbench.errors import ConfigError, DatasetError, SubmissionError, number_of
from tpbench.extraction.records import SETTINGS_FILE
from tpbench.extraction.sharing import part_sizes
from tpbench.extraction.standing import count_states, signs_file
from tpbench.files import missing_folder
from tpbench.metrics.scoring.report import SCORES_NAME
from tpbench.metrics.scoring.run import RECORDS_NAME
from tpbench.storage.addresses import Address, local_path
from tpbench.work.locks import is_network_share
from tpbench.work.records import RecordError, Shard
from tpbench.work.signs import MISSED_BEATS, SIGNS_NAME, DriverState

Kind = Literal["dataset", "run", "scores"]
PartState = Literal[
    "working", "silent", "starting", "finished", "interrupted", "stopped", "not started"
]
"""silent: it has given no sign of life for `MISSED_BEATS`: killed, halted, or cut off."""
MOST_READ: Final = 100_000
"""Records whose beginnings are read where no driver has counted them."""
_LOOKS: Final = 5
"""Looks between two signs of a driver."""
_SHARD: Final = re.compile(r"(?:.*\.)?shard([1-9]\d{0,4})of([1-9]\d{0,4})(?:\.json)?", re.ASCII)
_OF_ALL: Final = {"driver.json", "run"}
"""Names of the file and of the lease of a driver that does all."""
_NO_SIGN: Final = "no sign of a driver, ignored"
_IGNORED_TOLD: Final = 8
"""Lines about signs that are not valid; what can be left in a folder has no limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartStatus:
    """One driver's part of the work."""

    part: str
    """The shard, as `2/4`; empty: all."""
    state: PartState
    driver: DriverState | None = None
    """What it said last; None if it has not begun."""
    total: int | None = None
    """Items of the part; None: not known."""

    @property
    def is_working(self) -> bool:
        """Whether its figures of speed are those of now."""
        return self.state == "working"


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderStatus:
    """How far the work in a folder is."""

    folder: str
    kind: Kind
    step: str
    """What its drivers do; empty if none has told."""
    parts: tuple[PartStatus, ...]
    notes: tuple[str, ...]
    """What else is known, one line each."""

    @property
    def unit(self) -> str:
        """What is counted."""
        return "video" if self.step == "extract" else "clip"

    @property
    def is_working(self) -> bool:
        """Whether any driver is at work, or about to be."""
        return any(part.state in {"working", "starting"} for part in self.parts)


def status_of(given: Path | str, *, sleep: Callable[[float], None] = time.sleep) -> FolderStatus:
    """Return how far the work in a folder is, also while drivers work in it.

    Where a driver's files are on a share or in a bucket, this takes until all drivers have given a
    sign of life, and at most `MISSED_BEATS` times their pause.

    Args:
        given: a dataset, the folder of a run, or of scores; a dataset also by its address.
        sleep: waits so many seconds.

    Raises:
        ConfigError: it is none of these.
        UnreachableError: a bucket can't be read.
    """
    address = Address.of(given)
    if address is not None:
        return _of_bucket(address, sleep)
    folder = local_path(given)
    if not folder.is_dir():
        raise ConfigError(f"{folder}: {missing_folder(folder)}")
    kind = _kind_of(folder)
    if kind is None:
        raise ConfigError(f"{folder}: {_what_it_is(folder)}")
    if kind == "dataset":
        return _of_dataset(folder, sleep)
    return _of_run(folder, sleep) if kind == "run" else _of_scores(folder, sleep)


def _kind_of(folder: Path) -> Kind | None:
    home = folder / RECORDS_FOLDER
    if (folder / SETTINGS_FILE).is_file() or (folder / INFO_NAME).is_file() or home.is_dir():
        return "dataset"
    if (folder / "records").is_dir():
        return "run"
    # `tpbench score` writes a run.json, too, but has no records of generated clips.
    if (folder / RECORDS_NAME).is_dir():
        return "scores"
    if _is_records(folder):  # they have a run.json of another kind
        return None
    if (folder / RUN_INFO_NAME).is_file() or RunFolder(path=folder).shards():
        return "run"
    return "scores" if (folder / SCORES_NAME).is_file() else None


def _is_records(folder: Path) -> bool:
    return (folder / SETTINGS_FILE.name).is_file()


def _what_it_is(folder: Path) -> str:
    """Say what to name instead of a folder that is none of ours."""
    told = "no dataset, run or scores of tpbench"
    if _is_records(folder):
        return f"the records of a dataset; name the dataset, {folder.absolute().parent}"
    for depth in range(1, 5):
        below = (path for path in sorted(folder.glob("/".join("*" * depth))) if path.is_dir())
        for path in below:
            if _kind_of(path) is not None:
                return f"{told}; name one below it, such as {path}"
    return f"{told} (or not begun yet)"


_States = Mapping[str, DriverState]
"""Part -> what its driver said last."""
_Ignored = dict[str, str]
"""File -> the line that says why it is no sign of a driver."""


def _of_dataset(folder: Path, sleep: Callable[[float], None]) -> FolderStatus:
    home = folder / RECORDS_FOLDER
    ignored: _Ignored = {}

    def read() -> dict[str, DriverState]:
        _look_again(home)
        return _read_all(_by_part(home.glob("driver*.json"), ignored), ignored)

    def age_s(part: str) -> float | None:
        return _age_s(_signs_of(home, part))

    parts = _with_missing(_looked_at(read, age_s, sleep), home)
    return FolderStatus(
        folder=str(folder),
        kind="dataset",
        step=_step_of(parts, "extract"),
        parts=parts,
        notes=(
            *_of_manifest(folder),
            *([] if parts else _of_records(folder)),
            *_told(ignored),
        ),
    )


def _signs_of(home: Path, part: str) -> Path:
    return signs_file(home, Shard.parse(part) if part else None)


def _of_run(folder: Path, sleep: Callable[[float], None]) -> FolderStatus:
    """Tell of a run, or of its shards as long as they are not merged."""
    base = folder.with_name(re.sub(r"\.shard\d+of\d+$", "", folder.name))
    ignored: _Ignored = {}
    files = {"": base / SIGNS_NAME}
    if not files[""].is_file():
        shards = _by_part((one.path for one in RunFolder(path=base).shards()), ignored)
        files = {part: path / SIGNS_NAME for part, path in shards.items()}

    def read() -> dict[str, DriverState]:
        for path in files.values():
            _look_again(path.parent)
        found = _read_all(files, ignored)
        return {part: state.model_copy(update={"part": part}) for part, state in found.items()}

    parts = _looked_at(read, lambda part: _age_s(files[part]), sleep)
    if "" not in files:
        parts = _with_missing(parts, None)
    return FolderStatus(
        folder=str(base),
        kind="run",
        step=_step_of(parts, ""),
        parts=parts,
        notes=(*_of_run_info(base if base.is_dir() else folder), *_told(ignored)),
    )


def _of_scores(folder: Path, sleep: Callable[[float], None]) -> FolderStatus:
    ignored: _Ignored = {}

    def read() -> dict[str, DriverState]:
        _look_again(folder)
        return _read_all({"": folder / SIGNS_NAME}, ignored)

    parts = _looked_at(read, lambda _: _age_s(folder / SIGNS_NAME), sleep)
    measured = len(list((folder / RECORDS_NAME).glob("[!.]*.npz")))
    written = "written" if (folder / SCORES_NAME).is_file() else "not written yet"
    notes = (
        f"{number_of(measured, 'clip')} measured, in whole or in part; {SCORES_NAME} {written}",
        *_told(ignored),
    )
    return FolderStatus(
        folder=str(folder), kind="scores", step=_step_of(parts, "score"), parts=parts, notes=notes
    )


def _of_bucket(address: Address, sleep: Callable[[float], None]) -> FolderStatus:
    """Tell of a dataset in a bucket: by its leases, and by what drivers left that have ended."""
    from tpbench.storage.lease import RENEW_S, holders
    from tpbench.storage.objects import read as get

    ended: dict[str, DriverState] = {}
    ignored: _Ignored = {}
    info = get(address.below(INFO_NAME))

    def read() -> dict[str, DriverState | None]:
        found: dict[str, DriverState | None] = {}
        for name, said in holders(address).items():
            part, state = _part_in(name), _valid(said)
            if part is None or (said and state is None):
                ignored[name] = f"{address}: its lease {name} {_NO_SIGN}"
            if part is not None:
                found[part] = state and state.model_copy(update={"every_s": RENEW_S})
        return found

    first = read()
    counts = {part.partition("/")[2] for part in first if part}
    wanted = [f"{n}/{count}" for count in counts for n in range(1, int(count) + 1)] or [""]
    for part in wanted:
        if part not in first:
            content = get(address.below(_signs_of(Path(RECORDS_FOLDER), part).as_posix()))
            if content is not None and (state := _parsed(content)) is not None:
                ended[part] = state
    if not first and not ended and info is None:
        raise ConfigError(f"{address}: no dataset of tpbench, and nobody works in one here")

    def known() -> dict[str, DriverState]:
        return {part: state for part, state in read().items() if state is not None} | ended

    starting = [part for part, state in first.items() if state is None]
    parts = [*_looked_at(known, lambda _: None, sleep)]
    parts += [
        PartStatus(part=part, state="starting")
        for part in starting
        if part not in {one.part for one in parts}
    ]
    found = _with_missing(tuple(parts), None)
    note = "no manifest yet" if info is None else "a manifest was written"
    return FolderStatus(
        folder=str(address),
        kind="dataset",
        step="extract",
        parts=found,
        notes=(note, *_told(ignored)),
    )


def _looked_at(
    read: Callable[[], _States],
    age_s: Callable[[str], float | None],
    sleep: Callable[[float], None],
) -> tuple[PartStatus, ...]:
    """Return the parts, after it is known of each driver whether it is alive.

    Args:
        read: returns what drivers said last.
        age_s: returns how long ago a driver of this machine's disk wrote; None: look twice.
        sleep: waits so many seconds.
    """
    first = now = dict(read())
    alive = {part: _by_age(state, age_s(part)) for part, state in first.items()}
    waited_s = 0.0
    while open_ones := [part for part, is_alive in alive.items() if is_alive is None]:
        pause_s = min(first[part].every_s for part in open_ones) / _LOOKS
        if waited_s > MISSED_BEATS * max(first[part].every_s for part in open_ones):
            break
        sleep(pause_s)
        waited_s += pause_s
        now = dict(read())
        for part in open_ones:
            state = now.get(part)
            if state is None or _mark(state) != _mark(first[part]):
                alive[part] = True
    first |= now
    return tuple(
        PartStatus(
            part=part,
            state=state.ending or ("working" if alive.get(part, True) else "silent"),
            driver=state,
            total=state.total,
        )
        for part, state in sorted(first.items(), key=lambda one: _place(one[0]))
    )


def _mark(state: DriverState) -> tuple[str, int, str]:
    return state.start, state.beat, state.ending


def _by_age(state: DriverState, age_s: float | None) -> bool | None:
    """Whether a driver is alive; None if only a second look can tell."""
    if state.ending:
        return True
    if age_s is None or age_s < 0:
        return None
    return age_s <= MISSED_BEATS * state.every_s


def _age_s(path: Path) -> float | None:
    """Return how long ago a file on a disk of this machine was written; None on a share."""
    if is_network_share(path.parent):
        return None
    with suppress(OSError):
        return time.time() - path.stat().st_mtime
    return None


def _look_again(folder: Path) -> None:
    """Have a network share look again at what is in a folder."""
    with suppress(OSError):
        os.close(os.open(folder, os.O_RDONLY | os.O_DIRECTORY))


def _by_part(paths: Iterable[Path], ignored: _Ignored) -> dict[str, Path]:
    """Return the part of the work that each path speaks of by its name."""
    found = {}
    for path in paths:
        part = _part_in(path.name)
        if part is None:
            ignored[str(path)] = f"{path}: {_NO_SIGN}"
        else:
            found[part] = path
    return found


def _read_all(files: Mapping[str, Path], ignored: _Ignored) -> dict[str, DriverState]:
    """Return what the files say that are valid; why another one is not goes into `ignored`."""
    found = {}
    for part, path in files.items():
        ignored.pop(str(path), None)
        if path.is_symlink():
            ignored[str(path)] = f"{path}: a link: {_NO_SIGN}"
            continue
        try:
            found[part] = DriverState.read(path)
        except RecordError as error:
            if os.path.lexists(path):
                ignored[str(path)] = f"{error}: {_NO_SIGN}"
    return found


def _told(ignored: _Ignored) -> list[str]:
    lines = sorted(ignored.values())
    more = len(lines) - _IGNORED_TOLD
    return lines[:_IGNORED_TOLD] + ([f"and {more:,} more such files"] if more > 0 else [])


def _valid(said: Mapping[str, Any]) -> DriverState | None:
    try:
        return DriverState.model_validate(said) if said else None
    except ValidationError:
        return None


def _parsed(content: bytes) -> DriverState | None:
    from tpbench.foreign import ForeignFileError, parse_json

    with suppress(ForeignFileError):
        found = parse_json(content)
        if isinstance(found, dict):
            own = {name: found[name] for name in DriverState.model_fields if name in found}
            return _valid(own)
    return None


def _part_in(name: str) -> str | None:
    """Return the shard that a name speaks of; empty for all, None if there is no such shard.

    >>> _part_in("driver.shard2of4.json"), _part_in("seed42.shard1of2"), _part_in("driver.json")
    ('2/4', '1/2', '')
    """
    if name in _OF_ALL:
        return ""
    match = _SHARD.fullmatch(name)
    if match is not None:
        with suppress(ConfigError):
            return str(Shard(number=int(match[1]), count=int(match[2])))
    return None


def _place(part: str) -> tuple[int, int]:
    number, _, count = part.partition("/")
    return (int(count), int(number)) if count else (0, 0)


def _with_missing(parts: tuple[PartStatus, ...], home: Path | None) -> tuple[PartStatus, ...]:
    """Return the parts with the shards that have not begun; `home` has their sizes."""
    counts = {part.part.partition("/")[2] for part in parts if part.part}
    if len(counts) != 1:
        return parts
    count = int(counts.pop())
    sizes = None
    with suppress(DatasetError):
        sizes = None if home is None else part_sizes(home, count)
    there = {part.part: part for part in parts}
    return tuple(
        there.get(f"{number}/{count}")
        or PartStatus(
            part=f"{number}/{count}",
            state="not started",
            total=None if sizes is None else sizes[number - 1],
        )
        for number in range(1, count + 1)
    )


def _step_of(parts: tuple[PartStatus, ...], otherwise: str) -> str:
    steps = [part.driver.step for part in parts if part.driver is not None]
    return steps[0] if steps else otherwise


def _of_manifest(folder: Path) -> list[str]:
    """Say whether there is a manifest, and whether runs have ended since; by one server's clock."""
    path = folder / INFO_NAME
    if not path.is_file():
        return ["no manifest yet: the last run, without --shard, writes it"]
    try:
        counts = read_info(folder).counts
    except DatasetError as error:
        return [str(error)]
    # A run that writes the manifest writes the settings last; `split`, say, only the manifest.
    settings = folder / SETTINGS_FILE
    written_ns = (settings if settings.is_file() else path).stat().st_mtime_ns
    signs = (folder / RECORDS_FOLDER).glob("driver*.json")
    is_old = any(path.stat().st_mtime_ns > written_ns for path in signs)
    more = "; a run has worked since: run again without --shard to renew it" if is_old else ""
    return [f"manifest: {number_of(counts.kept, 'clip')} kept of {counts.candidates:,}{more}"]


def _of_records(folder: Path) -> list[str]:
    """Say what records tell where no driver has said anything."""
    count, states = count_states(folder, most=MOST_READ)
    if states is None:
        return [f"{count:,} videos have a record; more than {MOST_READ:,} are not read"]
    told = ", ".join(f"{number:,} {state}" for state, number in sorted(states.items()))
    return [f"{number_of(count, 'video')} with a record{f': {told}' if told else ''}"]


def _of_run_info(folder: Path) -> list[str]:
    """Say what `run.json` counts, and how many clips have a record by now."""
    recorded = len(list((folder / "records").glob("[!.]*.json")))
    try:
        counts = read_run_info(folder).counts
    except SubmissionError:
        return [f"{number_of(recorded, 'clip')} with a record"] if recorded else []
    scores = "; scores are written" if (folder / SCORES_NAME).is_file() else ""
    return [f"{recorded:,} of {number_of(counts.expected, 'clip')} with a record{scores}"]


def total_of(parts: tuple[PartStatus, ...]) -> dict[str, Any]:
    """Return the sums over parts; None where a part's figure is not known.

    Speeds are those of working drivers; the time left is that of the slowest of them, and not known
    while work is left to a part that nobody does.
    """
    states = [part.driver for part in parts if part.driver is not None]
    working = [part.driver for part in parts if part.is_working and part.driver is not None]
    totals = [part.total for part in parts]
    counts: dict[str, int] = {}
    for state in states:
        for name, number in state.counts.items():
            counts[name] = counts.get(name, 0) + number
    left = None if None in totals else sum(filter(None, totals)) - sum(one.done for one in states)
    is_idle = any(not part.is_working and _left_of(part) != 0 for part in parts)
    times = [one.left_s for one in working]
    return {
        "total": None if None in totals else sum(filter(None, totals)),
        "done": sum(one.done for one in states),
        "counts": counts,
        "in_work": sum(one.n_in_work for one in working),
        "left": left,
        "items_per_h": _sum([one.items_per_h for one in working]),
        "frames_per_s": _sum([one.frames_per_s for one in working]),
        "media_done_s": _sum([one.media_done_s for one in states]),
        "media_left_s": None
        if len(states) < len(parts)
        else _sum([s.media_left_s for s in states]),
        "is_guessed": any(one.is_guessed for one in states),
        "left_s": None
        if is_idle or None in times or not times
        else max(filter(None, times), default=0.0),
    }


def figures_of(part: PartStatus) -> dict[str, Any]:
    """Return the same figures of one part; those of a driver that is not at work are blank."""
    return total_of((part,)) | {
        "part": part.part,
        "state": part.state,
        "items_in_work": [
            item.model_dump()
            for item in (part.driver.in_work if part.is_working and part.driver else ())
        ],
    }


def _left_of(part: PartStatus) -> int | None:
    return None if part.total is None else part.total - (part.driver.done if part.driver else 0)


def _sum(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None
