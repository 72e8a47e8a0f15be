"""Cases that must be refused, made by rule from answerable ones and the passages of the index they will run on.

- gold removed: the same question, with the passages that answer it kept from the system (``Case.hidden``): those that
  hold a gold quote (or, where a case has none, are of a gold document), and every other one that holds an answer
  together with half of the question's terms;
- entity swapped: a name, code, number, year, month or weekday of the question exchanged for one of the same shape from
  a case of another cluster. The old one stands in the gold passages; no document that has the new one has a passage
  with half of the other terms of the question; the new question is not in the set;
- off corpus: a question of another set. No passage answers it as above.

The same cases and passages always give the same strata: what is drawn is drawn by SHA-256. A case is left out where a
rule does not hold; each derived case names what was done in its tags and keeps the cluster of its original.

What no rule knows: an answer in other words than the case has, or spread over several passages; a question that can be
answered by general knowledge; a false premise that a passage denies (a system may then rightly answer "no"). A swapped
question can, by chance, still be answerable, or read oddly. Read some before you trust a figure.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from eval.entities import Entity, entities_of
from eval.errors import InputError
from eval.gold import needs_of
from eval.normal import normalised, stands_in
from eval.types import Case
from ingest.types import Chunk
from rag.grounding import Grounding, sentence_spans
from rag.lookup import EvenedText
from rag.types import Passage

Stratum = Literal["gold_removed", "entity_swapped", "off_corpus"]
STRATA: tuple[Stratum, ...] = ("gold_removed", "entity_swapped", "off_corpus")

ABOUT = 0.5
"""Share of a question's terms from which on a passage may be about it."""
SHORTEST = 25
"""Characters of a hidden text at least: a shorter one, such as a cell of a table, would hide what it should not."""
_NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")

NO_HISTORY = "has a history, which may give the answer away"
NO_ANSWERS = "has no answers to look for in other passages"
NO_GOLD = "its gold passages are not in the index"
NO_SWAP = "no other entity fits"
NOT_PLAIN = "its kind is not plain 'answerable': a question that corrects itself may not mean what it names"
ANSWERED = "a passage of the index may answer it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """Derived cases, in the order of their originals, and how many answerable cases gave none, by reason."""

    cases: tuple[Case, ...]
    left_out: Counter[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """A passage, prepared for what is looked for in it."""

    passage: Passage
    terms: frozenset[int]
    normal: str


def strata_of(names: Sequence[str]) -> tuple[Stratum, ...]:
    """The strata of these names. Raises :class:`InputError` for one that is not known."""
    for name in names:
        if name not in STRATA:
            raise InputError(f"{name!r} is no stratum that can be derived: choose {', '.join(STRATA)}")
    return tuple(stratum for stratum in STRATA if stratum in names)


def passages_of(chunks: Iterable[Chunk]) -> Iterator[Passage]:
    """Chunks of an index as passages, numbered from 1."""
    for number, chunk in enumerate(chunks, start=1):
        yield Passage.of(chunk, number=number, score=0.0)


def derive(cases: Sequence[Case], passages: Iterable[Passage], strata: Sequence[Stratum]) -> Derived:
    """Cases of these strata, one per stratum from each answerable case that allows it.

    ``passages`` are all that the system can retrieve.
    """
    documents = _Documents(passages)
    makers: dict[Stratum, Callable[[Case], Case | str]] = {
        "gold_removed": documents.removed,
        "off_corpus": documents.off,
    }
    if "entity_swapped" in strata:
        makers["entity_swapped"] = _Swapper(cases, documents).swapped
    found: list[Case] = []
    left_out: Counter[str] = Counter()
    for stratum in strata:
        for case in cases:
            if not case.answerable:
                continue
            made = NO_HISTORY if case.history else NO_ANSWERS if not case.answers else makers[stratum](case)
            if isinstance(made, Case):
                found.append(made)
            else:
                left_out[f"{stratum}: {made}"] += 1
    return Derived(cases=tuple(found), left_out=left_out)


def _refusable(case: Case, suffix: str, kind: str, done: str) -> Case:
    """The case as one to be refused: nothing is right any more, nothing has to be found."""
    return replace(
        case,
        id=f"{case.id}-{suffix}",
        kind=kind,
        answers=(),
        gold_docs=(),
        gold_quotes=(),
        cluster=case.cluster or case.id,
        tags=(*case.tags, "derived", done),
    )


class _Documents:
    """The passages of an index, and what they say to a question."""

    def __init__(self, passages: Iterable[Passage]) -> None:
        self._grounding = Grounding()
        self._known = [self._prepared(passage) for passage in passages]
        self._of_source: dict[str, list[_Known]] = {}
        for known in self._known:
            self._of_source.setdefault(known.passage.source, []).append(known)
        self._naming: dict[str, frozenset[str]] = {}

    def _prepared(self, passage: Passage) -> _Known:
        whole = "\n".join((passage.source, *passage.headings, passage.text))
        return _Known(passage=passage, terms=self._grounding.terms(whole), normal=normalised(whole))

    def removed(self, case: Case) -> Case | str:
        gold = self.gold(case)
        if not gold:
            return NO_GOLD
        hidden = list(case.gold_quotes) or [text for passage in gold for text in _pieces(passage.text)]
        texts = list(dict.fromkeys(" ".join(text.split()) for text in hidden))
        for passage in self._about(case.question):
            for text in _answering(passage.text, case.answers):
                plain = " ".join(text.split())
                if not any(known in plain for known in texts):
                    texts.append(plain)
        return replace(_refusable(case, "removed", "gold_removed", f"hidden:{len(texts)}"), hidden=tuple(texts))

    def off(self, case: Case) -> Case | str:
        answered = any(_spans(passage.text, case.answers) for passage in self._about(case.question))
        return ANSWERED if answered else _refusable(case, "off", "far_ood", "off-corpus")

    def gold(self, case: Case) -> list[Passage]:
        """The passages that meet a need of the case."""
        needs = needs_of(case)
        return [known.passage for known in self._known if any(need(known.passage) for need in needs)]

    def _about(self, question: str) -> list[Passage]:
        wanted = self._grounding.terms(question)
        return [known.passage for known in self._known if _share(wanted, known.terms) >= ABOUT]

    def tell_of(self, name: str, question: str) -> bool:
        """Whether a document that has the name also has a passage that may be about the rest of the question."""
        wanted = self._grounding.terms(question) - self._grounding.terms(name)
        sources = self.naming(name)
        return any(_share(wanted, known.terms) >= ABOUT for source in sources for known in self._of_source[source])

    def naming(self, name: str) -> frozenset[str]:
        """The sources of the documents that have this name."""
        if name not in self._naming:
            wanted = normalised(name)
            found = (known.passage.source for known in self._known if stands_in(wanted, known.normal))
            self._naming[name] = frozenset(found)
        return self._naming[name]


def _share(wanted: frozenset[int], terms: frozenset[int]) -> float:
    return len(wanted & terms) / len(wanted) if wanted else 1.0


def _answering(text: str, answers: Sequence[str]) -> list[str]:
    """The sentences of a text that answers stand in."""
    sentences = sentence_spans(text)
    found = []
    for start, end in _spans(text, answers):
        touched = [at for at, (a, b) in enumerate(sentences) if a < end and b > start]
        found.append(_widened(text, sentences, min(touched), max(touched)))
    return found


def _spans(text: str, answers: Sequence[str]) -> list[tuple[int, int]]:
    evened = EvenedText(text)
    wanted: list[str | float] = [*answers]
    wanted += [float(answer.replace(",", "")) for answer in answers if _NUMBER.fullmatch(answer)]
    return [span for value in wanted for span in evened.find(value)]


def _pieces(text: str) -> list[str]:
    """Texts that together hide every passage that has a sentence of this one."""
    sentences = sentence_spans(text)
    return [_widened(text, sentences, at, at) for at in range(len(sentences))]


def _widened(text: str, sentences: Sequence[tuple[int, int]], first: int, last: int) -> str:
    """The sentences from ``first`` to ``last``, and their neighbours until there are enough characters."""
    while sentences[last][1] - sentences[first][0] < SHORTEST and (first > 0 or last < len(sentences) - 1):
        first, last = max(0, first - 1), min(len(sentences) - 1, last + 1)
    return text[sentences[first][0] : sentences[last][1]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    entity: Entity
    cluster: str


class _Swapper:
    """Exchanges entities of questions for those of other questions."""

    def __init__(self, cases: Sequence[Case], documents: _Documents) -> None:
        self._documents = documents
        self._asked = {_plain(case.question) for case in cases}
        self._candidates: dict[str, list[_Candidate]] = {}
        self._entities = dict(zip((case.id for case in cases), entities_of([c.question for c in cases]), strict=True))
        for case in cases:
            for entity in self._entities[case.id]:
                candidate = _Candidate(entity=entity, cluster=case.cluster or case.id)
                self._candidates.setdefault(entity.shape, []).append(candidate)

    def swapped(self, case: Case) -> Case | str:
        if case.kind not in ("", "answerable"):
            return NOT_PLAIN
        gold = self._documents.gold(case)
        if not gold:
            return NO_GOLD
        told = "\n".join("\n".join((passage.text, *passage.headings)) for passage in gold)
        options = sorted(
            {
                (_order(case.id, old.text, other.entity.text), old, other.entity.text)
                for old in self._entities[case.id]
                if stands_in(normalised(old.text), normalised(told))
                for other in self._candidates[old.shape]
                if other.cluster != (case.cluster or case.id)
            },
            key=lambda option: option[0],
        )
        for _, old, new in options:
            question = case.question[: old.start] + new + case.question[old.start + len(old.text) :]
            if self._fits(case, question, old.text, new, {passage.source for passage in gold}):
                self._asked.add(_plain(question))
                made = _refusable(case, "swapped", "entity_swapped", f"swapped:{old.text}->{new}")
                return replace(made, question=question)
        return NO_SWAP

    def _fits(self, case: Case, question: str, old: str, new: str, gold: set[str]) -> bool:
        if _plain(question) in self._asked or stands_in(normalised(new), normalised(case.question)):
            return False
        if normalised(new) in normalised(old) or normalised(old) in normalised(new):
            return False
        if any(stands_in(normalised(new), normalised(answer)) for answer in case.answers):
            return False
        return not self._documents.naming(new) & gold and not self._documents.tell_of(new, question)


def _plain(question: str) -> str:
    return " ".join(question.casefold().split())


def _order(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
