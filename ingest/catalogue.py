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
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ingest.errors import FieldError, IndexDamagedError, SourceNotFoundError
from ingest.fields import BUILT_IN, Fields
from ingest.filters import Filters, where
from ingest.scan import printable
from ingest.types import Document, StoredDocument

CATALOGUE_FILE = "catalogue.sqlite3"
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
CREATE TABLE IF NOT EXISTS codes (
  document_id TEXT NOT NULL, chunk INTEGER NOT NULL, codes BLOB NOT NULL, PRIMARY KEY (document_id, chunk)
);
CREATE TABLE IF NOT EXISTS document_fields (
  document_id TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (document_id, key, value)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS given_fields (
  source TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (source, key, value)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS document_fields_by_value ON document_fields (key, value);
CREATE INDEX IF NOT EXISTS given_fields_by_value ON given_fields (key, value);
CREATE INDEX IF NOT EXISTS sources_by_document ON sources (document_id, source);
CREATE INDEX IF NOT EXISTS documents_by_state ON documents (state) WHERE state != 'committed';
"""
_KEYS = "SELECT key FROM document_fields UNION ALL SELECT key FROM given_fields"


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
    """A document whose points are about to be written. ``covered``: its non-blank characters in chunks; ``codes``: of
    each chunk's tokens (:mod:`ingest.late`)."""

    document: Document
    chunks: int
    covered: int
    codes: tuple[bytes, ...] = ()


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

    @property
    def changes(self) -> int:
        """Rows that were changed since it was opened: as long as it is the same, every answer is."""
        return self._db.total_changes

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
        fields: list[tuple[str, str, str]] = []
        for item in pending:
            text = item.document.text
            visible = sum(len(word) for word in text.split())
            packed = zlib.compress(text.encode())
            rows.append((item.document.id, item.document.content_hash, item.chunks, visible, item.covered, packed))
            fields += [(item.document.id, *pair) for pair in _pairs(item.document.fields)]
        with self._transaction() as db:
            # A write that failed in this process may have left some of them pending.
            db.executemany("INSERT OR REPLACE INTO documents VALUES (?, ?, 'pending', ?, ?, ?, ?)", rows)
            db.executemany("INSERT OR IGNORE INTO document_fields VALUES (?, ?, ?)", fields)
            codes = ((item.document.id, at, held) for item in pending for at, held in enumerate(item.codes))
            db.executemany("INSERT OR REPLACE INTO codes VALUES (?, ?, ?)", codes)

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
                db.execute("DELETE FROM given_fields WHERE source=?", (source,))
            return _mark_stale(db, replaced)

    def unfinished(self) -> list[str]:
        """Ids of documents whose points must be deleted: pending or stale."""
        return [row[0] for row in self._rows("SELECT id FROM documents WHERE state!='committed'")]

    def forget(self, ids: Sequence[str]) -> None:
        """Their points are gone: drop what is not committed of them."""
        with self._transaction() as db:
            db.executemany("DELETE FROM documents WHERE id=? AND state!='committed'", [(id_,) for id_ in ids])
            for table in ("document_fields", "codes"):
                gone = f"DELETE FROM {table} WHERE document_id=?1 AND NOT EXISTS (SELECT 1 FROM documents WHERE id=?1)"
                db.executemany(gone, [(id_,) for id_ in ids])

    def give(self, sources: Iterable[str], fields: Fields) -> None:
        """Set these fields of sources that are held; a field without values is removed, the others stay."""
        with self._transaction() as db:
            for source in sources:
                db.executemany("DELETE FROM given_fields WHERE source=? AND key=?", [(source, key) for key in fields])
                rows = [(source, *pair) for pair in _pairs(fields)]
                db.executemany("INSERT INTO given_fields VALUES (?, ?, ?)", rows)

    def holds(self, document_id: str) -> bool:
        return bool(self._rows("SELECT 1 FROM documents WHERE id=? AND state='committed'", (document_id,)))

    def stamps(self) -> dict[str, FileStamp]:
        """By source, every file as it was last seen."""
        names = ("source", "root", "document_id", "size", "mtime_ns", "seen_ns")
        rows = self._rows(f"SELECT {', '.join(names)} FROM sources")
        return {row[0]: FileStamp(**dict(zip(names, row, strict=True))) for row in rows}

    def documents(self, filters: Filters | None = None) -> list[StoredDocument]:
        """All sources with their documents, in order of source; those that pass the filters, if there are any."""
        return self._documents(*self._where(filters)) if filters else self._documents("1", [])

    def matching(self, filters: Filters) -> dict[str, str]:
        """By document id, the first source, in order of name, of each document of which a source passes the filters.

        Raises :class:`SourceNotFoundError` for a ``source`` that is not there, :class:`FieldError` for a field that no
        source has.
        """
        condition, values = self._where(filters)
        query = f"SELECT s.document_id, MIN(s.source) FROM sources s WHERE {condition} GROUP BY 1"
        return dict(self._rows(query, values))

    def _where(self, filters: Filters) -> tuple[str, list[object]]:
        for name in filters.own:
            if not self._rows(f"SELECT 1 FROM ({_KEYS}) WHERE key=? LIMIT 1", (name,)):
                known = [row[0] for row in self._rows(f"SELECT DISTINCT key FROM ({_KEYS}) ORDER BY 1")]
                raise FieldError(f"no document has a field {name!r}: there are {', '.join((*BUILT_IN, *known))}")
        return where(filters, lambda name: self.find(name).source)

    def _documents(self, condition: str, values: Sequence[object]) -> list[StoredDocument]:
        names = ("source", "document_id", "content_hash", "chunks", "characters", "size", "root")
        query = (
            "SELECT s.source, d.id, d.content_hash, d.chunks, d.characters, s.size, s.root "
            f"FROM sources s JOIN documents d ON d.id = s.document_id WHERE {condition} ORDER BY s.source"
        )
        rows = self._rows(query, values)
        query = (
            "SELECT s.source, f.key, f.value FROM sources s JOIN document_fields f ON f.document_id = s.document_id "
            f"WHERE {condition} UNION "
            "SELECT s.source, g.key, g.value FROM sources s JOIN given_fields g ON g.source = s.source "
            f"WHERE {condition} ORDER BY 1, 2, 3"
        )
        fields: dict[str, dict[str, tuple[str, ...]]] = {}
        for source, key, value in self._rows(query, [*values, *values]):
            of_source = fields.setdefault(source, {})
            of_source[key] = (*of_source.get(key, ()), value)
        return [StoredDocument(**dict(zip(names, row, strict=True)), fields=fields.get(row[0], {})) for row in rows]

    def document_ids(self) -> set[str]:
        """Of the committed documents."""
        return {row[0] for row in self._rows("SELECT DISTINCT document_id FROM sources")}

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

    def codes(self, places: Sequence[tuple[str, int]]) -> list[bytes]:
        """The token codes of chunks, by (document id, chunk's index), in their order; empty where there are none."""
        marks = ",".join(["(?, ?)"] * len(places))
        query = f"SELECT document_id, chunk, codes FROM codes WHERE (document_id, chunk) IN (VALUES {marks})"
        rows = self._rows(query, [part for place in places for part in place]) if places else []
        found = {(document_id, chunk): codes for document_id, chunk, codes in rows}
        return [found.get(place, b"") for place in places]

    def find(self, name: str) -> StoredDocument:
        """The document of an exact source or of a unique path suffix (whole path components)."""
        end = f"/{printable(name)}"
        query = "SELECT source FROM sources WHERE "
        found = self._rows(f"{query} source=?", [end[1:]]) or self._rows(
            f"{query} substr('/' || source, -length(?)) = ? ORDER BY source", [end, end]
        )
        if len(found) == 1:
            return self._documents("s.source=?", found[0])[0]
        if found:
            some = ", ".join(row[0] for row in found[:5])
            raise SourceNotFoundError(f"{name!r} names {len(found)} documents ({some}): give more of the path")
        raise SourceNotFoundError(f"no document {name!r} in the index: 'rag docs list' shows what it holds")


def _documents_of(db: sqlite3.Connection, source: str) -> set[str]:
    return {row[0] for row in db.execute("SELECT document_id FROM sources WHERE source=?", (source,))}


def read_counts(file: Path) -> tuple[int, int, str]:
    """How many sources and chunks a catalogue holds, and the embedder that it was made with.

    It is only read, also while another process writes it. Raises :class:`IndexDamagedError`.
    """
    # Who has it open has a log beside it, in SQLite's mode; without one, to be read as a file that nobody changes
    # keeps SQLite from making one.
    mode = "mode=ro" if file.with_name(f"{file.name}-wal").exists() else "immutable=1"
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?{mode}", uri=True)) as db:
            sources = db.execute("SELECT COUNT(*) FROM sources").fetchone()[0]
            query = "SELECT COALESCE(SUM(chunks), 0) FROM documents WHERE state='committed'"
            chunks = db.execute(query).fetchone()[0]
            embedder = db.execute("SELECT value FROM meta WHERE key='embedder'").fetchone()
            return int(sources), int(chunks), str(json.loads(embedder[0])) if embedder else ""
    except (sqlite3.Error, ValueError) as error:
        raise IndexDamagedError(
            f"the catalogue {file} cannot be read ({error}): check its permissions; if that does not help, "
            "delete its folder and ingest again"
        ) from error


def _pairs(fields: Fields) -> list[tuple[str, str]]:
    return [(key, value) for key, values in fields.items() for value in values]


def _mark_stale(db: sqlite3.Connection, candidates: Iterable[str]) -> list[str]:
    """Those of the candidates that no source names any more."""
    stale = [
        id_
        for id_ in sorted(candidates)
        if not db.execute("SELECT 1 FROM sources WHERE document_id=? LIMIT 1", (id_,)).fetchall()
    ]
    db.executemany("UPDATE documents SET state='stale' WHERE id=?", [(id_,) for id_ in stale])
    return stale
