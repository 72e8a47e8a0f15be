"""What a claim has in common with a text: terms, and the sentence that comes closest.

The score of a claim against a sentence is the share of the claim's content terms (stemmed, without stop words) that the
sentence has, and 0 when the claim holds a number that the sentence lacks. Whether a text supports a claim is for a
:class:`Verifier` to say, the same for chat and for evaluation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, pairwise
from typing import Literal, Protocol, runtime_checkable

from ingest.edge import Bm25
from rag.types import Passage

_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
# Up to a line break, or the marks (and closing quotes and brackets) that white space follows. Nothing is tried twice.
_SENTENCE = re.compile(r"\S[^.!?\n]*+(?:[.!?]++[\"'”’)\]]*+(?!\s)[^.!?\n]*+)*+(?:[.!?]++[\"'”’)\]]*+)?")
_PIECE = re.compile(r"[^\x00-/:-@\[-`{-\x7f]+")
"""What stands between ASCII characters that are no letters and no digits; all of these part words for the engine."""
_MARKER = re.compile(r"\[\d+\]")
_KNOWN_PIECES = 20_000
_LONGEST_KNOWN = 40


Label = Literal["supported", "contradicted", "not_enough"]

LABELS: tuple[Label, ...] = ("supported", "contradicted", "not_enough")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of a claim: its label, how likely it is that the evidence supports it (0 to 1), and the part of
    the evidence that was judged. The label is "supported" exactly when ``p_supported`` is 0.5 or more."""

    label: Label
    p_supported: float
    evidence: str


class Verifier(Protocol):
    """Judges whether a text supports a claim; the same pair always gets the same verdict."""

    @property
    def name(self) -> str:
        """What :func:`rag.verifiers.open_verifier` takes to make it."""
        ...

    @property
    def measured(self) -> Mapping[str, float] | None:
        """How it did on human-labelled claims that it was not fitted on: "balanced_accuracy" and "auc" of supported
        against the rest, both 0 to 1. None when it was not measured."""
        ...

    def verify(self, claim: str, evidence: str, subject: str = "") -> Verdict:
        """Judge a claim by a text; ``subject`` says what the text is about (its headings)."""
        ...


@runtime_checkable
class BatchVerifier(Verifier, Protocol):
    """A verifier that is faster on many pairs at once."""

    def verify_many(self, pairs: Sequence[tuple[str, str, str]]) -> list[Verdict]:
        """:meth:`verify` for each (claim, evidence, subject)."""
        ...


def verify_pairs(verifier: Verifier, pairs: Sequence[tuple[str, str, str]]) -> list[Verdict]:
    """The verdict on each (claim, evidence, subject), at once where the verifier can do that."""
    if isinstance(verifier, BatchVerifier):
        return verifier.verify_many(pairs)
    return [verifier.verify(*pair) for pair in pairs]


def verify_any(verifier: Verifier, claim: str, passages: Iterable[Passage]) -> tuple[Verdict, int | None]:
    """Judge a claim by several passages: by each alone, and by what counts in the closest two together.

    Returns the best verdict and the number of its passage (of the first of the two). Without a passage the claim
    has nothing to rest on: "not_enough", None.
    """
    read = list(passages)
    verdicts = verify_pairs(verifier, [(claim, p.text, " ".join(p.headings)) for p in read])
    alone = [(verdict, p.number) for verdict, p in zip(verdicts, read, strict=True)]
    alone.sort(key=lambda pair: -pair[0].p_supported)
    if not alone:
        return Verdict(label="not_enough", p_supported=0.0, evidence=""), None
    best, number = alone[0]
    if best.label != "supported" and len(alone) > 1:
        together = verifier.verify(claim, "\n".join(verdict.evidence for verdict, _ in alone[:2]))
        if together.label == "supported":
            return together, number
    return best, number


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The stretch of a text that comes closest to a claim: ``text[start:end]``, and how close (0 to 1)."""

    start: int
    end: int
    score: float


class _Terms(dict[str, frozenset[int]]):
    """Terms of the pieces of texts: asking the engine costs more than remembering what it said."""

    def __init__(self) -> None:
        super().__init__()
        self._bm25 = Bm25()

    def __missing__(self, piece: str) -> frozenset[int]:
        found = frozenset(self._bm25.query(piece).indices)
        if len(piece) <= _LONGEST_KNOWN:
            if len(self) >= _KNOWN_PIECES:
                self.clear()
            self[piece] = found
        return found


class Grounding:
    """Scores claims against texts; holds the stemmer."""

    def __init__(self) -> None:
        self._known = _Terms()

    def term(self, word: str) -> int | None:
        """The term of a single word, as :meth:`terms` has it; None for a stop word."""
        return min(self._known[word], default=None)

    def terms(self, text: str) -> frozenset[int]:
        """Content terms of a text, stemmed, as numbers that only compare with each other."""
        return frozenset().union(*map(self._known.__getitem__, set(_PIECE.findall(text))))

    def coverage(self, question: str, texts: list[str]) -> float:
        """Share (0 to 1) of the question's terms that any of the texts has; 1 for a question without terms."""
        wanted = self.terms(question)
        pieces = frozenset().union(*map(_pieces, texts))
        return len(self._wanted(wanted, pieces)) / len(wanted) if wanted else 1.0

    def best_sentence(self, question: str, texts: list[str]) -> float:
        """Largest share (0 to 1) of the question's terms that a single sentence of the texts has."""
        wanted = self.terms(question)
        if not wanted:
            return 1.0
        telling = [{p for p in _pieces(text) if not wanted.isdisjoint(self._known[p])} for text in texts]
        # No sentence has more than its whole text has, so most texts need not be taken apart.
        most = [len(self._wanted(wanted, pieces)) for pieces in telling]
        best = 0
        for place in sorted(range(len(texts)), key=most.__getitem__, reverse=True):
            if most[place] <= best:
                break
            for start, end in sentence_spans(texts[place]):
                pieces = telling[place].intersection(_PIECE.findall(texts[place][start:end]))
                best = max(best, len(self._wanted(wanted, pieces)))
        return best / len(wanted)

    def _wanted(self, wanted: frozenset[int], pieces: Iterable[str]) -> frozenset[int]:
        return wanted.intersection(chain.from_iterable(map(self._known.__getitem__, pieces)))

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


@lru_cache(maxsize=64)
def _pieces(text: str) -> frozenset[str]:
    """Distinct pieces of a text; remembered, for a search looks at the same chunks twice."""
    return frozenset(_PIECE.findall(text))


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """(start, end) of the sentences and lines of a text."""
    return [match.span() for match in _SENTENCE.finditer(text)]


def _windows(text: str) -> Iterator[tuple[int, int]]:
    spans = sentence_spans(text)
    yield from spans
    for (start, _), (_, end) in pairwise(spans):
        yield start, end
