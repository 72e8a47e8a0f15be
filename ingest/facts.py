"""What the catalogue knows of files and documents, and the tables that hold it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ingest.kept import CHUNKS_TABLE
from ingest.types import Chunk, Document, Vectors

SCHEMA = f"""
{CHUNKS_TABLE}
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS documents (
  id TEXT PRIMARY KEY, content_hash TEXT NOT NULL, state TEXT NOT NULL,
  chunks INTEGER NOT NULL, characters INTEGER NOT NULL, covered INTEGER NOT NULL, warnings TEXT NOT NULL,
  text BLOB NOT NULL, boilerplate BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sources (
  source TEXT PRIMARY KEY, root TEXT NOT NULL, document_id TEXT NOT NULL,
  size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, seen_ns INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS refused (
  source TEXT PRIMARY KEY, root TEXT NOT NULL, document_id TEXT NOT NULL,
  size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, seen_ns INTEGER NOT NULL, reason TEXT NOT NULL
) WITHOUT ROWID;
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
STAMP = "source, root, document_id, size, mtime_ns, seen_ns"
"""The columns of a file stamp."""


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
    """A document whose points are about to be written: row i of ``dense`` and item i of ``codes``, of its tokens
    (:mod:`ingest.late`), are of chunk i."""

    document: Document
    chunks: tuple[Chunk, ...]
    dense: Vectors
    codes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A version of a file that its parser has given up, and why."""

    stamp: FileStamp
    reason: str


def stamp_row(stamp: FileStamp) -> tuple[str, str, str, int, int, int]:
    """The values of ``STAMP``."""
    return stamp.source, stamp.root, stamp.document_id, stamp.size, stamp.mtime_ns, stamp.seen_ns


def stamp_of(row: Sequence[Any]) -> FileStamp:
    """The stamp of a row of ``STAMP``."""
    source, root, document_id, size, mtime_ns, seen_ns = row
    return FileStamp(source=source, root=root, document_id=document_id, size=size, mtime_ns=mtime_ns, seen_ns=seen_ns)
