"""What a claim has in common with a text: terms, and the sentence that comes closest.

The score of a claim against a sentence is the share of the claim's content terms (stemmed, without stop words) that the
sentence has, and 0 when the claim holds a number that the sentence lacks. Whether that amounts to support is judged in
:mod:`rag.verifier`, the same for chat and for evaluation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from ingest.edge import Bm25

_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_SENTENCE = re.compile(r"[^\s].*?(?:[.!?]+[\"'”’)\]]*(?=\s)|(?=\n)|$)", re.DOTALL)
_MARKER = re.compile(r"\[\d+\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The stretch of a text that comes closest to a claim: ``text[start:end]``, and how close (0 to 1)."""

    start: int
    end: int
    score: float


class Grounding:
    """Scores claims against texts; holds the stemmer."""

    def __init__(self) -> None:
        self._bm25 = Bm25()

    def terms(self, text: str) -> frozenset[int]:
        """Content terms of a text, stemmed, as numbers that only compare with each other."""
        return frozenset(self._bm25.query(text).indices)

    def coverage(self, question: str, texts: list[str]) -> float:
        """Share (0 to 1) of the question's terms that any of the texts has; 1 for a question without terms."""
        wanted = self.terms(question)
        return len(wanted & self.terms("\n".join(texts))) / len(wanted) if wanted else 1.0

    def best_sentence(self, question: str, texts: list[str]) -> float:
        """Largest share (0 to 1) of the question's terms that a single sentence of the texts has."""
        wanted = self.terms(question)
        bodies = (text[start:end] for text in texts for start, end in sentence_spans(text))
        return max((len(wanted & self.terms(body)) / len(wanted) for body in bodies), default=0.0) if wanted else 1.0

    def is_claim(self, sentence: str) -> bool:
        """Whether there is anything in the sentence that could be true or false."""
        return any(char.isalpha() for char in sentence) and bool(self.terms(sentence))

    def closest(self, claim: str, text: str) -> Evidence:
        """The sentence of ``text``, or the pair of neighbours, that has most of the claim's terms."""
        claim = _MARKER.sub(" ", claim)
        wanted, numbers = self.terms(claim), set(_NUMBER.findall(claim))
        best = Evidence(start=0, end=0, score=0.0)
        for start, end in _windows(text):
            body = text[start:end]
            if not wanted or not numbers <= set(_NUMBER.findall(body)):
                continue
            score = len(wanted & self.terms(body)) / len(wanted)
            if score > best.score:
                best = Evidence(start=start, end=end, score=score)
        return best


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """(start, end) of the sentences and lines of a text."""
    return [match.span() for match in _SENTENCE.finditer(text)]


def _windows(text: str) -> Iterator[tuple[int, int]]:
    spans = sentence_spans(text)
    yield from spans
    for (start, _), (_, end) in pairwise(spans):
        yield start, end
