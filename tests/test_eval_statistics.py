"""Intervals: known values, simulated coverage, and what must always hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.statistics import Columns, cluster_bootstrap, interval, places, ratio, student, wilson


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


@pytest.mark.parametrize(
    ("share", "freedom", "quantile"),
    [(0.975, 3, 3.1824), (0.975, 5, 2.5706), (0.975, 10, 2.2281), (0.975, 30, 2.0423), (0.8, 5, 0.9195)],
)
def test_quantiles_of_t_against_published_values(share: float, freedom: int, quantile: float) -> None:
    assert student(share, freedom) == pytest.approx(quantile, rel=2e-3)


def apart(count: int) -> list[str]:
    return [str(number) for number in range(count)]


def test_the_bootstrap_is_seeded_and_wants_equal_lengths() -> None:
    columns = ratio([number % 7 / 6 for number in range(40)], [1.0] * 40, apart(40))
    assert cluster_bootstrap(columns) == cluster_bootstrap(columns)
    assert cluster_bootstrap(columns) != cluster_bootstrap(columns, seed=1)
    with pytest.raises(ValueError, match="as many"):
        ratio([], [], [])
    with pytest.raises(ValueError, match="as many"):
        ratio([1.0], [1.0], [])


def test_the_order_of_the_cases_and_the_names_of_clusters_do_not_matter() -> None:
    values, clusters = [0.1, 0.4, 0.8, 1.0, 0.3], ["a", "a", "b", "c", "c"]
    turned = ratio(values[::-1], [1.0] * 5, clusters[::-1])
    assert interval(ratio(values, [1.0] * 5, clusters)) == pytest.approx(interval(turned))


def test_clusters_that_stick_together_widen_the_interval() -> None:
    values = [0.2] * 20 + [0.9] * 20
    together = cluster_bootstrap(ratio(values, [1.0] * 40, [str(number // 10) for number in range(40)]))
    alone = cluster_bootstrap(ratio(values, [1.0] * 40, apart(40)))
    assert together[1] - together[0] > alone[1] - alone[0]


def test_the_bootstrap_covers_the_spread_that_theory_gives() -> None:
    values = [number % 10 / 9 for number in range(200)]
    low, high = cluster_bootstrap(ratio(values, [1.0] * 200, apart(200)))
    spread = (sum((value - 0.5) ** 2 for value in values) / 200 / 200) ** 0.5
    assert (high - low) / (2 * 1.96 * spread) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(("clusters", "least"), [(6, 0.89), (20, 0.92)])
def test_nineteen_of_twenty_intervals_hold_the_truth_even_with_few_clusters(clusters: int, least: float) -> None:
    rng = np.random.default_rng(3)
    names = [str(number // 5) for number in range(clusters * 5)]
    held = 0
    for _ in range(300):
        shifts = np.repeat(rng.uniform(-0.2, 0.2, clusters), 5)
        values = 0.5 + shifts + rng.uniform(-0.3, 0.3, clusters * 5)
        low, high = cluster_bootstrap(ratio(values.tolist(), [1.0] * len(values), names), resamples=1000)
        held += low <= 0.5 <= high
    assert least <= held / 300 <= 0.99


def test_ten_of_ten_is_no_certainty() -> None:
    low, high = interval(ratio([1.0] * 10, [1.0] * 10, apart(10)))
    assert (low, high) == (pytest.approx(0.7225, abs=1e-4), 1.0)


def test_one_cluster_says_next_to_nothing() -> None:
    low, high = interval(ratio([0.9, 0.8, 0.85], [1.0] * 3, ["a", "a", "a"]))
    assert low < 0.2
    assert high > 0.97


def test_large_samples_are_drawn_in_pieces_and_stay_the_same() -> None:
    values = [number % 7 / 6 for number in range(5000)]
    low, high = cluster_bootstrap(ratio(values, [1.0] * 5000, apart(5000)))
    assert low < 0.4996 < high
    assert high - low == pytest.approx(2 * 1.96 * np.std(values) / 5000**0.5, rel=0.1)


def macro(rows: list[tuple[float | None, float | None, str]]) -> Columns:
    cells = np.array([[row[part] is not None for row in rows] for part in (0, 1)], dtype=float)
    values = np.array([[row[part] or 0.0 for row in rows] for part in (0, 1)])
    return Columns(top=cells * values, bottom=cells, clusters=places([row[2] for row in rows]))


def test_a_macro_metric_is_the_mean_of_its_parts_whatever_their_sizes() -> None:
    found = macro([(1.0, None, "a"), (0.0, None, "b"), (1.0, None, "c"), (None, 1.0, "d")])
    assert found.value == pytest.approx((2 / 3 + 1) / 2)
    assert macro([(1.0, None, "a"), (0.5, None, "b")]).value is None
    with pytest.raises(ValueError, match="no case"):
        interval(macro([(1.0, None, "a")]))


def test_draws_without_one_of_the_parts_count_as_anything() -> None:
    """The second part is one cluster of eight: a third of the draws lack it, and nothing is known of those."""
    found = macro([(1.0, None, str(number)) for number in range(7)] + [(None, 1.0, "x")])
    assert cluster_bootstrap(found) == (0.0, 1.0)


ROWS = st.lists(
    st.tuples(st.floats(0, 1), st.sampled_from([1.0, 2.0]), st.sampled_from(["a", "b", "c", "d"])),
    min_size=1,
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(rows=ROWS)
def test_the_interval_holds_the_mean(rows: list[tuple[float, float, str]]) -> None:
    values, weights, clusters = (list(column) for column in zip(*rows, strict=True))
    mean = sum(v * w for v, w in zip(values, weights, strict=True)) / sum(weights)
    columns = ratio(values, weights, clusters)
    low, high = interval(columns)
    assert columns.value == pytest.approx(mean)
    assert 0 <= low <= mean + 1e-9
    assert mean - 1e-9 <= high <= 1
