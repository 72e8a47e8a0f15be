"""Intervals: known values, and what must always hold."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.statistics import cluster_bootstrap, interval, wilson


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (8, 10, 0.4902, 0.9433), (81, 263, 0.2553, 0.3662)],
)
def test_wilson_against_published_values(successes: int, n: int, low: float, high: float) -> None:
    assert wilson(successes, n) == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize(("successes", "n"), [(1, 0), (3, 2), (-1, 2)])
def test_wilson_wants_a_rate(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match="no rate"):
        wilson(successes, n)


def test_the_bootstrap_is_seeded_and_wants_equal_lengths() -> None:
    values, clusters = [0.0, 0.5, 1.0, 1.0], ["a", "a", "b", "c"]
    assert cluster_bootstrap(values, [1.0] * 4, clusters) == cluster_bootstrap(values, [1.0] * 4, clusters)
    with pytest.raises(ValueError, match="as many"):
        cluster_bootstrap([], [], [])
    with pytest.raises(ValueError, match="as many"):
        cluster_bootstrap([1.0], [1.0], [])


def test_clusters_that_stick_together_widen_the_interval() -> None:
    values = [0.2] * 20 + [0.9] * 20
    together = cluster_bootstrap(values, [1.0] * 40, [str(number // 10) for number in range(40)])
    apart = cluster_bootstrap(values, [1.0] * 40, [str(number) for number in range(40)])
    assert together[1] - together[0] > apart[1] - apart[0]


def test_the_bootstrap_covers_the_spread_that_theory_gives() -> None:
    values = [number % 10 / 9 for number in range(200)]
    low, high = cluster_bootstrap(values, [1.0] * 200, [str(number) for number in range(200)])
    spread = (sum((value - 0.5) ** 2 for value in values) / 200 / 200) ** 0.5
    assert (high - low) / (2 * 1.96 * spread) == pytest.approx(1.0, abs=0.1)


def test_ten_of_ten_is_no_certainty() -> None:
    low, high = interval([1.0] * 10, [1.0] * 10, [str(number) for number in range(10)])
    assert (low, high) == (pytest.approx(0.7225, abs=1e-4), 1.0)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.floats(0, 1), st.sampled_from([1.0, 2.0]), st.sampled_from(["a", "b", "c", "d"])),
        min_size=1,
        max_size=30,
    )
)
def test_the_interval_holds_the_mean(rows: list[tuple[float, float, str]]) -> None:
    values, weights, clusters = (list(column) for column in zip(*rows, strict=True))
    mean = sum(v * w for v, w in zip(values, weights, strict=True)) / sum(weights)
    low, high = interval(values, weights, clusters)
    assert 0 <= low <= mean + 1e-9
    assert mean - 1e-9 <= high <= 1
