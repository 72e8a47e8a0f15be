"""Scores of cases -> a report: each metric's mean over the cases it applies to, and its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from eval.scores import METRICS
from eval.statistics import interval
from eval.types import CaseResult, Metric, Report


def make_report(results: Sequence[CaseResult], facts: Mapping[str, object]) -> Report:
    """All metrics over the cases; ``results`` must not be empty."""
    return Report(
        metrics={name: _metric(results, place) for place, name in enumerate(METRICS)},
        results=tuple(results),
        facts=facts,
    )


def _metric(results: Sequence[CaseResult], place: int) -> Metric:
    scored = [(result, result.scores[place]) for result in results]
    applied = [(result, score, score.value) for result, score in scored if score.value is not None]
    values = [value for _, _, value in applied]
    weights = [score.weight for _, score, _ in applied]
    clusters = [_cluster(result) for result, _, _ in applied]
    return Metric(
        value=sum(v * w for v, w in zip(values, weights, strict=True)) / sum(weights) if applied else None,
        ci95=interval(values, weights, clusters) if applied else None,
        n=len(applied),
        not_applicable=len(results) - len(applied),
        errors=sum(score.error for _, score, _ in applied),
    )


def _cluster(result: CaseResult) -> str:
    """A case without a cluster stands alone; the prefixes keep its id apart from the names of clusters."""
    case = result.case
    return f"cluster {case.cluster}" if case.cluster else f"case {case.id}"
