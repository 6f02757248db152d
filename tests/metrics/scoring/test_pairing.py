from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.metrics.scoring.clips import pictures, write_pictures
from tpbench.errors import ConfigError, SubmissionError
from tpbench.metrics.scoring.pairing import (
    Pair,
    Pairing,
    RealClip,
    lines_of,
    pair_up,
    read_identities,
    real_clips,
    videos_below,
    with_identities,
)


def test_each_kind_of_thing_is_one_line_with_its_count_and_an_example() -> None:
    said = lines_of(
        ["first"],
        ["x", "y", "z"],
        {
            "b": ["truncated: 3, not 4"],
            "a": ["truncated: 1, not 2", "resized: small"],
            "c": [],
            "d": ["bare"],
        },
    )
    assert said == (
        "first",
        "generated, but no real clip has the name, so not scored: 'x' and 2 more",
        "truncated: 2 clips, such as 'a': 1, not 2",
        "resized: 1 clip, 'a': small",
        "bare: 1 clip, 'd'",
    )


def test_where_nothing_happened_nothing_is_said() -> None:
    assert lines_of([], [], {"a": []}) == ()


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
        ("a,x\nb,y\u200bz\n", r"line 3: 'y\\u200bz' contains an invisible character"),
        ("a,x\n\ufeffclip,identity\n", r"line 3: '\\ufeffclip' contains an invisible"),
        ("a,x\ty\n", r"line 2: 'x\\ty' contains an invisible"),
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
        ("\ufeff\ufeffclip,identity", "an invisible character"),
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


def test_a_table_with_the_endings_of_the_videos_gets_a_hint() -> None:
    pairing = matched("ab", "ab")
    with pytest.raises(ConfigError, match=r"'a'; write it without the ending of 'a\.mp4'"):
        with_identities(pairing, {"a.mp4": "ann", "b.mp4": "bob"}, Path("t.csv"))


def test_every_pair_gets_its_identity() -> None:
    pairs = tuple(Pair(clip_id=name, real=Path(), generated=Path(), identity="?") for name in "ab")
    pairing = Pairing(pairs=pairs, missing=("m",), extra=("e",))
    found = with_identities(pairing, {"a": "x", "b": "y", "other": "z"}, Path("people.csv"))
    assert [(pair.clip_id, pair.identity) for pair in found.pairs] == [("a", "x"), ("b", "y")]
    assert (found.missing, found.extra) == (("m",), ("e",))
    with pytest.raises(ConfigError) as caught:
        with_identities(pairing, {"b": "y"}, Path("people.csv"))
    assert str(caught.value) == "people.csv: has no identity for 1 clip, the first is 'a'"


NFC, NFD = "Jos\u00e9", "Jose\u0301"


def matched(real: Iterable[str], generated: Iterable[str]) -> Pairing:
    """Generated names stand where paths do; a path would not keep all of them."""
    return pair_up(
        {name: RealClip(path=Path()) for name in real},
        {name: cast("Path", name) for name in generated},
    )


def names_of(pairing: Pairing) -> dict[str, str]:
    return {pair.clip_id: str(pair.generated) for pair in pairing.pairs}


@pytest.mark.parametrize(("real", "generated"), [(NFC, NFD), (NFD, NFC)])
def test_names_in_another_unicode_form_are_matched_and_said(real: str, generated: str) -> None:
    found = matched([real, "a"], [generated, "a"])
    assert names_of(found) == {"a": "a", real: generated}
    assert (found.missing, found.extra) == ((), ())
    forms = "real NFC, generated NFD" if real == NFC else "real NFD, generated NFC"
    assert found.notes == (
        f"names in another Unicode form, taken for the same: 1, such as '{real}' ({forms})",
    )


def test_hangul_and_marks_in_another_order_are_matched_too() -> None:
    # Two marks below and above in either order; a syllable as one sign or as three.
    real, generated = ["q\u0323\u0307", "\ud55c"], ["q\u0307\u0323", "\u1112\u1161\u11ab"]
    assert len(matched(real, generated).pairs) == 2


@pytest.mark.parametrize(
    ("real", "generated", "side"),
    [([NFC, NFD], [NFC], "real"), ([NFC], [NFC, NFD], "generated"), ([NFC, NFD], [NFD], "real")],
)
def test_a_name_in_two_forms_on_one_side_is_refused_and_shown_sign_by_sign(
    real: list[str], generated: list[str], side: str
) -> None:
    with pytest.raises(SubmissionError) as refused:
        matched(real, generated)
    assert str(refused.value) == (
        rf"two {side} clips have one name in two Unicode forms ('Jose\u0301' and 'Jos\xe9'): "
        "rename one"
    )


def test_the_same_two_forms_on_both_sides_are_two_clips() -> None:
    assert names_of(matched([NFC, NFD], [NFD, NFC])) == {NFC: NFC, NFD: NFD}


def test_two_forms_of_a_name_that_nothing_was_generated_for_are_two_missing_clips() -> None:
    assert matched([NFC, NFD, "a"], ["a"]).missing == (NFD, NFC)


@pytest.mark.parametrize(
    ("real", "generated", "what"),
    [
        ("Clip01", "clip01", "upper and lower case"),
        ("clip 01", "clip01", "blanks or look-alike signs"),
        ("clip", "clip ", "blanks or look-alike signs"),
        ("\uff21", "A", "blanks or look-alike signs"),
        ("stra\u00dfe", "STRASSE", "upper and lower case"),
    ],
)
def test_names_that_look_alike_are_no_match_but_a_hint(
    real: str, generated: str, what: str
) -> None:
    found = matched([real, "b"], [generated, "b"])
    assert names_of(found) == {"b": "b"}
    assert found.hints == {real: f"there is '{generated}', which differs in {what}"}


def test_a_folder_of_pictures_with_the_ending_of_a_video_gets_a_hint() -> None:
    assert matched(["sub/a", "b"], ["sub/a.mp4", "b"]).hints == {
        "sub/a": "there is 'sub/a.mp4', a folder with the ending of a video: take that off"
    }


@given(st.sets(st.text(max_size=3)), st.sets(st.text(max_size=3)))
def test_every_name_is_matched_missing_or_extra_once(real: set[str], generated: set[str]) -> None:
    real, generated = real | {"both"}, generated | {"both"}
    try:
        found = matched(real, generated)
    except SubmissionError:
        return
    names = names_of(found)
    assert sorted([*names, *found.missing]) == sorted(real)
    assert sorted([*names.values(), *found.extra]) == sorted(generated)
    assert real & generated == {name for name, other in names.items() if name == other}


def touch(folder: Path, names: Iterable[str]) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def test_videos_and_frame_folders_are_found_by_relative_path(tmp_path: Path) -> None:
    touch(
        tmp_path,
        ["b.mp4", "A.MKV", "sub/c.v2.webm", "notes.txt", "sub/.d.mp4", ".git/e.mp4", "pose.npz"],
    )
    write_pictures(tmp_path / "sub" / "take.1", pictures(1))
    (tmp_path / "empty").mkdir()

    found = videos_below(tmp_path)

    assert found == {
        "A": tmp_path / "A.MKV",
        "b": tmp_path / "b.mp4",
        "sub/c.v2": tmp_path / "sub" / "c.v2.webm",
        "sub/take.1": tmp_path / "sub" / "take.1",
    }


def test_a_poster_beside_a_video_is_no_clip(tmp_path: Path) -> None:
    touch(tmp_path, ["sub/talk.mp4", "sub/poster.jpg"])
    assert videos_below(tmp_path) == {"sub/talk": tmp_path / "sub" / "talk.mp4"}


def test_clip_ids_are_found_wherever_they_lie(tmp_path: Path) -> None:
    touch(tmp_path, ["talk_0_10.mp4", "deep/er/talk_1_10.mp4"])
    assert sorted(videos_below(tmp_path, by_own_name=True)) == ["talk_0_10", "talk_1_10"]


@pytest.mark.parametrize("names", [["a.mp4", "a.mkv"], ["a.mp4", "a/0.png"]])
def test_two_of_one_name_are_refused(names: list[str], tmp_path: Path) -> None:
    touch(tmp_path, names)
    with pytest.raises(SubmissionError, match=r"are both 'a': keep one"):
        videos_below(tmp_path)


def test_a_clip_id_in_two_folders_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, ["one/talk.mp4", "two/talk.mp4"])
    assert len(videos_below(tmp_path)) == 2
    with pytest.raises(SubmissionError, match=r"one/talk.mp4 and .*two/talk.mp4 are both 'talk'"):
        videos_below(tmp_path, by_own_name=True)


def test_pairs_are_in_order_and_what_has_no_partner_is_listed() -> None:
    real = {
        name: RealClip(path=Path("r") / name, identity=name[0]) for name in ("b", "a", "d", "c")
    }
    generated = {name: Path("g") / name for name in ("c", "x", "b", "e")}
    pairing = pair_up(real, generated)
    assert [pair.clip_id for pair in pairing.pairs] == ["b", "c"]
    assert [pair.identity for pair in pairing.pairs] == ["b", "c"]
    assert (pairing.pairs[0].real, pairing.pairs[0].generated) == (Path("r/b"), Path("g/b"))
    assert pairing.missing == ("a", "d")
    assert pairing.extra == ("e", "x")
    assert pairing.n_expected == 4


def test_no_match_at_all_shows_a_name_of_each_side() -> None:
    real = {name: RealClip(path=Path(name)) for name in ("talk/one", "talk/two")}
    with pytest.raises(SubmissionError) as caught:
        pair_up(real, {"one": Path("one.mp4")})
    assert str(caught.value) == (
        "no generated video has the name of a real one: 2 real (first: 'talk/one'), "
        "1 generated (first: 'one'); name them by clip id or relative path"
    )
    with pytest.raises(SubmissionError, match="0 generated; name them"):
        pair_up(real, {})


def test_videos_in_the_clip_folder_of_a_dataset_are_named_by_clip_id(tmp_path: Path) -> None:
    clips = touch(tmp_path / "clips", ["5a/talk.mp4", "talk2.mp4"])
    assert set(videos_below(clips)) == {"5a/talk", "talk2"}
    (tmp_path / "dataset.json").touch()
    assert set(videos_below(clips)) == set(real_clips(clips)) == {"talk", "talk2"}
    assert set(videos_below(touch(tmp_path / "other", ["5a/talk.mp4"]))) == {"5a/talk"}


def test_a_folder_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone: no such folder"):
        videos_below(tmp_path / "gone")
    with pytest.raises(ConfigError, match=r"gone: no such folder"):
        real_clips(tmp_path / "gone")
    with pytest.raises(ConfigError, match="holds no clip to score against"):
        real_clips(tmp_path)
    with pytest.raises(ConfigError, match=r"is no dataset .*so it has no split 'test'"):
        real_clips(touch(tmp_path, ["a.mp4"]), split="test")


def test_links_to_folders_are_followed_and_links_back_up_are_not(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere", ["b.mp4"])
    root = touch(tmp_path / "root", ["a.mp4", "left/l.mp4", "right/r.mp4"])
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "left" / "up").symlink_to(root)
    (root / "left" / "over").symlink_to(root / "right")
    (root / "right" / "over").symlink_to(root / "left")
    found = set(videos_below(root))
    assert found >= {"a", "linked/b", "left/l", "left/over/r", "right/r", "right/over/l"}
    assert len(found) == 6


def test_a_folder_of_one_clips_pictures_says_where_they_belong(tmp_path: Path) -> None:
    write_pictures(tmp_path, pictures(2))
    with pytest.raises(ConfigError, match="give each clip a folder of its own"):
        videos_below(tmp_path)


def test_a_name_that_is_no_text_is_one_clear_line(tmp_path: Path) -> None:
    touch(tmp_path, ["good.mp4", os.fsdecode(b"caf\xe9.mp4")])
    with pytest.raises(SubmissionError, match=r"the name of 'caf\\udce9' is not UTF-8"):
        videos_below(tmp_path)
