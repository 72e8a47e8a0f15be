"""Which part of a long text a claim is read against, the same for every verifier."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rag.grounding import Grounding, sentence_spans

READ_WHOLE = 80
"""Words; a text of at most so many is read as a whole."""
PRONOUN = re.compile(r"(?:He|She|It|They)\b")
_MARKER = re.compile(r"\s*\[\s*\d+(?:\s*[,;]\s*\d+)*\s*\]")
_NUMBER = re.compile(r"\d+")
_WIDEST = 3


def bare(claim: str) -> str:
    """The claim without its markers ``[n]`` and the white space around it."""
    return _MARKER.sub("", claim).strip()


def near(grounding: Grounding, claim: str, text: str, whole: int = READ_WHOLE) -> str:
    """What of a text the claim is judged by: all of it up to ``whole`` words, else the closest one to three sentences.

    Those are the run with most of the claim's terms and numbers, the shortest such. One that would open with a pronoun
    begins a sentence earlier.
    """
    if len(text.split()) <= whole:
        return text
    wanted, numbers = grounding.terms(claim), set(_NUMBER.findall(claim))

    def shared(body: str) -> tuple[int, int]:
        found = len(wanted & grounding.terms(body)) + len(numbers & set(_NUMBER.findall(body)))
        return found, -len(body)

    return max(_runs(text), key=shared, default=text)


def _runs(text: str) -> Iterator[str]:
    spans = sentence_spans(text)
    for first, (start, _) in enumerate(spans):
        if first and PRONOUN.match(text, start):
            start = spans[first - 1][0]
        for _, end in spans[first : first + _WIDEST]:
            yield text[start:end]
