"""Metrics of the answer as a text: exact match, F1, answer recall.

A case that wants an answer and was refused scores 0; one that has no gold answers, or is to be refused, is not scored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from eval.claims import is_refusal
from eval.markers import plain
from eval.normal import normalised, stands_in, tokens
from eval.types import Case, Record, Score


def exact_match(case: Case, record: Record) -> Score:
    """1 if the answer without markers equals one of the gold answers, both normalised.

    0 or 1 (SQuAD, Rajpurkar et al. 2016, section 6.1). Not applicable without gold answers.
    """
    return _best("exact_match", case, record, lambda answer, gold: float(answer == gold))


def f1(case: Case, record: Record) -> Score:
    """Harmonic mean of precision and recall over normalised tokens, the best over the gold answers.

    2 * shared / (tokens of the answer + tokens of the gold answer), from 0 to 1; tokens count as often as they occur
    (SQuAD, Rajpurkar et al. 2016, section 6.1). Not applicable without gold answers.
    """
    return _best("f1", case, record, token_f1)


def answer_recall(case: Case, record: Record) -> Score:
    """1 if one of the gold answers stands in the answer, as a run of whole normalised tokens.

    0 or 1. For models that write sentences; after the "string exact match" of ALCE (Gao et al. 2023, 5.2), but on whole
    tokens, so that "31" is not found in "1931". Not applicable without gold answers.
    """
    return _best("answer_recall", case, record, lambda answer, gold: float(stands_in(gold, answer)), tokens)


def token_f1(answer: str, gold: str) -> float:
    """SQuAD F1 of two normalised texts; two empty ones are equal."""
    left, right = answer.split(), gold.split()
    if not left or not right:
        return float(left == right)
    shared = (Counter(left) & Counter(right)).total()
    return 2 * shared / (len(left) + len(right))


def _best(
    name: str,
    case: Case,
    record: Record,
    measure: Callable[[str, str], float],
    normal: Callable[[str], str] = normalised,
) -> Score:
    if case.answerable is False or not case.answers:
        return Score(name=name, value=None, why="the case has no gold answer")
    if is_refusal(record):
        return Score(name=name, value=0.0, why="refused, though it has an answer")
    answer = normal(plain(record.answer))
    value, gold = max((measure(answer, normal(gold)), gold) for gold in case.answers)
    return Score(name=name, value=value, why=f"closest to {gold!r}")
