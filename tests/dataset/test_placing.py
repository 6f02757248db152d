"""The test side resembles the whole as far as whole identities allow."""

from __future__ import annotations

from itertools import combinations
from typing import Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.dataset.rows import kept
from tpbench.dataset import Clip, SplitName
from tpbench.dataset.placing import distance, draw, place
from tpbench.dataset.strata import Strata, stratify

shares = st.floats(min_value=0.001, max_value=0.999)
seeds = st.integers(min_value=-(2**31), max_value=2**31)
YAWS: Final = (0.0, 10.0, 20.0, 30.0)
crowds = st.lists(
    st.lists(
        st.tuples(st.sampled_from(YAWS), st.sampled_from((50, 100, 200))), min_size=1, max_size=4
    ),
    min_size=2,
    max_size=14,
)
"""People, each with clips: turn of the head, and number of frames."""


def clips_of(crowd: list[list[tuple[float, int]]]) -> list[Clip]:
    return [
        kept(
            f"p{person:02}_{number}",
            identity=f"p{person:02}",
            n_frames=frames,
            measurements={"face_yaw_deg": yaw},
        )
        for person, its in enumerate(crowd)
        for number, (yaw, frames) in enumerate(its)
    ]


def distance_of(strata: Strata, test: set[str], share: float) -> float:
    table = np.column_stack([strata.clips, strata.counts])
    rows = [row for row, name in enumerate(strata.identities) if name in test]
    return float(distance(table[rows].sum(axis=0)[None], table.sum(axis=0), share)[0])


def on_test_side(sides: dict[str, SplitName]) -> set[str]:
    return {name for name, side in sides.items() if side == "test"}


@given(crowd=crowds, share=shares, seed=seeds)
def test_no_exchange_of_two_people_would_bring_the_test_side_closer(
    crowd: list[list[tuple[float, int]]], share: float, seed: int
) -> None:
    strata = stratify(clips_of(crowd))
    sides = place(strata, fixed={}, test_share=share, seed=seed)
    test = on_test_side(sides)
    share = len(test) / len(crowd)
    now = distance_of(strata, test, share)
    for leaving in test:
        for coming in sides.keys() - test:
            assert distance_of(strata, test - {leaving} | {coming}, share) >= now


@given(crowd=crowds, share=shares, seed=seeds)
def test_the_share_is_met_and_no_side_is_empty(
    crowd: list[list[tuple[float, int]]], share: float, seed: int
) -> None:
    test = on_test_side(place(stratify(clips_of(crowd)), fixed={}, test_share=share, seed=seed))
    assert 1 <= len(test) <= len(crowd) - 1
    assert abs(len(test) - share * len(crowd)) <= 1


@given(crowd=crowds, share=shares, seed=seeds, n_fixed=st.integers(0, 14), data=st.data())
def test_who_has_a_side_keeps_it(
    crowd: list[list[tuple[float, int]]],
    share: float,
    seed: int,
    n_fixed: int,
    data: st.DataObject,
) -> None:
    fixed: dict[str, SplitName] = {
        f"p{person:02}": data.draw(st.sampled_from(("train", "test")))
        for person in range(min(n_fixed, len(crowd)))
    }
    sides = place(stratify(clips_of(crowd)), fixed=fixed, test_share=share, seed=seed)
    assert {name: sides[name] for name in fixed} == fixed
    assert len(sides) == len(crowd)
    if len(fixed) < len(crowd):
        assert len({*sides.values()}) == 2


@pytest.mark.parametrize("seed", range(5))
def test_the_best_of_all_sides_is_found_or_nearly(seed: int) -> None:
    random = np.random.default_rng(seed)
    crowd = [
        [(float(yaw), int(frames)) for yaw, frames in zip(yaws, lengths, strict=True)]
        for yaws, lengths in zip(
            random.choice(YAWS, (10, 3)), random.choice((50, 100, 200), (10, 3)), strict=True
        )
    ]
    strata = stratify(clips_of(crowd))
    found = distance_of(strata, on_test_side(place(strata, fixed={}, test_share=0.3, seed=0)), 0.3)
    all_sides = [distance_of(strata, {*names}, 0.3) for names in combinations(strata.identities, 3)]
    assert sum(other < found for other in all_sides) <= 0.05 * len(all_sides)


def test_people_are_balanced_better_than_by_chance() -> None:
    random = np.random.default_rng(0)
    crowd = [
        [(float(yaw), 100)] * int(n)
        for yaw, n in zip(random.choice(YAWS, 200), random.integers(1, 5, 200), strict=True)
    ]
    strata = stratify(clips_of(crowd))
    found = distance_of(strata, on_test_side(place(strata, fixed={}, test_share=0.1, seed=0)), 0.1)
    by_hash = [
        distance_of(strata, {n for n in strata.identities if draw(n, seed) < 0.1}, 0.1)
        for seed in range(50)
    ]
    assert found < 0.01 * float(np.median(by_hash))
    assert found < min(by_hash)


@settings(max_examples=20)
@given(seed=seeds)
def test_another_seed_draws_other_people(seed: int) -> None:
    strata = stratify(clips_of([[(0.0, 100)]] * 60))
    first, second = (
        on_test_side(place(strata, fixed={}, test_share=0.5, seed=its)) for its in (seed, seed + 1)
    )
    assert first != second
