"""Who is the same person: identities joined across sources, and why.

A source is its own identity until something better is known. Identities are joined by a table of
the user's, by near-duplicate clips, and by uploader. All joins of a dataset, with their reasons,
are in `identities.csv`; the column `identity` of the manifest follows from it. Faces are not
compared: there is no face encoder, and a person whom nothing else joins counts as two.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from tpbench.dataset.info import Clip
from tpbench.dataset.tables import csv_text, read_table_rows
from tpbench.files import atomic_write_text
from tpbench.foreign import spreadsheet_safe

IDENTITIES_NAME: Final = "identities.csv"

UploaderRule = Literal["none", "few", "all"]
"""Whose sources are one identity: of no uploader, of uploaders with few sources, or of all."""
FEW_SOURCES: Final = 20
"""An uploader with more sources is taken for a channel that shows many people, such as that of a
conference, and joined by the rule "all" only."""

LinkKind = Literal["table", "near-duplicate", "uploader"]
_HUB: Final = "the others were joined to it"
_COLUMNS: Final = ("source_id", "identity", "why", "own_identity")


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A source that belongs to a joined identity: a row of `identities.csv`."""

    source_id: str
    own: str
    """Its identity without joins."""
    identity: str
    why: str
    """`table`, `near-duplicate: <clip> ~ <clip>`, `uploader: <name>`; or that the others were
    joined to it."""

    @property
    def kind(self) -> str:
        """The part of `why` before the colon."""
        return self.why.partition(":")[0]

    @property
    def clip_ids(self) -> tuple[str, ...]:
        """The clips that `why` names."""
        detail = self.why.partition(": ")[2]
        return tuple(detail.split(" ~ ")) if self.kind == "near-duplicate" and detail else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A reason to take two identities for one."""

    a: str
    """An identity without joins; of a table, that of the source."""
    b: str
    """The other one; of a table, the name given there."""
    kind: LinkKind
    detail: str = ""

    @property
    def why(self) -> str:
        """The reason as `identities.csv` holds it."""
        return f"{self.kind}: {self.detail}" if self.detail else self.kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """Identities after joining."""

    clips: list[Clip]
    """All rows, with the joined identity."""
    members: tuple[Member, ...]
    """Sources whose identity is not their own, or is shared; sorted by identity and source."""
    formerly: Mapping[str, frozenset[str]]
    """Identity of the kept clips -> the identities that these clips had before."""
    notes: tuple[str, ...]
    """What the user should know, one line each."""


def read_members(folder: Path) -> tuple[Member, ...]:
    """Read `identities.csv`; empty if there is none.

    Raises:
        DatasetError: it is no such table.
    """
    path = folder / IDENTITIES_NAME
    if not path.is_file():
        return ()
    rows = read_table_rows(path, required=_COLUMNS)
    return tuple(
        Member(
            source_id=row["source_id"],
            own=row["own_identity"],
            identity=row["identity"],
            why=row["why"],
        )
        for _, row in rows
    )


def write_members(folder: Path, members: Sequence[Member]) -> None:
    """Write `identities.csv`, sorted by source; without members, the file is deleted."""
    path = folder / IDENTITIES_NAME
    if not members:
        path.unlink(missing_ok=True)
        return
    rows = (
        tuple(spreadsheet_safe(cell) for cell in (row.source_id, row.identity, row.why, row.own))
        for row in members
    )
    atomic_write_text(path, csv_text(_COLUMNS, rows))


def without_joins(clips: Sequence[Clip], members: Sequence[Member]) -> list[Clip]:
    """Return the rows with the identity that each has without joins."""
    owns: dict[str, set[str]] = defaultdict(set)
    known: set[str] = set()
    for row in members:
        owns[row.source_id].add(row.own)
        known |= {row.own, row.identity}

    def own(clip: Clip) -> Clip:
        of_source = owns.get(clip.source_id, set())
        # An identity that no join knows was given to the source since, and counts.
        if clip.identity is None or clip.identity in of_source or clip.identity not in known:
            return clip
        return replace(clip, identity=min(of_source)) if of_source else clip

    return [own(clip) for clip in clips]


def join_identities(
    clips: Sequence[Clip],
    *,
    stored: Sequence[Member],
    links: Sequence[Link] = (),
    afresh: bool = False,
    in_use: Collection[str] = (),
) -> Joined:
    """Join identities by the stored joins and by new links.

    A table outranks everything: two names of a table are never joined, and links between them are
    left out. Then near-duplicates come before uploaders. A joined identity bears its name from the
    table, else a name of one of its members: one already in use rather than another, and of those
    the smallest. The result does not depend on the order of rows or links.

    Args:
        clips: all rows, with identities joined or not.
        stored: the joins so far (`read_members`).
        links: further ones, between identities without joins.
        afresh: undo the stored joins first.
        in_use: identities that should keep their name, because they have a side already.
    """
    own_clips = without_joins(clips, stored)
    present = _present(own_clips, stored)
    owns = {own for _, own in present}
    followed = () if afresh else stored
    named = {link.a: link.b for link in (*_table_links(followed), *links) if link.kind == "table"}
    clip_ids = {clip.clip_id for clip in own_clips}
    others = [*_stored_links(followed, clip_ids), *(link for link in links if link.kind != "table")]
    groups = _Groups(named)
    for link in sorted(others, key=_rank):
        groups.join(link)
    identities = groups.identities(owns, in_use)
    reasons = groups.reasons()
    return Joined(
        clips=[_renamed(clip, identities) for clip in own_clips],
        members=tuple(
            Member(source_id=source_id, own=own, identity=identities[own], why=reasons[own])
            for source_id, own in sorted(present, key=lambda row: (identities.get(row[1], ""), row))
            if own in identities
        ),
        formerly=_formerly(clips, own_clips, identities, stored),
        notes=groups.notes(),
    )


def uploader_links(
    clips: Sequence[Clip], *, rule: UploaderRule, stored: Sequence[Member] = ()
) -> tuple[list[Link], tuple[str, ...]]:
    """Return links between the sources of one uploader, and a note on who was left out.

    By the rule "few", the sources of an uploader with at most `FEW_SOURCES` of them (kept or not)
    are joined; those of an uploader once joined go on to be, however many come later.

    Args:
        clips: all rows, without joins.
        rule: whose sources are joined.
        stored: the joins so far.
    """
    if rule == "none":
        return [], ()
    sources: dict[str, set[str]] = defaultdict(set)
    owns: dict[str, set[str]] = defaultdict(set)
    for clip in clips:
        name = _name_of_uploader(clip)
        if name:
            sources[name].add(clip.source_id)
            if clip.status == "kept":
                owns[name].add(clip.identity or "")
    before = {row.why for row in stored if row.kind == "uploader"}
    links, left_out = [], []
    for name in sorted(sources):
        first, *others = sorted(owns[name]) or [""]
        made = [Link(a=first, b=other, kind="uploader", detail=name) for other in others]
        many = len(sources[name]) > FEW_SOURCES
        if made and many and rule == "few" and made[0].why not in before:
            left_out.append(f"{name} ({len(sources[name]):,} sources)")
            continue
        links += made
    return links, _left_out_note(left_out)


def _left_out_note(uploaders: Sequence[str]) -> tuple[str, ...]:
    if not uploaders:
        return ()
    more = f" and {len(uploaders) - 3:,} more" if len(uploaders) > 3 else ""
    said = (
        f"not joined by uploader, as more than {FEW_SOURCES} sources may show many people: "
        f"{', '.join(uploaders[:3])}{more}; `--join uploader` joins them too"
    )
    return (said,)


def near_duplicate_links(clips: Iterable[Clip], pairs: Iterable[tuple[str, str]]) -> list[Link]:
    """Return links between the identities of clips that show the same pictures.

    Args:
        clips: rows, without joins.
        pairs: clip ids; pairs of which one is no kept clip are left out.
    """
    identities = {clip.clip_id: clip.identity or "" for clip in clips if clip.status == "kept"}
    return [
        Link(a=identities[a], b=identities[b], kind="near-duplicate", detail=f"{a} ~ {b}")
        for a, b in sorted(tuple(sorted(pair)) for pair in pairs)
        if a in identities and b in identities and identities[a] != identities[b]
    ]


def _name_of_uploader(clip: Clip) -> str:
    return " ".join((clip.uploader or "").split())


def _table_links(stored: Sequence[Member]) -> list[Link]:
    return [Link(a=row.own, b=row.identity, kind="table") for row in stored if row.kind == "table"]


def _stored_links(stored: Sequence[Member], clip_ids: Collection[str]) -> list[Link]:
    """Return the stored joins that no table made, each as a link to the first of its identity."""
    by_identity: dict[str, list[Member]] = defaultdict(list)
    for row in stored:
        by_identity[row.identity].append(row)
    links = []
    for rows in by_identity.values():
        hub = min(rows, key=lambda row: (row.kind not in (_HUB, "table"), row.own))
        for row in rows:
            kind: LinkKind = "uploader" if row.kind == "uploader" else "near-duplicate"
            if row.own == hub.own or row.kind == "table":
                continue
            detail = row.why.partition(": ")[2]
            # What names a clip that is gone, maybe because someone asked for that, goes as well.
            if kind == "near-duplicate" and not {*detail.split(" ~ ")} <= {*clip_ids}:
                detail = ""
            links.append(Link(a=hub.own, b=row.own, kind=kind, detail=detail))
    return links


def _rank(link: Link) -> tuple[bool, str, str, str]:
    """Order in which links are followed; those of a table have gone before."""
    first, second = sorted((link.a, link.b))
    return (link.kind == "uploader", first, second, link.detail)


def _renamed(clip: Clip, identities: Mapping[str, str]) -> Clip:
    name = None if clip.identity is None else identities.get(clip.identity, clip.identity)
    return clip if name == clip.identity else replace(clip, identity=name)


def _present(own_clips: Iterable[Clip], stored: Iterable[Member]) -> set[tuple[str, str]]:
    """Return source and own identity of all kept clips, and of joined sources without any now."""
    clips = list(own_clips)
    sources = {clip.source_id for clip in clips}
    kept = {(clip.source_id, clip.identity or "") for clip in clips if clip.status == "kept"}
    return kept | {(row.source_id, row.own) for row in stored if row.source_id in sources}


def _formerly(
    clips: Sequence[Clip],
    own_clips: Sequence[Clip],
    identities: Mapping[str, str],
    stored: Sequence[Member],
) -> dict[str, frozenset[str]]:
    """Return what each identity was called before, as far as the clips or the stored joins say."""
    before = {(row.source_id, row.own): row.identity for row in stored}
    found: dict[str, set[str]] = defaultdict(set)
    for clip, plain in zip(clips, own_clips, strict=True):
        if plain.status == "kept":
            own = plain.identity or ""
            now = identities.get(own, own)
            given = clip.identity or ""
            found[now].add(before.get((plain.source_id, own), given))
    return {name: frozenset(names) for name, names in found.items()}


class _Groups:
    """Groups of identities that grow by links (union-find), with the links that made them.

    Args:
        named: identity -> its name in a table; no group gets two names.
    """

    def __init__(self, named: Mapping[str, str]) -> None:
        self._tabled = frozenset(named)
        self._parent: dict[str, str] = {}
        self._name: dict[str, str] = {}
        """Root -> the name that a table gives to its group."""
        self._made: dict[str, list[tuple[str, str]]] = defaultdict(list)
        self._refused: list[tuple[str, str, str]] = []
        for name in named.values():
            self._name[self._root(name)] = name
        for own, name in sorted(named.items()):
            self.join(Link(a=own, b=name, kind="table"))

    def _root(self, node: str) -> str:
        self._parent.setdefault(node, node)
        while (above := self._parent[node]) != node:
            self._parent[node] = self._parent[above]
            node = above
        return node

    def join(self, link: Link) -> None:
        """Follow a link, unless it would give a group two names of a table."""
        a, b = sorted((self._root(link.a), self._root(link.b)))
        if a == b:
            return
        names = sorted({self._name[root] for root in (a, b) if root in self._name})
        if len(names) == 2:
            self._refused.append((names[0], names[1], link.why))
            return
        self._parent[b] = a
        if names:
            self._name[a] = names[0]
        self._made[link.a].append((link.b, link.why))
        self._made[link.b].append((link.a, link.why))

    def _groups(self) -> dict[str, set[str]]:
        """Return root -> the nodes of its group."""
        found: dict[str, set[str]] = defaultdict(set)
        for node in list(self._parent):
            found[self._root(node)].add(node)
        return found

    def identities(self, owns: Collection[str], in_use: Collection[str]) -> dict[str, str]:
        """Return own identity -> joined identity, for all that a table names or that are joined.

        Args:
            owns: identities that have clips; a group bears no other name than these and a table's.
            in_use: names to prefer.
        """
        found: dict[str, str] = {}
        for root, nodes in self._groups().items():
            present = nodes & set(owns)
            if not present:
                continue
            name = self._name.get(root) or min(present, key=lambda own: (own not in in_use, own))
            if present != {name} or present & self._tabled:
                found |= dict.fromkeys(present, name)
        return found

    def reasons(self) -> dict[str, str]:
        """Return identity -> why it is in its group: the link by which it is reached first."""
        found: dict[str, str] = {}
        for root, nodes in self._groups().items():
            start = self._name.get(root) or min(nodes)
            found[start] = _HUB
            reached = [start]
            while reached:
                further = []
                for node in reached:
                    for other, why in sorted(self._made[node]):
                        if other not in found:
                            found[other] = why
                            further.append(other)
                reached = further
        return found | dict.fromkeys(self._tabled, "table")

    def notes(self) -> tuple[str, ...]:
        """Return a line per pair of names of a table that something else would have joined."""
        reasons = {(a, b): why for a, b, why in reversed(self._refused)}
        return tuple(
            f"{a} and {b} stay two people, as the table says, although there is a reason to join "
            f"them ({why})"
            for (a, b), why in sorted(reasons.items())
        )
