"""Identities are joined for a reason, the same ones in any order, and can be kept apart again."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dataset.rows import FAILED, kept, rejected
from tpbench.dataset import Clip
from tpbench.dataset.identities import (
    FEW_SOURCES,
    Joined,
    Link,
    LinkKind,
    join_identities,
    near_duplicate_links,
    read_members,
    uploader_links,
    without_joins,
    write_members,
)


def talk(name: str, **fields: object) -> Clip:
    """A kept clip of a source that is its own identity, as extractions make them."""
    return kept(f"{name}_0", **({"source_id": name, "identity": name} | fields))


def talks(*names: str) -> list[Clip]:
    return [talk(name) for name in names]


def link(a: str, b: str, kind: LinkKind = "uploader", detail: str = "Jane") -> Link:
    return Link(a=a, b=b, kind=kind, detail="" if kind == "table" else detail)


def people(joined: Joined) -> dict[str, str | None]:
    return {clip.source_id: clip.identity for clip in joined.clips}


def reasons(joined: Joined) -> dict[str, str]:
    return {row.source_id: row.why for row in joined.members}


def test_a_chain_of_reasons_makes_one_person_and_each_link_is_told() -> None:
    links = [link("a", "b"), link("b", "c", "near-duplicate", "b_0 ~ c_0")]
    joined = join_identities(talks("a", "b", "c", "d"), stored=(), links=links)
    assert people(joined) == {"a": "a", "b": "a", "c": "a", "d": "d"}
    assert reasons(joined) == {
        "a": "the others were joined to it",
        "b": "uploader: Jane",
        "c": "near-duplicate: b_0 ~ c_0",
    }


pairs = st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("abcdefgh"))


@given(pairs=st.lists(pairs, max_size=12), order=st.randoms(use_true_random=False))
def test_the_order_of_links_and_rows_changes_nothing(
    pairs: list[tuple[str, str]], order: random.Random
) -> None:
    links = [link(a, b, "uploader", "Jane") for a, b in pairs]
    once = join_identities(talks(*"abcdefgh"), stored=(), links=links)
    order.shuffle(links)
    again = join_identities(talks(*"hgfedcba"), stored=(), links=links)
    assert people(again) == people(once)
    # All that are linked are one person, and a person is the smallest of its members.
    for a, b in pairs:
        assert people(once)[a] == people(once)[b]
    assert all(str(name) <= source for source, name in people(once).items())


@given(first=st.lists(pairs, max_size=6), second=st.lists(pairs, max_size=6))
def test_joins_in_two_steps_are_those_in_one(
    first: list[tuple[str, str]], second: list[tuple[str, str]]
) -> None:
    rows = talks(*"abcdefgh")
    links = [[link(a, b) for a, b in given] for given in (first, second)]
    step = join_identities(rows, stored=(), links=links[0])
    twice = join_identities(step.clips, stored=step.members, links=links[1])
    from_rows = join_identities(rows, stored=step.members, links=links[1])
    assert people(twice) == people(from_rows)
    assert people(twice) == people(join_identities(rows, stored=(), links=links[0] + links[1]))


@given(given_pairs=st.lists(pairs, max_size=12))
def test_undoing_all_joins_gives_the_identities_of_before(
    given_pairs: list[tuple[str, str]],
) -> None:
    rows = talks(*"abcdefgh")
    joined = join_identities(rows, stored=(), links=[link(a, b) for a, b in given_pairs])
    assert without_joins(joined.clips, joined.members) == rows
    undone = join_identities(joined.clips, stored=joined.members, afresh=True)
    assert (undone.clips, undone.members) == (rows, ())
    assert undone.formerly == {name: {people(joined)[name]} for name in "abcdefgh"}


def test_a_table_names_people_and_keeps_apart_what_else_would_be_joined() -> None:
    links = [
        link("a", "Ann", "table"),
        link("b", "Bob", "table"),
        link("a", "b"),
        link("c", "b"),
    ]
    joined = join_identities(talks("a", "b", "c"), stored=(), links=links)
    assert people(joined) == {"a": "Ann", "b": "Bob", "c": "Bob"}
    assert reasons(joined) == {"a": "table", "b": "table", "c": "uploader: Jane"}
    (said,) = joined.notes
    assert said.startswith("Ann and Bob stay two people, as the table says, although")
    assert said.endswith("(uploader: Jane)")


def test_a_later_table_takes_apart_what_an_uploader_joined() -> None:
    before = join_identities(talks("a", "b"), stored=(), links=[link("a", "b")])
    table = [link("a", "a", "table"), link("b", "b", "table")]
    joined = join_identities(before.clips, stored=before.members, links=table)
    assert people(joined) == {"a": "a", "b": "b"}
    later = join_identities(joined.clips, stored=joined.members, links=[link("a", "b")])
    assert people(later) == {"a": "a", "b": "b"}


def test_a_name_in_use_stays_although_a_smaller_one_comes() -> None:
    joined = join_identities(talks("a", "b"), stored=(), links=[link("a", "b")], in_use={"b"})
    assert people(joined) == {"a": "b", "b": "b"}


def test_nobody_is_called_by_what_is_gone() -> None:
    links = [link("a", "b", "near-duplicate", "a_0 ~ b_0"), link("b", "c")]
    before = join_identities(talks("a", "b", "c"), stored=(), links=links)
    joined = join_identities(talks("b", "c"), stored=before.members)
    assert people(joined) == {"b": "b", "c": "b"}
    told = "".join(f"{row.identity}{row.why}" for row in joined.members)
    assert "a_0" not in told
    assert {row.identity for row in joined.members} == {"b"}


def test_a_source_that_lost_its_clips_for_now_is_remembered() -> None:
    before = join_identities(talks("a", "b"), stored=(), links=[link("a", "Ann", "table")])
    gone = [talk("b"), rejected("a_1", source_id="a", identity="a")]
    between = join_identities(gone, stored=before.members)
    back = join_identities(talks("a", "b"), stored=between.members)
    assert people(back) == {"a": "Ann", "b": "b"}


def test_few_sources_of_an_uploader_are_one_person_and_many_are_not() -> None:
    few = [talk(f"j{n}", uploader=" Jane  Doe") for n in range(3)]
    many = [talk(f"c{n:02}", uploader="Conference") for n in range(FEW_SOURCES + 1)]
    others = [talk("x"), talk("y", uploader=""), FAILED]
    rows = [*few, *many, *others]

    links, (said,) = uploader_links(rows, rule="few")
    assert {(one.a, one.b) for one in links} == {("j0", "j1"), ("j0", "j2")}
    assert {one.why for one in links} == {"uploader: Jane Doe"}
    assert "Conference (21 sources)" in said
    assert uploader_links(rows, rule="none") == ([], ())
    assert len(uploader_links(rows, rule="all")[0]) == 2 + FEW_SOURCES


def test_an_uploader_once_joined_stays_so_when_it_gets_many_sources() -> None:
    rows = [talk(f"j{n:02}", uploader="Jane") for n in range(FEW_SOURCES)]
    links, _ = uploader_links(rows, rule="few")
    joined = join_identities(rows, stored=(), links=links)
    rows += [talk(f"j{n:02}", uploader="Jane") for n in range(FEW_SOURCES, FEW_SOURCES + 5)]
    links, said = uploader_links(rows, rule="few", stored=joined.members)
    again = join_identities(rows, stored=joined.members, links=links)
    assert {*people(again).values()} == {"j00"}
    assert said == ()


def test_near_duplicates_join_the_people_of_kept_clips() -> None:
    rows = [talk("a"), talk("b"), rejected("c_0", source_id="c", identity="c")]
    links = near_duplicate_links(rows, [("b_0", "a_0"), ("a_0", "c_0"), ("a_0", "nobody")])
    assert [(one.a, one.b, one.why) for one in links] == [("a", "b", "near-duplicate: a_0 ~ b_0")]


def test_two_clips_of_another_person_in_one_source_stay_two_people() -> None:
    rows = [kept("s_0", source_id="s", identity="ann"), kept("s_1", source_id="s", identity="bob")]
    joined = join_identities([*rows, talk("t")], stored=(), links=[link("ann", "t")])
    assert [clip.identity for clip in joined.clips] == ["ann", "bob", "ann"]
    assert without_joins(joined.clips, joined.members) == [*rows, talk("t")]


@given(
    names=st.lists(
        st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=8),
        min_size=2,
        max_size=4,
        unique=True,
    )
)
def test_what_is_written_is_read_again(
    names: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("members")
    rows = [kept(f"c_{n}", source_id=f"s{n}", identity=name) for n, name in enumerate(names)]
    links = [link(names[0], name, "uploader", '=Jane, "J"') for name in names[1:]]
    joined = join_identities(rows, stored=(), links=links)
    write_members(folder, joined.members)
    assert sorted(read_members(folder), key=lambda row: row.source_id) == sorted(
        joined.members, key=lambda row: row.source_id
    )
    write_members(folder, ())
    assert read_members(folder) == ()
