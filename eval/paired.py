"""Two runs of the same cases: did a metric change, by how much, and how small a change could these cases show?

What changes is the metric as it is reported: each run's own ratio of sums, over the cases that it applies to in that
run. The runs are paired by case, and cases by cluster, so a question that is hard for both does not count as noise.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from eval.statistics import CELLS, SEED, Columns, Floats, by_cluster, mean_of_ratios, percentiles, resampled, student

DRAWS = 10_000
EXACT_CLUSTERS = 12
"""Up to so many clusters that differ, all 2**12 ways to swap them are tried; above, 10,000 at random."""

_SAME = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A metric of two runs over the same cases, in the same order and the same clusters."""

    before: Columns
    after: Columns

    @property
    def change(self) -> float | None:
        """after - before, from -1 to 1; None when the metric has no value in one of them."""
        before, after = self.before.value, self.after.value
        return None if before is None or after is None else after - before

    @property
    def both(self) -> int:
        """The cases that the metric applies to in both runs."""
        return int((self.before.applies & self.after.applies).sum())

    def sums(self) -> Floats:
        """(run, top or bottom, part, cluster): sums over each cluster that the metric applies to in either run."""
        found = np.stack(
            [
                np.stack([by_cluster(run.top, run.clusters), by_cluster(run.bottom, run.clusters)])
                for run in (self.before, self.after)
            ]
        )
        return found[..., (found[:, 1] > 0).any(axis=(0, 1))]


def change_interval(pair: Pair) -> tuple[float, float]:
    """The 95% interval of a change: a bootstrap of the clusters, drawn for both runs together.

    It always holds the change. One cluster says nothing of how much clusters differ: -1 to 1. Raises
    :class:`ValueError` when there is no change to speak of.
    """
    change, sums = _known(pair), pair.sums()
    clusters = sums.shape[-1]
    if clusters == 1:
        return -1.0, 1.0
    low, high = percentiles(_difference(resampled(sums)), clusters, lowest=-1.0, highest=1.0)
    return max(-1.0, min(low, change)), min(1.0, max(high, change))


def paired_test(pair: Pair) -> tuple[str, float]:
    """The name of the test that fits, and its two-sided p for "the runs are equally good".

    Exact McNemar for a rate whose cases are each a cluster of their own and the same in both runs. It takes every case
    for a witness of its own, so wherever cases share a cluster the clusters' signs are flipped instead. (For such a
    rate the two are one test: all ways to swap the cases that differ, counted by a formula.) Raises
    :class:`ValueError` when there is no change to speak of.
    """
    _known(pair)
    alone = len(pair.before.clusters) == int(pair.before.clusters.max()) + 1
    if alone and pair.before.binary and pair.after.binary and np.array_equal(pair.before.bottom, pair.after.bottom):
        gained = int((pair.after.top > pair.before.top).sum())
        lost = int((pair.after.top < pair.before.top).sum())
        return "exact McNemar", mcnemar(lost, gained)
    return sign_flip(pair)


def mcnemar(lost: int, gained: int) -> float:
    """Exact two-sided McNemar test of cases that changed: min(1, 2 P(X <= min(lost, gained))), X ~ Binomial(n, 1/2).

    n = lost + gained (McNemar 1947, with the exact binomial instead of chi-squared); 1 when nothing changed.
    """
    n, fewer = lost + gained, min(lost, gained)
    ways = tail = 1
    for step in range(fewer):
        ways = ways * (n - step) // (step + 1)
        tail += ways
    return min(1.0, float(2 * tail / 2**n))


def sign_flip(pair: Pair, *, draws: int = DRAWS, seed: int = SEED) -> tuple[str, float]:
    """Paired permutation test over clusters: its name, and the share of swaps that change the metric as much.

    Were the runs equally good, either could have given the scores of any cluster. So the scores of whole clusters are
    swapped between the runs, the metric is computed anew, and p is the share of swaps whose change is at least as large
    either way (Fisher 1935; Noreen 1989, approximate randomisation). All swaps when 12 clusters or fewer differ;
    otherwise ``draws`` at random, where p = (1 + as large) / (1 + draws), which is never 0 (Phipson & Smyth 2010). A
    swap after which the metric does not exist counts as large. Raises :class:`ValueError` when there is no change.
    """
    change, sums = abs(_known(pair)), pair.sums()
    gain = sums[1] - sums[0]
    differing = (gain != 0).any(axis=(0, 1))
    gain, count = gain[..., differing], int(differing.sum())
    exact = count <= EXACT_CLUSTERS
    total = sums.sum(axis=-1)
    large = 0
    for swaps in _all_swaps(count) if exact else _random_swaps(count, draws, seed):
        moved = gain @ swaps.T
        found = _difference(np.stack([total[0][..., None] + moved, total[1][..., None] - moved]))
        large += int((np.isnan(found) | (np.abs(found) >= change - _SAME)).sum())
    if exact:
        return f"sign flips of {count} clusters, exact", large / 2**count
    return f"sign flips of {count} clusters, {draws} draws", (1 + large) / (1 + draws)


def least_p(pair: Pair) -> float:
    """The smallest p that :func:`paired_test` could give for so many clusters that differ: 2 / 2**clusters, at most 1.

    It depends on how far the runs differ, not on which of them is better.
    """
    sums = pair.sums()
    return min(1.0, 2.0 ** (1 - int((sums[1] != sums[0]).any(axis=(0, 1)).sum())))


def holm(found: Mapping[str, float]) -> dict[str, float]:
    """p values corrected for their number, so that 0.05 bounds the chance of any false alarm among them (Holm 1979).

    In the order of p, from the smallest: max over those so far of min(1, (m - rank) * p), ranks from 0, m values.
    """
    corrected: dict[str, float] = {}
    largest = 0.0
    for rank, name in enumerate(sorted(found, key=lambda name: found[name])):
        largest = max(largest, min(1.0, (len(found) - rank) * found[name]))
        corrected[name] = largest
    return {name: corrected[name] for name in found}


def detectable(pair: Pair) -> float | None:
    """The smallest true change that a two-sided test at 5% would show four times of five, for these cases.

    (t(0.975, G - 1) + t(0.8, G - 1)) * SE, the minimum detectable effect of Bloom (1995, Evaluation Review 19) for G
    clusters; as in Miller (2024, "Adding Error Bars to Evals", 5), SE is that of the paired change. By linearisation
    (Cochran 1977, 6.4), SE**2 = G / (G - 1) * sum over clusters of u**2 + 1 / n**2, where u is the cluster's share of
    the change: the mean over parts of (top - value * bottom) / sum(bottom), after less before. The last term is a case
    of the n that changes although none did, half each way, as Agresti & Min (2005) add to every cell: two runs that
    agree do not show that nothing can differ. n is that of the run with fewer cases: a metric that applies to a single
    one has no spread, and shows nothing. At most 1; None when one cluster is all there is.
    """
    _known(pair)
    top, bottom = pair.sums().swapaxes(0, 1)
    clusters = top.shape[-1]
    if clusters == 1:
        return None
    totals = bottom.sum(axis=-1, keepdims=True)
    shares = ((top - top.sum(axis=-1, keepdims=True) / totals * bottom) / totals).mean(axis=1)
    spread = clusters / (clusters - 1) * float(((shares[1] - shares[0]) ** 2).sum())
    fewest = min(int(run.applies.sum()) for run in (pair.before, pair.after))
    return min(1.0, _reach(clusters) * math.sqrt(spread + 1 / fewest**2))


def least_detectable(pair: Pair) -> float | None:
    """:func:`detectable` for two runs that agree on every case: below it, whatever the runs, nothing can show.

    None when one cluster is all there is.
    """
    clusters = pair.sums().shape[-1]
    cases = int((pair.before.applies | pair.after.applies).sum())
    return None if clusters == 1 else min(1.0, _reach(clusters) / cases)


def _reach(clusters: int) -> float:
    return student(0.975, clusters - 1) + student(0.8, clusters - 1)


def _known(pair: Pair) -> float:
    if (change := pair.change) is None:
        raise ValueError("the metric applies to no case of one of the runs")
    return change


def _difference(sums: Floats) -> Floats:
    """(run, top or bottom, part, draw) -> (draw,): after - before."""
    before, after = (mean_of_ratios(run[0], run[1]) for run in sums)
    return after - before


def _all_swaps(count: int) -> Iterator[Floats]:
    yield (np.arange(2**count)[:, None] >> np.arange(count) & 1).astype(float)


def _random_swaps(count: int, draws: int, seed: int) -> Iterator[Floats]:
    rng = np.random.default_rng(seed)
    rows = max(1, CELLS // count)
    for start in range(0, draws, rows):
        yield rng.integers(0, 2, size=(min(rows, draws - start), count), dtype=np.int8).astype(float)
