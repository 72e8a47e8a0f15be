"""Hits -> passages for a budget of tokens: windows of whole sentences around those that meet the question best.

Hits that follow each other in a document are read as one text, so a window may run over the border of two chunks; what
a better hit says already is not repeated. A passage is always one stretch of its document. What was measured is in
docs/decisions/0014-packing.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from ingest.types import Chunk, ScoredChunk
from rag.grounding import sentence_spans
from rag.matching import Matches, Span
from rag.types import Passage
from rag.windows import Stretch, Unit, choose, runs

LONGEST = 600
"""Characters up to which a line that goes on in the next one is kept together with it."""
WORTH = 2.0
"""What a hit's score, as a share of the first one's, adds to the match of each of its sentences (0 to 1)."""
TELLING = 6
"""Words from which on a line says something by itself, and the same wherever it stands."""
_WORD = re.compile(r"\w+")
_CELLS = " | "
REPEATED = "a better passage says the same"

TextOf = Callable[[str], str]
"""The id of a document -> its text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A passage in its place in the prompt. ``rank`` (from 1) is that of the best hit in it among the hits of this
    question, or None when only an earlier question found it. ``whole``: characters of the hits that it was taken from.
    """

    passage: Passage
    rank: int | None
    whole: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A hit of which nothing was taken, and why."""

    source: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """``passages``: in order of rank, those of one rank as they stand in the document; numbered from 1."""

    passages: tuple[Candidate, ...]
    left_out: tuple[LeftOut, ...] = ()


Pack = Callable[[Sequence[ScoredChunk], Sequence[Passage]], Packing]
"""Hits, best first, and passages that are there already -> passages to be added, none of which overlaps those."""


def whole(hits: Sequence[ScoredChunk], there: Sequence[Passage]) -> Packing:
    """Every hit as it is, but for those that begin where a passage does already."""
    places = {(passage.source, passage.start) for passage in there}
    found = [
        Candidate(passage=Passage.of(hit.chunk, number=1, score=hit.score), rank=rank, whole=len(hit.chunk.text))
        for rank, hit in enumerate(hits, start=1)
        if (hit.chunk.source, hit.chunk.start) not in places
    ]
    return Packing(passages=numbered(found))


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """``tokens``: the most that passages take, about. ``count``: tokens of a text to the model that reads them.
    ``frame``: a chunk as it would stand in the prompt. The best window is taken even if it is larger."""

    tokens: int
    count: Callable[[str], int]
    frame: Callable[[Chunk], str]


def pack(
    hits: Sequence[ScoredChunk],
    there: Sequence[Passage] = (),
    *,
    matches: Matches,
    budget: Budget,
    text_of: TextOf | None = None,
) -> Packing:
    """Windows of the hits, best first; the best of the first hit is always among them.

    ``text_of`` gives a document's text by its id; without it, windows do not run over the borders of chunks.
    """
    seen = [_keys(passage.text) for passage in there]
    tells: dict[int, list[bool]] = {}
    repeated: set[int] = set()
    spans = [units_of(hit.chunk.text) for hit in hits]
    for rank, hit in enumerate(hits):
        keys = [_key(hit.chunk.text[start:end]) for start, end in spans[rank]]
        known = frozenset().union(*seen)
        if any(found.issuperset(keys) for found in seen):
            repeated.add(rank)
        tells[rank] = [rank not in repeated and (len(key) < TELLING or key not in known) for key in keys]
        seen.append(frozenset(keys))
    stretches = [
        part
        for block in _blocks(hits, joined=text_of is not None)
        for part in _stretches(hits, block, spans, tells, there, matches, budget)
    ]
    chosen = choose(stretches, budget.tokens)
    found = [
        _candidate(hits, stretch, run, text_of)
        for stretch, taken in zip(stretches, chosen, strict=True)
        for run in runs(taken)
    ]
    used = {stretch.units[k].hit for stretch, taken in zip(stretches, chosen, strict=True) for k in taken}
    here = {rank for rank, hit in enumerate(hits) if _covered(there, hit.chunk.source, hit.chunk.start, hit.chunk.end)}
    full = f"budget: the {budget.tokens} tokens for passages are full"
    left_out = (
        LeftOut(source=hit.chunk.source, why=REPEATED if rank in repeated else full)
        for rank, hit in enumerate(hits)
        if rank not in used | here
    )
    found.sort(key=lambda one: (one.rank or 0, one.passage.start))
    return Packing(passages=numbered(found), left_out=tuple(left_out))


def overlaps(passage: Passage, chunk: Chunk) -> bool:
    """Whether they have text in common, by their places."""
    return _covered([passage], chunk.source, chunk.start, chunk.end)


def _covered(there: Sequence[Passage], source: str, start: int, end: int) -> bool:
    return any(passage.source == source and passage.start < end and start < passage.end for passage in there)


def units_of(text: str) -> list[Span]:
    """Places of the sentences and lines of a text; those that only go on with what stands before are kept with it:
    lines that are indented, and what begins with a small letter."""
    found: list[Span] = []
    for start, end in sentence_spans(text):
        if found and end - found[-1][0] <= LONGEST and _goes_on(text, found[-1][1], start):
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return found


def _goes_on(text: str, before: int, start: int) -> bool:
    _, line, indent = text[before:start].rpartition("\n")
    if line and len(indent.expandtabs(4)) >= 2:
        return True
    return text[start].islower() and (not line or text[before - 1] not in ".!?:;")


def _key(text: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(text.casefold()))


def _keys(text: str) -> frozenset[tuple[str, ...]]:
    return frozenset(_key(text[start:end]) for start, end in units_of(text))


def _blocks(hits: Sequence[ScoredChunk], *, joined: bool) -> list[list[int]]:
    """Ranks (from 0), those of neighbours in one section together and in order."""

    def follows(a: Chunk, b: Chunk) -> bool:
        same = (a.source, a.document_id, a.headings) == (b.source, b.document_id, b.headings)
        return joined and same and b.index == a.index + 1

    blocks: list[list[int]] = []
    for rank in sorted(range(len(hits)), key=lambda rank: (hits[rank].chunk.source, hits[rank].chunk.start)):
        if blocks and follows(hits[blocks[-1][-1]].chunk, hits[rank].chunk):
            blocks[-1].append(rank)
        else:
            blocks.append([rank])
    return blocks


def _stretches(
    hits: Sequence[ScoredChunk],
    block: Sequence[int],
    spans: Sequence[Sequence[Span]],
    tells: dict[int, list[bool]],
    there: Sequence[Passage],
    matches: Matches,
    budget: Budget,
) -> list[Stretch]:
    """The units of neighbouring hits, parted where a passage stands already."""
    best = max((hit.score for hit in hits), default=0.0)
    units: list[Unit | None] = []
    frame = 0.0
    for rank in block:
        hit = hits[rank]
        text, framed = hit.chunk.text, budget.frame(hit.chunk)
        each = budget.count(framed) / max(1, len(framed))
        frame = max(frame, each * (len(framed) - len(text)))
        share = max(0.0, hit.score / best) if best > 0 else 0.0
        found = zip(spans[rank], matches(hit, spans[rank]), tells[rank], strict=True)
        for (start, end), match, tells_ in found:
            unit = Unit(
                start=hit.chunk.start + start,
                end=hit.chunk.start + end,
                tokens=each * (end - start + 1),
                value=match + WORTH * share,
                hit=rank,
                tells=tells_,
                alone=len(_key(text[start:end])) >= TELLING,
                row=_CELLS in text[start:end],
            )
            units.append(None if _covered(there, hit.chunk.source, unit.start, unit.end) else unit)
    parts = (tuple(u for u in part if u) for free, part in groupby(units, key=lambda unit: unit is not None) if free)
    return [Stretch(units=part, frame=frame) for part in parts]


def _candidate(
    hits: Sequence[ScoredChunk], stretch: Stretch, run: tuple[int, int], text_of: TextOf | None
) -> Candidate:
    units = stretch.units[run[0] : run[1] + 1]
    start, end = units[0].start, units[-1].end
    ranks = sorted({unit.hit for unit in units})
    parts = [hits[rank] for rank in ranks]
    chunk = parts[0].chunk
    if len(parts) > 1 and text_of is not None:
        text = text_of(chunk.document_id)[start:end]
    else:
        text = chunk.text[start - chunk.start : end - chunk.start]
    passage = replace(
        Passage.of(chunk, number=1, score=max(hit.score for hit in parts)),
        text=text,
        start=start,
        end=end,
        pages=tuple(sorted({page for hit in parts for page in hit.chunk.pages})),
    )
    return Candidate(passage=passage, rank=ranks[0] + 1, whole=sum(len(hit.chunk.text) for hit in parts))


def numbered(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """The same candidates, their passages numbered from 1 in this order."""
    return tuple(replace(one, passage=one.passage.at(number)) for number, one in enumerate(candidates, start=1))
