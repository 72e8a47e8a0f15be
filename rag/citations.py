"""Answers sentence by sentence: each is checked against the passages before it is shown.

A marker ``[n]`` that names no passage is dropped. A sentence without a marker gets that of the passage which
supports it, if one does. Each citation carries the exact characters of its source that come closest to the
sentence. Markers end up behind their sentence.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rag.grounding import SUPPORTED, Grounding
from rag.types import Citation, Passage

_MARKER = r"\s*\[\s*\d+(?:\s*[,;]\s*\d+)*\s*\]"
_MARKERS = re.compile(_MARKER)
_COMPLETE = re.compile(
    rf"\s*\S.*?(?:[.!?]+[\"'”’)]*(?:{_MARKER})*(?=\s+[^\s\[])|(?:{_MARKER})*(?=[^\S\n]*\n\s*[^\s\[]))",
    re.DOTALL,
)
"""A sentence with its markers. What follows must have begun, and be no marker that still belongs to it."""


class AnswerWriter:
    """Text of a model goes in piece by piece; checked sentences come out, and add up to ``text``.

    ``unsupported``: the sentences that no passage supports. ``repeats``: a sentence came a second time; a model
    that has begun to loop says nothing new, and the repetition is not shown.
    """

    def __init__(self, passages: Sequence[Passage], grounding: Grounding) -> None:
        self.text = ""
        self.unsupported: list[str] = []
        self.repeats = False
        self._passages = {passage.number: passage for passage in passages}
        self._grounding = grounding
        self._citations: dict[tuple[int, int, int], Citation] = {}
        self._said: set[str] = set()
        self._pending = ""

    @property
    def citations(self) -> tuple[Citation, ...]:
        """In order of appearance, each place once."""
        return tuple(self._citations.values())

    @property
    def grounded(self) -> bool:
        """Whether a passage supports at least one sentence so far."""
        return any(citation.status == "verified" for citation in self._citations.values())

    def feed(self, piece: str) -> str:
        """Take a piece of the model's text; returns the sentences that it completes."""
        self._pending += piece
        shown = ""
        while complete := _COMPLETE.match(self._pending):
            self._pending = self._pending[complete.end() :]
            shown += self._settle(complete.group())
        return shown

    def finish(self) -> str:
        """The model is done; returns what is left to show."""
        rest, self._pending = self._pending.rstrip(), ""
        return self._settle(rest) if rest.strip() else ""

    def _settle(self, sentence: str) -> str:
        """The sentence as it is shown, its citations recorded."""
        body = _MARKERS.sub("", sentence)
        claim = body.strip()
        if self._grounding.is_claim(claim):
            key = " ".join(claim.casefold().split())
            if key in self._said:
                self.repeats = True
                return ""
            self._said.add(key)
            cited = re.findall(r"\d+", "".join(_MARKERS.findall(sentence)))
            body += "".join(f" [{number}]" for number in self._attribute(claim, cited))
        if not self.text:
            body = body.lstrip()
        self.text += body
        return body

    def _attribute(self, claim: str, cited: Sequence[str]) -> list[int]:
        """Record a citation for each passage that the claim names, or for the one that supports it best."""
        numbers = [n for n in dict.fromkeys(map(int, cited)) if n in self._passages]
        if numbers:
            supported = [self._cite(claim, self._passages[number]) for number in numbers]
            if not any(supported):
                self.unsupported.append(claim)
            return numbers
        scores = {n: self._grounding.closest(claim, p.text).score for n, p in self._passages.items()}
        best = max(scores, key=scores.__getitem__, default=None)
        if best is None or scores[best] < SUPPORTED:
            self.unsupported.append(claim)
            return []
        self._cite(claim, self._passages[best])
        return [best]

    def _cite(self, claim: str, passage: Passage) -> bool:
        found = self._grounding.closest(claim, passage.text)
        supported = found.score >= SUPPORTED
        start, end = (found.start, found.end) if found.score else (0, len(passage.text))
        key = (passage.number, start, end)
        if supported or key not in self._citations:
            self._citations[key] = Citation(
                number=passage.number,
                source=passage.source,
                start=passage.start + start,
                end=passage.start + end,
                quote=passage.text[start:end],
                pages=passage.pages,
                status="verified" if supported else "unsupported",
            )
        return supported
