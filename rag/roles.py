"""Who did it to whom: whether names or numbers of a claim stand in the place of others ("A beat B" for "B beat A").

Two rules, made for claims that are worded much like their text, as answers from passages are.

Swapped: a word that both texts have divides the claim: names before it, names behind it. When the text has the same two
names the other way round about that word, and nowhere in the order of the claim, they are swapped. "beat B" and "beaten
by B" are told apart by the "by".

Misplaced: where the claim has a name or number, the text has another one between the same words, and has the claim's
only elsewhere.

A relation that works both ways ("A met B") cannot be told from one that does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, product

from rag.grounding import Grounding, sentence_spans

_WORD = re.compile(r"[^\W_]+(?:['’.-][^\W_]+)*")
_TOKEN = re.compile(r"[^\W_]+(?:['’.,-][^\W_]+)*|[.;:!?()]")
_PART = re.compile(r"(?<=[;:])\s")
_BY = re.compile(r"(?:\W+[a-z]\w*)??\W+by\b")
_REACH = 8
"""Content words to either side in which a name belongs to the word between."""
_BORDERS = frozenset(".;:!?()")
_LISTED = frozenset(("and", "or"))
_NO_NAMES = frozenset(
    (
        *("the", "a", "an", "in", "on", "at", "as", "by", "for", "from", "of", "with", "after", "before", "while"),
        *("he", "she", "it", "they", "his", "her", "its", "their", "this", "that", "there", "when", "during"),
        *("although", "however"),
    )
)
"""Words that begin sentences, so that their capital makes no name of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Word:
    text: str
    term: int
    by: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """A name or a number, and the words around it up to the border of its clause, nearest first."""

    words: frozenset[str]
    number: bool
    before: tuple[str, ...]
    after: tuple[str, ...]

    def in_place_of(self, other: _Held) -> bool:
        """Whether both stand between the same words: one at each side, or two at one."""
        left, right = _common(self.before, other.before), _common(self.after, other.after)
        return min(left, right) > 0 or max(left, right) > 1

    @property
    def listed(self) -> bool:
        """Whether it is one of several that share a place."""
        return not _LISTED.isdisjoint((*self.before[:1], *self.after[:1]))


def turned(grounding: Grounding, claim: str, text: str) -> bool:
    """Whether names or numbers of the claim are swapped or misplaced in the text."""
    return swapped(grounding, claim, text) or misplaced(claim, text)


def swapped(grounding: Grounding, claim: str, text: str) -> bool:
    """Whether two names of the claim have changed places in the text."""
    names = {match[0] for match in _WORD.finditer(text) if match[0][0].isupper()}
    if len({match[0] for match in _WORD.finditer(claim)} & names) < 2:
        return False
    parts = [part for start, end in sentence_spans(text) for part in _PART.split(text[start:end])]
    told = [_words(grounding, part) for part in parts]
    kept: set[tuple[int, int]] = set()
    other_way: set[tuple[int, int]] = set()
    words = _words(grounding, claim)
    for at, word in enumerate(words):
        if not word.text[0].islower():
            continue
        left = {other.term for other in words[max(0, at - _REACH) : at] if other.text in names}
        right = {other.term for other in words[at + 1 : at + 1 + _REACH] if other.text in names}
        pairs = set(product(left - right, right - left))
        for before, after in (sides for part in told for sides in _sides(word, part)):
            kept |= {(one, other) for one, other in pairs if one in before and other in after}
            other_way |= {(one, other) for one, other in pairs if one in after - before and other in before - after}
    return bool(other_way - kept)


def misplaced(claim: str, text: str) -> bool:
    """Whether a name or number of the claim, which the text has, stands where the text has another."""
    told = list(_held(text))
    for one in _held(claim):
        own = [other for other in told if one.words & other.words]
        there = any(one.words <= other.words and not other.listed for other in own)
        if not there or any(one.in_place_of(other) for other in own):
            continue
        others = (other for other in told if one.number == other.number and not one.words & other.words)
        if any(one.in_place_of(other) for other in others):
            return True
    return False


def _sides(word: _Word, told: Sequence[_Word]) -> list[tuple[set[int], set[int]]]:
    """The terms before and behind each place of the word, as they would stand if it were active as in the claim."""
    found = []
    for at, other in enumerate(told):
        if other.term == word.term:
            before = {one.term for one in told[max(0, at - _REACH) : at]}
            after = {one.term for one in told[at + 1 : at + 1 + _REACH]}
            found.append((before, after) if other.by == word.by else (after, before))
    return found


def _words(grounding: Grounding, text: str) -> list[_Word]:
    return [
        _Word(text=match[0], term=term, by=_BY.match(text, match.end()) is not None)
        for match in _WORD.finditer(text)
        if (term := grounding.term(match[0])) is not None
    ]


def _held(text: str) -> Iterator[_Held]:
    words = [match[0] for match in _TOKEN.finditer(text)]
    folded = [word.casefold() for word in words]
    at = 0
    for kind, run in groupby(words, _kind):
        end = at + len(list(run))
        if kind != "word":
            yield _Held(
                words=frozenset(folded[at:end]),
                number=kind == "number",
                before=_clause(folded[max(0, at - 2) : at][::-1]),
                after=_clause(folded[end : end + 2]),
            )
        at = end


def _kind(word: str) -> str:
    if word[0].isdigit():
        return "number"
    return "name" if word[0].isupper() and word.casefold() not in _NO_NAMES else "word"


def _clause(words: Sequence[str]) -> tuple[str, ...]:
    border = next((at for at, word in enumerate(words) if word in _BORDERS), len(words))
    return tuple(words[:border])


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
