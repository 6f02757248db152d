from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from tpbench.metrics import bootstrap
from tpbench.metrics.bootstrap import (
    Estimate,
    Interval,
    contrast,
    finite_mean,
    mean_over_identities,
    paired_difference,
)

NAN, INF = float("nan"), float("inf")
PEOPLE = ["ada", "ben", "cyd", "dov", "eva", "fay", "gil", "hal"]


def ends_of(estimate: Estimate) -> tuple[float, float]:
    assert estimate.interval.low is not None
    assert estimate.interval.high is not None
    return estimate.interval.low, estimate.interval.high


Person = list[float]


def mean_and_error(people: list[Person]) -> tuple[float, float]:
    everything = [value for person in people for value in person]
    mean = sum(everything) / len(everything)
    squares = sum(sum(value - mean for value in person) ** 2 for person in people)
    share = len(people) / (len(people) - 1)
    return mean, math.sqrt(share * squares) / len(everything)


def reference_plain_hull(
    people: list[Person], level: float, n_resamples: int, seed: int
) -> tuple[float, float]:
    """Person by person: Student with the jackknife's error, and bootstrap-t drawn both ways."""
    mean, error = mean_and_error(people)
    count = len(people)
    without = [mean_and_error(people[:k] + people[k + 1 :])[0] for k in range(count)]
    jackknife = math.sqrt((count - 1) / count * sum((one - mean) ** 2 for one in without))
    sizes = [len(person) for person in people]
    degrees = sum(sizes) ** 2 / sum(size**2 for size in sizes) - 1
    tail = (1 - level) / 2
    student = float(stats.t.ppf(1 - tail, degrees)) * jackknife

    people = sorted(people, key=lambda person: (len(person), sum(person)))
    turned = [
        person
        for size in sorted(set(sizes))
        for person in reversed([person for person in people if len(person) == size])
    ]
    draws = np.random.default_rng(seed).integers(0, count, size=(n_resamples // 2, count))
    scores = []
    for order in (people, turned):
        for draw in draws:
            drawn_mean, drawn_error = mean_and_error([order[k] for k in draw])
            scores.append((drawn_mean - mean) / max(drawn_error, error / 10))
    tail *= max(0.5, count / (count + 10))
    lower, upper = np.quantile(scores, [tail, 1 - tail]) * jackknife
    return mean - max(student, upper), mean + max(student, -lower)


@pytest.mark.parametrize("level", [0.5, 0.95])
@pytest.mark.parametrize("count", [5, 12])
def test_interval_equals_drawing_people_one_by_one(count: int, level: float) -> None:
    rng = np.random.default_rng(count)
    people = [[float(value) for value in np.exp(rng.normal(size=1 + k % 4))] for k in range(count)]
    names = [f"p{k}" for k, person in enumerate(people) for _ in person]
    values = [value for person in people for value in person]
    found = mean_over_identities(values, names, level=level, n_resamples=600, seed=3)
    assert ends_of(found) == pytest.approx(reference_plain_hull(people, level, 600, 3), rel=1e-9)
    assert found.mean == pytest.approx(np.mean(values), rel=1e-12)


def test_frames_or_clips_of_few_people_do_not_make_us_sure() -> None:
    """The interval depends on how many people there are, not on how often each is filmed."""
    means = np.random.default_rng(13).normal(size=8)
    once = mean_over_identities(means, PEOPLE)
    often = mean_over_identities(np.repeat(means, 50), np.repeat(PEOPLE, 50).tolist())
    assert ends_of(often) == pytest.approx(ends_of(once), abs=1e-12)
    assert (often.n_used, often.interval.n_identities) == (400, 8)


def test_an_identity_weighs_as_many_times_as_it_has_clips() -> None:
    found = mean_over_identities([1.0, 1.0, 1.0, 5.0], ["ada", "ada", "ada", "ben"])
    assert found.mean == 2.0


@given(st.permutations(range(20)))
def test_the_order_of_clips_changes_no_digit(order: list[int]) -> None:
    values = np.exp(np.random.default_rng(14).normal(size=20))
    names = [PEOPLE[k % 8] for k in range(20)]
    found = mean_over_identities(values, names, n_resamples=100)
    again = mean_over_identities(values[order], [names[k] for k in order], n_resamples=100)
    assert again == found


@given(st.permutations(PEOPLE), st.integers(0, 9))
def test_the_spelling_of_identities_changes_no_digit(names: list[str], seed: int) -> None:
    values = np.exp(np.random.default_rng(seed).normal(size=20))
    places = [k % 8 for k in range(20)]
    found = mean_over_identities(values, [PEOPLE[k] for k in places], n_resamples=100)
    assert mean_over_identities(values, [names[k] for k in places], n_resamples=100) == found


@pytest.mark.parametrize("kind", ["few values, often the same", "any values"])
def test_the_other_sign_has_the_other_ends(kind: str) -> None:
    rng = np.random.default_rng(18)
    values = rng.integers(0, 3, size=40) / 2 if kind.startswith("few") else rng.normal(size=40)
    names = [f"p{k % 9 if k < 20 else k % 4}" for k in range(40)]
    low, high = ends_of(mean_over_identities(values, names))
    assert ends_of(mean_over_identities(-values, names)) == pytest.approx((-high, -low), rel=1e-9)


@given(
    st.lists(st.floats(-100, 100), min_size=5, max_size=12),
    st.floats(-1e3, 1e3),
    st.sampled_from([0.25, 0.5, 2.0, 8.0]),
)
def test_interval_moves_and_stretches_with_its_values(
    values: list[float], offset: float, scale: float
) -> None:
    clips = np.round(values, 3)
    assume(np.ptp(clips) > 0)
    names = [str(k) for k in range(len(clips))]
    low, high = ends_of(mean_over_identities(clips, names, n_resamples=200))
    moved = mean_over_identities(scale * clips + offset, names, n_resamples=200)
    expected = (scale * low + offset, scale * high + offset)
    assert ends_of(moved) == pytest.approx(expected, abs=1e-6)


@given(st.lists(st.floats(-1e3, 1e3), min_size=5, max_size=15), st.floats(0.3, 0.99))
def test_interval_holds_its_mean_stays_within_bounds_and_grows_with_its_level(
    values: list[float], level: float
) -> None:
    clips = np.round(values, 3)
    names = [str(k) for k in range(len(values))]

    def interval(level: float) -> Interval:
        return mean_over_identities(
            clips, names, bounds=(-1e3, 1e3), n_resamples=200, level=level
        ).interval

    inner, outer = interval(level - 0.2), interval(level)

    assert (inner.low is None) == (outer.low is None)
    if inner.low is None or inner.high is None or outer.low is None or outer.high is None:
        assert np.ptp(clips) == 0
        return
    assert -1e3 <= outer.low <= inner.low
    assert inner.high <= outer.high <= 1e3
    assert outer.low <= np.mean(clips) + 1e-9
    assert np.mean(clips) - 1e-9 <= outer.high


def test_the_work_in_batches_changes_no_digit(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.exp(np.random.default_rng(15).normal(size=8))
    at_once = mean_over_identities(values, PEOPLE)
    monkeypatch.setattr(bootstrap, "CACHED_VALUES", 0)
    monkeypatch.setattr(bootstrap, "BATCH_VALUES", 24)
    assert mean_over_identities(values, PEOPLE) == at_once


def test_one_seed_one_interval() -> None:
    values = np.exp(np.random.default_rng(16).normal(size=8))
    found = mean_over_identities(values, PEOPLE)
    assert mean_over_identities(values, PEOPLE) == found
    assert mean_over_identities(values, PEOPLE, seed=1) != found


@pytest.mark.parametrize("same", [0.0, 1.0, 0.1, -7e9])
def test_people_who_agree_leave_the_interval_blank(same: float) -> None:
    found = mean_over_identities([same] * 16, PEOPLE * 2)
    assert (found.mean, found.interval.low, found.interval.high) == (same, None, None)
    assert found.interval.reason == (
        "all 8 identities have the same value: how others vary is not seen"
    )


def test_people_who_agree_but_for_the_last_digit_agree() -> None:
    values = [0.1 + 0.2, 0.3, 0.3, 0.1 + 0.2, 0.3]
    assert mean_over_identities(values, PEOPLE[:5]).interval.low is None


@pytest.mark.parametrize("count", [5, 20])
def test_people_who_all_reach_an_end_of_the_range_have_the_interval_of_the_rule_of_three(
    count: int,
) -> None:
    names = [str(k) for k in range(count)]
    exact = stats.binomtest(count, count).proportion_ci(0.95, method="exact")
    all_of_it = mean_over_identities([1.0] * count, names, bounds=(0.0, 1.0))
    nothing = mean_over_identities([0.0] * count, names, bounds=(0.0, 1.0))
    between = mean_over_identities([0.5] * count, names, bounds=(0.0, 1.0))
    assert ends_of(all_of_it) == pytest.approx((exact.low, exact.high), abs=1e-12)
    assert ends_of(nothing) == pytest.approx((0, 1 - exact.low), abs=1e-12)
    assert between.interval.low is None


def test_one_person_with_most_clips_is_hardly_more_than_one_person() -> None:
    names = ["ada"] * 100 + PEOPLE[1:]
    low, _ = ends_of(mean_over_identities([1.0] * 107, names, bounds=(0.0, 1.0)))
    assert low < 0.05


def test_clips_that_weigh_more_pull_the_mean_and_weigh_in_the_error() -> None:
    rng = np.random.default_rng(19)
    values, times = rng.normal(size=24), rng.integers(1, 5, size=24)
    names = [PEOPLE[k % 8] for k in range(24)]
    weighted = mean_over_identities(values, names, weights=times.astype(float))
    repeated = mean_over_identities(np.repeat(values, times), np.repeat(names, times).tolist())
    assert weighted.mean == pytest.approx(repeated.mean, rel=1e-12)
    assert ends_of(weighted) == pytest.approx(ends_of(repeated), rel=1e-9)
    assert weighted.n_used == 24
    with pytest.raises(ValueError, match="one weight above 0 per clip: got 24 of 24"):
        mean_over_identities(values, names, weights=[0.0] * 24)


def test_four_identities_leave_the_interval_blank_and_five_do_not() -> None:
    values = np.arange(12.0)
    four = mean_over_identities(values, [PEOPLE[k % 4] for k in range(12)])
    assert (four.interval.low, four.interval.high) == (None, None)
    assert four.interval.reason == "4 identities: an interval needs at least 5"
    assert four.mean == 5.5
    five = mean_over_identities(values, [PEOPLE[k % 5] for k in range(12)])
    assert five.interval.reason is None
    assert five.interval.low is not None


def test_an_identity_without_a_measured_clip_does_not_count() -> None:
    found = mean_over_identities([1.0, 2.0, 3.0, 4.0, NAN], PEOPLE[:5])
    assert found.interval.n_identities == 4
    assert found.interval.low is None
    assert (found.mean, found.n_used, found.n_missing) == (2.5, 4, 1)


def test_unknown_identities_leave_the_interval_blank() -> None:
    found = mean_over_identities([1.0, 2.0] * 10, None)
    assert found.mean == 1.5
    assert found.interval.low is None
    assert found.interval.reason == "the identities of the clips are not known"


def test_infinite_clips_are_counted_and_left_out() -> None:
    found = mean_over_identities([*range(8), INF, INF, NAN], [*PEOPLE, "ada", "ben", "cyd"])
    assert (found.mean, found.n_used, found.n_infinite, found.n_missing) == (3.5, 8, 2, 1)
    assert found == mean_over_identities([*range(8), NAN, INF, INF], [*PEOPLE, "x", "y", "z"])


def test_a_set_of_copies_has_an_infinite_mean_and_no_interval() -> None:
    found = mean_over_identities([INF] * 8, PEOPLE)
    assert found.mean == INF
    assert found.interval.low is None
    assert found.interval.reason == "no clip has a finite value"


@pytest.mark.parametrize("values", [[], [NAN, NAN]])
def test_nothing_measured_has_no_mean(values: list[float]) -> None:
    found = mean_over_identities(values, ["ada"] * len(values))
    assert math.isnan(found.mean)
    assert (found.n_used, found.interval.low) == (0, None)


def test_lengths_and_ranges_are_checked() -> None:
    with pytest.raises(ValueError, match=r"shape \(2,\), 1 identities"):
        mean_over_identities([1.0, 2.0], ["ada"])
    with pytest.raises(ValueError, match=r"shape \(1, 2\), none"):
        mean_over_identities(np.zeros((1, 2)), None)
    with pytest.raises(ValueError, match="got 95 and 10"):
        mean_over_identities([1.0], ["ada"], level=95, n_resamples=10)
    with pytest.raises(ValueError, match=r"got 0\.5 and 0"):
        mean_over_identities([1.0], ["ada"], level=0.5, n_resamples=0)


def test_a_paired_difference_sees_what_two_intervals_do_not() -> None:
    rng = np.random.default_rng(17)
    hard = rng.normal(scale=5.0, size=30)
    names = {f"clip{k}": f"p{k}" for k in range(30)}
    first = {clip: float(hard[k]) for k, clip in enumerate(names)}
    second = {clip: float(hard[k] + 1 + rng.normal(scale=0.3)) for k, clip in enumerate(names)}

    alone = [
        ends_of(mean_over_identities(list(side.values()), list(names.values())))
        for side in (first, second)
    ]
    found = paired_difference(second, first, names)

    assert alone[0][1] > alone[1][0]
    low, high = ends_of(found)
    assert 0.8 < low < 1.0 < high < 1.2


def test_a_difference_is_over_common_clips_in_any_order_and_changes_sign_with_its_sides() -> None:
    names = {f"c{k}": PEOPLE[k % 8] for k in range(12)}
    first = {f"c{k}": k**1.5 for k in range(10)}
    second = {f"c{k}": float(k) for k in reversed(range(2, 12))}
    there, back = paired_difference(first, second, names), paired_difference(second, first, names)
    assert there.n_used == 8
    expected = np.mean([k**1.5 - k for k in range(2, 10)])
    assert there.mean == pytest.approx(expected, rel=1e-12)
    assert back.mean == -there.mean
    assert there == paired_difference(dict(reversed(first.items())), second, names)


def test_a_set_against_itself_differs_by_exactly_0_copies_included() -> None:
    values = {f"c{k}": (INF if k < 2 else float(k)) for k in range(10)}
    names = {clip: clip for clip in values}
    found = paired_difference(values, values, names)
    assert (found.mean, found.interval.low, found.n_used) == (0.0, None, 10)
    assert found.interval.reason == (
        "all 10 identities have the same value: how others vary is not seen"
    )


def test_a_copy_against_a_clip_with_errors_is_left_out_and_counted() -> None:
    found = paired_difference({"a": INF, "b": 2.0}, {"a": 30.0, "b": 1.0}, None)
    assert (found.mean, found.n_used, found.n_infinite) == (1.0, 1, 1)


def test_a_common_clip_without_identity_is_named() -> None:
    with pytest.raises(ValueError, match="no identity for 1 of 2 clips, first 'b'"):
        paired_difference({"a": 1.0, "b": 2.0}, {"a": 1.0, "b": 2.0}, {"a": "ada"})


@pytest.mark.parametrize(
    ("values", "mean"),
    [
        ([1.0, 2.0, 6.0], 3.0),
        ([1.0, NAN, 3.0], 2.0),
        ([1.0, INF, -INF, 3.0], 2.0),
        ([INF, INF, NAN], INF),
        ([-INF], -INF),
    ],
)
def test_a_mean_leaves_out_what_it_cannot_hold(values: list[float], mean: float) -> None:
    assert finite_mean(values) == mean


@pytest.mark.parametrize("values", [[], [NAN, NAN], [INF, -INF]])
def test_nothing_to_average_is_nan(values: list[float]) -> None:
    assert math.isnan(finite_mean(values))


def test_equal_infinities_differ_by_nothing() -> None:
    differences = contrast([INF, -INF, INF, 5.0, 3.0], [INF, -INF, 5.0, INF, 1.0])
    assert differences.tolist() == [0.0, 0.0, INF, -INF, 2.0]


def test_a_difference_with_something_unmeasured_is_unmeasured() -> None:
    assert np.isnan(contrast([NAN, 1.0, NAN], [1.0, NAN, NAN])).all()


def test_sides_of_different_length_have_no_difference() -> None:
    with pytest.raises(ValueError, match=r"\(2,\) and \(3,\)"):
        contrast([1.0, 2.0], [1.0, 2.0, 3.0])
