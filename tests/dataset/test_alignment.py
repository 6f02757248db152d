from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tpbench.dataset import alignment
from tpbench.dataset.alignment import (
    COPY_BITS,
    HASHES_PER_S,
    HashedClip,
    find_pairs,
)
from tpbench.dataset.head_hash import N_BITS, Hashes, mirrored
from tpbench.work import Progress

CONTINUOUS_PER_S = 120


def film(seed: int, n_hashes: int) -> Hashes:
    """Hashes that have nothing to do with one another."""
    draw = np.random.default_rng(seed)
    return draw.integers(0, 2**63, (n_hashes, 2), dtype=np.uint64)


def continuous_film(seed: int, n_hashes: int) -> Hashes:
    """Hashes of which each differs from the one before in one bit."""
    draw = np.random.default_rng(seed)
    flips = np.zeros((n_hashes, 2), np.uint64)
    bits = draw.integers(0, N_BITS, n_hashes)
    flips[np.arange(n_hashes), bits // 64] = np.uint64(1) << (bits % 64).astype(np.uint64)
    made: Hashes = np.bitwise_xor.accumulate(flips, axis=0)
    return made


def clip(clip_id: str, hashes: Hashes, *, per_s: float = HASHES_PER_S) -> HashedClip:
    return HashedClip(
        clip_id=clip_id,
        group=clip_id,
        times_s=np.arange(len(hashes)) / per_s,
        hashes=hashes,
    )


def flipped(hashes: Hashes, n_bits: int) -> Hashes:
    """The hashes with their first bits inverted."""
    bits = np.unpackbits(hashes.astype(">u8").view(np.uint8), axis=1)
    bits[:, :n_bits] ^= 1
    packed: NDArray[np.uint64] = np.packbits(bits, axis=1).view(">u8").astype(np.uint64)
    return packed


@given(
    start=st.integers(min_value=0, max_value=40),
    length=st.integers(min_value=40, max_value=80),
    in_mirror=st.booleans(),
)
def test_a_piece_of_a_clip_is_found_with_its_shift(
    start: int, length: int, *, in_mirror: bool
) -> None:
    whole = film(1, 120)
    piece = whole[start : start + length]
    (pair,) = find_pairs(
        [
            clip("a", whole),
            clip("b", mirrored(piece) if in_mirror else piece),
            clip("c", film(2, 90)),
        ]
    )
    assert (pair.first, pair.second, pair.is_mirrored) == ("a", "b", in_mirror)
    assert pair.n_alike >= pair.n_common - 2  # at either end
    assert pair.shift_s == pytest.approx(-start / HASHES_PER_S, abs=1 / HASHES_PER_S)


@pytest.mark.parametrize("per_s", [6.0, 6.25, 7.5, 10.0])
@pytest.mark.parametrize("start", [0, 37])
def test_another_rate_hides_no_copy(per_s: float, start: int) -> None:
    shown = continuous_film(3, 1800)

    def filmed(clip_id: str, per_s: float, start: int) -> HashedClip:
        moments = start + np.round(np.arange(0, 10, 1 / per_s) * CONTINUOUS_PER_S).astype(int)
        return clip(clip_id, shown[moments], per_s=per_s)

    (pair,) = find_pairs([filmed("a", HASHES_PER_S, 0), filmed("b", per_s, start)])
    assert pair.share > 0.9
    assert pair.shift_s == pytest.approx(-start / CONTINUOUS_PER_S, abs=0.2)


def test_overlapping_ends_are_found() -> None:
    whole = film(4, 160)
    (pair,) = find_pairs([clip("a", whole[:100]), clip("b", whole[60:])])
    assert pair.n_common == pytest.approx(10, abs=1)
    assert pair.shift_s == pytest.approx(-60 / HASHES_PER_S, abs=1 / HASHES_PER_S)


def test_less_than_three_seconds_in_common_are_not_enough() -> None:
    whole = film(4, 160)
    assert not list(find_pairs([clip("a", whole[:80]), clip("b", whole[64:])]))


def test_of_a_shorter_clip_all_is_enough() -> None:
    whole = film(4, 160)
    (pair,) = find_pairs([clip("a", whole), clip("b", whole[50:66])])
    assert pair.n_alike == 4


def test_the_mean_distance_decides_up_to_the_limit() -> None:
    shown = film(5, 64)
    (pair,) = find_pairs([clip("a", shown), clip("b", flipped(shown, COPY_BITS))])
    assert pair.apart_bits == COPY_BITS
    assert not list(find_pairs([clip("a", shown), clip("b", flipped(shown, COPY_BITS + 1))]))


def test_a_few_other_pictures_hide_no_copy_and_many_are_none() -> None:
    shown = film(6, 64)
    for n_other, is_found in ((8, True), (24, False)):
        cut = shown.copy()
        cut[:n_other] = film(7, n_other)
        # From the fifth moment on both are equal: so long as the rest counts, too, that is a copy
        # only if the rest is short.
        pairs = list(find_pairs([clip("a", shown), clip("b", cut)]))
        assert bool(pairs) == is_found


def test_the_same_pictures_in_another_order_are_no_copy() -> None:
    shown = film(8, 128)
    shuffled = shown[np.random.default_rng(0).permutation(128)]
    assert not list(find_pairs([clip("a", shown), clip("b", shuffled)]))


def test_a_group_is_not_compared_within_itself_and_every_other_pair_once() -> None:
    shown = film(9, 64)
    clips = [
        replace(clip(f"{group}{number}", shown), group=group)
        for group in "xyz"
        for number in range(3)
    ]
    pairs = list(find_pairs(clips[::-1]))
    named = {(pair.first, pair.second) for pair in pairs}
    assert len(named) == len(pairs) == 27
    assert all(one < other and one[0] != other[0] for one, other in named)


def test_blocks_change_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = film(10, 400)
    clips = [clip(f"c{at}", shown[30 * at : 30 * at + 64]) for at in range(10)]
    whole = sorted(find_pairs(clips))
    monkeypatch.setattr(alignment, "_PAIRS_AT_ONCE", 50)
    assert sorted(find_pairs(clips)) == whole
    assert len(whole) == 9


def test_clips_without_hashes_match_nothing_and_are_counted() -> None:
    told: list[Progress] = []
    empty = [clip(name, film(0, 0)) for name in "ab"]
    assert not list(find_pairs(empty, listener=told.append))
    assert told[-1].done == told[-1].total == 2
    assert not list(find_pairs([]))


def test_frames_without_a_face_are_no_part_of_what_is_common() -> None:
    whole = clip("a", film(11, 80))
    seen = np.r_[0:20, 60:80]
    gapped = replace(
        whole, clip_id="b", group="b", times_s=whole.times_s[seen], hashes=whole.hashes[seen]
    )
    (pair,) = find_pairs([whole, gapped])
    assert pair.n_alike >= pair.n_common - 3
    assert pair.n_common <= 13


def test_unrelated_hashes_are_far_beyond_the_limit() -> None:
    assert N_BITS / 2 > 3 * COPY_BITS
    assert not list(find_pairs([clip(f"c{at}", film(at, 80)) for at in range(20, 40)]))


def test_hashes_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="want 3 hashes as"):
        HashedClip(clip_id="a", group="a", times_s=np.zeros(3), hashes=film(1, 4))
