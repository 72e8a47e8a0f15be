"""Points in a folder: the one door to Qdrant Edge (the server's engine, in this process) and its BM25.

Edge writes to disk durably only at :meth:`EdgeShard.flush`, raises plain ``Exception`` for everything, and panics,
which is no ``Exception``, on some damaged files; all are dealt with here and in :mod:`ingest.edge_index`, and nowhere
else.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ingest.errors import IndexDamagedError
from ingest.types import Candidate, Chunk, SparseVector, Vectors

if TYPE_CHECKING:
    import qdrant_edge

DENSE = "dense"
SPARSE = "sparse"
_ROOM_TO_OPEN = 8 * 2**20
_ROOM_TO_WRITE = 64 * 2**20
"""Bytes that must be free: the engine writes through memory, so that on a full disk the system kills the process."""
_ALL = 1_000_000
"""More points than one document has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The documents that a search looks at: these, or with ``others`` all but these."""

    numbers: tuple[int, ...]
    others: bool = False

    @classmethod
    def of(cls, document_ids: Iterable[str], *, others: bool = False) -> Choice:
        """By number: of 10,000 documents, about eight times as fast in the engine as by id (docs/decisions)."""
        return cls(numbers=tuple(map(_number, document_ids)), others=others)


class Bm25:
    """BM25 term weights (k=1.2, b=0.75) of texts; the inverse document frequency is applied by the engine."""

    def __init__(self, language: str = "english", average_length: float = 120.0) -> None:
        import qdrant_edge as edge

        self._model = edge.Bm25(edge.Bm25Config(language=language, avg_len=average_length))

    def document(self, text: str) -> SparseVector:
        return self.plain(self._model.embed_document(text))

    def query(self, text: str) -> SparseVector:
        """Each distinct term with weight 1."""
        return self.plain(self._model.embed_query(text))

    @staticmethod
    def plain(vector: qdrant_edge.SparseVector) -> SparseVector:
        """The engine's vector as ours."""
        return SparseVector(indices=tuple(vector.indices), values=tuple(vector.values))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StoredPoint:
    """What the store holds of a chunk; its ``source`` is left empty. ``dense``: float32 (dimension,), of unit length,
    and empty where there is none; ``sparse``: in no order."""

    chunk: Chunk
    dense: Vectors
    sparse: SparseVector


class EdgeStore:
    """One shard. Not safe for use by two processes: :mod:`ingest.edge_index` holds the lock."""

    def __init__(self, folder: Path, dimension: int) -> None:
        import qdrant_edge as edge

        self._edge = edge
        self._folder = folder
        with self._told("opened"):
            self._check_room(_ROOM_TO_OPEN if folder.is_dir() else _ROOM_TO_WRITE)
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
        shard.update(edge.UpdateOperation.create_field_index("document", edge.PayloadSchemaType.Integer))
        shard.flush()
        shard.close()
        unfinished.rename(self._folder)

    def _config(self, dimension: int) -> Any:
        edge = self._edge
        return edge.EdgeConfig(
            vectors={DENSE: edge.EdgeVectorParams(size=dimension, distance=edge.Distance.Cosine)},
            sparse_vectors={SPARSE: edge.EdgeSparseVectorParams(modifier=edge.Modifier.Idf)},
        )

    def _check_room(self, needed: int) -> None:
        place = next(folder for folder in self._folder.parents if folder.exists())
        free = shutil.disk_usage(place).free
        if free < needed:
            reason = f"No space left: {free / 2**20:.0f} MiB are free, {needed / 2**20:.0f} are needed"
            raise OSError(errno.ENOSPC, reason)

    @classmethod
    @contextmanager
    def replacing(cls, folder: Path, dimension: int) -> Iterator[EdgeStore]:
        """An empty store to fill, which takes the place of ``folder`` when the block ends without an error."""
        beside, old = (folder.with_name(f"{folder.name}.{end}") for end in ("rebuilt", "old"))
        shutil.rmtree(beside, ignore_errors=True)
        store = cls(beside, dimension)
        try:
            yield store
            store.flush()
        finally:
            store.close()
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            folder.rename(old)
        beside.rename(folder)
        shutil.rmtree(old, ignore_errors=True)

    @contextmanager
    def _told(self, verb: str) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            # A panic of the engine is a BaseException of its own.
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise
            reason = " ".join(str(error).split())[:200]
            raise IndexDamagedError(
                f"the index in {self._folder.parent} cannot be {verb} ({reason}): "
                "free disk space and check its permissions; if that does not help, run 'rag docs rebuild'"
            ) from error

    def write(self, chunks: Sequence[Chunk], dense: Vectors, sparse: Sequence[SparseVector]) -> None:
        """Insert or replace the chunks' points; durable after :meth:`flush`."""
        edge = self._edge
        points = [
            edge.Point(
                chunk.id,
                {DENSE: vector.tolist(), SPARSE: edge.SparseVector(list(term.indices), list(term.values))},
                payload_of(chunk),
            )
            for chunk, vector, term in zip(chunks, dense, sparse, strict=True)
        ]
        with self._told("written"):
            self._check_room(_ROOM_TO_WRITE)
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

    def counts(self) -> dict[str, int]:
        """By document id, the number of its points."""
        with self._told("read"):
            most = max(1, int(self._shard.count(self._edge.CountRequest(exact=True))))
            found = self._shard.facet(self._edge.FacetRequest(key="document_id", limit=most, exact=True))
            return {str(hit.value): int(hit.count) for hit in found.hits}

    def chunks(self, document_id: str) -> list[Chunk]:
        """All stored chunks of a document, in order; their ``source`` is left empty."""
        with self._told("read"):
            records, _ = self._shard.scroll(
                self._edge.ScrollRequest(limit=_ALL, filter=self._only([document_id]), with_payload=True)
            )
            return sorted((chunk_of(str(record.id), record.payload) for record in records), key=lambda c: c.index)

    def points(self, document_id: str) -> dict[str, StoredPoint]:
        """All of a document, by chunk id."""
        with self._told("read"):
            only = self._only([document_id])
            records, _ = self._shard.scroll(
                self._edge.ScrollRequest(limit=_ALL, filter=only, with_payload=True, with_vector=True)
            )
            return {str(record.id): _point(record) for record in records}

    def fetch_points(self, ids: Sequence[str]) -> dict[str, StoredPoint]:
        """:meth:`fetch`, with vectors."""
        with self._told("read"):
            records = self._shard.retrieve(list(ids), with_payload=True, with_vector=True) if ids else []
            return {str(record.id): _point(record) for record in records}

    def search(
        self,
        dense: Vectors | None,
        sparse: SparseVector | None,
        limit: int,
        choice: Choice | None = None,
    ) -> tuple[list[Candidate], list[Candidate]]:
        """The ``limit`` nearest chunks by cosine and the best by BM25, best first; of each query that is given.

        A chunk without any term of the query has no BM25 score and is not among them.
        """
        edge = self._edge
        only = self._chosen(choice) if choice is not None else None
        queries = []
        if dense is not None:
            queries.append(edge.Query.Nearest(dense.tolist(), using=DENSE))
        if sparse is not None:
            vector = edge.SparseVector(list(sparse.indices), list(sparse.values))
            queries.append(edge.Query.Nearest(vector, using=SPARSE))
        place = edge.PayloadSelector.Include(["document_id", "index"])
        requests = [edge.QueryRequest(limit=limit, query=query, filter=only, with_payload=place) for query in queries]
        with self._told("read"):
            found = self._shard.query_batch(edge.QueryBatchRequest(requests)) if requests else []
            lists = [[candidate_of(point) for point in points] for points in found]
        return lists.pop(0) if dense is not None else [], lists.pop(0) if sparse is not None else []

    def fetch(self, ids: Sequence[str]) -> dict[str, Chunk]:
        """Stored chunks by id; their ``source`` is left empty. One that is not there is left out."""
        with self._told("read"):
            records = self._shard.retrieve(list(ids), with_payload=True, with_vector=False) if ids else []
            return {str(record.id): chunk_of(str(record.id), record.payload) for record in records}

    def _only(self, document_ids: Iterable[str]) -> Any:
        edge = self._edge
        match = edge.MatchAny(list(document_ids))
        return edge.Filter(must=[edge.FieldCondition("document_id", match=match)])

    def _chosen(self, choice: Choice) -> Any:
        edge = self._edge
        numbers = list(choice.numbers)
        match = edge.MatchExcept(numbers) if choice.others else edge.MatchAny(numbers)
        return edge.Filter(must=[edge.FieldCondition("document", match=match)])

    def close(self) -> None:
        with self._told("closed"):
            self._shard.close()


def _number(document_id: str) -> int:
    """The last 63 bits of an id: the engine tells numbers apart faster than texts.

    Two documents that share a number, by a chance of 1 in 10^9 among 100,000, are found together: the caller drops the
    one that it did not choose.
    """
    return int(document_id[19:23] + document_id[24:], 16) & (2**63 - 1)


def payload_of(chunk: Chunk) -> dict[str, Any]:
    """What a point says of its chunk: the same in a folder and on a server."""
    return {
        "document_id": chunk.document_id,
        "document": _number(chunk.document_id),
        "index": chunk.index,
        "start": chunk.start,
        "end": chunk.end,
        "text": chunk.text,
        "headings": list(chunk.headings),
        "pages": list(chunk.pages),
    }


def _point(record: Any) -> StoredPoint:
    vectors = record.vector or {}
    terms = vectors.get(SPARSE)
    return StoredPoint(
        chunk=chunk_of(str(record.id), record.payload),
        dense=np.asarray(vectors.get(DENSE, ()), dtype=np.float32),
        sparse=Bm25.plain(terms) if terms is not None else SparseVector(indices=(), values=()),
    )


def candidate_of(point: Any) -> Candidate:
    """The hit of a search that asked for ``document_id`` and ``index``."""
    payload = point.payload
    return Candidate(
        chunk_id=str(point.id),
        document_id=payload["document_id"],
        index=payload["index"],
        score=float(point.score),
    )


def chunk_of(id_: str, payload: Any) -> Chunk:
    """The chunk of a point, its ``source`` left empty."""
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
