"""All metrics of an answer. Each is a function of the case, the record and the judged claims alone."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from eval.answer_scores import answer_recall, exact_match, f1
from eval.claims import is_refusal
from eval.errors import InputError
from eval.grounding_scores import (
    Claims,
    citation_precision,
    citation_recall,
    citation_validity,
    groundedness,
    groundedness_min,
    groundedness_strict,
    unsupported_answer_rate,
)
from eval.judged import judge_claims
from eval.prompt_scores import control_tokens_kept, within_budget
from eval.refusal_scores import (
    grounded_f1_answered,
    grounded_f1_refused,
    over_refusal,
    refusal_f1,
    refusal_precision,
    refusal_recall,
)
from eval.retrieval_scores import mrr_at_10, ndcg_at_10, recall_at_5
from eval.types import Case, CaseResult, Record, Score
from rag.grounding import Verifier

_JUDGED: Mapping[str, Callable[[Record, Claims], Score]] = {
    "groundedness": groundedness,
    "groundedness_strict": groundedness_strict,
    "groundedness_min": groundedness_min,
    "unsupported_answer_rate": unsupported_answer_rate,
    "citation_recall": citation_recall,
    "citation_precision": citation_precision,
}
_RECORDED: Mapping[str, Callable[[Record], Score]] = {
    "citation_validity": citation_validity,
    "within_budget": within_budget,
    "control_tokens_kept": control_tokens_kept,
}
_KNOWN: Mapping[str, Callable[[Case, Record], Score]] = {
    "refusal_precision": refusal_precision,
    "refusal_recall": refusal_recall,
    "refusal_f1": refusal_f1,
    "over_refusal": over_refusal,
    "grounded_f1_refused": grounded_f1_refused,
    "grounded_f1_answered": grounded_f1_answered,
    "exact_match": exact_match,
    "f1": f1,
    "answer_recall": answer_recall,
    "recall_at_5": recall_at_5,
    "mrr_at_10": mrr_at_10,
    "ndcg_at_10": ndcg_at_10,
}

JUDGED = frozenset(_JUDGED)
"""The metrics that rest on the verifier."""

SCORED = (*_JUDGED, *_RECORDED, *_KNOWN)
"""Names of the metrics that every case has a :class:`~eval.types.Score` for, in the order of its scores."""

MACRO: Mapping[str, tuple[str, ...]] = {"grounded_refusal_f1": ("grounded_f1_refused", "grounded_f1_answered")}
"""Metrics that only a set of cases has: the plain mean of the values of the metrics named."""

METRICS = (*SCORED, *MACRO)
"""Names of all metrics; each is a value from 0 to 1."""

LOWER_IS_BETTER = frozenset({"over_refusal", "unsupported_answer_rate"})
"""The metrics of which less is better; of all others more is."""

NO_ANSWER = "no answer in the file"

_APPLY_TO_ANY_ANSWER = JUDGED | {"citation_validity"}
_MEANING_OF_MACRO = {
    "grounded_refusal_f1": "Mean of grounded_f1_refused and grounded_f1_answered over a set of cases "
    "(TRUST-Score's grounded refusals, Song et al. 2024).",
}


class Described(NamedTuple):
    """A metric in a line: ``range`` with its direction, whether it rests on the verifier, and what it means."""

    name: str
    range: str
    judged: bool
    meaning: str


def describe() -> list[Described]:
    """All metrics in the order of :data:`METRICS`; the meaning is the first line of the function's docstring."""
    functions: Mapping[str, Callable[..., Any]] = {**_JUDGED, **_RECORDED, **_KNOWN}
    meanings = {name: (inspect.getdoc(function) or "").split("\n")[0] for name, function in functions.items()}
    return [
        Described(
            name=name,
            range=f"0 to 1, {'lower' if name in LOWER_IS_BETTER else 'higher'} is better",
            judged=name in JUDGED,
            meaning=meaning,
        )
        for name, meaning in (meanings | _MEANING_OF_MACRO).items()
    ]


def score_case(case: Case, record: Record, verifier: Verifier) -> CaseResult:
    """All scores of a case, and its claims. Where there is no answer, what would apply to any has its worst value."""
    claims = judge_claims(record, verifier)
    scores = (
        *(judged(record, claims) for judged in _JUDGED.values()),
        *(recorded(record) for recorded in _RECORDED.values()),
        *(known(case, record) for known in _KNOWN.values()),
    )
    if record.error:
        scores = tuple(_without_answer(score, record) for score in scores)
    return CaseResult(case=case, record=record, refused=is_refusal(record), scores=scores, claims=claims)


def score_cases(cases: Sequence[Case], records: Mapping[str, Record], verifier: Verifier) -> tuple[CaseResult, ...]:
    """Scores of all cases, in order; a case without a record is an error of its own.

    Raises :class:`~eval.errors.InputError` when there are no cases, and for an answer to none of them.
    """
    if not cases:
        raise InputError("there are no cases to score: pass a file that has some")
    if unknown := sorted(set(records) - {case.id for case in cases}):
        shown = ", ".join(map(repr, unknown[:5]))
        raise InputError(f"no case has the id of these answers: {shown}: pass the cases that they answer")
    return tuple(
        score_case(case, records.get(case.id) or Record(id=case.id, answer="", error=NO_ANSWER), verifier)
        for case in cases
    )


def _without_answer(score: Score, record: Record) -> Score:
    """The worst value where the metric applies to the case; groundedness and citations apply to any answer."""
    applies = score.value is not None or score.name in _APPLY_TO_ANY_ANSWER
    worst = float(score.name in LOWER_IS_BETTER)
    value = worst if applies else None
    return replace(score, value=value, why=f"no answer: {record.error}", error=True)
