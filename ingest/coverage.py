"""How much of a document's text is in its chunks, by where they say that they begin and end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

Span = tuple[int, int]
"""(start, end) in code points of ``Document.text``, from 0; the character at ``end`` is not in it."""


_STEP = 2**20
"""Characters that are looked at together: the words of a whole book would take its memory many times."""


def visible(text: str) -> int:
    """Characters that are not white space."""
    return sum(len(word) for at in range(0, len(text), _STEP) for word in text[at : at + _STEP].split())


def covered(text: str, spans: Iterable[Span]) -> int:
    """Visible characters that lie in at least one of the spans; one that lies in several counts once."""
    return sum(visible(text[start:end]) for start, end in _union(spans))


def shortfall(text: str, spans: Iterable[Span]) -> str:
    """What is wrong where some visible text lies in no span; an empty text where all of it does."""
    missing = visible(text) - covered(text, spans)
    return f"{missing} characters of its text are in no chunk: please report this" if missing else ""


def _union(spans: Iterable[Span]) -> Iterator[Span]:
    """The same places as spans that are in order and apart."""
    begin = end = 0
    for first, last in sorted(spans):
        if first > end:
            yield begin, end
            begin = first
        end = max(end, last)
    yield begin, end
