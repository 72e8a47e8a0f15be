"""Answers sentence by sentence: each is checked against the passages, and shown only if one supports it.

A marker ``[n]`` that names no passage is dropped, and one that names the wrong passage is replaced. A sentence without
a marker gets that of the passage that supports it. Each citation carries the exact characters of its source that come
closest to the sentence. Markers end up behind their sentence.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rag.grounding import Grounding, Verifier
from rag.types import Citation, CitationStatus, Claim, Passage

_MARKER = r"\s*\[\s*\d+(?:\s*[,;]\s*\d+)*\s*\]"
_MARKERS = re.compile(_MARKER)
_COMPLETE = re.compile(
    rf"\s*\S.*?(?:[.!?]+[\"'”’)]*(?:{_MARKER})*(?=\s+[^\s\[])|(?:{_MARKER})*(?=[^\S\n]*\n\s*[^\s\[]))",
    re.DOTALL,
)
"""A sentence with its markers. What follows must have begun, and be no marker that still belongs to it."""

SHOWN = 0.6
"""Least probability of support with which a sentence is shown.

Of the lexical verifier, on 593 human-labelled claims that it was fitted on, 84% of what reaches it is supported,
and 68% of what is supported reaches it; on 3,000 claims about other pages, 87% and 68%.
"""


class AnswerWriter:
    """Text of a model goes in piece by piece; supported sentences come out, and add up to ``text``.

    ``claims``: the sentences so far, those that were left out too. ``repeats``: a sentence came a second time; a model
    that has begun to loop says nothing new, and the repetition is left out.
    """

    def __init__(self, passages: Sequence[Passage], verifier: Verifier, grounding: Grounding) -> None:
        self.text = ""
        self.claims: list[Claim] = []
        self.repeats = False
        self._passages = {passage.number: passage for passage in passages}
        self._verifier = verifier
        self._grounding = grounding
        self._citations: dict[tuple[int, int, int], Citation] = {}
        self._said: set[str] = set()
        self._pending = ""

    @property
    def citations(self) -> tuple[Citation, ...]:
        """In order of appearance, each place once."""
        return tuple(self._citations.values())

    @property
    def unsupported(self) -> list[str]:
        """The sentences that were left out."""
        return [claim.text for claim in self.claims if not claim.numbers]

    def feed(self, piece: str) -> str:
        """Take a piece of the model's text; returns what of the sentences that it completes is supported."""
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
        """The sentence with its markers, or nothing if no passage supports it."""
        body = _MARKERS.sub("", sentence)
        text = body.strip()
        key = " ".join(text.casefold().split())
        if not self._grounding.is_claim(text):
            return ""
        if key in self._said:
            self.repeats = True
            return ""
        self._said.add(key)
        claim = self._judge(text, [int(n) for n in re.findall(r"\d+", "".join(_MARKERS.findall(sentence)))])
        self.claims.append(claim)
        if not claim.numbers:
            return ""
        for number in claim.numbers:
            self._record(text, self._passages[number], claim.status)
        body += "".join(f" [{number}]" for number in claim.numbers)
        if not self.text:
            body = body.lstrip()
        self.text += body
        return body

    def _judge(self, text: str, named: Sequence[int]) -> Claim:
        """Where it is supported: in the passages that it names, else in the one that does it best."""
        support = {
            number: self._verifier.verify(text, passage.text, " ".join(passage.headings)).p_supported
            for number, passage in self._passages.items()
        }
        best = max(support, key=support.__getitem__, default=None)
        status: CitationStatus = "verified"
        numbers = [number for number in support if number in named and support[number] >= SHOWN]
        if not numbers and best is not None and support[best] >= SHOWN:
            numbers = [best]
            status = "misattributed" if named else "verified"
        elif not numbers:
            status = "unsupported" if not named or any(number in support for number in named) else "invalid"
        likely = [support[number] for number in numbers] or list(support.values())
        return Claim(
            text=text,
            status=status,
            named=tuple(dict.fromkeys(named)),
            numbers=tuple(numbers),
            p_supported=max(likely, default=0.0),
        )

    def _record(self, text: str, passage: Passage, status: CitationStatus) -> None:
        found = self._grounding.closest(text, passage.text)
        start, end = (found.start, found.end) if found.score else (0, len(passage.text))
        self._citations.setdefault((passage.number, start, end), passage.cite(start, end, status))
