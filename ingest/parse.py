"""File -> Document."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

from ingest.errors import ParseError
from ingest.formats import FORMATS, Format, check_bytes, format_of
from ingest.readers import READERS
from ingest.rows import Reading, Row, clean
from ingest.suspicion import suspicions
from ingest.types import ELEMENT_SEPARATOR, Document, Element

PIPELINE_VERSION = "4"
"""Part of every document id: a change of extraction or chunking makes new documents of the same files."""

_NAMESPACE = uuid.UUID("5a3f8f0e-6c0e-5d0b-9a51-3d2f0a6f7c11")


def content_hash(data: bytes) -> str:
    """SHA-256 of a file's bytes, as hex."""
    return hashlib.sha256(data).hexdigest()


def file_hash(path: Path) -> str:
    """:func:`content_hash` of a file, read in pieces. Raises :class:`OSError`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def document_id(hash_: str, kind: Format, scans: str = "") -> str:
    """The id of a document: content, format, pipeline version and, where it has pages without a text layer, how these
    were read (:class:`ingest.rows.Reading`); nothing else."""
    how = f":{scans}" if scans else ""
    return str(uuid.uuid5(_NAMESPACE, f"{PIPELINE_VERSION}:{kind}:{hash_}{how}"))


def may_have_scans(path: Path) -> bool:
    """Whether OCR can make another text of a file in this format."""
    kind = FORMATS.get(path.suffix.lower())
    return kind is not None and READERS[kind].read_scans is not None


def parse_bytes(data: bytes, source: str, ocr: str = "") -> Document:
    """Extract the text of one file; with ``ocr``, tesseract's languages, also of scanned pages.

    Raises :class:`ParseError` with the reason and the remedy for anything that gives no text; MemoryError.
    """
    kind = format_of(Path(source))
    check_bytes(data, kind)
    reading = _read(data, kind, ocr)
    elements = tuple(_placed(reading.rows))
    if not elements:
        raise ParseError("no text was found in it: leave it out of the folder, or look at it in its own program")
    hash_ = content_hash(data)
    boilerplate = tuple(map(clean, reading.boilerplate))
    text = ELEMENT_SEPARATOR.join(element.text for element in elements)
    return Document(
        id=document_id(hash_, kind, reading.scans),
        source=source,
        content_hash=hash_,
        elements=elements,
        fields=reading.fields,
        boilerplate=boilerplate,
        warnings=(*reading.warnings, *suspicions(data, kind, text, boilerplate)),
    )


def _read(data: bytes, kind: Format, ocr: str) -> Reading:
    """What the format's reader finds, its own failures turned into ParseError."""
    reader = READERS[kind]
    try:
        return reader.read_scans(data, ocr) if ocr and reader.read_scans is not None else reader.read(data)
    except (ParseError, MemoryError):
        raise
    except RecursionError as error:
        raise ParseError("nested too deep to be read: take it apart, or save it in a simpler form") from error
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise ParseError(
            f"cannot be read as {kind} ({type(error).__name__}: {reason}): "
            "open it in its own program and save it again, or leave it out of the folder"
        ) from error


def _placed(rows: Iterable[Row]) -> Iterator[Element]:
    start = 0
    for row in rows:
        if text := clean(row.text):
            end = start + len(text)
            yield Element(text=text, kind=row.kind, page=row.page, start=start, end=end, depth=row.depth)
            start = end + len(ELEMENT_SEPARATOR)
