"""The catalogue beside an embedded index: which documents it holds, and which are only half there.

A document is ``pending`` from before its points are written until they are on disk, then ``committed``; it
is ``stale`` from the moment no source names it until its points are gone. Whatever is not committed is swept
when the index is opened next, so a process that dies at any point leaves nothing behind.

A source whose document is not there any more is *lost*: it waits to be ingested again (:mod:`ingest.rebuild`). One
that is *refused* has no document, or an older one, because its parser gave up; why, and on which version of the file,
is kept.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ingest.errors import FieldError, IndexDamagedError, SourceNotFoundError
from ingest.facts import SCHEMA, STAMP, FileStamp, PendingDocument, Refused, stamp_of, stamp_row
from ingest.fields import BUILT_IN, Fields
from ingest.filters import Filters, where
from ingest.kept import COLUMNS, KeptChunk, kept_of, row_of
from ingest.listing import boilerplate_of, document_row, stored_documents
from ingest.scan import printable
from ingest.types import Chunk, StoredDocument, Vectors

CATALOGUE_FILE = "catalogue.sqlite3"
REBUILD = "run 'rag docs rebuild'"
_KEYS = "SELECT key FROM document_fields UNION ALL SELECT key FROM given_fields"


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
                self._db.executescript(SCHEMA)
            except BaseException:
                self._db.close()
                raise

    def close(self) -> None:
        with self._told():
            self._db.close()

    @contextmanager
    def _told(self, *also: type[Exception]) -> Iterator[None]:
        caught: tuple[type[Exception], ...] = (sqlite3.Error, zlib.error, *also)
        try:
            yield
        except caught as error:
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
        rows = [document_row(item) for item in pending]
        fields = [(item.document.id, *pair) for item in pending for pair in _pairs(item.document.fields)]
        with self._transaction() as db:
            # A write that failed in this process may have left some of them pending.
            db.executemany("INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
            db.executemany("INSERT OR IGNORE INTO document_fields VALUES (?, ?, ?)", fields)
            for item in pending:
                _keep(db, map(row_of, item.chunks, item.dense, item.codes))

    def commit(self, stamps: Iterable[FileStamp], heirs: Mapping[str, str]) -> list[str]:
        """Their points are on disk: serve these sources from now on. Returns the ids that became stale.

        ``heirs``: by new source, the old one from which it takes the given fields, for its file was renamed.
        """
        inherit = "INSERT OR IGNORE INTO given_fields SELECT ?, key, value FROM given_fields WHERE source=?"
        with self._transaction() as db:
            replaced: set[str] = set()
            for stamp in stamps:
                replaced |= _documents_of(db, stamp.source)
                db.execute("UPDATE documents SET state='committed' WHERE id=?", (stamp.document_id,))
                db.execute("INSERT OR REPLACE INTO sources VALUES (?, ?, ?, ?, ?, ?)", stamp_row(stamp))
                if stamp.source in heirs:
                    db.execute(inherit, (stamp.source, heirs[stamp.source]))
            return _mark_stale(db, replaced)

    def remove(self, sources: Sequence[str]) -> list[str]:
        """Forget sources. Returns the ids of the documents that became stale."""
        with self._transaction() as db:
            replaced: set[str] = set()
            for source in sources:
                replaced |= _documents_of(db, source)
                for table in ("sources", "given_fields", "refused"):
                    db.execute(f"DELETE FROM {table} WHERE source=?", (source,))
            return _mark_stale(db, replaced)

    def unfinished(self) -> list[str]:
        """Ids of documents whose points must be deleted: pending or stale."""
        return [row[0] for row in self._rows("SELECT id FROM documents WHERE state!='committed'")]

    def forget(self, ids: Sequence[str]) -> None:
        """Their points are gone: drop what is not committed of them."""
        with self._transaction() as db:
            db.executemany("DELETE FROM documents WHERE id=? AND state!='committed'", [(id_,) for id_ in ids])
            for table in ("document_fields", "chunks"):
                gone = f"DELETE FROM {table} WHERE document_id=?1 AND NOT EXISTS (SELECT 1 FROM documents WHERE id=?1)"
                db.executemany(gone, [(id_,) for id_ in ids])

    def give(self, sources: Iterable[str], fields: Fields) -> None:
        """Set these fields of sources that are held; a field without values is removed, the others stay."""
        with self._transaction() as db:
            for source in sources:
                db.executemany("DELETE FROM given_fields WHERE source=? AND key=?", [(source, key) for key in fields])
                rows = [(source, *pair) for pair in _pairs(fields)]
                db.executemany("INSERT INTO given_fields VALUES (?, ?, ?)", rows)

    def refuse(self, refused: Refused) -> None:
        """Remember why a version of a file has no document."""
        row = (*stamp_row(refused.stamp), refused.reason)
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO refused VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def accept(self, sources: Iterable[str]) -> None:
        """Forget that they were refused."""
        with self._transaction() as db:
            db.executemany("DELETE FROM refused WHERE source=?", [(source,) for source in sources])

    def refused(self) -> dict[str, Refused]:
        """By source, in order of name, what was refused when it was last seen."""
        rows = self._rows(f"SELECT {STAMP}, reason FROM refused ORDER BY source")
        return {row[0]: Refused(stamp=stamp_of(row[:-1]), reason=row[-1]) for row in rows}

    def lose(self, document_ids: Sequence[str]) -> None:
        """Forget documents that are damaged; their sources and the fields given to them wait for the next run."""
        ids = [(id_,) for id_ in document_ids]
        with self._transaction() as db:
            # A size that no file has: what is on disk is not what the index holds.
            db.executemany("UPDATE sources SET document_id='', size=-1 WHERE document_id=?", ids)
            for table, column in (("documents", "id"), ("document_fields", "document_id"), ("chunks", "document_id")):
                db.executemany(f"DELETE FROM {table} WHERE {column}=?", ids)

    def lost(self) -> list[str]:
        """Sources that wait to be ingested again, in order of name."""
        return [row[0] for row in self._rows("SELECT source FROM sources WHERE document_id='' ORDER BY source")]

    def holds(self, document_id: str) -> bool:
        return bool(self._rows("SELECT 1 FROM documents WHERE id=? AND state='committed'", (document_id,)))

    def stamps(self) -> dict[str, FileStamp]:
        """By source, every file as it was last seen."""
        return {row[0]: stamp_of(row) for row in self._rows(f"SELECT {STAMP} FROM sources")}

    def with_given_fields(self) -> set[str]:
        """Sources to which fields were given."""
        return {row[0] for row in self._rows("SELECT DISTINCT source FROM given_fields")}

    def given_fields(self) -> dict[str, Fields]:
        """By source, the fields that were given to it; only those that have some."""
        found: dict[str, dict[str, tuple[str, ...]]] = {}
        for source, key, value in self._rows("SELECT source, key, value FROM given_fields ORDER BY 1, 2, 3"):
            of_source = found.setdefault(source, {})
            of_source[key] = (*of_source.get(key, ()), value)
        return dict(found)

    def document_fields(self, document_id: str) -> Fields:
        """The fields of a document's front matter."""
        found: dict[str, tuple[str, ...]] = {}
        query = "SELECT key, value FROM document_fields WHERE document_id=? ORDER BY 1, 2"
        for key, value in self._rows(query, (document_id,)):
            found[key] = (*found.get(key, ()), value)
        return found

    def documents(self, filters: Filters | None = None) -> list[StoredDocument]:
        """All sources with their documents, in order of source; those that pass the filters, if there are any."""
        return self._stored(*self._where(filters)) if filters else self._stored("1", [])

    def _stored(self, condition: str, values: Sequence[object]) -> list[StoredDocument]:
        with self._told(ValueError, TypeError):
            return stored_documents(self._rows, condition, values)

    def warnings(self) -> dict[str, tuple[str, ...]]:
        """By source, in order of name, why its text may not be what the file shows; only those that have some."""
        query = "JOIN documents d ON d.id = s.document_id WHERE d.warnings != '[]' ORDER BY s.source"
        rows = self._rows(f"SELECT s.source, d.warnings FROM sources s {query}")
        with self._told(ValueError, TypeError):
            return {source: tuple(json.loads(warnings)) for source, warnings in rows}

    def matching(self, filters: Filters) -> dict[str, str]:
        """By document id, the first source, in order of name, of each document of which a source passes the filters.

        Raises :class:`SourceNotFoundError` for a ``source`` that is not there, :class:`FieldError` for a field that no
        source has.
        """
        condition, values = self._where(filters)
        query = (
            f"SELECT s.document_id, MIN(s.source) FROM sources s WHERE s.document_id != '' AND ({condition}) GROUP BY 1"
        )
        return dict(self._rows(query, values))

    def _where(self, filters: Filters) -> tuple[str, list[object]]:
        for name in filters.own:
            if not self._rows(f"SELECT 1 FROM ({_KEYS}) WHERE key=? LIMIT 1", (name,)):
                known = [row[0] for row in self._rows(f"SELECT DISTINCT key FROM ({_KEYS}) ORDER BY 1")]
                raise FieldError(f"no document has a field {name!r}: there are {', '.join((*BUILT_IN, *known))}")
        return where(filters, lambda name: self.find(name).source)

    def document_ids(self) -> set[str]:
        """Of the committed documents."""
        return set(self.chunk_counts())

    def chunk_counts(self) -> dict[str, int]:
        """By id, the points that the index must hold of each committed document."""
        return dict(self._rows("SELECT id, chunks FROM documents WHERE state='committed' ORDER BY id"))

    def chunk_count(self) -> int:
        """Points that the index must hold."""
        return sum(self.chunk_counts().values())

    def coverage(self) -> float | None:
        """Share of the documents' non-blank characters that is in chunks; None for an empty index."""
        query = "SELECT SUM(covered), SUM(characters) FROM documents WHERE state='committed'"
        covered, characters = self._rows(query)[0]
        return covered / characters if characters else None

    def source_of(self, document_ids: Iterable[str]) -> dict[str, str]:
        """The first source, in order of name, of each document that is committed."""
        wanted = "SELECT value FROM json_each(?)"
        query = f"SELECT document_id, MIN(source) FROM sources WHERE document_id IN ({wanted}) GROUP BY 1"
        return dict(self._rows(query, [json.dumps(list(document_ids))]))

    def text(self, document_id: str) -> str:
        """The extracted text of a document."""
        packed = self._packed("text", document_id)
        with self._told(ValueError, TypeError):
            return zlib.decompress(packed).decode()

    def boilerplate(self, document_id: str) -> tuple[str, ...]:
        """The texts of its file that were left out of a document, for they serve all pages of a site or book."""
        packed = self._packed("boilerplate", document_id)
        with self._told(ValueError, TypeError):
            return boilerplate_of(packed)

    def _packed(self, column: str, document_id: str) -> Any:
        rows = self._rows(f"SELECT {column} FROM documents WHERE id=?", (document_id,))
        if not rows:
            raise IndexDamagedError(f"no document {document_id} in the catalogue: ingest its folder again")
        return rows[0][0]

    def chunks(self, document_id: str) -> list[KeptChunk]:
        """What is kept of a document's chunks, in order."""
        return self._kept("WHERE document_id=? ORDER BY chunk", (document_id,))

    def sample(self, most: int) -> list[KeptChunk]:
        """At most so many chunks, spread over all."""
        first, last = self._rows("SELECT MIN(rowid), MAX(rowid) FROM chunks")[0]
        numbers = {first + (last - first) * at // most for at in range(1, most + 1)} if first is not None else ()
        places = "SELECT (SELECT MIN(rowid) FROM chunks WHERE rowid >= n.value) FROM json_each(?) n"
        return self._kept(f"WHERE rowid IN ({places})", [json.dumps(sorted(numbers))])

    def _kept(self, condition: str, values: Sequence[object]) -> list[KeptChunk]:
        rows = self._rows(f"SELECT {COLUMNS} FROM chunks {condition}", values)
        with self._told(ValueError, TypeError):
            return [kept_of(row) for row in rows]

    def keep(self, chunks: Iterable[tuple[Chunk, Vectors, bytes]]) -> None:
        """Replace what is kept of chunks by their vectors and codes."""
        with self._transaction() as db:
            _keep(db, (row_of(*parts) for parts in chunks))

    def codes(self, places: Sequence[tuple[str, int]]) -> list[bytes]:
        """The token codes of chunks, by (document id, chunk's index), in their order.

        Raises :class:`IndexDamagedError` where they are missing, or not what was written.
        """
        query = (
            "SELECT c.codes, c.codes_sum FROM json_each(?) p LEFT JOIN chunks c ON "
            "c.document_id = json_extract(p.value, '$[0]') AND c.chunk = json_extract(p.value, '$[1]') ORDER BY p.key"
        )
        rows = self._rows(query, [json.dumps(places)])
        for (document_id, chunk), (codes, sum_) in zip(places, rows, strict=True):
            if codes is None or zlib.crc32(codes) != sum_:
                source = self.source_of([document_id]).get(document_id, document_id)
                raise IndexDamagedError(
                    f"the token codes of {source}, chunk {chunk}, are missing or damaged in {self._file}: {REBUILD}"
                )
        return [codes for codes, _ in rows]

    def integrity(self) -> str:
        """What SQLite finds wrong with the file; an empty text for nothing."""
        found = [str(row[0]) for row in self._rows("PRAGMA integrity_check(3)")]
        return "" if found == ["ok"] else "; ".join(found)

    def find(self, name: str) -> StoredDocument:
        """The document of an exact source or of a unique path suffix (whole path components)."""
        source = self.find_source(name)
        found = self._stored("s.source=?", [source])
        if not found:
            raise SourceNotFoundError(f"{source!r} has no document: {self._why_none(source)}")
        return found[0]

    def find_source(self, name: str) -> str:
        """As :meth:`find`, also for a source that is lost or refused."""
        end = f"/{printable(name)}"
        query = "SELECT source FROM (SELECT source FROM sources UNION SELECT source FROM refused) WHERE "
        found = self._rows(f"{query} source=?", [end[1:]]) or self._rows(
            f"{query} substr('/' || source, -length(?)) = ? ORDER BY source", [end, end]
        )
        if len(found) == 1:
            return str(found[0][0])
        if found:
            some = ", ".join(row[0] for row in found[:5])
            raise SourceNotFoundError(f"{name!r} names {len(found)} documents ({some}): give more of the path")
        raise SourceNotFoundError(f"no document {name!r} in the index: 'rag docs list' shows what it holds")

    def _why_none(self, source: str) -> str:
        refused = self.refused().get(source)
        return refused.reason if refused is not None else "it was damaged; ingest its folder again"


def _keep(db: sqlite3.Connection, rows: Iterable[tuple[Any, ...]]) -> None:
    db.executemany(f"INSERT OR REPLACE INTO chunks ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)


def _documents_of(db: sqlite3.Connection, source: str) -> set[str]:
    query = "SELECT document_id FROM sources WHERE source=? AND document_id != ''"
    return {row[0] for row in db.execute(query, (source,))}


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
