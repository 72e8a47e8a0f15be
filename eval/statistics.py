"""Intervals: how far a figure may be off, given how few cases there are and how they hang together."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

RESAMPLES = 2000
SEED = 20240501

_Z95 = 1.959963984540054


def wilson(successes: float, n: float) -> tuple[float, float]:
    """Wilson's 95% score interval of a rate ``successes / n`` (Wilson 1927; Brown, Cai, DasGupta 2001).

    Raises :class:`ValueError` unless 0 <= successes <= n and n > 0.
    """
    if not 0 <= successes <= n or n <= 0:
        raise ValueError(f"no rate: {successes} of {n}")
    rate, z2 = successes / n, _Z95**2
    middle = (rate + z2 / (2 * n)) / (1 + z2 / n)
    reach = _Z95 / (1 + z2 / n) * math.sqrt(rate * (1 - rate) / n + z2 / (4 * n * n))
    return min(rate, max(0.0, middle - reach)), max(rate, min(1.0, middle + reach))


def cluster_bootstrap(
    values: Sequence[float],
    weights: Sequence[float],
    clusters: Sequence[str],
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> tuple[float, float]:
    """95% percentile interval of the weighted mean when whole clusters are drawn with replacement.

    Errors within a cluster are correlated, so the cluster is what is resampled (Cameron, Gelbach & Miller
    2008); the mean of a draw is sum(weight * value) / sum(weight). The same input and seed give the same
    interval. Raises :class:`ValueError` for no values, or lengths that differ.
    """
    if not values or not len(values) == len(weights) == len(clusters):
        raise ValueError("values, weights and clusters must be as many, and at least one")
    names, place = np.unique(np.asarray(clusters), return_inverse=True)
    weight = np.asarray(weights, dtype=float)
    top = np.bincount(place, weights=weight * np.asarray(values, dtype=float))
    bottom = np.bincount(place, weights=weight)
    drawn = np.random.default_rng(seed).integers(0, len(names), size=(resamples, len(names)))
    means = top[drawn].sum(axis=1) / bottom[drawn].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def interval(values: Sequence[float], weights: Sequence[float], clusters: Sequence[str]) -> tuple[float, float]:
    """The 95% interval of a weighted mean of values from 0 to 1; it always holds the mean.

    The cluster bootstrap; for a rate (values 0 and 1, equal weights) whatever it and Wilson's interval span
    together, because the bootstrap of ten right answers of ten is a single point.
    """
    low, high = cluster_bootstrap(values, weights, clusters)
    mean = float(np.average(np.asarray(values, dtype=float), weights=np.asarray(weights, dtype=float)))
    if set(values) <= {0.0, 1.0} and len(set(weights)) == 1:
        lower, upper = wilson(sum(values), len(values))
        low, high = min(low, lower), max(high, upper)
    return max(0.0, min(low, mean)), min(1.0, max(high, mean))
