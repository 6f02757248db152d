from __future__ import annotations

import csv
import hashlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpbench.dataset import Clip, SplitInfo, assign_split, empty_side_warning
from tpbench.dataset.finishing import write_split_lists
from tpbench.foreign import from_spreadsheet_safe

if TYPE_CHECKING:
    from pathlib import Path

names = st.text(min_size=1, max_size=20)
shares = st.floats(min_value=0.001, max_value=0.999)
seeds = st.integers(min_value=-(2**31), max_value=2**31)


def test_side_is_that_of_the_documented_hash() -> None:
    value = int(hashlib.sha256(b"3:ann").hexdigest(), 16) / 2**256

    assert assign_split("ann", test_share=value + 1e-6, seed=3) == "test"
    assert assign_split("ann", test_share=value - 1e-6, seed=3) == "train"


@given(identity=names, low=shares, high=shares, seed=seeds)
def test_a_larger_share_only_adds_to_the_test_side(
    identity: str, low: float, high: float, seed: int
) -> None:
    low, high = sorted((low, high))

    if assign_split(identity, test_share=low, seed=seed) == "test":
        assert assign_split(identity, test_share=high, seed=seed) == "test"


@given(share=st.floats(min_value=0.05, max_value=0.95), seed=seeds)
def test_share_is_met_within_chance(share: float, seed: int) -> None:
    people = 2000
    sides = [assign_split(f"talk{i}", test_share=share, seed=seed) for i in range(people)]

    # Six standard deviations of a binomial count: no seed of a fair hash gets there.
    spread = 6 * (people * share * (1 - share)) ** 0.5
    assert abs(sides.count("test") - people * share) < spread


@given(seed=seeds)
def test_another_seed_draws_other_people(seed: int) -> None:
    def test_side(seed: int) -> set[int]:
        return {i for i in range(200) if assign_split(str(i), test_share=0.5, seed=seed) == "test"}

    assert test_side(seed) != test_side(seed + 1)


def test_only_an_empty_side_is_worth_a_warning() -> None:
    both = SplitInfo(test_share=0.5, seed=0, train_clips=1, test_clips=1)
    none = SplitInfo(test_share=0.5, seed=0)

    assert empty_side_warning(both) is None
    assert "the train and test side is empty" in (empty_side_warning(none) or "")


@pytest.mark.parametrize(
    "identity", ["=HYPERLINK(1)", "+1+1", "@SUM(1)", "-2+3", "\tx", "\rx", "'x"]
)
def test_no_identity_becomes_a_formula_and_all_are_read_as_they_were(
    tmp_path: Path, identity: str
) -> None:
    clip = Clip(
        clip_id="clip",
        status="kept",
        source_id="clip",
        source_path="clip.mp4",
        n_frames=1,
        fps_num=25,
        fps_den=1,
        identity=identity,
        split="test",
        clip_sha256="0" * 64,
        keypoints_sha256="0" * 64,
        pose_sha256="0" * 64,
    )

    path = next(path for path in write_split_lists(tmp_path, [clip]) if path.stem == "test")

    with path.open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert not row["identity"].startswith(("=", "+", "-", "@", "\t", "\r"))
    assert from_spreadsheet_safe(row["identity"]) == identity
