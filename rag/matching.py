"""How well each sentence of a hit meets a question: what windows are chosen by."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ingest.late import LateQuery, token_matches
from ingest.types import Chunk, ScoredChunk, Vectors
from rag.grounding import Grounding

Span = tuple[int, int]
"""(start, end) within a chunk's text."""
Matches = Callable[[ScoredChunk, Sequence[Span]], Sequence[float]]
"""The hit and places in its text -> how well each meets the question, about 0 to 1."""
TokenSpans = Callable[[Chunk], Sequence[Span]]
"""The chunk -> places of its tokens, in the order of its codes; those of its headings end at 0 or before."""


def matches_of(question: str, late: LateQuery | None, token_spans: TokenSpans, grounding: Grounding) -> Matches:
    """By MaxSim of the question with a sentence's own tokens, where the hit has codes; else by shared terms.

    The headings of the hit belong to each of its sentences.
    """
    wanted = grounding.terms(question)

    def matches(hit: ScoredChunk, spans: Sequence[Span]) -> Sequence[float]:
        if late is None or not hit.codes:
            above = grounding.terms(" ".join(hit.chunk.headings))
            found = (wanted & (above | grounding.terms(hit.chunk.text[start:end])) for start, end in spans)
            return [len(terms) / max(1, len(wanted)) for terms in found]
        return _maxsims(late, hit.codes, token_spans(hit.chunk), spans)

    return matches


def _maxsims(late: LateQuery, codes: bytes, tokens: Sequence[Span], spans: Sequence[Span]) -> list[float]:
    cosines = np.maximum(token_matches(late, codes), 0.0)
    places = np.asarray(tokens[: len(cosines)], dtype=np.int64).reshape(-1, 2)
    above = _best(cosines[: len(places)][places[:, 1] <= 0])
    found = []
    for start, end in spans:
        own = _best(cosines[: len(places)][(places[:, 0] < end) & (places[:, 1] > start) & (places[:, 1] > 0)])
        found.append(float(np.maximum(above, own) @ late.weights))
    return found


def _best(cosines: Vectors) -> Vectors:
    """float32 (tokens of the question,): the largest of each column; 0 where there are no rows."""
    largest: Vectors = cosines.max(axis=0, initial=0.0)
    return largest
