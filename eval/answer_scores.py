"""Metrics of the answer as a text (exact match, F1, answer recall) and as a decision (refusals).

A case that wants an answer and was refused scores 0 for correctness; a case that has no gold answers, or is
to be refused, is not scored for it.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable

from eval.claims import is_refusal, plain
from eval.types import Case, Record, Score

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalised(text: str) -> str:
    """SQuAD's normalisation: lower case, no ASCII punctuation, no articles, single spaces.

    After ``normalize_answer`` of the official SQuAD 1.1 evaluation script (Rajpurkar et al. 2016).
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(case: Case, record: Record) -> Score:
    """1 if the answer without markers equals one of the gold answers, both normalised (SQuAD)."""
    return _best("exact_match", case, record, lambda answer, gold: float(answer == gold))


def f1(case: Case, record: Record) -> Score:
    """Harmonic mean of precision and recall over normalised tokens, the best over the gold answers (SQuAD).

    2 * shared / (tokens of the answer + tokens of the gold answer); tokens count as often as they occur.
    """
    return _best("f1", case, record, token_f1)


def answer_recall(case: Case, record: Record) -> Score:
    """1 if one of the gold answers stands in the answer, as a run of whole normalised tokens.

    For models that write sentences; after the "string exact match" of ALCE (Gao et al. 2023, 5.2), but on
    whole tokens, so that "31" is not found in "1931".
    """
    return _best("answer_recall", case, record, lambda answer, gold: float(f" {gold} " in f" {answer} "))


def token_f1(answer: str, gold: str) -> float:
    """SQuAD F1 of two normalised texts; two empty ones are equal."""
    left, right = answer.split(), gold.split()
    if not left or not right:
        return float(left == right)
    shared = (Counter(left) & Counter(right)).total()
    return 2 * shared / (len(left) + len(right))


def refusal_precision(case: Case, record: Record) -> Score:
    """Of the refusals, those of cases that have no answer: TP / (TP + FP)."""
    wanted = case.answerable
    if wanted is None or not is_refusal(record):
        return Score(name="refusal_precision", value=None, why="not refused" if wanted is not None else _UNKNOWN)
    return Score(name="refusal_precision", value=float(not wanted), why="refused")


def refusal_recall(case: Case, record: Record) -> Score:
    """Of the cases that have no answer, those that were refused: TP / (TP + FN)."""
    if case.answerable is not False:
        return Score(name="refusal_recall", value=None, why=_UNKNOWN if case.answerable is None else "has an answer")
    refused = is_refusal(record)
    return Score(name="refusal_recall", value=float(refused), why="refused" if refused else "answered")


def refusal_f1(case: Case, record: Record) -> Score:
    """Share of this case in F1 = 2 TP / (2 TP + FP + FN): a right refusal weighs 2, a wrong decision 1."""
    wanted, refused = case.answerable, is_refusal(record)
    if wanted is None or (wanted and not refused):
        return Score(name="refusal_f1", value=None, why=_UNKNOWN if wanted is None else "rightly answered")
    right = refused and not wanted
    return Score(
        name="refusal_f1",
        value=float(right),
        weight=2.0 if right else 1.0,
        why="rightly refused" if right else "wrongly refused" if refused else "wrongly answered",
    )


def over_refusal(case: Case, record: Record) -> Score:
    """Of the cases that have an answer, those that were refused: FP / (FP + TN). Lower is better."""
    if not case.answerable:
        return Score(name="over_refusal", value=None, why=_UNKNOWN if case.answerable is None else "has no answer")
    refused = is_refusal(record)
    return Score(name="over_refusal", value=float(refused), why="refused" if refused else "answered")


_UNKNOWN = "the case does not say whether it has an answer"


def _best(name: str, case: Case, record: Record, measure: Callable[[str, str], float]) -> Score:
    if case.answerable is False or not case.answers:
        return Score(name=name, value=None, why="the case has no gold answer")
    if is_refusal(record):
        return Score(name=name, value=0.0, why="refused, though it has an answer")
    answer = normalised(plain(record.answer))
    value, gold = max((measure(answer, normalised(gold)), gold) for gold in case.answers)
    return Score(name=name, value=value, why=f"closest to {gold!r}")
