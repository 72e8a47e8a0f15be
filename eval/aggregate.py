"""Scores of cases -> a report: each metric over the cases it applies to, and its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from eval.errors import InputError
from eval.scores import JUDGED, MACRO, METRICS
from eval.statistics import Columns, Places, interval, places
from eval.types import CaseResult, Metric, Report, Score

Scores = Mapping[str, Sequence[Score]]
"""The scores of all cases by the name of the metric, each list in the order of the cases."""


def make_report(results: Sequence[CaseResult], facts: Mapping[str, object]) -> Report:
    """All metrics over the cases. Raises :class:`~eval.errors.InputError` when there are none."""
    if not results:
        raise InputError("the run has no cases: there is nothing to report")
    return Report(metrics=metrics_of(results, METRICS), results=tuple(results), facts=facts)


def metrics_of(results: Sequence[CaseResult], names: Sequence[str]) -> dict[str, Metric]:
    """The metrics of these names; every case must have the scores that they are made of."""
    scores, clusters = scores_of(results), places(clusters_of(results))
    return {name: _metric(scores, clusters, name) for name in names}


def rests_on_verifier(name: str) -> bool:
    """Whether a metric is worth no more than the verifier that judged it."""
    return any(part in JUDGED for part in (name, *parts_of(name)))


def parts_of(name: str) -> tuple[str, ...]:
    """The scores that a metric is the mean of; most metrics have a score of their own."""
    return MACRO.get(name, (name,))


def scores_of(results: Sequence[CaseResult]) -> Scores:
    """The scores of all cases, by name; every case has the same names."""
    names = [score.name for score in results[0].scores]
    rows = [{score.name: score for score in result.scores} for result in results]
    return {name: [row[name] for row in rows] for name in names}


def clusters_of(results: Sequence[CaseResult]) -> list[str]:
    """The cluster of each case; one without a cluster is named by its id, as the cases derived from it are."""
    return [result.case.cluster or result.case.id for result in results]


def columns_of(scores: Scores, clusters: Places, name: str) -> Columns:
    """A metric as numbers; ``clusters`` are the :func:`~eval.statistics.places` of :func:`clusters_of`."""
    parts = [scores[part] for part in parts_of(name)]
    weights = np.array([[0.0 if score.value is None else score.weight for score in part] for part in parts])
    values = np.array([[score.value or 0.0 for score in part] for part in parts])
    return Columns(top=weights * values, bottom=weights, clusters=clusters)


def _metric(scores: Scores, clusters: Places, name: str) -> Metric:
    columns = columns_of(scores, clusters, name)
    value = columns.value
    if value is None:
        return Metric(value=None, ci95=None, n=0, not_applicable=len(clusters), errors=0)
    applied = np.flatnonzero(columns.applies).tolist()
    parts = [scores[part] for part in parts_of(name)]
    return Metric(
        value=value,
        ci95=interval(columns),
        n=len(applied),
        not_applicable=len(clusters) - len(applied),
        errors=sum(any(part[case].error and part[case].value is not None for part in parts) for case in applied),
    )
