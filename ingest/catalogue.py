"""The catalogue beside an embedded index: which documents it holds, and which are only half there.

A document is ``pending`` from before its points are written until they are on disk, then ``committed``; it is
``stale`` from the moment no source names it until its points are gone. Whatever is not committed is swept when
the index is opened next, so a process that dies at any point leaves nothing behind.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

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
    """A document whose points are about to be written: its chunk count, and the non-blank characters in them."""

    document: Document
    chunks: int
    covered: int


class Catalogue:
    """SQLite, one writer; every method is one transaction."""

    def __init__(self, file: Path) -> None:
        self._db = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        self._db.close()

    def meta(self) -> dict[str, str]:
        """The facts that the index was made with."""
        return {key: json.loads(value) for key, value in self._db.execute("SELECT key, value FROM meta")}

    def set_meta(self, facts: dict[str, object]) -> None:
        with self._transaction():
            rows = [(key, json.dumps(value)) for key, value in facts.items()]
            self._db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", rows)

    def begin(self, pending: Sequence[PendingDocument]) -> None:
        """Announce documents before their points are written."""
        rows = []
        for item in pending:
            text = item.document.text
            visible = sum(len(word) for word in text.split())
            packed = zlib.compress(text.encode())
            rows.append(
                (item.document.id, item.document.content_hash, item.chunks, visible, item.covered, packed)
            )
        with self._transaction():
            self._db.executemany("INSERT INTO documents VALUES (?, ?, 'pending', ?, ?, ?, ?)", rows)

    def commit(self, stamps: Iterable[FileStamp]) -> list[str]:
        """Their points are on disk: serve these sources from now on. Returns the ids that became stale."""
        with self._transaction():
            for stamp in stamps:
                self._db.execute("UPDATE documents SET state='committed' WHERE id=?", (stamp.document_id,))
                self._db.execute(
                    "INSERT OR REPLACE INTO sources VALUES (?, ?, ?, ?, ?, ?)",
                    (stamp.source, stamp.root, stamp.document_id, stamp.size, stamp.mtime_ns, stamp.seen_ns),
                )
            return self._mark_stale()

    def remove(self, sources: Sequence[str]) -> list[str]:
        """Forget sources. Returns the ids of the documents that became stale."""
        with self._transaction():
            self._db.executemany("DELETE FROM sources WHERE source=?", [(source,) for source in sources])
            return self._mark_stale()

    def _mark_stale(self) -> list[str]:
        self._db.execute(
            "UPDATE documents SET state='stale' WHERE state='committed' "
            "AND id NOT IN (SELECT document_id FROM sources)"
        )
        return self._ids("stale")

    def unfinished(self) -> list[str]:
        """Ids of documents whose points must be deleted: pending or stale."""
        return self._ids("pending") + self._ids("stale")

    def _ids(self, state: str) -> list[str]:
        return [row[0] for row in self._db.execute("SELECT id FROM documents WHERE state=?", (state,))]

    def forget(self, ids: Sequence[str]) -> None:
        """Their points are gone: drop what is not committed of them."""
        with self._transaction():
            self._db.executemany(
                "DELETE FROM documents WHERE id=? AND state!='committed'", [(id_,) for id_ in ids]
            )

    def holds(self, document_id: str) -> bool:
        query = "SELECT 1 FROM documents WHERE id=? AND state='committed'"
        return self._db.execute(query, (document_id,)).fetchone() is not None

    def stamps(self) -> dict[str, FileStamp]:
        """By source, every file as it was last seen."""
        names = ("source", "root", "document_id", "size", "mtime_ns", "seen_ns")
        rows = self._db.execute(f"SELECT {', '.join(names)} FROM sources")
        return {row[0]: FileStamp(**dict(zip(names, row, strict=True))) for row in rows}

    def documents(self) -> list[StoredDocument]:
        """All sources with their documents, in order of source."""
        rows = self._db.execute(
            "SELECT s.source, d.id, d.content_hash, d.chunks, d.characters, s.size, s.root "
            "FROM sources s JOIN documents d ON d.id = s.document_id ORDER BY s.source"
        )
        return [
            StoredDocument(
                source=source,
                document_id=id_,
                content_hash=hash_,
                chunks=chunks,
                characters=characters,
                size=size,
                root=root,
            )
            for source, id_, hash_, chunks, characters, size, root in rows
        ]

    def chunk_count(self) -> int:
        """Points that the index must hold."""
        query = "SELECT COALESCE(SUM(chunks), 0) FROM documents WHERE state='committed'"
        return int(self._db.execute(query).fetchone()[0])

    def coverage(self) -> float | None:
        """Share of the documents' non-blank characters that is in chunks; None for an empty index."""
        query = "SELECT SUM(covered), SUM(characters) FROM documents WHERE state='committed'"
        covered, characters = self._db.execute(query).fetchone()
        return covered / characters if characters else None

    def source_of(self, document_ids: Iterable[str]) -> dict[str, str]:
        """The first source, in order of name, of each document."""
        wanted = list(document_ids)
        marks = ",".join("?" * len(wanted))
        query = f"SELECT document_id, MIN(source) FROM sources WHERE document_id IN ({marks}) GROUP BY 1"
        return dict(self._db.execute(query, wanted).fetchall())

    def text(self, document_id: str) -> str:
        """The extracted text of a document."""
        row = self._db.execute("SELECT text FROM documents WHERE id=?", (document_id,)).fetchone()
        if row is None:
            raise IndexDamagedError(f"document {document_id} is not in the catalogue: ingest its folder again")
        return zlib.decompress(row[0]).decode()

    def find(self, name: str) -> StoredDocument:
        """The document of an exact source or of a unique path suffix (whole path components)."""
        everything = self.documents()
        exact = [item for item in everything if item.source == name]
        found = exact or [item for item in everything if f"/{item.source}".endswith(f"/{name}")]
        if len(found) == 1:
            return found[0]
        if found:
            listed = ", ".join(item.source for item in found[:5])
            raise SourceNotFoundError(f"{name!r} names {len(found)} documents ({listed}): give more of the path")
        raise SourceNotFoundError(f"no document {name!r} in the index: 'rag docs list' shows what it holds")

    def _transaction(self) -> _Transaction:
        return _Transaction(self._db)


class _Transaction:
    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._db.execute("ROLLBACK" if kind else "COMMIT")
