"""Answers as they stream: every ``[n]`` is checked, and sentences that cite nothing are traced to a source.

A marker that names no passage is dropped. A sentence without a marker gets the one of the passage that supports
it, if any does. Each citation carries the exact characters of its source that come closest to the sentence.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rag.grounding import SUPPORTED, Grounding
from rag.types import Citation, Passage

_MARKER = re.compile(r"\[\s*\d+(?:\s*[,;]\s*\d+)*\s*\]")
_LONGEST_MARKER = 24
_CLOSERS = "\"'”’)"


class AnswerWriter:
    """Text of a model goes in piece by piece; what may be shown comes out, and adds up to ``text``.

    ``citations`` are in order of appearance, each (passage, quote) once. ``unsupported`` are the sentences that
    no passage supports.
    """

    def __init__(self, passages: Sequence[Passage], grounding: Grounding) -> None:
        self.text = ""
        self.unsupported: list[str] = []
        self._passages = {passage.number: passage for passage in passages}
        self._grounding = grounding
        self._citations: dict[tuple[int, int, int], Citation] = {}
        self._sentence = ""
        self._numbers: list[int] = []
        self._ended = False
        self._gap = ""
        self._bracket = ""

    @property
    def citations(self) -> tuple[Citation, ...]:
        return tuple(self._citations.values())

    def feed(self, piece: str) -> str:
        """Take a piece of the model's text; returns what can be shown now."""
        return self._shown("".join(map(self._take, piece)))

    def finish(self) -> str:
        """The model is done; returns what is left to show."""
        return self._shown(self._plain(self._bracket) + self._close())

    def _shown(self, text: str) -> str:
        if not self.text:
            text = text.lstrip()
        self.text += text
        return text

    def _take(self, char: str) -> str:
        if self._bracket:
            return self._in_bracket(char)
        if char == "[":
            self._bracket = char
            return ""
        return self._plain(char)

    def _in_bracket(self, char: str) -> str:
        held = self._bracket + char
        self._bracket = held
        if char == "]":
            self._bracket = ""
            return self._marker(held) if _MARKER.fullmatch(held) else self._plain(held)
        if char == "[":
            self._bracket = char
            return self._plain(held[:-1])
        if char == "\n" or len(held) > _LONGEST_MARKER:
            self._bracket = ""
            return self._plain(held)
        return ""

    def _marker(self, held: str) -> str:
        """The valid numbers of a marker, each once a sentence; white space before it is kept for later."""
        numbers = [int(number) for number in re.findall(r"\d+", held)]
        new = [n for n in dict.fromkeys(numbers) if n in self._passages and n not in self._numbers]
        self._numbers += new
        shown = "".join(f"[{number}]" for number in new)
        return f" {shown}" if shown and self._gap else shown

    def _plain(self, text: str) -> str:
        return "".join(map(self._character, text))

    def _character(self, char: str) -> str:
        if char.isspace() and (self._ended or char == "\n" or self._gap):
            self._gap += char
            return ""
        before = ""
        if self._gap:
            before = self._close()
        self._sentence += char
        self._ended = char in ".!?" or (self._ended and char in _CLOSERS)
        return before + char

    def _close(self) -> str:
        """End the sentence in hand: settle its citations; returns a marker if it earned one, and the gap."""
        sentence, numbers, gap = self._sentence.strip(), self._numbers, self._gap
        self._sentence, self._numbers, self._gap, self._ended = "", [], "", False
        if not self._grounding.is_claim(sentence):
            return gap
        if numbers:
            supported = [self._cite(sentence, self._passages[number]) for number in numbers]
            if not any(supported):
                self.unsupported.append(sentence)
            return gap
        best = max(
            self._passages.values(),
            key=lambda passage: self._grounding.closest(sentence, passage.text).score,
            default=None,
        )
        if best is None or self._grounding.closest(sentence, best.text).score < SUPPORTED:
            self.unsupported.append(sentence)
            return gap
        self._cite(sentence, best)
        return f" [{best.number}]{gap}"

    def _cite(self, sentence: str, passage: Passage) -> bool:
        found = self._grounding.closest(sentence, passage.text)
        start, end = (found.start, found.end) if found.score else (0, len(passage.text))
        supported = found.score >= SUPPORTED
        citation = Citation(
            number=passage.number,
            source=passage.source,
            start=passage.start + start,
            end=passage.start + end,
            quote=passage.text[start:end],
            pages=passage.pages,
            status="verified" if supported else "unsupported",
        )
        key = (citation.number, citation.start, citation.end)
        if supported or key not in self._citations:
            self._citations[key] = citation
        return supported
