from __future__ import annotations

import os
from pathlib import Path

import pytest

from tpbench.errors import ConfigError
from tpbench.metrics.scoring.pairing import Pair, Pairing, read_identities, with_identities


def table(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "people.csv"
    path.write_text(text, encoding=encoding, newline="")
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_table_is_read_whoever_wrote_it(encoding: str, end: str, tmp_path: Path) -> None:
    lines = ["clip,split,identity", '"sub/a, b",test,Zoë', "c,train,Zoë"]

    found = read_identities(table(tmp_path, end.join(lines), encoding))

    assert found == {"sub/a, b": "Zoë", "c": "Zoë"}


def test_blanks_beside_commas_make_nobody_another_person(tmp_path: Path) -> None:
    found = read_identities(table(tmp_path, "clip , identity\na, Zoë\nb,Zoë \n"))

    assert found == {"a": "Zoë", "b": "Zoë"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("clip,who\na,b\n", "want the columns 'clip' and 'identity', found clip, who"),
        ("", "want the columns 'clip' and 'identity', found none"),
        ("clip,identity\na,x\na,y\n", "people.csv, line 3: clip 'a' comes twice"),
        ("clip,identity\na, \n", "people.csv, line 2: clip 'a' lacks a name"),
        ("clip,identity\na,\n", "people.csv, line 2: clip 'a' lacks a name"),
        ("clip,identity\na\n", "line 2: clip 'a' lacks a name: 1 fields, where the head has 2"),
        ("clip,identity\n,x\n", "people.csv, line 2: clip '' lacks a name"),
        ("clip,identity\n\nb,\n", "people.csv, line 3: clip 'b' lacks a name"),
    ],
)
def test_a_table_that_says_too_little_is_refused(text: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=complaint):
        read_identities(table(tmp_path, text))


def test_what_is_no_table_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_bytes(b"clip,identity\n\xff\xfe,b\n")
    os.mkfifo(tmp_path / "pipe.csv")
    for name in ("people.csv", "gone.csv", "pipe.csv", ""):
        with pytest.raises(ConfigError, match=r": no table that can be read"):
            read_identities(tmp_path / name)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a,Doe, Ann\nb,Doe, Bob\n", "line 2: 3 fields, where the head has 2: put a field that h"),
        ("a,x\nb,y,\n", "line 3: 3 fields, where the head has 2"),
        ('a,"Doe, Ann\nb,Doe"\n', "line 2: has a double quote that can be read in two ways"),
        ('a,"Doe, Ann\n', "line 2: has a double quote"),
        ('a,x\nb,Ann "Bee" Doe\n', "line 3: has a double quote"),
        ('a, "Doe, Ann"\n', "line 2: has a double quote"),
        ('a,"Doe" Ann\n', "line 2: has a double quote"),
        ("a,x\na,x\n", "line 3: clip 'a' comes twice"),
        ("\u00e9,x\ne\u0301,y\n", "line 3: clip '\u00e9' comes twice"),
        ("a,x\nb,y\0z\n", "line 3: no table that can be read .a NUL byte"),
        ("a,x\nb,y\u200bz\n", r"line 3: 'y\\u200bz' has a character that can't be seen"),
        ("a,x\n\ufeffclip,identity\n", r"line 3: '\\ufeffclip' has a character"),
        ("a,x\ty\n", r"line 2: 'x\\ty' has a character"),
        ('a,""\n', "line 2: clip 'a' lacks a name"),
        ("a,\u00a0\n", "line 2: clip 'a' lacks a name"),
    ],
)
def test_a_line_that_can_be_read_in_two_ways_is_refused_with_its_number(
    text: str, complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=rf"people\.csv, {complaint}"):
        read_identities(table(tmp_path, f"clip,identity\n{text}"))


@pytest.mark.parametrize(
    ("head", "complaint"),
    [
        ("clip,identity,identity", "two columns are called 'identity'"),
        ("clip,identity,Identity", "two columns are called 'Identity'"),
        ("clip,identity,", "column 3 has no name"),
        ("clip;identity", "fields are separated by ';': save it with commas"),
        ("clip\tidentity", "fields are separated by tabs: save it with commas"),
        ("clip|identity", r"fields are separated by '\|'"),
        ("Clip,Identity", "want the columns 'clip' and 'identity', found Clip, Identity"),
        ("a,Ann", "want the columns 'clip' and 'identity', found a, Ann"),
        ("\ufeff\ufeffclip,identity", "a character that can't be seen"),
    ],
)
def test_a_head_that_can_be_read_in_two_ways_is_refused(
    head: str, complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=rf"people\.csv, line 1: .*{complaint}"):
        read_identities(table(tmp_path, f"{head}\na,x\n"))


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1", "utf-16-le"])
def test_a_table_in_another_encoding_is_refused_with_the_line(
    encoding: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"people\.csv, line [12]: no table that can be read"):
        read_identities(table(tmp_path, "clip,identity\na,Zo\u00eb\n", encoding))


def test_names_with_commas_and_quotes_are_read_where_they_are_quoted(tmp_path: Path) -> None:
    text = 'clip,identity\r\n"a, b","Doe, Ann ""Bee"""\rc,O\'Neil\n\n'
    assert read_identities(table(tmp_path, text)) == {"a, b": 'Doe, Ann "Bee"', "c": "O'Neil"}


def test_one_person_spelt_in_two_unicode_forms_is_one_person(tmp_path: Path) -> None:
    found = read_identities(table(tmp_path, "clip,identity\na,Jos\u00e9\nb,Jose\u0301\n"))
    assert found["a"] == found["b"]


def test_clips_that_are_not_there_and_people_that_look_alike_are_said() -> None:
    pairs = tuple(Pair(clip_id=name, real=Path(), generated=Path()) for name in "ab")
    pairing = Pairing(pairs=pairs, missing=("m",), extra=(), notes=("before",))
    people = {"a": "Ann", "b": "ann ", "m": "x", "u": "y", "z": "y"}

    assert with_identities(pairing, people, Path("some/people.csv")).notes == (
        "before",
        "people.csv names clips that are not there: 'u' and 1 more",
        "identities 'Ann' and 'ann ' count as two people",
    )


def test_every_pair_gets_its_identity() -> None:
    pairs = tuple(Pair(clip_id=name, real=Path(), generated=Path(), identity="?") for name in "ab")
    pairing = Pairing(pairs=pairs, missing=("m",), extra=("e",))

    found = with_identities(pairing, {"a": "x", "b": "y", "other": "z"}, Path("people.csv"))

    assert [(pair.clip_id, pair.identity) for pair in found.pairs] == [("a", "x"), ("b", "y")]
    assert (found.missing, found.extra) == (("m",), ("e",))
    with pytest.raises(ConfigError) as caught:
        with_identities(pairing, {"b": "y"}, Path("people.csv"))
    assert str(caught.value) == "people.csv: has no identity for 1 clips, the first is 'a'"
