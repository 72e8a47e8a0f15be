"""All metrics of an answer. Each is a function of case and record alone (the verifier is fixed)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from eval.answer_scores import (
    answer_recall,
    exact_match,
    f1,
    over_refusal,
    refusal_f1,
    refusal_precision,
    refusal_recall,
)
from eval.claims import is_refusal
from eval.errors import InputError
from eval.grounding_scores import (
    citation_precision,
    citation_recall,
    citation_validity,
    groundedness,
    groundedness_strict,
)
from eval.retrieval_scores import mrr_at_10, ndcg_at_10, recall_at_5
from eval.types import Case, CaseResult, Record, Score
from rag.grounding import Verifier

Measure = Callable[[Case, Record], Score]

_JUDGED: Mapping[str, Callable[[Case, Record, Verifier], Score]] = {
    "groundedness": groundedness,
    "groundedness_strict": groundedness_strict,
    "citation_recall": citation_recall,
    "citation_precision": citation_precision,
}
_PLAIN: Mapping[str, Measure] = {
    "citation_validity": citation_validity,
    "refusal_precision": refusal_precision,
    "refusal_recall": refusal_recall,
    "refusal_f1": refusal_f1,
    "over_refusal": over_refusal,
    "exact_match": exact_match,
    "f1": f1,
    "answer_recall": answer_recall,
    "recall_at_5": recall_at_5,
    "mrr_at_10": mrr_at_10,
    "ndcg_at_10": ndcg_at_10,
}

JUDGED = frozenset(_JUDGED)
"""The metrics that rest on the verifier."""

METRICS = (*_JUDGED, *_PLAIN)
"""Names of all metrics; each is a value from 0 to 1, higher is better except for ``over_refusal``."""

LOWER_IS_BETTER = frozenset({"over_refusal"})

NO_ANSWER = "no answer in the file"


def measures(verifier: Verifier) -> dict[str, Measure]:
    """Every metric as a function of case and record, in the order of :data:`METRICS`."""

    def fixed(measure: Callable[[Case, Record, Verifier], Score]) -> Measure:
        return lambda case, record: measure(case, record, verifier)

    return {name: fixed(measure) for name, measure in _JUDGED.items()} | dict(_PLAIN)


def score_case(case: Case, record: Record, functions: Mapping[str, Measure]) -> CaseResult:
    """All scores of a case. Where there is no answer, what would apply to any answer has its worst value."""
    scores = tuple(measure(case, record) for measure in functions.values())
    if record.error:
        scores = tuple(_without_answer(score, record) for score in scores)
    return CaseResult(case=case, record=record, refused=is_refusal(record), scores=scores)


def score_cases(cases: Sequence[Case], records: Mapping[str, Record], verifier: Verifier) -> tuple[CaseResult, ...]:
    """Scores of all cases, in order; a case without a record is an error of its own.

    Raises :class:`~eval.errors.InputError` when there are no cases, and for an answer to none of them.
    """
    if not cases:
        raise InputError("there are no cases to score: pass a file that has some")
    if unknown := sorted(set(records) - {case.id for case in cases}):
        shown = ", ".join(map(repr, unknown[:5]))
        raise InputError(f"no case has the id of these answers: {shown}: pass the cases that they answer")
    functions = measures(verifier)
    return tuple(
        score_case(case, records.get(case.id) or Record(id=case.id, answer="", error=NO_ANSWER), functions)
        for case in cases
    )


def _without_answer(score: Score, record: Record) -> Score:
    """The worst value where the metric applies to the case; groundedness and citations apply to any
    answer."""
    applies = score.value is not None or score.name in JUDGED or score.name == "citation_validity"
    worst = float(score.name in LOWER_IS_BETTER)
    return Score(name=score.name, value=worst if applies else None, why=f"no answer: {record.error}", error=True)
