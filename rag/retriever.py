"""Question -> the best chunks of the index, and whether they have anything to do with the question."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass

from ingest.chunk import ChunkPolicy, embedding_text
from ingest.document_index import PassageIndex
from ingest.edge import Bm25
from ingest.filters import Filters
from ingest.late import LateQuery, late_query
from ingest.types import Chunk, Embedder, ScoredChunk, SearchMode, TokenVectors, Vectors
from rag.grounding import Grounding
from rag.rerank import DEPTH, open_reranker

_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieval:
    """Hits, best first, and what they have to do with the question.

    ``best_cosine``: of the nearest chunk of the index (None in sparse mode). ``coverage`` (0 to 1): share of the
    question's content terms that the hits hold together. ``best_sentence`` (0 to 1): the most of them that one
    sentence holds. ``late``: the question as passages of these hits can be compared with it, token by token; None in
    sparse mode. Milliseconds: ``embed_ms``; ``search_ms``, late interaction in it; ``rerank_ms``, of a cross-encoder.
    """

    question: str
    hits: tuple[ScoredChunk, ...]
    best_cosine: float | None
    coverage: float
    best_sentence: float
    embed_ms: float
    search_ms: float
    rerank_ms: float = 0.0
    late: LateQuery | None = None

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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Asked:
    """A question as the index is asked for it."""

    text: str
    dense: Vectors | None = None
    late: LateQuery | None = None


class Retriever:
    """Searches one index with the embedder that made it."""

    def __init__(self, index: PassageIndex, embedder: Embedder, *, rerank: str = "late") -> None:
        """``rerank``: as :func:`rag.rerank.open_reranker` reads it, and with its errors."""
        self.index = index
        self._embedder = embedder
        self._late = rerank != "none"
        self._reranker = open_reranker(rerank)
        self._bm25 = Bm25()
        self._grounding = Grounding()

    def search(
        self,
        question: str,
        *,
        k: int = 5,
        mode: SearchMode = "hybrid",
        filters: Filters | None = None,
    ) -> Retrieval:
        """The ``k`` best chunks, of the documents that pass the filters only, if there are any."""
        return self.search_many([question], k=k, mode=mode, filters=filters)[0]

    def search_many(
        self,
        questions: Sequence[str],
        *,
        k: int = 5,
        mode: SearchMode = "hybrid",
        filters: Filters | None = None,
    ) -> list[Retrieval]:
        """Like :meth:`search` for each question, in order; they are embedded in one batch.

        ``mode``: "dense" and "sparse" rank by one search alone, and are not reranked; "sparse" needs no embedder.
        """
        began = time.perf_counter()
        asked = [_Asked(text=question) for question in questions] if mode == "sparse" else self._embedded(questions)
        embed_ms = 1000 * (time.perf_counter() - began) / max(1, len(questions))
        return [self._found(question, k, mode, filters, embed_ms) for question in asked]

    def _embedded(self, questions: Sequence[str]) -> list[_Asked]:
        if not self._late:
            dense = self._embedder.encode(questions)
            return [_Asked(text=text, dense=row) for text, row in zip(questions, dense, strict=True)]
        dense, tokens = self._embedder.encode_tokens(questions)
        return [
            _Asked(text=text, dense=row, late=late_query(read, self._minor(text, read)))
            for text, row, read in zip(questions, dense, tokens, strict=True)
        ]

    def _minor(self, question: str, read: TokenVectors) -> list[bool]:
        """Of each token, whether the word that it is part of is a stop word or no word."""
        content = [m.span() for m in _WORD.finditer(question) if self._grounding.term(m[0]) is not None]
        return [not any(start < end_ and start_ < end for start, end in content) for start_, end_ in read.spans]

    def _found(self, asked: _Asked, k: int, mode: SearchMode, filters: Filters | None, embed_ms: float) -> Retrieval:
        began = time.perf_counter()
        terms = self._bm25.query(asked.text) if mode != "dense" else None
        last = self._reranker if mode == "hybrid" else None
        limit = max(k, DEPTH) if last else k
        result = self.index.search(asked.dense, terms, asked.late, limit=limit, filters=filters)
        searched = time.perf_counter()
        hits = tuple(last.rerank(asked.text, result.hits)[:k]) if last else result.hits
        reranked = time.perf_counter()
        texts = [hit.chunk.text for hit in hits]
        headings = [heading for hit in hits for heading in hit.chunk.headings]
        return Retrieval(
            question=asked.text,
            hits=hits,
            best_cosine=result.best_cosine,
            coverage=self._grounding.coverage(asked.text, texts + headings),
            best_sentence=self._grounding.best_sentence(asked.text, texts),
            embed_ms=embed_ms,
            search_ms=1000 * (searched - began),
            rerank_ms=1000 * (reranked - searched),
            late=asked.late,
        )

    def token_spans(self, chunk: Chunk) -> list[tuple[int, int]]:
        """Places in the chunk's text of the tokens that its codes are of; those of its headings end at 0 or before."""
        policy = ChunkPolicy(window=self._embedder.window)
        read = embedding_text(chunk, self._embedder.counter, policy)
        shift = len(read) - len(chunk.text)
        return [(start - shift, end - shift) for start, end in self._embedder.counter.offsets(read)]

    def similarity(self, question: str, texts: Sequence[str]) -> list[float]:
        """Cosine (-1 to 1) of the question with each text, by the index's embedder."""
        vectors = self._embedder.encode([question, *texts])
        return [float(cosine) for cosine in vectors[1:] @ vectors[0]]
