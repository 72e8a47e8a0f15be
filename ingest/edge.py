"""Points in a folder: the one door to Qdrant Edge (the server's engine, in this process) and its BM25.

Edge writes to disk durably only at :meth:`EdgeShard.flush`, and raises plain ``Exception`` for everything;
both are dealt with here and in :mod:`ingest.index`, and nowhere else.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ingest.errors import IndexDamagedError
from ingest.types import Chunk, ScoredChunk, SearchMode, SearchResult, SparseVector, Vectors

if TYPE_CHECKING:
    import qdrant_edge

DENSE = "dense"
SPARSE = "sparse"
RRF_K = 60
"""The constant of reciprocal rank fusion (Cormack, Clarke and Buettcher 2009)."""
PREFETCH = 50
"""Candidates that each of the two searches hands to the fusion, at least."""


class Bm25:
    """BM25 term weights (k=1.2, b=0.75) of texts; the inverse document frequency is applied by the engine."""

    def __init__(self, language: str = "english", average_length: float = 120.0) -> None:
        import qdrant_edge as edge

        self._model = edge.Bm25(edge.Bm25Config(language=language, avg_len=average_length))

    def document(self, text: str) -> SparseVector:
        return self._plain(self._model.embed_document(text))

    def query(self, text: str) -> SparseVector:
        """Each distinct term with weight 1."""
        return self._plain(self._model.embed_query(text))

    @staticmethod
    def _plain(vector: qdrant_edge.SparseVector) -> SparseVector:
        return SparseVector(indices=tuple(vector.indices), values=tuple(vector.values))


class EdgeStore:
    """One shard. Not safe for use by two processes: :mod:`ingest.index` holds the lock."""

    def __init__(self, folder: Path, dimension: int) -> None:
        import qdrant_edge as edge

        self._edge = edge
        self._folder = folder
        with self._told("opened"):
            if not folder.is_dir():
                self._create(dimension)
            self._shard = edge.EdgeShard.load(str(folder))

    def _create(self, dimension: int) -> None:
        """Made beside its place and moved there when it is whole: half a shard cannot be loaded."""
        edge = self._edge
        unfinished = self._folder.with_name(f"{self._folder.name}.new")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        shard = edge.EdgeShard.create(str(unfinished), self._config(dimension))
        shard.update(edge.UpdateOperation.create_field_index("document_id", edge.PayloadSchemaType.Keyword))
        shard.flush()
        shard.close()
        unfinished.rename(self._folder)

    def _config(self, dimension: int) -> Any:
        edge = self._edge
        return edge.EdgeConfig(
            vectors={DENSE: edge.EdgeVectorParams(size=dimension, distance=edge.Distance.Cosine)},
            sparse_vectors={SPARSE: edge.EdgeSparseVectorParams(modifier=edge.Modifier.Idf)},
        )

    @contextmanager
    def _told(self, verb: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise IndexDamagedError(
                f"the index in {self._folder.parent} cannot be {verb} ({reason}): "
                "free disk space or restore its files; if that does not help, delete it and ingest again"
            ) from error

    def write(self, chunks: Sequence[Chunk], dense: Vectors, sparse: Sequence[SparseVector]) -> None:
        """Insert or replace the chunks' points; durable after :meth:`flush`."""
        edge = self._edge
        points = [
            edge.Point(
                chunk.id,
                {DENSE: vector.tolist(), SPARSE: edge.SparseVector(list(term.indices), list(term.values))},
                _payload(chunk),
            )
            for chunk, vector, term in zip(chunks, dense, sparse, strict=True)
        ]
        with self._told("written"):
            self._shard.update(edge.UpdateOperation.upsert_points(points))

    def delete(self, document_ids: Sequence[str]) -> None:
        """Remove every point of these documents; durable after :meth:`flush`."""
        with self._told("written"):
            for id_ in document_ids:
                self._shard.update(self._edge.UpdateOperation.delete_points_by_filter(self._only([id_])))

    def flush(self) -> None:
        with self._told("written"):
            self._shard.flush()

    def optimize(self) -> None:
        """Build the HNSW graph and merge segments where the engine finds it worth while."""
        with self._told("written"):
            self._shard.optimize()
            self._shard.flush()

    def count(self, document_ids: Sequence[str] | None = None) -> int:
        """Exact number of points, of these documents if any are given."""
        with self._told("read"):
            found = self._only(document_ids) if document_ids is not None else None
            return int(self._shard.count(self._edge.CountRequest(exact=True, filter=found)))

    def chunks(self, document_id: str) -> list[Chunk]:
        """All stored chunks of a document, in order; their ``source`` is left empty."""
        with self._told("read"):
            records, _ = self._shard.scroll(
                self._edge.ScrollRequest(limit=1_000_000, filter=self._only([document_id]), with_payload=True)
            )
        return sorted((_chunk(str(record.id), record.payload) for record in records), key=lambda c: c.index)

    def search(
        self,
        dense: Vectors | None,
        sparse: SparseVector | None,
        mode: SearchMode,
        limit: int,
        document_ids: Sequence[str] | None,
    ) -> SearchResult:
        """Best chunks of one mode; ``hybrid`` fuses both by reciprocal ranks inside the engine.

        The nearest chunk's cosine comes along whenever a dense query is given.
        """
        edge = self._edge
        only = self._only(document_ids) if document_ids is not None else None
        nearest = edge.Query.Nearest(dense.tolist(), using=DENSE) if dense is not None else None
        terms = None
        if sparse is not None:
            vector = edge.SparseVector(list(sparse.indices), list(sparse.values))
            terms = edge.Query.Nearest(vector, using=SPARSE)
        requests = [self._request(mode, nearest, terms, limit, only)]
        if nearest is not None:
            requests.append(edge.QueryRequest(limit=1, query=nearest, filter=only))
        with self._told("read"):
            found, *rest = self._shard.query_batch(edge.QueryBatchRequest(requests))
        best = rest[0][0].score if rest and rest[0] else None
        hits = (ScoredChunk(chunk=_chunk(str(point.id), point.payload), score=float(point.score)) for point in found)
        return SearchResult(hits=tuple(hits), best_cosine=best)

    def _request(self, mode: SearchMode, nearest: Any, terms: Any, limit: int, only: Any) -> Any:
        edge = self._edge
        if mode != "hybrid":
            query = nearest if mode == "dense" else terms
            return edge.QueryRequest(limit=limit, query=query, filter=only, with_payload=True)
        candidates = max(PREFETCH, 2 * limit)
        prefetches = [edge.Prefetch(limit=candidates, query=query, filter=only) for query in (nearest, terms) if query]
        return edge.QueryRequest(limit=limit, query=edge.Fusion.Rrf(k=RRF_K), prefetches=prefetches, with_payload=True)

    def _only(self, document_ids: Iterable[str]) -> Any:
        edge = self._edge
        match = edge.MatchAny(list(document_ids))
        return edge.Filter(must=[edge.FieldCondition("document_id", match=match)])

    def close(self) -> None:
        with self._told("closed"):
            self._shard.close()


def _payload(chunk: Chunk) -> dict[str, Any]:
    return {
        "document_id": chunk.document_id,
        "index": chunk.index,
        "start": chunk.start,
        "end": chunk.end,
        "text": chunk.text,
        "headings": list(chunk.headings),
        "pages": list(chunk.pages),
    }


def _chunk(id_: str, payload: Any) -> Chunk:
    return Chunk(
        id=id_,
        document_id=payload["document_id"],
        source="",
        index=payload["index"],
        start=payload["start"],
        end=payload["end"],
        text=payload["text"],
        headings=tuple(payload["headings"]),
        pages=tuple(payload["pages"]),
    )
