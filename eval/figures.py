"""What every form of a report counts beside the metrics: outcomes, refusals by kind, calibration, cost, who judged."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from eval.aggregate import clusters_of
from eval.scores import LOWER_IS_BETTER
from eval.statistics import interval, ratio, wilson
from eval.types import CaseResult, Comparison, Flip, Report

NO_KIND = "(none)"
BINS = 5
"""Of the reliability diagram."""

_COSTS = (
    ("usage", "prompt_tokens"),
    ("usage", "reused_tokens"),
    ("usage", "answer_tokens"),
    ("timings", "first_token_ms"),
    ("timings", "total_ms"),
)

Outcome = Literal[
    "error", "right", "wrong", "answered", "refused", "rightly refused", "wrongly refused", "wrongly answered"
]

FAILURES: frozenset[Outcome] = frozenset({"error", "wrongly answered", "wrongly refused"})
"""Outcomes that are a failure whatever the wording of the answer; one that is not right ("wrong") has to be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeFacts:
    """Who judged the claims. ``balanced_accuracy`` is from 0 to 1, None when it was not measured."""

    name: str
    balanced_accuracy: float | None

    def __str__(self) -> str:
        if self.balanced_accuracy is None:
            return f"{self.name}, balanced accuracy not measured"
        return f"{self.name}, balanced accuracy {self.balanced_accuracy:.3f}"

    @property
    def short(self) -> str:
        """For a narrow column."""
        return f"{self.name} {'?' if self.balanced_accuracy is None else f'{self.balanced_accuracy:.2f}'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """``count`` of ``n``; ``ci95`` is Wilson's interval, None when ``n`` is 0."""

    count: int
    n: int

    @property
    def value(self) -> float | None:
        return self.count / self.n if self.n else None

    @property
    def ci95(self) -> tuple[float, float] | None:
        return wilson(self.count, self.n) if self.n else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stratum:
    """The cases of a kind. ``wanted``: whether a refusal is right there (None: not known, or some are and some not).

    ``refused`` is a rate over all cases of the kind, those without an answer (``errors``) included.
    """

    kind: str
    wanted: bool | None
    refused: Rate
    errors: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Answers whose least supported claim has ``low`` <= p_supported < ``high`` (the last bin includes 1).

    ``mean`` of that p over the answers (None without any), ``right`` those that hold a gold answer.
    """

    low: float
    high: float
    mean: float | None
    right: Rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """A cost per answer over the ``n`` answers that say it; ``low`` and ``high`` are the 10th and 90th percentile."""

    name: str
    n: int
    median: float
    low: float
    high: float


def judge_of(report: Report) -> JudgeFacts:
    """Who judged the claims of a report."""
    found = report.facts.get("judge")
    known: Mapping[str, object] = found if isinstance(found, Mapping) else {}
    name, accuracy = known.get("name"), known.get("balanced_accuracy")
    if isinstance(accuracy, bool) or not isinstance(accuracy, (int, float)) or not 0 <= accuracy <= 1:
        accuracy = None
    return JudgeFacts(name=name if isinstance(name, str) else "unknown", balanced_accuracy=accuracy)


def outcome(result: CaseResult) -> Outcome:
    """What became of a case; "right" and "wrong" go by ``answer_recall``, "answered" and "refused" stand for all that
    the case does not say enough about."""
    if result.record.error:
        return "error"
    wanted = result.case.answerable
    if result.refused:
        return "refused" if wanted is None else "wrongly refused" if wanted else "rightly refused"
    if wanted is False:
        return "wrongly answered"
    recall = value_of(result, "answer_recall")
    return "answered" if recall is None else "right" if recall >= 0.5 else "wrong"


def value_of(result: CaseResult, metric: str) -> float | None:
    """A case's score of a metric; None where it does not apply."""
    return next((score.value for score in result.scores if score.name == metric), None)


def unsupported(result: CaseResult) -> int:
    """Claims of an answer that no passage supports."""
    return sum(claim.label != "supported" for claim in result.claims)


def fails(result: CaseResult) -> bool:
    """Whether a person should look at a case first: a wrong decision, an unsupported claim, an invalid citation."""
    validity = value_of(result, "citation_validity")
    return outcome(result) in FAILURES or unsupported(result) > 0 or (validity is not None and validity < 1)


def improved(flip: Flip) -> bool:
    """Whether a flip is for the better."""
    return (flip.after > flip.before) != (flip.metric in LOWER_IS_BETTER)


def flips_by_case(comparison: Comparison | None) -> dict[str, tuple[Flip, ...]]:
    """The flips of each case that has some; cases that got worse in something come first."""
    found: dict[str, tuple[Flip, ...]] = {}
    for flip in comparison.flips if comparison else ():
        found[flip.id] = (*found.get(flip.id, ()), flip)
    return dict(sorted(found.items(), key=lambda item: all(map(improved, item[1]))))


def strata(report: Report) -> tuple[Stratum, ...]:
    """Refusals by kind, in the order of the cases."""
    return tuple(_stratum(kind, of_kind) for kind, of_kind in _by_kind(report.results).items())


def calibration(results: Sequence[CaseResult]) -> tuple[Bin, ...]:
    """Answers binned by the p_supported of their least supported claim, against the share that is right.

    An answer counts when it makes a claim and has a gold answer to be compared with. After the reliability diagram of
    DeGroot & Fienberg 1983; equal-width bins.
    """
    pairs = [
        (min(claim.p_supported for claim in result.claims), recall)
        for result in results
        if result.claims and (recall := value_of(result, "answer_recall")) is not None
    ]
    return tuple(_bin(place, pairs) for place in range(BINS))


def supported_rate(results: Sequence[CaseResult]) -> tuple[Rate, tuple[float, float] | None]:
    """Claims that are supported, of all claims, with the interval of :func:`eval.statistics.interval` by cluster."""
    pairs = [
        (float(claim.label == "supported"), cluster)
        for result, cluster in zip(results, clusters_of(results), strict=True)
        for claim in result.claims
    ]
    if not pairs:
        return Rate(count=0, n=0), None
    values, clusters = [value for value, _ in pairs], [cluster for _, cluster in pairs]
    return Rate(count=int(sum(values)), n=len(values)), interval(ratio(values, [1.0] * len(values), clusters))


def costs(results: Sequence[CaseResult]) -> tuple[Cost, ...]:
    """What an answer costs, over the answers that say."""
    found = (_cost(name, [getattr(result.record, table) for result in results]) for table, name in _COSTS)
    return tuple(cost for cost in found if cost)


def _by_kind(results: Sequence[CaseResult]) -> dict[str, list[CaseResult]]:
    found: dict[str, list[CaseResult]] = {}
    for result in results:
        found.setdefault(result.case.kind or NO_KIND, []).append(result)
    return found


def _stratum(kind: str, results: Sequence[CaseResult]) -> Stratum:
    answerable = {result.case.answerable for result in results}
    only = answerable.pop() if len(answerable) == 1 else None
    return Stratum(
        kind=kind,
        wanted=None if only is None else not only,
        refused=Rate(count=sum(result.refused for result in results), n=len(results)),
        errors=sum(bool(result.record.error) for result in results),
    )


def _bin(place: int, pairs: Sequence[tuple[float, float]]) -> Bin:
    inside = [(p, recall) for p, recall in pairs if min(int(p * BINS), BINS - 1) == place]
    return Bin(
        low=place / BINS,
        high=(place + 1) / BINS,
        mean=sum(p for p, _ in inside) / len(inside) if inside else None,
        right=Rate(count=sum(recall >= 0.5 for _, recall in inside), n=len(inside)),
    )


def _cost(name: str, tables: Sequence[Mapping[str, float]]) -> Cost | None:
    values = sorted(table[name] for table in tables if name in table and math.isfinite(table[name]))
    if not values:
        return None
    last = len(values) - 1
    return Cost(
        name=name,
        n=len(values),
        median=values[len(values) // 2],
        low=values[round(0.1 * last)],
        high=values[round(0.9 * last)],
    )
