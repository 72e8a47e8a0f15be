"""Metrics of an answer as a decision: to answer or to refuse.

An F1 over cases is a weighted mean of 0 and 1: F1 = 2 TP / (2 TP + FP + FN), so a true positive has value 1 and weight
2, a wrong decision value 0 and weight 1, and every other case does not apply. How a refusal is recognised is in
:func:`eval.claims.is_refusal`. An answer that failed is neither a refusal nor a right answer: a miss.
"""

from __future__ import annotations

from eval.claims import is_refusal
from eval.gold import gold_sent
from eval.types import Case, Record, Score

_UNKNOWN = "the case does not say whether it has an answer"
_UNKNOWN_SENT = "the case does not say what the passages must hold"


def refusal_precision(case: Case, record: Record) -> Score:
    """Of the refusals, those of cases that have no answer.

    TP / (TP + FP), from 0 to 1. Not applicable to an answer, or where the case does not say whether it has one.
    """
    wanted = case.answerable
    if wanted is None or not is_refusal(record):
        return Score(name="refusal_precision", value=None, why="not refused" if wanted is not None else _UNKNOWN)
    return Score(name="refusal_precision", value=float(not wanted), why="refused")


def refusal_recall(case: Case, record: Record) -> Score:
    """Of the cases that have no answer, those that were refused.

    TP / (TP + FN), from 0 to 1. Not applicable to a case that has an answer or does not say.
    """
    if case.answerable is not False:
        return Score(name="refusal_recall", value=None, why=_UNKNOWN if case.answerable is None else "has an answer")
    refused = is_refusal(record)
    return Score(name="refusal_recall", value=float(refused), why="refused" if refused else "answered")


def refusal_f1(case: Case, record: Record) -> Score:
    """Harmonic mean of refusal precision and recall.

    2 TP / (2 TP + FP + FN), from 0 to 1: a right refusal weighs 2, a wrong decision 1. Not applicable to an answerable
    case that was answered, or where the case does not say whether it has an answer.
    """
    wanted, refused = case.answerable, is_refusal(record)
    if wanted is None or (wanted and not refused):
        return Score(name="refusal_f1", value=None, why=_UNKNOWN if wanted is None else "rightly answered")
    return _share("refusal_f1", right=refused and not wanted, refused=refused)


def over_refusal(case: Case, record: Record) -> Score:
    """Of the cases that have an answer, those that were refused.

    FP / (FP + TN), from 0 to 1, lower is better. Not applicable to a case that has no answer or does not say.
    """
    if not case.answerable:
        return Score(name="over_refusal", value=None, why=_UNKNOWN if case.answerable is None else "has no answer")
    refused = is_refusal(record)
    return Score(name="over_refusal", value=float(refused), why="refused" if refused else "answered")


def grounded_f1_refused(case: Case, record: Record) -> Score:
    """F1 of refusing exactly where the passages sent do not hold the answer.

    2 TP / (2 TP + FP + FN), from 0 to 1, TP being a refusal without the gold in the passages sent
    (:func:`eval.gold.gold_sent`). F1 of refusals in the grounded refusals of TRUST-Score (Song et al. 2024).
    Not applicable to an answer with the gold before it, or where the case does not tell.
    """
    return _grounded("grounded_f1_refused", case, record, of_refusals=True)


def grounded_f1_answered(case: Case, record: Record) -> Score:
    """F1 of answering exactly where the passages sent hold the answer.

    2 TP / (2 TP + FP + FN), from 0 to 1, TP being an answer, right or wrong, with the gold in the passages sent
    (:func:`eval.gold.gold_sent`). F1 of answers in the grounded refusals of TRUST-Score (Song et al. 2024).
    Not applicable to a refusal without the gold before it, or where the case does not tell.
    """
    return _grounded("grounded_f1_answered", case, record, of_refusals=False)


def _grounded(name: str, case: Case, record: Record, *, of_refusals: bool) -> Score:
    gold = case.answerable if record.error else gold_sent(case, record)
    if gold is None:
        return Score(name=name, value=None, why=_UNKNOWN_SENT)
    wanted = gold != of_refusals
    if record.error:
        return Score(name=name, value=0.0 if wanted else None, why="no answer")
    refused = is_refusal(record)
    taken = refused == of_refusals
    if not wanted and not taken:
        return Score(name=name, value=None, why="rightly answered" if of_refusals else "rightly refused")
    return _share(name, right=wanted and taken, refused=refused)


def _share(name: str, *, right: bool, refused: bool) -> Score:
    decision = "refused" if refused else "answered"
    return Score(
        name=name,
        value=float(right),
        weight=2.0 if right else 1.0,
        why=f"{'rightly' if right else 'wrongly'} {decision}",
    )
