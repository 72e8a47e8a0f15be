"""An answer taken apart: is it a refusal, what does it claim, and what does each claim cite?"""

from __future__ import annotations

import re
from dataclasses import dataclass

from eval.types import Record
from prompts.wording import load_wording
from rag.grounding import Grounding, sentence_spans
from rag.types import Passage

_MARKER = re.compile(r"\[\s*(\d+(?:\s*[,;]\s*\d+)*)\s*\]")
_LEADING = re.compile(rf"(?:{_MARKER.pattern}[\s.]*)+")
_THEM = r"(?:documents?|passages?|context|text|sources?|information|excerpts?|material)"
_REFUSALS = re.compile(
    r"i (?:do not|don't|cannot|can't|can not) (?:know|answer|find|say|tell|determine)"
    r"|i (?:do not|don't) have (?:any |enough |that )?information"
    r"|i(?:'m| am) (?:not sure|unable to|not able to|sorry)"
    rf"|{_THEM}(?: \w+){{0,4}} (?:do|does|did)(?: not|n't) "
    r"(?:say|mention|contain|state|provide|specify|give|include|answer|tell)"
    r"|(?:is|are|was|were)(?: not|n't) "
    r"(?:mentioned|stated|given|provided|specified|contained|found|answered)"
    rf"(?: \w+){{0,3}} {_THEM}"
    rf"|(?:there is |there's )?no (?:information|mention|answer)(?: \w+){{0,8}} {_THEM}"
    r"|(?:this|the|your) question cannot be answered",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A sentence of an answer without its markers, and the numbers that it cites, each once, in order."""

    text: str
    numbers: tuple[int, ...]


def plain(text: str) -> str:
    """An answer without citation markers."""
    return re.sub(r"\s+([.,;!?])", r"\1", " ".join(_MARKER.sub(" ", text).split()))


def is_refusal(record: Record) -> bool:
    """Whether the system declined: ``refused`` where it says so, else by the wording.

    By wording: the first sentence is the product's refusal sentence or a usual one ("I don't know", "the
    documents do not say"), and nothing is cited after it. An answer with an error is no refusal, nor is an
    empty one.
    """
    if record.error:
        return False
    if record.refused is not None:
        return record.refused
    text = record.answer.replace("’", "'").strip()
    if not text or _MARKER.search(text):
        return False
    start, end = sentence_spans(text)[0]
    return text.startswith(load_wording().refusal) or bool(_REFUSALS.search(text[start:end]))


def claims_of(text: str, grounding: Grounding) -> tuple[Claim, ...]:
    """The sentences of an answer that can be true or false: with a content word or a number, and no refusal.

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
    found = (Claim(text=plain(piece), numbers=_numbers(piece)) for piece in pieces)
    return tuple(
        claim
        for claim in found
        if grounding.terms(claim.text) and not (_REFUSALS.search(claim.text.replace("’", "'")) and not claim.numbers)
    )


def cited_numbers(record: Record) -> tuple[int, ...]:
    """Every number that an answer cites, in its text or in its list of citations, each once."""
    return tuple(dict.fromkeys((*_numbers(record.answer), *(cited.number for cited in record.citations))))


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


def _numbers(text: str) -> tuple[int, ...]:
    found = (int(number) for match in _MARKER.finditer(text) for number in re.findall(r"\d+", match[1]))
    return tuple(dict.fromkeys(found))
