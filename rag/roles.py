"""Who did it to whom: whether names or numbers of a claim stand in the place of others ("A beat B" for "B beat A").

Rules, made for claims that are worded much like their text, as answers from passages are. A true sentence that is
dropped is worse than a swap that is missed, so they are silent where they are unsure.

Swapped: a word that both texts have divides the claim: names before it, names behind it. When the text has the same two
names the other way round about that word, and nowhere in the order of the claim, they are swapped. "beat B" and "beaten
by B" are told apart by the "by", up to five words on ("was built in 1931 by B"). Nothing is said of a relation that
works both ways ("A met B", "works with B"), nor where claim and text each have a word between the names that the other
lacks ("north of", "south of": each the converse of the other), nor across an "and" that begins another part of a list.

Misplaced: where the claim has a name or number, the text has another one between the same words, and has the claim's
only elsewhere, with no more of the claim about it. Two names of the claim in each other's place are not misplaced if
only one of claim and text says "by", or if "is the" and the like are all that tells their places.

Other units: the number is the same and the unit is not (:func:`rag.claims.measured_otherwise`).

What remains: relations that work both ways but are not in the list; converses that a single word tells ("A is the head
of B", "B is the head office of A"); a swap that is told in other words is missed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, product

from rag.claims import measured_otherwise
from rag.grounding import Grounding, sentence_spans

_WORD = re.compile(r"[^\W_]+(?:['’.-][^\W_]+)*")
_TOKEN = re.compile(r"[^\W_]+(?:['’.,-][^\W_]+)*|[.,;:!?()]")
_PART = re.compile(r"(?<=[;:])\s")
_BY = re.compile(r"(?:[^\S\n]+[^\s.;:!?()]+){0,4}?[^\S\n]+by\b")
_JOINED = re.compile(r"\b(?:and|or|but|while|whereas)\s+(?:the\s+)?$")
_WITH = re.compile(r"(?:\s+[a-z]+){0,2}?\s+(?:with|between|alongside)\b")
_MUTUAL = frozenset(
    (
        *("met", "meet", "meets", "border", "borders", "bordered", "bordering", "married", "marries", "marry"),
        *("adjoins", "neighbours", "neighbors", "resembles", "resembled", "equals", "joins", "connects", "connected"),
        *("links", "linked", "separates", "between", "with", "and", "versus", "vs", "alongside", "like", "near"),
    )
)
"""Words of relations that work both ways."""
_REACH = 8
"""Content words to either side in which a name belongs to the word between."""
_LONGEST = 400
"""Words of a claim or text beyond which the rules are not asked: that is no sentence, and pairs of words are many."""
_FAINT = frozenset(("is", "was", "are", "were", "has", "had", "the", "a", "an", "of", "in", "its", "his", "her"))
_BORDERS = frozenset(".;:!?()")
_LISTED = frozenset(("and", "or"))
_SEGMENTS = _BORDERS | _LISTED | frozenset((",", "but", "while", "whereas"))
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
    """``joined``: a name behind an "and". ``mutual``: of a relation that works both ways."""

    text: str
    term: int
    by: bool
    joined: bool
    mutual: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sides:
    """The terms about a word, as they would stand if it were active or passive as in the claim.

    ``before`` and ``after``: all in reach. ``near_before``, ``near_after``: up to an "and" before a name.
    """

    before: dict[int, frozenset[int]]
    after: dict[int, frozenset[int]]
    near_before: frozenset[int]
    near_after: frozenset[int]

    def turned(self) -> _Sides:
        return _Sides(before=self.after, after=self.before, near_before=self.near_after, near_after=self.near_before)

    def between(self, one: int, other: int) -> frozenset[int]:
        """The terms between the word and each of the two."""
        return self.before[one] | self.after[other]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """A name or a number, and the words around it up to the border of its clause, nearest first.

    ``segment``: the other words of its part of the sentence.
    """

    words: frozenset[str]
    number: bool
    before: tuple[str, ...]
    after: tuple[str, ...]
    segment: frozenset[str]
    place: int

    def in_place_of(self, other: _Held) -> bool:
        """Whether both stand between the same words: one at each side, or two at one."""
        left, right = _common(self.before, other.before), _common(self.after, other.after)
        return min(left, right) > 0 or max(left, right) > 1

    @property
    def listed(self) -> bool:
        """Whether it is one of several that share a place."""
        return not _LISTED.isdisjoint((*self.before[:1], *self.after[:1]))

    @property
    def mutual(self) -> bool:
        """Whether a word next to it tells of a relation that works both ways."""
        return not (_MUTUAL - _LISTED).isdisjoint((*self.before, *self.after))

    def faint(self, other: _Held) -> bool:
        """Whether only "is the" and the like say that they stand in one place."""
        left, right = _common(self.before, other.before), _common(self.after, other.after)
        return _FAINT.issuperset((*self.before[:left], *self.after[:right]))


def turned(grounding: Grounding, claim: str, text: str) -> bool:
    """Whether names or numbers of the claim are swapped, misplaced or of another unit in the text."""
    if any(len(part.split()) > _LONGEST for part in (claim, text)):
        return False
    return swapped(grounding, claim, text) or misplaced(claim, text) or measured_otherwise(claim, text)


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
    terms = {word.term for word in words if word.text in names}
    for at, word in enumerate(words):
        if not word.text[0].islower() or word.mutual:
            continue
        here = _about(words, at)
        left, right = here.near_before & terms, here.near_after & terms
        pairs = set(product(left - right, right - left))
        for sides, mutual in (sides for part in told for sides in _sides(word, part)):
            for one, other in pairs:
                if one in sides.before and other in sides.after:
                    kept.add((one, other))
                elif (
                    not mutual
                    and one in sides.near_after - sides.near_before
                    and other in sides.near_before - sides.near_after
                ):
                    mine, its = here.between(one, other), sides.between(other, one)
                    if not (mine - its and its - mine):
                        other_way.add((one, other))
    return bool(other_way - kept)


def misplaced(claim: str, text: str) -> bool:
    """Whether a name or number of the claim, which the text has, stands where the text has another."""
    told, asked = list(_held(text)), list(_held(claim))
    for one in asked:
        own = [other for other in told if one.words & other.words]
        there = any(one.words <= other.words and not other.listed for other in own)
        if not there or any(one.in_place_of(other) for other in own):
            continue
        for other in told:
            if one.number == other.number and not one.words & other.words and one.in_place_of(other):
                at_home = any(
                    mine.place != other.place and one.segment & mine.segment - other.segment - _NO_NAMES for mine in own
                )
                if not at_home and not _exchanged(one, other, asked):
                    return True
    return False


def _exchanged(one: _Held, other: _Held, asked: Sequence[_Held]) -> bool:
    """Whether the other is a name of the claim too, and the exchange may be one of voice, or mean nothing."""
    if one.number or not any(partner.words & other.words for partner in asked):
        return False
    return one.mutual or one.faint(other) or ("by" in one.segment) != ("by" in other.segment)


def _sides(word: _Word, told: Sequence[_Word]) -> Iterator[tuple[_Sides, bool]]:
    """The sides of each place of the word, and whether it is said there of a relation that works both ways."""
    for at, other in enumerate(told):
        if other.term == word.term:
            sides = _about(told, at)
            yield (sides if other.by == word.by else sides.turned()), other.mutual


def _about(words: Sequence[_Word], at: int) -> _Sides:
    before, near_before = _reached(words[max(0, at - _REACH) : at][::-1], behind=False)
    after, near_after = _reached(words[at + 1 : at + 1 + _REACH], behind=True)
    return _Sides(before=before, after=after, near_before=near_before, near_after=near_after)


def _reached(words: Sequence[_Word], *, behind: bool) -> tuple[dict[int, frozenset[int]], frozenset[int]]:
    """Each term, nearest first, with the terms of words in small letters on the way to it; and the near ones."""
    way: set[int] = set()
    found: dict[int, frozenset[int]] = {}
    near: set[int] = set()
    cut = False
    for word in words:
        cut = cut or (behind and word.joined)
        found.setdefault(word.term, frozenset(way))
        if not cut:
            near.add(word.term)
        cut = cut or word.joined
        if word.text[0].islower():
            way.add(word.term)
    return found, frozenset(near)


def _words(grounding: Grounding, text: str) -> list[_Word]:
    return [
        _Word(
            text=match[0],
            term=term,
            by=_BY.match(text, match.end()) is not None,
            joined=match[0][0].isupper()
            and _JOINED.search(text, max(0, match.start() - 16), match.start()) is not None,
            mutual=match[0] in _MUTUAL or _WITH.match(text, match.end()) is not None,
        )
        for match in _WORD.finditer(text)
        if (term := grounding.term(match[0])) is not None
    ]


def _held(text: str) -> Iterator[_Held]:
    every = [match[0] for match in _TOKEN.finditer(text)]
    segments: list[set[str]] = [set()]
    words: list[str] = []
    places: list[int] = []
    for word in every:
        if word.casefold() in _SEGMENTS:
            segments.append(set())
        else:
            segments[-1].add(word.casefold())
        if word != ",":
            words.append(word)
            places.append(len(segments) - 1)
    folded = [word.casefold() for word in words]
    at = 0
    for kind, run in groupby(words, _kind):
        end = at + len(list(run))
        if kind != "word":
            own = frozenset(folded[at:end])
            yield _Held(
                words=own,
                number=kind == "number",
                before=_clause(folded[max(0, at - 2) : at][::-1]),
                after=_clause(folded[end : end + 2]),
                segment=frozenset(segments[places[at]]) - own,
                place=places[at],
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
