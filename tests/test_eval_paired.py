"""Paired tests: tables by hand, an independent library, simulated error rates, and what must always hold."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from eval.paired import (
    Pair,
    change_interval,
    detectable,
    holm,
    least_detectable,
    least_p,
    mcnemar,
    paired_test,
    sign_flip,
)
from eval.statistics import Columns, places

Value = float | None


def columns(values: list[Value], clusters: list[str], weights: list[float] | None = None) -> Columns:
    bottom = np.array(
        [
            [
                0.0 if value is None else weight
                for value, weight in zip(values, weights or [1.0] * len(values), strict=True)
            ]
        ]
    )
    return Columns(top=bottom * [[value or 0.0 for value in values]], bottom=bottom, clusters=places(clusters))


def pair(before: list[Value], after: list[Value], clusters: list[str] | None = None) -> Pair:
    names = clusters or [str(number) for number in range(len(before))]
    return Pair(before=columns(before, names), after=columns(after, names))


def test_mcnemar_by_hand() -> None:
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(0, 5) == pytest.approx(2 / 32)
    assert mcnemar(5, 0) == mcnemar(0, 5)
    assert mcnemar(1, 7) == pytest.approx(2 * (1 + 8) / 256)
    assert mcnemar(3, 3) == 1.0


@settings(max_examples=60, deadline=None)
@given(lost=st.integers(0, 300), gained=st.integers(0, 300))
def test_mcnemar_is_the_binomial_test_of_another_library(lost: int, gained: int) -> None:
    want = binomtest(lost, lost + gained).pvalue if lost + gained else 1.0
    assert mcnemar(lost, gained) == pytest.approx(want)


def test_the_test_is_mcnemar_only_where_every_case_stands_alone() -> None:
    before: list[Value] = [1.0] * 10
    after: list[Value] = [0.0] * 6 + [1.0] * 4
    assert paired_test(pair(before, after)) == ("exact McNemar", pytest.approx(2 / 2**6))
    sharing = ["a", "a", *map(str, range(8))]
    test, p = paired_test(pair(before, after, sharing))
    assert (test, p) == ("sign flips of 5 clusters, exact", pytest.approx(2 / 2**5))
    assert paired_test(pair([0.5, *before[1:]], after))[0].startswith("sign flips")
    assert paired_test(pair([None, *before[1:]], after))[0].startswith("sign flips")


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=12))
def test_for_a_rate_over_lone_cases_both_tests_are_one(rows: list[tuple[bool, bool]]) -> None:
    found = pair([float(old) for old, _ in rows], [float(new) for _, new in rows])
    assert sign_flip(found)[1] == pytest.approx(paired_test(found)[1])


def test_all_swaps_are_tried_against_a_count_by_hand() -> None:
    before: list[Value] = [0.2, 0.9, 0.4, 0.5]
    after: list[Value] = [0.6, 0.7, 0.9, 0.5]
    gains = [new - old for old, new in zip(before, after, strict=True) if old is not None and new is not None]
    sums = [
        abs(sum(sign * gain for sign, gain in zip(signs, gains, strict=True))) for signs in product((1, -1), repeat=4)
    ]
    want = sum(found >= abs(sum(gains)) - 1e-9 for found in sums) / 16
    assert sign_flip(pair(before, after)) == ("sign flips of 3 clusters, exact", pytest.approx(want))


def test_random_swaps_agree_with_all_of_them_and_never_give_0() -> None:
    rng = np.random.default_rng(5)
    old, new = rng.random(13), rng.random(13) + 0.15
    found = pair(old.tolist(), new.tolist())
    test, p = sign_flip(found)
    assert test == "sign flips of 13 clusters, 10000 draws"
    gains = new - old
    signs = 1 - 2 * (np.arange(2**13)[:, None] >> np.arange(13) & 1)
    assert p == pytest.approx(float((np.abs(signs @ gains) >= abs(gains.sum()) - 1e-9).mean()), abs=0.02)
    assert sign_flip(found) == (test, p)
    always = pair([0.0] * 40, [0.9] * 40)
    assert sign_flip(always)[1] == pytest.approx(1 / 10_001)


def test_nothing_changed() -> None:
    same = pair([0.3, 1.0, None], [0.3, 1.0, None])
    assert (same.change, sign_flip(same)[1], change_interval(same)) == (0.0, 1.0, (0.0, 0.0))


def test_a_metric_without_value_in_one_run_has_no_change() -> None:
    gone = pair([1.0, 0.0], [None, None])
    assert gone.change is None
    for function in (paired_test, change_interval, detectable, sign_flip):
        with pytest.raises(ValueError, match="no case of one"):
            function(gone)


def test_swaps_after_which_there_is_no_metric_count_against_a_change() -> None:
    found = pair([1.0, None], [None, 0.0])
    assert found.change == -1.0
    assert sign_flip(found)[1] == 1.0


def test_one_cluster_can_show_nothing() -> None:
    found = pair([1.0, 1.0], [0.0, 0.0], ["a", "a"])
    assert change_interval(found) == (-1.0, 1.0)
    assert detectable(found) is None
    assert least_detectable(found) is None


def test_holm_by_hand() -> None:
    found = holm({"a": 0.04, "b": 0.01, "c": 0.03, "d": 0.5})
    assert found == pytest.approx({"a": 0.09, "b": 0.04, "c": 0.09, "d": 0.5})
    assert list(found) == ["a", "b", "c", "d"]
    assert holm({"x": 0.3, "y": 0.9}) == pytest.approx({"x": 0.6, "y": 0.9})
    assert holm({}) == {}


@settings(max_examples=60, deadline=None)
@given(found=st.dictionaries(st.text(max_size=2), st.floats(0, 1), max_size=8))
def test_holm_corrects_upwards_in_the_same_order(found: dict[str, float]) -> None:
    corrected = holm(found)
    assert all(found[name] <= corrected[name] <= min(1.0, len(found) * found[name]) + 1e-12 for name in found)
    names = sorted(found, key=lambda name: found[name])
    assert [corrected[name] for name in names] == sorted(corrected.values())


VALUES = st.none() | st.sampled_from([0.0, 0.25, 0.5, 1.0])
ROWS = st.lists(st.tuples(VALUES, VALUES, st.sampled_from("abcde")), min_size=1, max_size=25)


@settings(max_examples=60, deadline=None)
@given(rows=ROWS)
def test_the_two_runs_may_change_places(rows: list[tuple[Value, Value, str]]) -> None:
    before, after, clusters = (list(column) for column in zip(*rows, strict=True))
    there, back = pair(before, after, clusters), pair(after, before, clusters)
    if there.change is None:
        return
    assert back.change == pytest.approx(-there.change)
    assert sign_flip(there)[1] == pytest.approx(sign_flip(back)[1])
    low, high = change_interval(there)
    assert change_interval(back) == pytest.approx((-high, -low))
    assert -1.0 <= low <= there.change <= high <= 1.0
    assert detectable(there) == pytest.approx(detectable(back))


def simulated(rng: np.random.Generator, clusters: int, size: int, effect: float) -> Pair:
    """Two runs of a rate of 0.5 and 0.5 + effect; clusters differ in how hard they are and in how the runs differ."""
    hard = np.repeat(rng.uniform(-0.2, 0.2, clusters), size)
    moved = np.repeat(rng.uniform(-0.15, 0.15, clusters), size)
    luck = rng.random(clusters * size)
    again = np.where(rng.random(clusters * size) < 0.5, luck, rng.random(clusters * size))
    names = [str(number // size) for number in range(clusters * size)]
    before, after = luck < 0.5 + hard, again < 0.5 + hard + moved + effect
    return pair(before.astype(float).tolist(), after.astype(float).tolist(), names)


@pytest.mark.parametrize(("clusters", "size"), [(10, 5), (40, 1)])
def test_equal_systems_are_rarely_told_apart(clusters: int, size: int) -> None:
    """200 seeded comparisons: at 5% at most 10 false alarms are expected, 19 or more have a chance below 1%."""
    rng = np.random.default_rng(11)
    found = [simulated(rng, clusters, size, 0.0) for _ in range(200)]
    assert sum(paired_test(one)[1] <= 0.05 for one in found) < 19
    held = sum(low <= 0.0 <= high for low, high in map(change_interval, found))
    assert held >= 180


def test_the_detectable_change_is_found_four_times_of_five() -> None:
    rng = np.random.default_rng(12)
    effect = 0.17
    found = [simulated(rng, 20, 5, effect) for _ in range(200)]
    assert np.mean([detectable(one) or 0.0 for one in found]) == pytest.approx(effect, abs=0.02)
    assert sum(paired_test(one)[1] <= 0.05 for one in found) / 200 == pytest.approx(0.8, abs=0.08)


def test_fewer_cases_detect_less() -> None:
    rng = np.random.default_rng(13)
    many, few = simulated(rng, 100, 2, 0.1), simulated(rng, 12, 2, 0.1)
    assert (detectable(many) or 1.0) < (detectable(few) or 0.0)
    assert (least_detectable(few) or 0.0) <= (detectable(few) or 0.0)
    same = pair([1.0, 0.0] * 20, [1.0, 0.0] * 20)
    assert detectable(same) == least_detectable(same) == pytest.approx(2.87 / 40, abs=1e-3)


def test_the_detectable_change_by_hand() -> None:
    """Changes of -1 and 0, eight each: each is 1/2 off their mean, so the sum of u**2 is 16 * (1/2 / 16)**2 = 1/64."""
    found = detectable(pair([1.0] * 16, [0.0] * 8 + [1.0] * 8))
    assert found == pytest.approx((2.1314 + 0.8662) * (16 / 15 / 64 + 1 / 16**2) ** 0.5, rel=2e-3)


def test_a_metric_that_is_left_on_one_case_shows_nothing() -> None:
    collapsed = pair([1.0] * 60, [0.0] + [None] * 59)
    assert detectable(collapsed) == 1.0
    assert (least_detectable(collapsed) or 1.0) < 0.1


def test_the_least_p_is_that_of_a_change_that_goes_one_way_everywhere() -> None:
    for clusters in range(1, 8):
        found = pair([0.0] * clusters + [1.0], [1.0] * clusters + [1.0])
        assert least_p(found) == pytest.approx(sign_flip(found)[1])
    assert least_p(pair([1.0, 0.0], [1.0, 0.0])) == 1.0
