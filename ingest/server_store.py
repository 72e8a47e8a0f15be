"""The passages of an index on a server: the same points as in a folder (:mod:`ingest.edge`)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ingest.points import DENSE, SPARSE, Choice, StoredPoint, candidate_of, chunk_of, payload_of
from ingest.server_client import Server, only
from ingest.types import Candidate, Chunk, SparseVector, Vectors

if TYPE_CHECKING:
    from qdrant_client import models

POINTS_A_REQUEST = 64


class ServerStore:
    """One Qdrant collection; see :class:`ingest.document_index.PointStore`."""

    def __init__(self, server: Server, collection: str) -> None:
        self._server = server
        self._collection = collection

    def write(self, chunks: Sequence[Chunk], dense: Vectors, sparse: Sequence[SparseVector]) -> None:
        """Insert or replace the chunks' points, several requests at a time; they are there after :meth:`flush`."""
        for at in range(0, len(chunks), POINTS_A_REQUEST):
            part = slice(at, at + POINTS_A_REQUEST)
            self._server.upload(self._collection, partial(_points, chunks[part], dense[part], sparse[part]))

    def flush(self) -> None:
        self._server.settle()

    def delete(self, document_ids: Sequence[str]) -> None:
        from qdrant_client import models

        selected = models.FilterSelector(filter=only(document_id=document_ids))
        self._server.ask(self._server.client.delete, self._collection, selected, wait=True)

    def count(self, document_ids: Sequence[str] | None = None) -> int:
        among = only(document_id=document_ids) if document_ids is not None else None
        return self._server.ask(self._server.client.count, self._collection, count_filter=among, exact=True).count

    def chunks(self, document_id: str) -> list[Chunk]:
        found = self._server.scroll(self._collection, only(document_id=document_id))
        return sorted((chunk_of(str(record.id), record.payload) for record in found), key=lambda chunk: chunk.index)

    def points(self, document_id: str) -> dict[str, StoredPoint]:
        """All of a document, by chunk id."""
        found = self._server.scroll(
            self._collection, only(document_id=document_id), vectors=True, page=POINTS_A_REQUEST
        )
        return {str(record.id): _stored(record) for record in found}

    def search(
        self, dense: Vectors | None, sparse: SparseVector | None, limit: int, choice: Choice | None = None
    ) -> tuple[list[Candidate], list[Candidate]]:
        from qdrant_client import models

        among = _chosen(choice) if choice is not None else None
        queries: list[tuple[str, Any]] = []
        if dense is not None:
            queries.append((DENSE, dense.tolist()))
        if sparse is not None:
            queries.append((SPARSE, _terms(sparse)))
        requests = [
            models.QueryRequest(
                query=query, using=using, limit=limit, filter=among, with_payload=["document_id", "index"]
            )
            for using, query in queries
        ]
        found = self._server.ask(self._server.client.query_batch_points, self._collection, requests) if requests else []
        lists = [[candidate_of(point) for point in answer.points] for answer in found]
        return lists.pop(0) if dense is not None else [], lists.pop(0) if sparse is not None else []

    def fetch(self, ids: Sequence[str]) -> dict[str, Chunk]:
        if not ids:
            return {}
        found = self._server.ask(self._server.client.retrieve, self._collection, list(ids), with_payload=True)
        return {str(record.id): chunk_of(str(record.id), record.payload) for record in found}


def _points(chunks: Sequence[Chunk], dense: Vectors, sparse: Sequence[SparseVector]) -> list[models.PointStruct]:
    from qdrant_client import models

    return [
        models.PointStruct(
            id=chunk.id, vector={DENSE: vector.tolist(), SPARSE: _terms(terms)}, payload=payload_of(chunk)
        )
        for chunk, vector, terms in zip(chunks, dense, sparse, strict=True)
    ]


def _stored(record: models.Record) -> StoredPoint:
    held: Any = record.vector or {}
    terms = held.get(SPARSE)
    return StoredPoint(
        chunk=chunk_of(str(record.id), record.payload),
        dense=np.asarray(held.get(DENSE, ()), dtype=np.float32),
        sparse=SparseVector(indices=tuple(terms.indices) if terms else (), values=tuple(terms.values) if terms else ()),
    )


def _terms(vector: SparseVector) -> models.SparseVector:
    from qdrant_client import models

    return models.SparseVector(indices=list(vector.indices), values=list(vector.values))


def _chosen(choice: Choice) -> models.Filter:
    from qdrant_client import models

    numbers = list(choice.numbers)
    match = models.MatchExcept(**{"except": numbers}) if choice.others else models.MatchAny(any=numbers)
    return models.Filter(must=[models.FieldCondition(key="document", match=match)])
