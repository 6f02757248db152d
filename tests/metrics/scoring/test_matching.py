from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpbench.errors import SubmissionError
from tpbench.metrics.scoring.pairing import match_names

NFC, NFD = "Jos\u00e9", "Jose\u0301"


@pytest.mark.parametrize(("real", "generated"), [(NFC, NFD), (NFD, NFC)])
def test_names_in_another_unicode_form_are_matched_and_said(real: str, generated: str) -> None:
    found = match_names([real, "a"], [generated, "a"])

    assert found.pairs == {"a": "a", real: generated}
    assert (found.missing, found.extra) == ((), ())
    forms = "real NFC, generated NFD" if real == NFC else "real NFD, generated NFC"
    assert found.notes == (
        f"names in another Unicode form, taken for the same: 1, such as '{real}' ({forms})",
    )


def test_hangul_and_marks_in_another_order_are_matched_too() -> None:
    # Two marks below and above in either order; a syllable as one sign or as three.
    real, generated = ["q\u0323\u0307", "\ud55c"], ["q\u0307\u0323", "\u1112\u1161\u11ab"]
    assert len(match_names(real, generated).pairs) == 2


@pytest.mark.parametrize(
    ("real", "generated", "side"),
    [([NFC, NFD], [NFC], "real"), ([NFC], [NFC, NFD], "generated"), ([NFC, NFD], [NFD], "real")],
)
def test_a_name_in_two_forms_on_one_side_is_refused_and_shown_sign_by_sign(
    real: list[str], generated: list[str], side: str
) -> None:
    with pytest.raises(SubmissionError) as refused:
        match_names(real, generated)
    assert str(refused.value) == (
        rf"two {side} clips have one name in two Unicode forms ('Jose\u0301' and 'Jos\xe9'): "
        "rename one"
    )


def test_the_same_two_forms_on_both_sides_are_two_clips() -> None:
    assert match_names([NFC, NFD], [NFD, NFC]).pairs == {NFC: NFC, NFD: NFD}


def test_two_forms_of_a_name_that_nothing_was_generated_for_are_two_missing_clips() -> None:
    assert match_names([NFC, NFD, "a"], ["a"]).missing == (NFD, NFC)


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
    found = match_names([real, "b"], [generated, "b"])
    assert found.pairs == {"b": "b"}
    assert found.hints == {real: f"there is '{generated}', which differs in {what}"}


def test_a_folder_of_pictures_with_the_ending_of_a_video_gets_a_hint() -> None:
    assert match_names(["sub/a", "b"], ["sub/a.mp4", "b"]).hints == {
        "sub/a": "there is 'sub/a.mp4', a folder with the ending of a video: take that off"
    }


@given(st.sets(st.text(max_size=3)), st.sets(st.text(max_size=3)))
def test_every_name_is_matched_missing_or_extra_once(real: set[str], generated: set[str]) -> None:
    try:
        found = match_names(real, generated)
    except SubmissionError:
        return
    assert sorted([*found.pairs, *found.missing]) == sorted(real)
    assert sorted([*found.pairs.values(), *found.extra]) == sorted(generated)
    assert real & generated == {name for name, other in found.pairs.items() if name == other}
