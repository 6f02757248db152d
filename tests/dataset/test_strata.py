"""Classes of clips: about equal ones, one for what was not measured, and their shares."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dataset.rows import kept
from tpbench.dataset import Clip
from tpbench.dataset.strata import TRAITS, balance, largest_difference, stratify


def clips_with(name: str, values: list[float | None]) -> list[Clip]:
    return [
        kept(
            f"c{n:04}",
            identity=f"p{n:04}",
            measurements={} if value is None else {name: value},
        )
        for n, value in enumerate(values)
    ]


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        ([1.0, 2.0, 3.0, 4.0], {"below 2": 1, "2 to 3": 1, "3 to 4": 1, "at least 4": 1}),
        # Most have the largest value: what lies below it can be divided, it can't.
        ([0.2, 0.4, 1.0, 1.0, 1.0, 1.0], {"below 1": 2, "at least 1": 4}),
        ([5.0, 5.0, 5.0], {"all": 3}),
        ([5.0, None, 5.0, None], {"all": 2, "not measured": 2}),
        ([None, None], {"not measured": 2}),
    ],
)
def test_classes_are_quartiles_as_far_as_values_differ(
    values: list[float | None], classes: dict[str, int]
) -> None:
    rows = balance(clips_with("face_yaw_deg", values))
    found = {
        row.range_text: round(row.whole_share * len(values)) for row in rows if row.trait == "yaw"
    }
    assert found == classes


@given(values=st.lists(st.floats(0, 90) | st.none(), min_size=1, max_size=40))
def test_every_clip_is_in_one_class_of_each_trait(values: list[float | None]) -> None:
    strata = stratify(clips_with("face_yaw_deg", values))
    assert strata.clips.tolist() == [1] * len(values)
    for trait in TRAITS:
        columns = [at for at, (of, *_) in enumerate(strata.classes) if of == trait]
        assert (strata.counts[:, columns].sum(axis=1) == 1).all()
    assert (strata.counts.sum(axis=0) > 0).all()


def test_hands_are_those_of_the_first_measurement_there_is() -> None:
    hands = next(trait for trait in TRAITS if trait.name == "hands")
    both = kept(measurements={"both_hands_share": 0.25, "one_hand_share": 0.75})
    one = kept(measurements={"one_hand_share": 0.75})
    assert (hands.value(both), hands.value(one)) == (0.25, 0.75)


def test_balance_compares_the_test_side_with_the_whole() -> None:
    rows = clips_with("face_yaw_deg", [1.0, 1.0, 30.0, 30.0])
    sides = ("train", "train", "test", "train")
    split = [replace(row, split=side) for row, side in zip(rows, sides, strict=True)]  # type: ignore[arg-type]
    low, high = (row for row in balance(split) if row.trait == "yaw")
    assert (low.whole_share, low.train_share, low.test_share) == (0.5, 2 / 3, 0.0)
    assert (high.whole_share, high.train_share, high.test_share) == (0.5, 1 / 3, 1.0)
    widest = largest_difference(balance(split))
    assert widest is not None
    assert widest.difference == -0.5
    assert all(row.difference is None for row in balance(rows))
    assert largest_difference(balance(rows)) is None


def test_nothing_has_no_classes() -> None:
    assert balance([]) == ()
    assert stratify([]).identities == ()
