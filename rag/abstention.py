"""What tells whether the documents answer a question: named signals of the search, of the model and of the answer.

Each is a number, or None where it cannot be had. :mod:`rag.confidence` weighs them. What was tried and left out, such
as the scores of the fused search, is told in docs/decisions/0013-abstention.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ingest.late import token_matches
from rag.grounding import Grounding
from rag.lookup import EvenedText
from rag.retriever import Retrieval
from rag.types import Likelihood

Signals = Mapping[str, float | None]
"""A signal's name -> its value; None where it cannot be had."""

SEARCH = ("cosine", "late", "weakest", "coverage", "sentence", "first_hit", "names_missing", "numbers_missing")
ANSWER = ("declined", "left_out", "support", "focus")
MODEL = ("refusal_likelihood", "first_likelihood", "own_likelihood")
NAMED = 3
"""So many words of a question that the passages lack are counted, and named, at most."""

_WORD = re.compile(r"[^\W_]+(?:['’._/-][^\W_]+)*")
_QUOTED = re.compile(r"[\"“„«]([^\"“”„«»]{2,80})[\"”“»]")
_NUMBER = re.compile(r"(?<![\w.,-])\d{1,15}(?:,\d{3})*(?:\.\d+)?(?!\w)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """Words of a question that no passage has, each once, as the question has them.

    ``names``: quoted texts, identifiers, words with a capital letter; ``words``: other content words.
    """

    names: tuple[str, ...]
    numbers: tuple[str, ...]
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """An answer at the moment when its first sentence is ready to be shown.

    ``supports``: how likely it is (0 to 1) that each sentence to be shown is supported; empty when there is none.
    ``left_out``: sentences before it that no passage supports. ``shown``: that sentence, and the source sentences that
    it cites. ``declined``: the model's own words were a refusal, or nothing.
    """

    supports: tuple[float, ...] = ()
    left_out: int = 0
    shown: str = ""
    declined: bool = False


def search_signals(retrieval: Retrieval, missing: Missing, grounding: Grounding) -> dict[str, float | None]:
    """The signals of a search, by the names of :data:`SEARCH`; shares are from 0 to 1.

    ``cosine``, ``coverage`` and ``sentence`` are ``best_cosine``, ``coverage`` and ``best_sentence`` of the retrieval.
    ``late``: MaxSim (:mod:`ingest.late`) of the question with the hit that has most of it; ``weakest``: how well its
    worst met content token is met in any hit; both None without token vectors. ``first_hit`` is the coverage of the
    question by the best hit alone. ``names_missing`` and ``numbers_missing``: how many of the question's names and
    numbers no hit has (``missing``, of :func:`missing_words`), as a share of :data:`NAMED`.
    """
    late, weakest = _met(retrieval)
    return {
        "cosine": retrieval.best_cosine,
        "late": late,
        "weakest": weakest,
        "coverage": retrieval.coverage,
        "sentence": retrieval.best_sentence,
        "first_hit": grounding.coverage(retrieval.question, _texts(retrieval)[:1]),
        "names_missing": min(NAMED, len(missing.names)) / NAMED,
        "numbers_missing": min(NAMED, len(missing.numbers)) / NAMED,
    }


def answer_signals(attempt: Attempt, question: str, grounding: Grounding) -> dict[str, float | None]:
    """The signals of an answer, by the names of :data:`ANSWER`, each from 0 to 1.

    ``declined``: 1 for a refusal by the model. ``left_out``: share of its sentences so far that no passage supports.
    ``support``: mean probability that those to be shown are supported. ``focus``: share of the question's content
    terms in them and the sources that they cite.
    """
    count = attempt.left_out + len(attempt.supports)
    return {
        "declined": float(attempt.declined),
        "left_out": attempt.left_out / count if count else 0.0,
        "support": sum(attempt.supports) / len(attempt.supports) if attempt.supports else 0.0,
        "focus": grounding.coverage(question, [attempt.shown]) if attempt.shown else 0.0,
    }


def model_signals(likelihood: Likelihood | None) -> dict[str, float | None]:
    """The signals of the model, by the names of :data:`MODEL`: logarithms of probabilities, a token's mean.

    None each from a model that cannot tell.
    """
    if likelihood is None:
        return dict.fromkeys(MODEL)
    values = (likelihood.rival, likelihood.first, likelihood.own)
    return dict(zip(MODEL, values, strict=True))


def missing_words(retrieval: Retrieval, grounding: Grounding) -> Missing:
    """What of the question no hit has, in its text or its headings. Words are compared by stem, numbers by value."""
    question, whole = retrieval.question, "\n".join(_texts(retrieval))
    terms, evened = grounding.terms(whole), EvenedText(whole)
    folded = evened.text
    names = [
        name
        for name in dict.fromkeys(names_of(question))
        if EvenedText(name).text not in folded and not (grounding.terms(name) and grounding.terms(name) <= terms)
    ]
    numbers = [
        number
        for number in dict.fromkeys(match[0] for match in _NUMBER.finditer(question))
        if next(evened.find(float(number.replace(",", ""))), None) is None and number not in folded
    ]
    told = " ".join((*names, *numbers)).casefold()
    words = [
        word
        for word in dict.fromkeys(match[0] for match in _WORD.finditer(question))
        if word.casefold() not in told and (found := grounding.terms(word)) and not found & terms
    ]
    return Missing(names=tuple(names), numbers=tuple(numbers), words=tuple(words))


def names_of(text: str) -> Iterator[str]:
    """Quoted texts, identifiers (letters with digits or inner capitals), and words with a capital letter that do not
    begin a sentence."""
    for match in _QUOTED.finditer(text):
        yield match[1]
    for match in _WORD.finditer(text):
        word = match[0].removesuffix("'s").removesuffix("’s")
        before = text[: match.start()].rstrip(" \"'“„«‘([")
        begins = not before or before[-1] in ".!?:\n"
        letters = any(map(str.isalpha, word))
        mixed = letters and ("_" in word or any(map(str.isdigit, word)) or any(map(str.isupper, word[1:])))
        if mixed or (word[0].isupper() and not begins):
            yield word


def _met(retrieval: Retrieval) -> tuple[float | None, float | None]:
    """(``late``, ``weakest``) of :func:`search_signals`."""
    query, codes = retrieval.late, [hit.codes for hit in retrieval.hits if hit.codes]
    if query is None or not codes:
        return None, None
    met = np.stack([token_matches(query, of_hit).max(axis=0) for of_hit in codes])
    content = met.max(axis=0)[query.weights >= query.weights.max()]
    return float((met @ query.weights).max()), float(content.min())


def _texts(retrieval: Retrieval) -> list[str]:
    return ["\n".join((*hit.chunk.headings, hit.chunk.text)) for hit in retrieval.hits]
