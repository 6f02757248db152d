from __future__ import annotations

from tpbench.metrics.scoring.pairing import lines_of


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
