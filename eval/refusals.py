"""Is a text a refusal? By its wording alone, clause by clause.

A text is a refusal when a clause of it declines to answer and no clause tells anything of the world: what is left may
be courtesy, or say what the documents are about. So an answer that gives a part and says what is missing is an answer,
and so is one that first declines and then goes on to tell something: what it tells must be judged. A question back is a
refusal; a text without a word is none. How well this works is measured by ``bench/refusals.py`` on
``data/eval/refusals.jsonl``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from eval.markers import plain
from eval.refusal_wording import (
    ACCORDING,
    BREAK,
    COURTESY,
    DECLINES,
    DESCRIBES,
    ELLIPSIS,
    EXCEPT,
    LEAD,
    SUBORDINATE,
    THEM,
)
from prompts.wording import load_wording
from rag.grounding import sentence_spans

Kind = Literal["declines", "courtesy", "describes", "tells"]

_QUOTED = re.compile(r"\"[^\"]{0,300}\"|“[^”]{0,300}”|«[^»]{0,300}»")
_DECORATION = re.compile(r"[*_#>`]+|^\W*(?:final )?answer\s*:", re.IGNORECASE)
_WORD = re.compile(r"\w")
_OF_THEM = re.compile(rf"\b{THEM}\b")


def says_refusal(text: str) -> bool:
    """Whether an answer's wording is that of a refusal."""
    kinds = set(_kinds(text))
    return "declines" in kinds and "tells" not in kinds


def says_nothing(sentence: str) -> bool:
    """Whether a sentence holds no claim: it declines, or is mere courtesy.

    One that says what the documents are about holds a claim: it tells what is in them.
    """
    return not {"tells", "describes"} & set(_kinds(sentence))


def _kinds(text: str) -> Iterator[Kind]:
    """What each clause of a text does, in order. A quoted refusal is not the answer's own."""
    text = text.replace("’", "'").replace(load_wording().refusal, "I cannot answer.").strip()
    if text.startswith('"') and text.endswith('"') and text.count('"') == 2:
        text = text[1:-1]
    text = _DECORATION.sub("", _QUOTED.sub("quoted", text))
    named = False
    for start, end in sentence_spans(text):
        for clause in _clauses(plain(text[start:end]).lower()):
            yield _kind(_completed(clause, named))
            named = named or _OF_THEM.search(clause) is not None


def _clauses(sentence: str) -> Iterator[str]:
    whole = SUBORDINATE.fullmatch(sentence)
    for part in whole.groups() if whole else (sentence,):
        yield from filter(_WORD.search, BREAK.split(part))


def _completed(clause: str, named: bool) -> str:
    """A clause without what leads in to it, and with its subject where that is the documents, named before."""
    if lead := LEAD.match(clause):
        clause = clause[lead.end() :]
    if named and (gap := ELLIPSIS.match(clause)):
        return ("none of the documents " if gap[0].startswith("none") else "the documents ") + clause[gap.end() :]
    return clause


def _kind(clause: str) -> Kind:
    if DECLINES.search(ACCORDING.sub("", clause, count=1) if ACCORDING.match(clause) else clause):
        return "tells" if EXCEPT.search(clause) else "declines"
    if not _WORD.search(clause) or COURTESY.match(clause) or clause.endswith("?"):
        return "courtesy"
    return "describes" if DESCRIBES.match(clause) else "tells"
