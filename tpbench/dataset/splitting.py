"""The split of a dataset: by person, with a test side that resembles the whole, and stable.

All clips of an identity are on one side. A side, once given, is kept when clips are added; the
sides of all identities so far are in `splits/placed.csv`. Other settings (`test_share`, `seed`)
draw a new split, in which the identities of frozen test splits stay on the test side.

Where a join makes one person of identities on two sides, the person goes to the train side, because
a model may have been trained on it; if a frozen test split holds it, to the test side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal, get_args

from tpbench.dataset.identities import (
    Joined,
    Link,
    LinkKind,
    Member,
    UploaderRule,
    join_identities,
    near_duplicate_links,
    read_members,
    uploader_links,
    without_joins,
)
from tpbench.dataset.info import Clip, SplitInfo, SplitName, SplitVersion, content_digest
from tpbench.dataset.placing import draw, place
from tpbench.dataset.side_lists import check_version_name, read_placed, read_version
from tpbench.dataset.strata import (
    ClassBalance,
    Population,
    balance,
    largest_difference,
    stratify,
)
from tpbench.dataset.tables import ImportedSides, Subjects, read_identity_table, read_side_lists
from tpbench.errors import ConfigError, DatasetError, number_of

JoinBy = Literal["uploader", "near-duplicates", "none"]
"""What joins identities; "none" undoes all joins first."""
DEFAULT_TEST_SHARE: Final = 0.1
DEFAULT_SEED: Final = 0
_SEEDS: Final = 2**63
"""Beyond it, `dataset.json` would not be read again."""
_SHOWN: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitRequest:
    """What a user asks of `tpbench split`."""

    test_share: float | None = None
    """Of identities; None: as before, at first 0.1."""
    seed: int | None = None
    """None: as before, at first 0."""
    joins: tuple[str, ...] = ()
    """Joins to make besides those of before, of `JoinBy`; by default those of few sources of an
    uploader."""
    identities: Path | None = None
    """A table of who is who; see `read_identity_table`."""
    lists: tuple[Path, ...] = ()
    """Lists of who is on which side; see `read_side_lists`."""
    version_name: str | None = None
    """Freeze the test side under this name."""

    def check(self) -> None:
        """Refuse what can't be meant.

        Raises:
            ConfigError: a value is out of range, or two options contradict each other.
        """
        if self.test_share is not None:
            check_test_share(self.test_share)
        if self.seed is not None and not -_SEEDS <= self.seed < _SEEDS:
            raise ConfigError(f"--seed must have at most 63 bits, got {self.seed}")
        for name in self.joins:
            if name not in get_args(JoinBy):
                raise ConfigError(f"--join {name}: want one of {', '.join(get_args(JoinBy))}")
        if {"none", "near-duplicates"} <= {*self.joins}:
            raise ConfigError(
                "--join none and --join near-duplicates, one after the other: near-duplicates are "
                "looked for between identities as they are"
            )
        if self.lists and (self.test_share is not None or self.seed is not None):
            raise ConfigError("--from gives all sides, so --test and --seed have nothing to say")
        if self.version_name is not None:
            check_version_name(self.version_name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """A dataset's rows with identities and sides, and everything that is stored of both."""

    clips: list[Clip]
    """The given rows, in their order."""
    members: tuple[Member, ...]
    """Of `identities.csv`."""
    split: SplitInfo | None
    placed: Mapping[str, SplitName] = field(default_factory=dict)
    """Identity -> side, of all that the dataset still knows."""
    frozen: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """New version -> clip id -> identity."""
    notes: tuple[str, ...] = ()
    """What the user should know, one line each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitResult:
    """What `tpbench split` did."""

    info: SplitInfo
    balance: tuple[ClassBalance, ...]
    members: tuple[Member, ...]
    """Sources with joined identities, and why."""
    notes: tuple[str, ...]


def assign_split(identity: str, *, test_share: float, seed: int) -> SplitName:
    """Return the side of an identity by its hash alone, as datasets of before were split.

    It is the test side if sha256("<seed>:<identity>") / 2^256 < test_share.
    """
    return "test" if draw(identity, seed) < test_share else "train"


def check_test_share(test_share: float) -> None:
    """Reject a share that always leaves one side empty.

    Raises:
        ConfigError: it is not strictly between 0 and 1.
    """
    if not 0 < test_share < 1:
        raise ConfigError(
            f"the test share is {test_share}: want a number between 0 and 1, such as 0.1"
        )


def describe_split(
    clips: Sequence[Clip], split: SplitInfo, population: Population | None = None
) -> SplitInfo:
    """Count the clips and identities on each side, and compare the test side with the whole."""
    whole = Population.of(clips) if population is None else population
    size = dict.fromkeys(get_args(SplitName), 0)
    names: dict[str, set[str | None]] = {side: set() for side in size}
    for clip, n_clips in zip(clips, whole.sizes(len(clips)).tolist(), strict=True):
        if clip.split is not None:
            size[clip.split] += n_clips
            names[clip.split].add(clip.identity)
    widest = largest_difference(balance(clips, whole))
    return split.model_copy(
        update={
            "train_clips": size["train"],
            "test_clips": size["test"],
            "train_identities": len(names["train"]),
            "test_identities": len(names["test"]),
            "largest_difference": None
            if widest is None
            else round(abs(widest.difference or 0.0), 6),
        }
    )


def empty_side_warning(info: SplitInfo) -> str | None:
    """Return a warning if a side has no clips; None if both have some.

    `split_dataset` leaves no side empty, but videos may be removed from a dataset later.
    """
    counts = (("train", info.train_clips), ("test", info.test_clips))
    empty = " and ".join(side for side, clips in counts if not clips)
    if not empty:
        return None
    return f"no clip is on the {empty} side of the split; split the dataset again: `tpbench split`"


def require_readable(folder: Path, split: SplitInfo | None) -> None:
    """Refuse damaged lists of joins and sides, before any work that will need them.

    Raises:
        DatasetError: one can't be read.
    """
    read_members(folder)
    if split is not None:
        read_placed(folder)
        for name in split.versions:
            read_version(folder, name)


def settle(
    folder: Path,
    clips: Sequence[Clip],
    former: SplitInfo | None,
    request: SplitRequest | None = None,
    near_duplicates: Sequence[tuple[str, str]] = (),
    population: Population | None = None,
) -> Settled:
    """Give all rows their identity and their side; nothing is written.

    Args:
        folder: the dataset, with the joins and sides so far.
        clips: all rows.
        former: the split so far.
        request: a new one; None: as before, with what was added since.
        near_duplicates: pairs of clip ids to join.
        population: the kept clips for which the rows stand; None: each row for itself, as those
            must that are named (see `asks_for_clips`, `named_clips`).

    Raises:
        ConfigError: a table or list of the request is wrong.
        DatasetError: there are fewer than two identities to split, a stored list is damaged, or the
            name of a version is taken.
    """
    stored = read_members(folder)
    placed = {} if former is None else _placed_so_far(folder, clips, former)
    uploaders = _uploader_rule(former, request)
    own = without_joins(clips, stored)
    links, notes = uploader_links(own, rule=uploaders, stored=stored)
    links += near_duplicate_links(own, near_duplicates)
    if request is not None and request.identities is not None:
        table = read_identity_table(request.identities, Subjects(clips, own))
        kept = {(c.source_id, c.identity or "") for c in own if c.status == "kept"}
        links += [Link(a=me, b=table[s], kind="table") for s, me in sorted(kept) if s in table]
    joined = join_identities(
        clips,
        stored=stored,
        links=links,
        afresh=request is not None and "none" in request.joins,
        in_use=placed,
    )
    if former is None and request is None:
        return Settled(clips=joined.clips, members=joined.members, split=None)
    sides = _Sides(
        joined=joined,
        own=own,
        before=placed,
        former=former,
        pinned=_pinned(folder, former, joined),
        population=population,
    )
    wanted = _wanted(former, request, uploaders)
    found = sides.as_before(wanted) if request is None else sides.asked_for(wanted, request, folder)
    # What there is to say of joins was said when they were asked for.
    said = () if request is None else (*notes, *joined.notes)
    return _settled(found, joined, placed, request, said, population)


def asks_for_clips(request: SplitRequest) -> bool:
    """Whether a request may speak of any single clip, rather than of sources."""
    asks = (request.identities, request.version_name, *request.lists)
    return any(asked is not None for asked in asks) or "near-duplicates" in request.joins


def named_clips(folder: Path, former: SplitInfo | None) -> set[str]:
    """Return the ids of clips that frozen test splits and stored joins name.

    Raises:
        DatasetError: a stored list can't be read.
    """
    versions = () if former is None else former.versions
    named = {clip_id for version in versions for clip_id in read_version(folder, version)}
    return named.union(*(member.clip_ids for member in read_members(folder)))


def _uploader_rule(former: SplitInfo | None, request: SplitRequest | None) -> UploaderRule:
    if request is None:
        return "none" if former is None else former.uploaders
    if "uploader" in request.joins:
        return "all"
    if "none" in request.joins:
        return "none"
    # A split by hash was made before there were joins.
    if former is None or former.method == "hash":
        return "few"
    return former.uploaders


def _wanted(
    former: SplitInfo | None, request: SplitRequest | None, uploaders: UploaderRule
) -> SplitInfo:
    """Return the settings of the split to make; the counts are still those of before."""
    base = former or SplitInfo(
        test_share=DEFAULT_TEST_SHARE, seed=DEFAULT_SEED, method="stratified"
    )
    if request is None:
        return base
    asks = request.test_share is not None or request.seed is not None
    keeps_lists = base.method == "lists" and not asks
    changed: dict[str, object] = {
        "uploaders": uploaders,
        "method": "lists" if request.lists or keeps_lists else "stratified",
        "placed": {},
    }
    if request.test_share is not None:
        changed["test_share"] = request.test_share
    if request.seed is not None:
        changed["seed"] = request.seed
    return base.model_copy(update=changed)


def _placed_so_far(folder: Path, clips: Sequence[Clip], former: SplitInfo) -> dict[str, SplitName]:
    rows = {clip.identity or "": clip.split for clip in clips if clip.split is not None}
    return {**rows, **former.placed, **read_placed(folder)}


def _pinned(folder: Path, former: SplitInfo | None, joined: Joined) -> dict[str, str]:
    """Return identity -> the frozen test split that holds a clip of it."""
    found: dict[str, str] = {}
    by_clip = {clip.clip_id: clip.identity or "" for clip in joined.clips if clip.status == "kept"}
    now = {old: name for name, names in joined.formerly.items() for old in names}
    for version in sorted({} if former is None else former.versions):
        for clip_id, identity in read_version(folder, version).items():
            found.setdefault(by_clip.get(clip_id) or now.get(identity, identity), version)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """Sides that were found, and how."""

    split: SplitInfo
    sides: Mapping[str, SplitName]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sides:
    """Finds the side of each identity, from what is known of earlier splits."""

    joined: Joined
    own: Sequence[Clip]
    before: Mapping[str, SplitName]
    former: SplitInfo | None
    pinned: Mapping[str, str]
    population: Population | None

    def as_before(self, wanted: SplitInfo) -> _Found:
        """Keep all sides, and place what was added."""
        fixed, notes = self._carried()
        return _Found(split=wanted, sides=self._filled(wanted, fixed), notes=notes)

    def asked_for(self, wanted: SplitInfo, request: SplitRequest, folder: Path) -> _Found:
        """Place identities as a user asks."""
        names = {*self.joined.formerly}
        if len(names) < 2:
            raise _too_few(folder, len(names), are_joined=bool(self.joined.members))
        if request.lists:
            return self._from_lists(wanted, request.lists)
        fixed, notes = self._carried()
        carried = dict(fixed)
        if self.former is not None and not _same_draw(wanted, self.former):
            fixed, notes = self._pins(), ()
        elif len(fixed) == len(names) and len({*fixed.values()}) == 1:
            # With nobody to place, the empty side can be filled by a new draw only.
            fixed = self._pins()
        sides = self._filled(wanted, fixed)
        if moved := sum(sides[name] != side for name, side in carried.items()):
            notes = (*notes, f"drawn anew: {number_of(moved, 'identity')} changed sides")
        return _Found(split=wanted, sides=sides, notes=(*notes, *_lonely(wanted, sides)))

    def _pins(self) -> dict[str, SplitName]:
        return {name: "test" for name in self.pinned if name in self.joined.formerly}

    def _carried(self) -> tuple[dict[str, SplitName], tuple[str, ...]]:
        """Return the side of each identity that has one, and what became of those on two sides."""
        fixed: dict[str, SplitName] = {}
        notes = []
        reasons = get_args(LinkKind)
        whys = {row.identity: row.why for row in self.joined.members if row.kind in reasons}
        for name, names in sorted(self.joined.formerly.items()):
            sides = {self.before[old] for old in names if old in self.before}
            if len(sides) == 1 and name not in self.pinned:
                (fixed[name],) = sides
            elif name in self.pinned:
                fixed[name] = "test"
            if len(sides) == 2:
                fixed.setdefault(name, "train")
                why = f" ({whys[name]})" if name in whys else ""
                notes.append(
                    f"{' and '.join(sorted(names)[:_SHOWN])} are one person{why} and were on two "
                    f"sides: all their clips are {self._where(name)}"
                )
        return fixed, tuple(notes)

    def _where(self, name: str) -> str:
        if name in self.pinned:
            return (
                f"on the test side, as {self.pinned[name]} holds some of them; models trained on "
                "the train side of before have seen this person"
            )
        return "on the train side, as models may have been trained on them"

    def _filled(self, wanted: SplitInfo, fixed: Mapping[str, SplitName]) -> dict[str, SplitName]:
        """Place what has no side yet."""
        names = {*self.joined.formerly}
        if wanted.method == "lists":
            return {name: fixed.get(name, "train") for name in names}
        if wanted.method == "hash":
            share, seed = wanted.test_share, wanted.seed
            return {
                name: fixed.get(name) or assign_split(name, test_share=share, seed=seed)
                for name in names
            }
        strata = stratify(self.joined.clips, self.population)
        return place(strata, fixed=fixed, test_share=wanted.test_share, seed=wanted.seed)

    def _from_lists(self, wanted: SplitInfo, paths: Sequence[Path]) -> _Found:
        """Place identities as lists say; what they don't name goes to the train side."""
        imported = read_side_lists(paths, Subjects(self.joined.clips, self.own))
        for name, version in sorted(self.pinned.items()):
            if imported.sides.get(name, "test") == "train":
                raise ConfigError(
                    f"the lists put {name!r} on the train side, and the frozen test split "
                    f"'{version}' holds it; models could be trained on what tests them"
                )
        names = {*self.joined.formerly}
        default: SplitName = "train"
        sides = {**dict.fromkeys(names, default), **self._pins(), **imported.sides}
        n_test = sum(side == "test" for side in sides.values())
        if n_test in (0, len(names)):
            empty = "test" if n_test == 0 else "train"
            raise ConfigError(
                f"these lists leave the {empty} side empty; identities that no list names go to "
                "the train side"
            )
        split = wanted.model_copy(update={"test_share": n_test / len(names)})
        return _Found(split=split, sides=sides, notes=self._list_notes(imported, names))

    def _list_notes(self, imported: ImportedSides, names: set[str]) -> tuple[str, ...]:
        notes = []
        if unnamed := len(names - imported.sides.keys() - self.pinned.keys()):
            have = "no list names" if unnamed == 1 else "no list names them"
            notes.append(f"{number_of(unnamed, 'identity')} went to the train side: {have}")
        if imported.unknown:
            rows = number_of(len(imported.unknown), "row")
            notes.append(f"{rows} named nothing in this dataset, the first: {imported.unknown[0]}")
        if imported.unused:
            notes.append(f"{number_of(imported.unused, 'row')} named something without kept clips")
        return tuple(notes)


def _same_draw(wanted: SplitInfo, former: SplitInfo) -> bool:
    """Whether the settings give the split of before."""
    if (wanted.method == "lists") != (former.method == "lists"):
        return False
    return (wanted.test_share, wanted.seed) == (former.test_share, former.seed)


def _lonely(wanted: SplitInfo, sides: Mapping[str, SplitName]) -> tuple[str, ...]:
    """Return a note where a side has an identity only because it must not be empty."""
    shares: dict[SplitName, float] = {"test": wanted.test_share, "train": 1 - wanted.test_share}
    return tuple(
        f"{alone[0]} was placed on the {side} side, which had no clips otherwise"
        for side, share in shares.items()
        if share * len(sides) < 0.5
        and len(alone := [name for name, its in sides.items() if its == side]) == 1
    )


def _too_few(folder: Path, n_identities: int, *, are_joined: bool) -> DatasetError:
    have = "all its clips are of one identity" if n_identities else "it has no kept clips"
    advice = "add videos of other people with `tpbench extract`"
    if n_identities:
        advice += ", or evaluate on all clips: `tpbench eval --split all`"
    if are_joined:
        advice += "; identities.csv would say why they are joined: `--join none` keeps them apart"
    return DatasetError(f"{folder}: {have}, and a split by identity needs two identities; {advice}")


def _settled(
    found: _Found,
    joined: Joined,
    before: Mapping[str, SplitName],
    request: SplitRequest | None,
    notes: tuple[str, ...],
    population: Population | None,
) -> Settled:
    clips = [
        replace(clip, split=found.sides[clip.identity or ""] if clip.status == "kept" else None)
        for clip in joined.clips
    ]
    # Identities whose clips are all rejected now keep their side; who is gone is forgotten.
    known = {clip.identity for clip in clips} | {clip.source_id for clip in clips}
    absent = {name: side for name, side in before.items() if name in known}
    split = describe_split(clips, found.split, population)
    frozen: dict[str, dict[str, str]] = {}
    if request is not None and request.version_name is not None:
        test = [clip for clip in clips if clip.split == "test"]
        frozen[request.version_name] = {clip.clip_id: clip.identity or "" for clip in test}
        version = SplitVersion(
            clips=split.test_clips, identities=split.test_identities, digest=content_digest(test)
        )
        versions = {request.version_name: version, **split.versions}
        split = split.model_copy(update={"versions": dict(sorted(versions.items()))})
    return Settled(
        clips=clips,
        members=joined.members,
        split=split,
        placed={**absent, **found.sides},
        frozen=frozen,
        notes=(*notes, *found.notes),
    )
