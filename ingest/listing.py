"""The catalogue's documents: a row of its table from a document, and what is told of them from the rows."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Sequence
from typing import Any

from ingest.coverage import covered, visible
from ingest.facts import PendingDocument
from ingest.types import Document, StoredDocument

Rows = Callable[[str, Sequence[object]], list[tuple[Any, ...]]]
"""Asks the catalogue: a query and its values -> rows."""


def sizes(item: PendingDocument) -> dict[str, int]:
    """How many chunks a document has, how many visible characters, and how many of those are in chunks."""
    text = item.document.text
    spans = ((chunk.start, chunk.end) for chunk in item.chunks)
    return {"chunks": len(item.chunks), "characters": visible(text), "covered": covered(text, spans)}


def document_row(item: PendingDocument) -> tuple[Any, ...]:
    """The values of a row of ``documents``, pending."""
    document = item.document
    packed = zlib.compress(document.text.encode())
    said = (json.dumps(document.warnings), packed, packed_boilerplate(document))
    return (document.id, document.content_hash, "pending", *sizes(item).values(), *said)


def packed_boilerplate(document: Document) -> bytes:
    """As it is kept; :func:`boilerplate_of` is the way back."""
    return zlib.compress(json.dumps(document.boilerplate).encode())


def boilerplate_of(packed: bytes) -> tuple[str, ...]:
    """Raises :class:`ValueError`, TypeError or zlib.error for what is not as it was written."""
    return tuple(json.loads(zlib.decompress(packed)))


def stored_documents(rows: Rows, condition: str, values: Sequence[object]) -> list[StoredDocument]:
    """The sources ``s`` that the condition allows, with their documents and fields, in order of source."""
    fields: dict[str, dict[str, tuple[str, ...]]] = {}
    query = (
        "SELECT s.source, f.key, f.value FROM sources s JOIN document_fields f ON f.document_id = s.document_id "
        f"WHERE {condition} UNION "
        "SELECT s.source, g.key, g.value FROM sources s JOIN given_fields g ON g.source = s.source "
        f"WHERE {condition} ORDER BY 1, 2, 3"
    )
    for source, key, value in rows(query, [*values, *values]):
        of_source = fields.setdefault(source, {})
        of_source[key] = (*of_source.get(key, ()), value)
    query = (
        "SELECT s.source, d.id, d.content_hash, d.chunks, d.characters, d.covered, d.warnings, s.size, s.root "
        f"FROM sources s JOIN documents d ON d.id = s.document_id WHERE {condition} ORDER BY s.source"
    )
    return [
        StoredDocument(
            source=source,
            document_id=document_id,
            content_hash=content_hash,
            chunks=chunks,
            characters=characters,
            size=size,
            root=root,
            fields=fields.get(source, {}),
            coverage=held / characters if characters else 1.0,
            warnings=tuple(json.loads(warnings)),
        )
        for source, document_id, content_hash, chunks, characters, held, warnings, size, root in rows(query, values)
    ]
