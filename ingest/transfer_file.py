"""The file of an exported index: gzip of JSON lines, each checked as it is read.

The first line says what the index was made with; each further one holds a document with its text, chunks, vectors,
token codes and sources; the last one says how many there are.
"""

from __future__ import annotations

import base64
import gzip
import json
import uuid
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ingest.errors import TransferError
from ingest.facts import FileStamp, PendingDocument
from ingest.fields import Fields
from ingest.kept import KeptChunk
from ingest.late import TOKEN_BYTES
from ingest.scan import printable
from ingest.types import Chunk, Document, Element, StoredDocument, Vectors

FORMAT = "groundchat index"
VERSION = 2
LONGEST_LINE = 2**30
"""Bytes of a document's line: beyond, a file is no export, but a bomb."""
_NUMBER = np.dtype("<f4")


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedDocument:
    """A document of a file; ``given[i]`` are the fields that were given to the source of ``stamps[i]``, of which there
    is at least one."""

    pending: PendingDocument
    stamps: tuple[FileStamp, ...]
    given: tuple[Fields, ...]


def header_line(made: Mapping[str, object], documents: int) -> bytes:
    """``made``: pipeline, embedder and dimension."""
    return _line({"format": FORMAT, "version": VERSION, **made, "documents": documents})


def document_line(
    document: StoredDocument,
    text: str,
    boilerplate: Sequence[str],
    fields: Fields,
    kept: Sequence[KeptChunk],
    sources: Sequence[tuple[FileStamp, Fields]],
) -> bytes:
    """``fields``: of its front matter; ``sources``: with the fields that were given to each."""
    stamps = [
        {name: value for name, value in asdict(stamp).items() if name != "document_id"} | {"given": given}
        for stamp, given in sources
    ]
    return _line(
        {
            "id": document.document_id,
            "content_hash": document.content_hash,
            "text": text,
            "boilerplate": boilerplate,
            "warnings": document.warnings,
            "fields": fields,
            "chunks": [
                [chunk.id, chunk.start, chunk.end, chunk.headings, chunk.pages, _encoded(chunk.codes)] for chunk in kept
            ],
            "vectors": _encoded(b"".join(chunk.vector.astype(_NUMBER).tobytes() for chunk in kept)),
            "sources": stamps,
        }
    )


def end_line(documents: int) -> bytes:
    return _line({"end": documents})


def read_header(file: Path) -> dict[str, Any]:
    """With pipeline, embedder and dimension. Raises :class:`TransferError`."""
    first = next(_lines(file), {})
    if first.get("format") != FORMAT:
        raise TransferError(f"{file} is no file of 'rag docs export': choose one that is")
    if first.get("version") != VERSION:
        raise TransferError(f"{file} is of version {first.get('version')!r}, not {VERSION}: export the index again")
    return first


def read_documents(file: Path, dimension: int) -> Iterator[MovedDocument]:
    """In order; ``dimension``: of the vectors. Raises :class:`TransferError` for a file that is damaged or cut off."""
    number = 0
    end: object = None
    for number, line in enumerate(_lines(file)):
        if number == 0:
            continue
        if end is not None:
            raise TransferError(f"{file} goes on after its end: export the index again")
        if "end" in line:
            end = line["end"]
            if end != number - 1:
                raise TransferError(f"{file} holds {number - 1} of {end} documents: export the index again")
            continue
        try:
            yield _moved(line, dimension)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            why = " ".join(str(error).split())[:100]
            raise TransferError(
                f"line {number + 1} of {file} cannot be read ({why}): export the index again"
            ) from error
    if end is None:
        raise TransferError(f"{file} ends after {number} lines and is cut off: copy it, or export the index, again")


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    number = 0
    try:
        with gzip.open(file, "rb") as lines:
            while data := lines.readline(LONGEST_LINE + 1):
                if len(data) > LONGEST_LINE:
                    raise TransferError(f"line {number + 1} of {file} is longer than any document's: this is no export")
                found = json.loads(data)
                if not isinstance(found, dict):
                    raise ValueError("no JSON object")
                number += 1
                yield found
    except (EOFError, zlib.error, gzip.BadGzipFile, ValueError, RecursionError) as error:
        if number == 0:
            raise TransferError(f"{file} is no file of 'rag docs export': choose one that is") from error
        raise TransferError(
            f"{file} is damaged or cut off after line {number}: copy it, or export the index, again"
        ) from error
    except OSError as error:
        raise TransferError(f"{file} cannot be read ({error.strerror}): check its path and permissions") from error


def _moved(line: dict[str, Any], dimension: int) -> MovedDocument:
    """Raises KeyError, TypeError, ValueError, IndexError or AttributeError for what cannot be one."""
    id_, text = str(uuid.UUID(line["id"])), line["text"]
    element = Element(text=text, kind="text", page=None, start=0, end=len(text))
    chunks, codes = [], []
    for index, (chunk_id, start, end, headings, pages, own) in enumerate(line["chunks"]):
        if not 0 <= start < end <= len(text):
            raise ValueError(f"chunk {index} is outside the text")
        chunks.append(
            Chunk(
                id=str(uuid.UUID(chunk_id)),
                document_id=id_,
                source="",
                index=index,
                start=start,
                end=end,
                text=text[start:end],
                headings=tuple(map(_text, headings)),
                pages=tuple(map(int, pages)),
            )
        )
        codes.append(base64.b64decode(own, validate=True))
        if len(codes[-1]) % TOKEN_BYTES:
            raise ValueError(f"chunk {index} has half a token code")
    if len({chunk.id for chunk in chunks}) != len(chunks):
        raise ValueError("two chunks have one id")
    stamps = tuple(_stamp(source, id_) for source in line["sources"])
    if not stamps:
        raise ValueError("a document without a source")
    return MovedDocument(
        pending=PendingDocument(
            document=Document(
                id=id_,
                source=stamps[0].source,
                content_hash=_text(line["content_hash"]),
                elements=(element,),
                fields=_fields(line["fields"]),
                boilerplate=tuple(map(_text, line["boilerplate"])),
                warnings=tuple(map(_text, line["warnings"])),
            ),
            chunks=tuple(chunks),
            dense=_vectors(line["vectors"], len(chunks), dimension),
            codes=tuple(codes),
        ),
        stamps=stamps,
        given=tuple(_fields(source["given"]) for source in line["sources"]),
    )


def _vectors(packed: str, count: int, dimension: int) -> Vectors:
    rows = np.frombuffer(base64.b64decode(packed, validate=True), dtype=_NUMBER).reshape(count, dimension)
    if not np.allclose(np.linalg.norm(rows.astype(np.float64), axis=1), 1.0, atol=1e-2):
        raise ValueError("a vector is not of unit length")
    return rows.astype(np.float32)


def _stamp(found: dict[str, Any], document_id: str) -> FileStamp:
    source = _text(found["source"])
    if not source or printable(source) != source:
        raise ValueError("a source that is no path")
    numbers = {name: int(found[name]) for name in ("size", "mtime_ns", "seen_ns")}
    return FileStamp(source=source, root=_text(found["root"]), document_id=document_id, **numbers)


def _fields(found: dict[str, Any]) -> Fields:
    return {_text(name): tuple(map(_text, values)) for name, values in found.items()}


def _text(found: object) -> str:
    if not isinstance(found, str):
        raise TypeError(f"{found!r} is no text")
    return found


def _line(found: dict[str, Any]) -> bytes:
    return json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
