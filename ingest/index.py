"""The index that everything else sees: points and catalogue behind one lock, opened and checked here.

DIR/shard/            Qdrant Edge: vectors, BM25 terms, chunk texts
DIR/catalogue.sqlite3 sources, documents, extracted texts, what the index was made with
DIR/lock, DIR/pid     held while a process has the index open
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout

from ingest.catalogue import Catalogue, FileStamp, PendingDocument
from ingest.edge import EdgeStore
from ingest.errors import (
    IndexDamagedError,
    IndexInUseError,
    IndexMismatchError,
    IndexMissingError,
    IndexProblem,
)
from ingest.parse import PIPELINE_VERSION
from ingest.types import (
    Chunk,
    Embedder,
    SearchMode,
    SearchResult,
    SparseVector,
    StoredDocument,
    Vectors,
)

FORMAT_VERSION = "1"
_CATALOGUE = "catalogue.sqlite3"
_TIES = 16
"""Hits beyond the limit that are looked at, so that a tie at the limit is not cut by chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedDocument:
    """A document ready to be written: row i of ``dense`` and item i of ``sparse`` are chunk i."""

    pending: PendingDocument
    chunks: tuple[Chunk, ...]
    dense: Vectors
    sparse: tuple[SparseVector, ...]
    stamp: FileStamp


class PassageIndex(Protocol):
    """What the retriever needs of an index."""

    def search(
        self,
        dense: Vectors | None,
        sparse: SparseVector | None,
        *,
        mode: SearchMode = "hybrid",
        limit: int = 10,
        sources: Sequence[str] | None = None,
    ) -> SearchResult:
        """The ``limit`` best chunks, best first; only of ``sources`` (exact or unique suffixes) if given."""

    def documents(self) -> list[StoredDocument]:
        """Every source, in order of name."""


class EdgeIndex:
    """An embedded index in a folder. One process at a time; close it, or use it as a context manager."""

    def __init__(self, folder: Path, embedder: Embedder, *, create: bool = False) -> None:
        """Open the index, sweep what an interrupted run left, and check it against its catalogue.

        Raises :class:`IndexMissingError` (unless ``create``), :class:`IndexInUseError`,
        :class:`IndexMismatchError` or :class:`IndexDamagedError`.
        """
        self.folder = folder
        exists = (folder / _CATALOGUE).is_file()
        if not exists and not create:
            raise IndexMissingError(f"no index in {folder}: run 'rag ingest PATH --index {folder}' first")
        if not exists and folder.is_dir() and any(p.name not in {"lock", "pid"} for p in folder.iterdir()):
            raise IndexMismatchError(f"{folder} holds other files and is no index: choose an empty folder")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(folder)
        except OSError as error:
            raise IndexDamagedError(
                f"the index folder {folder} cannot be used ({error.strerror}): check its path and permissions"
            ) from error
        self._store: EdgeStore | None = None
        self._catalogue: Catalogue | None = None
        try:
            self._catalogue = Catalogue(folder / _CATALOGUE)
            self._check_made_with(embedder)
            self._store = EdgeStore(folder / "shard", embedder.dimension)
            self.swept = self._sweep()
            self._check_count()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> EdgeIndex:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

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

    def _check_count(self) -> None:
        expected, found = self.catalogue.chunk_count(), self.store.count()
        if expected != found:
            raise IndexDamagedError(
                f"the index in {self.folder} holds {found} chunks, its catalogue says {expected}: "
                "its files are damaged; delete the folder and ingest again"
            )

    def write(self, documents: Sequence[EmbeddedDocument]) -> None:
        """Add or replace documents: all or, if the process dies, none of them (:mod:`ingest.catalogue`)."""
        self.catalogue.begin([document.pending for document in documents])
        for document in documents:
            self.store.write(document.chunks, document.dense, document.sparse)
        self.store.flush()
        self._drop_stale(self.catalogue.commit(document.stamp for document in documents))

    def restamp(self, stamps: Iterable[FileStamp]) -> None:
        """Point sources at documents that the index already holds (touched, renamed or copied files)."""
        self._drop_stale(self.catalogue.commit(stamps))

    def remove(self, sources: Sequence[str]) -> None:
        """Forget these exact sources, and the points that no other source shares."""
        self._drop_stale(self.catalogue.remove(sources))

    def _drop_stale(self, document_ids: Sequence[str]) -> None:
        if document_ids:
            self._drop(document_ids)

    def documents(self) -> list[StoredDocument]:
        return self.catalogue.documents()

    def chunks_of(self, document: StoredDocument) -> list[Chunk]:
        """The stored chunks of a document, in order."""
        return [replace(chunk, source=document.source) for chunk in self.store.chunks(document.document_id)]

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
        *,
        mode: SearchMode = "hybrid",
        limit: int = 10,
        sources: Sequence[str] | None = None,
    ) -> SearchResult:
        """See :meth:`PassageIndex.search`. A chunk that several sources share is shown under the first.

        Chunks of a document that is just being written or replaced are left out. Equal scores, which fused ranks
        often have, are ordered by source and place, so that the same search always gives the same hits.
        """
        chosen = [self.catalogue.find(name) for name in sources] if sources is not None else None
        ids = [item.document_id for item in chosen] if chosen is not None else None
        result = self.store.search(dense, sparse, mode, limit + _TIES, ids)
        names = self.catalogue.source_of({hit.chunk.document_id for hit in result.hits})
        names |= {item.document_id: item.source for item in chosen or ()}
        hits = (
            replace(hit, chunk=replace(hit.chunk, source=names[hit.chunk.document_id]))
            for hit in result.hits
            if hit.chunk.document_id in names
        )
        ordered = sorted(hits, key=lambda hit: (-hit.score, hit.chunk.source, hit.chunk.start))
        return replace(result, hits=tuple(ordered[:limit]))


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


def open_index(location: str, embedder: Embedder, *, create: bool = False) -> EdgeIndex:
    """The index at a folder. A server's URL is refused: this version has the embedded index only."""
    if "://" in location:
        raise IndexProblem(f"{location}: this version keeps its index in a folder; pass one with --index")
    return EdgeIndex(Path(location), embedder, create=create)
