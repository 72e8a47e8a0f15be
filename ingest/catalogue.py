"""The catalogue beside an embedded index: which documents it holds, and which are only half there.

A document is ``pending`` from before its points are written until they are on disk, then ``committed``; it
is ``stale`` from the moment no source names it until its points are gone. Whatever is not committed is swept
when the index is opened next, so a process that dies at any point leaves nothing behind.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ingest.errors import IndexDamagedError, SourceNotFoundError
from ingest.types import Document, StoredDocument

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS documents (
  id TEXT PRIMARY KEY, content_hash TEXT NOT NULL, state TEXT NOT NULL,
  chunks INTEGER NOT NULL, characters INTEGER NOT NULL, covered INTEGER NOT NULL, text BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sources (
  source TEXT PRIMARY KEY, root TEXT NOT NULL, document_id TEXT NOT NULL REFERENCES documents(id),
  size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, seen_ns INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS sources_by_document ON sources (document_id, source);
CREATE INDEX IF NOT EXISTS documents_by_state ON documents (state) WHERE state != 'committed';
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileStamp:
    """A source file as it was seen: enough to tell, without reading it, that it has not changed."""

    source: str
    root: str
    size: int
    mtime_ns: int
    seen_ns: int
    document_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingDocument:
    """A document whose points are about to be written; ``covered``: its non-blank characters in chunks."""

    document: Document
    chunks: int
    covered: int


class Catalogue:
    """SQLite, one writer; every method is one transaction.

    Every method raises :class:`IndexDamagedError` where the file cannot be read or written.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        with self._told():
            self._db = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
            try:
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=FULL")
                self._db.executescript(_SCHEMA)
            except BaseException:
                self._db.close()
                raise

    def close(self) -> None:
        with self._told():
            self._db.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, zlib.error) as error:
            raise IndexDamagedError(
                f"the catalogue {self._file} cannot be used ({error}): free disk space or check its "
                "permissions; if that does not help, delete the index folder and ingest again"
            ) from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._told():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                # After some failures, a full disk among them, SQLite has already rolled back.
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def _rows(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with self._told():
            return self._db.execute(query, values).fetchall()

    def meta(self) -> dict[str, object]:
        """The facts that the index was made with."""
        return {key: json.loads(value) for key, value in self._rows("SELECT key, value FROM meta")}

    def set_meta(self, facts: dict[str, object]) -> None:
        rows = [(key, json.dumps(value)) for key, value in facts.items()]
        with self._transaction() as db:
            db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", rows)

    def begin(self, pending: Sequence[PendingDocument]) -> None:
        """Announce documents before their points are written; none of them may be committed."""
        rows = []
        for item in pending:
            text = item.document.text
            visible = sum(len(word) for word in text.split())
            packed = zlib.compress(text.encode())
            rows.append((item.document.id, item.document.content_hash, item.chunks, visible, item.covered, packed))
        with self._transaction() as db:
            # A write that failed in this process may have left some of them pending.
            db.executemany("INSERT OR REPLACE INTO documents VALUES (?, ?, 'pending', ?, ?, ?, ?)", rows)

    def commit(self, stamps: Iterable[FileStamp]) -> list[str]:
        """Their points are on disk: serve these sources from now on. Returns the ids that became stale."""
        with self._transaction() as db:
            replaced: set[str] = set()
            for stamp in stamps:
                replaced |= _documents_of(db, stamp.source)
                db.execute("UPDATE documents SET state='committed' WHERE id=?", (stamp.document_id,))
                db.execute(
                    "INSERT OR REPLACE INTO sources VALUES (?, ?, ?, ?, ?, ?)",
                    (stamp.source, stamp.root, stamp.document_id, stamp.size, stamp.mtime_ns, stamp.seen_ns),
                )
            return _mark_stale(db, replaced)

    def remove(self, sources: Sequence[str]) -> list[str]:
        """Forget sources. Returns the ids of the documents that became stale."""
        with self._transaction() as db:
            replaced: set[str] = set()
            for source in sources:
                replaced |= _documents_of(db, source)
                db.execute("DELETE FROM sources WHERE source=?", (source,))
            return _mark_stale(db, replaced)

    def unfinished(self) -> list[str]:
        """Ids of documents whose points must be deleted: pending or stale."""
        return [row[0] for row in self._rows("SELECT id FROM documents WHERE state!='committed'")]

    def forget(self, ids: Sequence[str]) -> None:
        """Their points are gone: drop what is not committed of them."""
        with self._transaction() as db:
            db.executemany("DELETE FROM documents WHERE id=? AND state!='committed'", [(id_,) for id_ in ids])

    def holds(self, document_id: str) -> bool:
        return bool(self._rows("SELECT 1 FROM documents WHERE id=? AND state='committed'", (document_id,)))

    def stamps(self) -> dict[str, FileStamp]:
        """By source, every file as it was last seen."""
        names = ("source", "root", "document_id", "size", "mtime_ns", "seen_ns")
        rows = self._rows(f"SELECT {', '.join(names)} FROM sources")
        return {row[0]: FileStamp(**dict(zip(names, row, strict=True))) for row in rows}

    def documents(self) -> list[StoredDocument]:
        """All sources with their documents, in order of source."""
        names = ("source", "document_id", "content_hash", "chunks", "characters", "size", "root")
        rows = self._rows(
            "SELECT s.source, d.id, d.content_hash, d.chunks, d.characters, s.size, s.root "
            "FROM sources s JOIN documents d ON d.id = s.document_id ORDER BY s.source"
        )
        return [StoredDocument(**dict(zip(names, row, strict=True))) for row in rows]

    def chunk_count(self) -> int:
        """Points that the index must hold."""
        query = "SELECT COALESCE(SUM(chunks), 0) FROM documents WHERE state='committed'"
        return int(self._rows(query)[0][0])

    def coverage(self) -> float | None:
        """Share of the documents' non-blank characters that is in chunks; None for an empty index."""
        query = "SELECT SUM(covered), SUM(characters) FROM documents WHERE state='committed'"
        covered, characters = self._rows(query)[0]
        return covered / characters if characters else None

    def source_of(self, document_ids: Iterable[str]) -> dict[str, str]:
        """The first source, in order of name, of each document that is committed."""
        wanted = list(document_ids)
        marks = ",".join("?" * len(wanted))
        query = f"SELECT document_id, MIN(source) FROM sources WHERE document_id IN ({marks}) GROUP BY 1"
        return dict(self._rows(query, wanted))

    def text(self, document_id: str) -> str:
        """The extracted text of a document."""
        rows = self._rows("SELECT text FROM documents WHERE id=?", (document_id,))
        if not rows:
            raise IndexDamagedError(f"no document {document_id} in the catalogue: ingest its folder again")
        with self._told():
            return zlib.decompress(rows[0][0]).decode()

    def find(self, name: str) -> StoredDocument:
        """The document of an exact source or of a unique path suffix (whole path components)."""
        everything = self.documents()
        exact = [item for item in everything if item.source == name]
        found = exact or [item for item in everything if f"/{item.source}".endswith(f"/{name}")]
        if len(found) == 1:
            return found[0]
        if found:
            some = ", ".join(item.source for item in found[:5])
            raise SourceNotFoundError(f"{name!r} names {len(found)} documents ({some}): give more of the path")
        raise SourceNotFoundError(f"no document {name!r} in the index: 'rag docs list' shows what it holds")


def _documents_of(db: sqlite3.Connection, source: str) -> set[str]:
    return {row[0] for row in db.execute("SELECT document_id FROM sources WHERE source=?", (source,))}


def _mark_stale(db: sqlite3.Connection, candidates: Iterable[str]) -> list[str]:
    """Those of the candidates that no source names any more."""
    stale = [
        id_
        for id_ in sorted(candidates)
        if not db.execute("SELECT 1 FROM sources WHERE document_id=? LIMIT 1", (id_,)).fetchall()
    ]
    db.executemany("UPDATE documents SET state='stale' WHERE id=?", [(id_,) for id_ in stale])
    return stale
