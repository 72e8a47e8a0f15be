"""An answer taken apart: is it a refusal, what does it claim, and what does each claim cite?"""

from __future__ import annotations

import re
from dataclasses import dataclass

from eval.markers import MARKER, numbers_in, plain
from eval.refusals import says_nothing, says_refusal
from eval.types import Record
from rag.grounding import Grounding, sentence_spans
from rag.types import Passage

_LEADING = re.compile(rf"(?:{MARKER.pattern}[\s.]*)+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A sentence of an answer without its markers, and the numbers that it cites, each once, in order."""

    text: str
    numbers: tuple[int, ...]


def is_refusal(record: Record) -> bool:
    """Whether the system declined: ``refused`` where it says so, else by the wording (:mod:`eval.refusals`).

    An answer with an error is no refusal, nor is an empty one: it is an answer that says nothing.
    """
    if record.error:
        return False
    return says_refusal(record.answer) if record.refused is None else record.refused


def is_disputed(record: Record) -> bool:
    """Whether the system says that an answer is a refusal and its wording that it is none, or the other way.

    The system's word counts in all metrics; reports list the disputed ones, for a person to look at.
    """
    return not record.error and record.refused is not None and record.refused != says_refusal(record.answer)


def claims_of(text: str, grounding: Grounding) -> tuple[Claim, ...]:
    """The sentences of an answer that can be true or false: with a content word or a number, and neither a refusal nor
    mere courtesy.

    A marker after the full stop belongs to the sentence before it.
    """
    pieces: list[str] = []
    for start, end in sentence_spans(text):
        piece = text[start:end]
        if pieces and (leading := _LEADING.match(piece)):
            pieces[-1] += " " + leading[0]
            piece = piece[leading.end() :]
        if piece.strip():
            pieces.append(piece)
    found = (Claim(text=plain(piece), numbers=numbers_in(piece)) for piece in pieces)
    return tuple(claim for claim in found if grounding.terms(claim.text) and not says_nothing(claim.text))


def cited_numbers(record: Record) -> tuple[int, ...]:
    """Every number that an answer cites, in its text or in its list of citations, each once."""
    return tuple(dict.fromkeys((*numbers_in(record.answer), *(cited.number for cited in record.citations))))


def resolves(record: Record, number: int) -> bool:
    """Whether a number names a passage that was sent, which holds every quote listed for it (white space
    aside)."""
    passage = passages_of(record).get(number)
    if passage is None:
        return False
    body = " ".join(passage.text.split())
    return all(" ".join(cited.quote.split()) in body for cited in record.citations if cited.number == number)


def passages_of(record: Record) -> dict[int, Passage]:
    """The passages that were sent, by number."""
    return {passage.number: passage for passage in record.passages}
