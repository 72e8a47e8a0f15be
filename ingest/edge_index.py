"""The index in a folder: points and catalogue behind one lock, checked against each other when it is opened.

DIR/shard/            Qdrant Edge: vectors, BM25 terms, chunk texts; can be made anew from
DIR/catalogue.sqlite3 sources, documents, extracted texts, vectors, token codes, what the index was made with
DIR/lock, DIR/pid     held while a process has the index open
DIR/collections/NAME/ the same again, for each collection beside the default one
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from ingest.catalogue import CATALOGUE_FILE, REBUILD, Catalogue
from ingest.chunk import ChunkPolicy, embedding_text
from ingest.collections import COLLECTIONS
from ingest.coverage import shortfall
from ingest.document_index import DocumentIndex, EmbeddedDocument
from ingest.edge import Bm25, EdgeStore
from ingest.errors import IndexDamagedError, IndexInUseError, IndexMismatchError, IndexMissingError, IndexProblem
from ingest.parse import PIPELINE_VERSION
from ingest.rebuild import Rebuilt, rebuild
from ingest.soundness import differing, document_damage
from ingest.types import Chunk, Embedder, SparseVector, StoredDocument

FORMAT_VERSION = "4"
SAMPLE = 16
"""Chunks that are compared with the catalogue whenever an index is opened."""


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
            refuse_other_files(folder)
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

    def write(self, documents: Sequence[EmbeddedDocument], heirs: Mapping[str, str] | None = None) -> None:
        super().write(documents, heirs)
        self.store.settle()

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
        expected, found = self.catalogue.chunk_counts(), self.store.counts(exact=False)
        if expected != found:
            found = self.store.counts()
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
            self.catalogue.boilerplate(id_)
            found = document_damage(kept, self.store.points(id_), text, document.chunks, self._terms)
        except IndexDamagedError as error:
            return str(error)
        return f"{found}: {REBUILD}" if found else shortfall(text, ((chunk.start, chunk.end) for chunk in kept))


def refuse_other_files(folder: Path) -> None:
    """Raise :class:`IndexMismatchError` for a folder that holds anything but an index."""
    if folder.is_dir() and any(p.name not in {"lock", "pid", COLLECTIONS} for p in folder.iterdir()):
        raise IndexMismatchError(
            f"{folder} holds other files and is no index: name the folder of an index, or to make one an empty folder"
        )


def delete_index(folder: Path) -> None:
    """Delete a collection's index, of any version, and nothing else in its folder.

    Raises :class:`IndexInUseError`, or :class:`OSError` where it cannot be deleted.
    """
    with _locked(folder):
        for path in folder.glob("shard*"):
            shutil.rmtree(path)
        for path in sorted(folder.glob(f"{CATALOGUE_FILE}*"), reverse=True):
            path.unlink()
        (folder / "pid").unlink()


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
