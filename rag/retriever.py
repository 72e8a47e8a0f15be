"""Question -> the best chunks of the index, and whether they have anything to do with the question."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from ingest.edge import Bm25
from ingest.index import PassageIndex
from ingest.types import Embedder, ScoredChunk, SearchMode
from rag.grounding import Grounding


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieval:
    """Hits, best first; ``coverage`` is the share (0 to 1) of the question's content terms that they hold.

    ``best_cosine`` is that of the nearest chunk of the index (None in sparse mode). Milliseconds:
    ``embed_ms``, ``search_ms``.
    """

    question: str
    hits: tuple[ScoredChunk, ...]
    best_cosine: float | None
    coverage: float
    embed_ms: float
    search_ms: float

    def is_relevant(self, min_cosine: float, min_coverage: float) -> bool:
        """Whether anything here may answer the question: near in meaning, or holding its words."""
        if not self.hits:
            return False
        near = self.best_cosine is not None and self.best_cosine >= min_cosine
        return near or self.coverage >= min_coverage


class Retriever:
    """Searches one index with the embedder that made it."""

    def __init__(self, index: PassageIndex, embedder: Embedder) -> None:
        self.index = index
        self._embedder = embedder
        self._bm25 = Bm25()
        self._grounding = Grounding()

    def search(
        self,
        question: str,
        *,
        k: int = 5,
        mode: SearchMode = "hybrid",
        sources: Sequence[str] | None = None,
    ) -> Retrieval:
        """The ``k`` best chunks, of these sources only if any are given (exact, or unique suffixes)."""
        return self.search_many([question], k=k, mode=mode, sources=sources)[0]

    def search_many(
        self,
        questions: Sequence[str],
        *,
        k: int = 5,
        mode: SearchMode = "hybrid",
        sources: Sequence[str] | None = None,
    ) -> list[Retrieval]:
        """Like :meth:`search` for each question, in order; they are embedded in one batch."""
        began = time.perf_counter()
        dense = self._embedder.encode(questions) if mode != "sparse" else [None] * len(questions)
        embed_ms = 1000 * (time.perf_counter() - began) / max(1, len(questions))
        found: list[Retrieval] = []
        for question, vector in zip(questions, dense, strict=True):
            began = time.perf_counter()
            terms = self._bm25.query(question) if mode != "dense" else None
            result = self.index.search(vector, terms, mode=mode, limit=k, sources=sources)
            coverage = self._grounding.coverage(question, [_with_headings(hit) for hit in result.hits])
            found.append(
                Retrieval(
                    question=question,
                    hits=result.hits,
                    best_cosine=result.best_cosine,
                    coverage=coverage,
                    embed_ms=embed_ms,
                    search_ms=1000 * (time.perf_counter() - began),
                )
            )
        return found


def _with_headings(hit: ScoredChunk) -> str:
    return "\n".join((*hit.chunk.headings, hit.chunk.text))
