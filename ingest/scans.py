"""One content with several texts: a file with scanned pages, read without OCR or with it, in one language or another.

Each is a document of its own (:func:`ingest.parse.document_id`), and which one a file gives is known only once it was
read. A run with OCR reads again what the index holds of such files without it, or in other languages; a run without it
takes whatever the index holds of a content, so that text from OCR stays until its file changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ingest.formats import Format, format_of
from ingest.parse import document_id, may_have_scans
from ingest.rows import UNREAD
from ingest.types import StoredDocument


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """What a run with these languages of ``ocr`` (empty: without it) can take from an index.

    ``held``: by the id that a content has before it is read, the id of the document that serves. ``contents``: the
    other way round, and for documents that do not serve too. ``again``: ids of those that are to be read again.
    """

    ocr: str = ""
    held: Mapping[str, str] = field(default_factory=dict)
    contents: Mapping[str, str] = field(default_factory=dict)
    again: frozenset[str] = frozenset()

    @classmethod
    def of(cls, documents: Iterable[StoredDocument], ocr: str) -> Readings:
        held: dict[str, str] = {}
        contents: dict[str, str] = {}
        again: set[str] = set()
        for document in documents:
            path, id_, hash_ = Path(document.source), document.document_id, document.content_hash
            if not may_have_scans(path):
                continue
            kind = format_of(path)
            content, unread = document_id(hash_, kind, ocr), document_id(hash_, kind, UNREAD)
            contents[id_] = content
            if ocr and id_ not in (document_id(hash_, kind), content):
                again.add(id_)
            elif held.get(content, unread) == unread:
                held[content] = id_
        return cls(ocr=ocr, held=held, contents=contents, again=frozenset(again))

    def content(self, hash_: str, path: Path) -> str:
        """The id that a file's content has before it is read."""
        kind: Format = format_of(path)
        return document_id(hash_, kind, self.ocr if may_have_scans(path) else "")

    def id_of(self, hash_: str, path: Path) -> str:
        """The id of the held document that serves, or that of the content."""
        content = self.content(hash_, path)
        return self.held.get(content, content)
