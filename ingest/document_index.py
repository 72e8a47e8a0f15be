"""What an index is, wherever its points are: documents written all or not at all, and searched."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, Self

from ingest.catalogue import Catalogue
from ingest.coverage import shortfall
from ingest.facts import FileStamp, PendingDocument
from ingest.filters import Filters
from ingest.fusion import fuse
from ingest.late import LateQuery
from ingest.points import Choice
from ingest.types import Candidate, Chunk, ScoredChunk, SearchResult, SparseVector, StoredDocument, Vectors

CANDIDATES = 50
"""What each of the two searches hands to the fusion, at least."""
_TIES = 16
"""Hits beyond the limit that are looked at, so that a tie at the limit is not cut by chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedDocument:
    """A document ready to be written: item i of ``sparse`` is of chunk i."""

    pending: PendingDocument
    sparse: tuple[SparseVector, ...]
    stamp: FileStamp


class PassageIndex(Protocol):
    """What the retriever needs of an index."""

    def search(
        self,
        dense: Vectors | None,
        sparse: SparseVector | None,
        late: LateQuery | None = None,
        *,
        limit: int = 10,
        filters: Filters | None = None,
    ) -> SearchResult:
        """The ``limit`` best chunks by the queries that are given, best first; only of documents that pass the filters,
        if there are any.

        Raises :class:`ingest.errors.IndexProblem` or FieldError for a filter by something that the index has not.
        """

    def text(self, document_id: str) -> str:
        """The extracted text of a document, of which its chunks are pieces."""

    def documents(self, filters: Filters | None = None) -> list[StoredDocument]:
        """Every source, in order of name; only those that pass the filters, if there are any."""


class PointStore(Protocol):
    """Chunks as points of an engine: what an index needs of one (:mod:`ingest.edge` tells more)."""

    def write(self, chunks: Sequence[Chunk], dense: Vectors, sparse: Sequence[SparseVector]) -> None:
        """Insert or replace the chunks' points; durable after :meth:`flush`."""

    def delete(self, document_ids: Sequence[str]) -> None:
        """Remove every point of these documents; durable after :meth:`flush`."""

    def flush(self) -> None:
        """Return when all that was written is found and durable."""

    def count(self, document_ids: Sequence[str] | None = None) -> int:
        """Exact number of points, of these documents if any are given."""

    def chunks(self, document_id: str) -> list[Chunk]:
        """All stored chunks of a document, in order; their ``source`` is left empty."""

    def search(
        self, dense: Vectors | None, sparse: SparseVector | None, limit: int, choice: Choice | None = None
    ) -> tuple[list[Candidate], list[Candidate]]:
        """The ``limit`` nearest chunks by cosine and the best by BM25, best first; of each query that is given."""

    def fetch(self, ids: Sequence[str]) -> dict[str, Chunk]:
        """Stored chunks by id; their ``source`` is left empty. One that is not there is left out."""


class DocumentIndex(ABC):
    """Documents whose points are in a store and whose facts are in a catalogue; close it, or use it as a context
    manager. What the embedded index and one on a server have in common: how they are written and searched.
    """

    swept: int
    """Documents that an interrupted run had left unfinished, and that were removed when the index was opened."""
    _last_chosen: tuple[tuple[Filters, int], Mapping[str, str], Choice | None] | None = None

    @property
    @abstractmethod
    def store(self) -> PointStore:
        """The points. Raises :class:`IndexProblem` once the index is closed."""

    @property
    @abstractmethod
    def catalogue(self) -> Catalogue:
        """The facts. Raises :class:`IndexProblem` once the index is closed."""

    @abstractmethod
    def close(self) -> None:
        """Release the index; safe to call twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _sweep(self) -> int:
        """Delete the points of documents that are not committed; returns how many documents that were."""
        unfinished = self.catalogue.unfinished()
        if unfinished:
            self._drop(unfinished)
        return len(unfinished)

    def _drop(self, document_ids: Sequence[str]) -> None:
        self.store.delete(document_ids)
        self.store.flush()
        self.catalogue.forget(document_ids)

    def write(self, documents: Sequence[EmbeddedDocument], heirs: Mapping[str, str] | None = None) -> None:
        """Add or replace documents: all or, if the process dies, none of them (:mod:`ingest.catalogue`). ``heirs``: see
        :meth:`Catalogue.commit`."""
        self.catalogue.begin([document.pending for document in documents])
        for document in documents:
            self.store.write(document.pending.chunks, document.pending.dense, document.sparse)
        self.store.flush()
        self._drop_stale(self.catalogue.commit((document.stamp for document in documents), heirs or {}))

    def restamp(self, stamps: Iterable[FileStamp], heirs: Mapping[str, str] | None = None) -> None:
        """Point sources at documents that the index already holds (touched, renamed or copied files)."""
        self._drop_stale(self.catalogue.commit(stamps, heirs or {}))

    def remove(self, sources: Sequence[str]) -> None:
        """Forget these exact sources, and the points that no other source shares."""
        self._drop_stale(self.catalogue.remove(sources))

    def _drop_stale(self, document_ids: Sequence[str]) -> None:
        if document_ids:
            self._drop(document_ids)

    def text(self, document_id: str) -> str:
        return self.catalogue.text(document_id)

    def documents(self, filters: Filters | None = None) -> list[StoredDocument]:
        return self.catalogue.documents(filters)

    def chunks_of(self, document: StoredDocument) -> list[Chunk]:
        """The stored chunks of a document, in order."""
        return [replace(chunk, source=document.source) for chunk in self.store.chunks(document.document_id)]

    def damage(self) -> dict[str, str]:
        """By source, what is wrong with the index; empty when every chunk is as it was written."""
        checked: dict[str, str] = {}
        damage = {}
        for document in self.documents():
            if document.document_id not in checked:
                checked[document.document_id] = self.check(document)
            if checked[document.document_id]:
                damage[document.source] = checked[document.document_id]
        return damage

    def check(self, document: StoredDocument) -> str:
        """What is wrong with a document's stored chunks: an empty text when each is a piece of its text, and all of the
        text is in them."""
        chunks = self.chunks_of(document)
        if len(chunks) != document.chunks:
            return f"{len(chunks)} of {document.chunks} chunks are stored"
        text = self.catalogue.text(document.document_id)
        wrong = [chunk.index for chunk in chunks if text[chunk.start : chunk.end] != chunk.text]
        if wrong:
            return f"chunks {wrong} differ from the document's text"
        self.catalogue.boilerplate(document.document_id)
        return shortfall(text, ((chunk.start, chunk.end) for chunk in chunks))

    def search(
        self,
        dense: Vectors | None,
        sparse: SparseVector | None,
        late: LateQuery | None = None,
        *,
        limit: int = 10,
        filters: Filters | None = None,
    ) -> SearchResult:
        """See :meth:`PassageIndex.search`. A chunk that several sources share is shown under the first of those that
        pass the filters.

        Chunks of a document that is just being written or replaced are left out. Equal scores are ordered by source
        and place, so that the same search always gives the same hits.
        """
        chosen, choice = self._chosen(filters) if filters is not None else (None, None)
        if chosen is not None and not chosen:
            return SearchResult(hits=(), best_cosine=None)
        deep = max(CANDIDATES, 2 * limit) if dense is not None and sparse is not None else limit + _TIES
        nearest, matching = self.store.search(dense, sparse, deep, choice)
        names = chosen or self.catalogue.source_of({found.document_id for found in (*nearest, *matching)})
        # Those without a source are being written or replaced.
        nearest, matching = ([one for one in found if one.document_id in names] for found in (nearest, matching))
        if dense is not None and sparse is not None:
            ranked = fuse(nearest, matching, late, self._codes, limit + _TIES)
        else:
            ranked = [*nearest, *matching]
        ranked.sort(key=lambda found: (-found.score, names[found.document_id], found.index))
        return SearchResult(
            hits=self._read(ranked[:limit], names, late is not None),
            best_cosine=nearest[0].score if nearest else None,
        )

    def _chosen(self, filters: Filters) -> tuple[Mapping[str, str], Choice | None]:
        """By document id, the sources that pass; and for the engine the shorter list of the documents with one and of
        those without, None when there are no others. Kept for the next search until the catalogue changes.
        """
        state = (filters, self.catalogue.changes)
        if self._last_chosen is None or self._last_chosen[0] != state:
            names = self.catalogue.matching(filters)
            others = self.catalogue.document_ids() - names.keys()
            choice = (
                Choice.of(names) if len(names) < len(others) else Choice.of(others, others=True) if others else None
            )
            self._last_chosen = (state, names, choice)
        return self._last_chosen[1:]

    def _codes(self, found: Sequence[Candidate]) -> list[bytes]:
        return self.catalogue.codes([(one.document_id, one.index) for one in found])

    def _read(self, found: Sequence[Candidate], names: Mapping[str, str], with_codes: bool) -> tuple[ScoredChunk, ...]:
        if with_codes and not all(one.codes for one in found):
            found = [replace(one, codes=codes) for one, codes in zip(found, self._codes(found), strict=True)]
        chunks = self.store.fetch([one.chunk_id for one in found])
        return tuple(
            ScoredChunk(
                chunk=replace(chunks[one.chunk_id], source=names[one.document_id]), score=one.score, codes=one.codes
            )
            for one in found
            if one.chunk_id in chunks
        )
