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
    """Hits, best first, and what they have to do with the question.

    ``best_cosine``: of the nearest chunk of the index (None in sparse mode). ``coverage`` (0 to 1): share of the
    question's content terms that the hits hold together. ``best_sentence`` (0 to 1): the most of them that one
    sentence holds. Milliseconds: ``embed_ms``, ``search_ms``.
    """

    question: str
    hits: tuple[ScoredChunk, ...]
    best_cosine: float | None
    coverage: float
    best_sentence: float
    embed_ms: float
    search_ms: float

    @property
    def relevance(self) -> float:
        """How much the index has to say about the question, about 0 to 1; 0 without hits.

        A weighted mean of the three signals above; the weights are those of a logistic regression that tells
        questions on the documents from questions on anything else (docs/decisions/0004-abstention.md).
        """
        if not self.hits:
            return 0.0
        words = 0.3 * self.coverage + 0.5 * self.best_sentence
        if self.best_cosine is None:
            return words / 0.8
        return (self.best_cosine + words) / 1.8


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
            texts = [hit.chunk.text for hit in result.hits]
            headings = [heading for hit in result.hits for heading in hit.chunk.headings]
            found.append(
                Retrieval(
                    question=question,
                    hits=result.hits,
                    best_cosine=result.best_cosine,
                    coverage=self._grounding.coverage(question, texts + headings),
                    best_sentence=self._grounding.best_sentence(question, texts),
                    embed_ms=embed_ms,
                    search_ms=1000 * (time.perf_counter() - began),
                )
            )
        return found

    def similarity(self, question: str, texts: Sequence[str]) -> list[float]:
        """Cosine (-1 to 1) of the question with each text, by the index's embedder."""
        vectors = self._embedder.encode([question, *texts])
        return [float(cosine) for cosine in vectors[1:] @ vectors[0]]
