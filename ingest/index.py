"""The index that everything else sees: points and catalogue behind one lock, opened and checked here.

DIR/shard/            Qdrant Edge: vectors, BM25 terms, chunk texts; can be made anew from
DIR/catalogue.sqlite3 sources, documents, extracted texts, vectors, token codes, what the index was made with
DIR/lock, DIR/pid     held while a process has the index open
DIR/collections/NAME/ the same again, for each collection beside the default one
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, Self

from filelock import FileLock, Timeout

from ingest.catalogue import CATALOGUE_FILE, REBUILD, Catalogue
from ingest.chunk import ChunkPolicy, embedding_text
from ingest.collections import (
    COLLECTIONS,
    DEFAULT_COLLECTION,
    Collection,
    collection_folder,
    collection_names,
    is_url,
    list_collections,
)
from ingest.edge import Bm25, Choice, EdgeStore
from ingest.errors import (
    IndexDamagedError,
    IndexInUseError,
    IndexMismatchError,
    IndexMissingError,
    IndexProblem,
)
from ingest.facts import FileStamp, PendingDocument
from ingest.filters import Filters
from ingest.fusion import fuse
from ingest.late import LateQuery
from ingest.parse import PIPELINE_VERSION
from ingest.rebuild import Rebuilt, rebuild
from ingest.soundness import differing, document_damage
from ingest.types import (
    Candidate,
    Chunk,
    Embedder,
    ScoredChunk,
    SearchResult,
    SparseVector,
    StoredDocument,
    Vectors,
)

FORMAT_VERSION = "3"
CANDIDATES = 50
"""What each of the two searches hands to the fusion, at least."""
_TIES = 16
"""Hits beyond the limit that are looked at, so that a tie at the limit is not cut by chance."""
SAMPLE = 16
"""Chunks that are compared with the catalogue whenever an index is opened."""


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
        """What is wrong with a document's stored chunks: an empty text when each is a piece of its text."""
        chunks = self.chunks_of(document)
        if len(chunks) != document.chunks:
            return f"{len(chunks)} of {document.chunks} chunks are stored"
        text = self.catalogue.text(document.document_id)
        wrong = [chunk.index for chunk in chunks if text[chunk.start : chunk.end] != chunk.text]
        return f"chunks {wrong} differ from the document's text" if wrong else ""

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


class EdgeIndex(DocumentIndex):
    """An embedded index in a folder. One process at a time."""

    def __init__(self, folder: Path, embedder: Embedder, *, create: bool = False, rebuild: bool = False) -> None:
        """Open the index, sweep what an interrupted run left, and check it against its catalogue.

        ``rebuild`` first makes the store anew from the catalogue (:mod:`ingest.rebuild`); ``rebuilt`` tells of it.

        Raises :class:`IndexMissingError` (unless ``create``), :class:`IndexInUseError`,
        :class:`IndexMismatchError` or :class:`IndexDamagedError`.
        """
        self.folder = folder
        exists = (folder / CATALOGUE_FILE).is_file()
        if not exists and (folder / "shard").is_dir():
            raise IndexDamagedError(
                f"the index in {folder} has lost its {CATALOGUE_FILE}: restore it, or delete the folder and ingest "
                "again"
            )
        if not exists and not create:
            raise IndexMissingError(f"no index in {folder}: run 'rag ingest PATH --index {folder}' first")
        if not exists:
            _refuse_other_files(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(folder)
        except OSError as error:
            raise IndexDamagedError(
                f"the index folder {folder} cannot be used ({error.strerror}): check its path and permissions"
            ) from error
        self._store: EdgeStore | None = None
        self._catalogue: Catalogue | None = None
        self._embedder = embedder
        self._policy = ChunkPolicy(window=embedder.window)
        self._bm25 = Bm25()
        self.rebuilt = Rebuilt(documents=0, chunks=0, embedded=0, lost={})
        try:
            self._catalogue = Catalogue(folder / CATALOGUE_FILE)
            self._check_made_with(embedder)
            if rebuild:
                self.rebuilt = self._rebuild()
            self._store = EdgeStore(folder / "shard", embedder.dimension)
            self.swept = self._sweep()
            self._check_points()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Release the files and the lock; safe to call twice."""
        if not self._lock.is_locked:
            return
        try:
            if self._store is not None:
                self._store.close()
            if self._catalogue is not None:
                self._catalogue.close()
        finally:
            self._store = self._catalogue = None
            with suppress(OSError):
                (self.folder / "pid").unlink()
            self._lock.release()

    @property
    def store(self) -> EdgeStore:
        if self._store is None:
            raise IndexProblem("the index is closed: open it again")
        return self._store

    @property
    def catalogue(self) -> Catalogue:
        if self._catalogue is None:
            raise IndexProblem("the index is closed: open it again")
        return self._catalogue

    def _check_made_with(self, embedder: Embedder) -> None:
        wanted = {
            "format": FORMAT_VERSION,
            "pipeline": PIPELINE_VERSION,
            "embedder": embedder.name,
            "dimension": embedder.dimension,
        }
        known = self.catalogue.meta()
        if not known:
            self.catalogue.set_meta(dict(wanted))
            return
        for fact, value in wanted.items():
            if known.get(fact) != value:
                remedy = f"pass --embedder {known.get(fact)}, or " if fact == "embedder" else ""
                raise IndexMismatchError(
                    f"the index in {self.folder} was made with {fact} {known.get(fact)!r}, not {value!r}: "
                    f"{remedy}ingest into a new folder with --index"
                )

    def _check_points(self) -> None:
        expected, found = self.catalogue.chunk_counts(), self.store.counts()
        wrong = [id_ for id_ in expected.keys() | found.keys() if expected.get(id_, 0) != found.get(id_, 0)]
        if wrong or self.store.count() != sum(expected.values()):
            raise IndexDamagedError(
                f"the index in {self.folder} holds {self.store.count()} chunks, its catalogue says "
                f"{sum(expected.values())}, and {len(wrong)} documents differ: {REBUILD}"
            )
        sample = self.catalogue.sample(SAMPLE)
        unlike = differing(sample, self.store.fetch_points([chunk.id for chunk in sample]))
        if unlike:
            raise IndexDamagedError(
                f"{len(unlike)} of {len(sample)} chunks of the index in {self.folder} are not what its catalogue "
                f"keeps of them: {REBUILD}"
            )

    def _rebuild(self) -> Rebuilt:
        return rebuild(self.folder / "shard", self.catalogue, self._embedder, self._embedding_text, self._terms)

    def _embedding_text(self, chunk: Chunk) -> str:
        return embedding_text(chunk, self._embedder.counter, self._policy)

    def _terms(self, chunk: Chunk) -> SparseVector:
        return self._bm25.document(self._embedding_text(chunk))

    def damage(self) -> dict[str, str]:
        """See :meth:`DocumentIndex.damage`. Every kept and every stored text, vector and token code is read; what is
        wrong with the catalogue as a file is under its name.
        """
        found = self.catalogue.integrity()
        damage = {CATALOGUE_FILE: f"{found}: restore it, or delete the folder and ingest again"} if found else {}
        damage |= dict.fromkeys(self.catalogue.lost(), "its document was lost: ingest its folder again")
        return damage | super().damage()

    def check(self, document: StoredDocument) -> str:
        """What is wrong with what is kept and stored of a document; an empty text for nothing."""
        id_ = document.document_id
        try:
            kept, text = self.catalogue.chunks(id_), self.catalogue.text(id_)
            found = document_damage(kept, self.store.points(id_), text, document.chunks, self._terms)
        except IndexDamagedError as error:
            return str(error)
        return f"{found}: {REBUILD}" if found else ""


def _refuse_other_files(folder: Path) -> None:
    if folder.is_dir() and any(p.name not in {"lock", "pid", COLLECTIONS} for p in folder.iterdir()):
        raise IndexMismatchError(f"{folder} holds other files and is no index: choose an empty folder")


def _locked(folder: Path) -> FileLock:
    lock = FileLock(folder / "lock")
    holder = folder / "pid"
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        pid = holder.read_text().strip() if holder.is_file() else ""
        raise IndexInUseError(
            f"the index in {folder} is in use by another process (pid {pid or 'unknown'}): wait for it, or stop it"
        ) from error
    try:
        holder.write_text(str(os.getpid()))
    except BaseException:
        lock.release()
        raise
    return lock


def collections_at(location: str) -> list[Collection]:
    """What each collection of the index in a folder, or on a server, holds; nothing is locked or written.

    Raises :class:`IndexMissingError` where there is none.
    """
    if not is_url(location):
        return list_collections(Path(location))
    from ingest.server_client import Server
    from ingest.server_index import list_collections as on_server

    with closing(Server.at(location)) as server:
        return on_server(server)


def open_index(
    location: str,
    embedder: Embedder,
    *,
    create: bool = False,
    collection: str = DEFAULT_COLLECTION,
) -> DocumentIndex:
    """A collection of the index in a folder (:mod:`ingest.collections`), or on a server, by its URL
    (:mod:`ingest.server_index`).
    """
    if is_url(location):
        from ingest.server_client import Server
        from ingest.server_index import ServerIndex

        return ServerIndex(Server.at(location), embedder, collection=collection, create=create)
    root = Path(location)
    folder = collection_folder(root, collection)
    names = collection_names(root)
    if collection not in names:
        if create and not names:
            _refuse_other_files(root)
        if names and not create:
            raise IndexMissingError(
                f"no collection {collection!r} in {root}: there are {', '.join(names)}; "
                "choose one with --collection, or make it with 'rag ingest'"
            )
    return EdgeIndex(folder, embedder, create=create)


def rebuild_index(location: str, embedder: Embedder, *, collection: str = DEFAULT_COLLECTION) -> Rebuilt:
    """Make the store of an index in a folder anew (:mod:`ingest.rebuild`), and check it; raises what
    :class:`EdgeIndex` does."""
    if is_url(location):
        raise IndexProblem(f"{location} is a server, which mends its own files: rebuild is for an index in a folder")
    with EdgeIndex(collection_folder(Path(location), collection), embedder, rebuild=True) as index:
        return index.rebuilt
