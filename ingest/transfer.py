"""An index as one file, to be moved to another place or server without embedding anything again.

What the points are made of travels (:mod:`ingest.transfer_file`); BM25 terms are counted again from the texts.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ingest.chunk import ChunkPolicy, embedding_text
from ingest.document_index import DocumentIndex, EmbeddedDocument
from ingest.edge import Bm25
from ingest.errors import IndexDamagedError, IndexMismatchError, TransferError
from ingest.facts import FileStamp
from ingest.kept import KeptChunk, chunk_sum
from ingest.parse import PIPELINE_VERSION
from ingest.transfer_file import (
    MovedDocument,
    document_line,
    end_line,
    header_line,
    read_documents,
    read_header,
)
from ingest.types import Chunk, Embedder, StoredDocument

GROUP_CHUNKS = 256
"""Chunks that are written together."""

Progress = Callable[[int, int, str], None]
"""Called with (documents done, documents in all, source) after every document."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was written. ``sources`` can be more than the documents: copies of one content share one."""

    documents: int
    sources: int
    chunks: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """``documents`` were written, with ``chunks``; ``held`` were there already. ``sources``: of all of them."""

    documents: int
    held: int
    sources: int
    chunks: int


def export_index(index: DocumentIndex, file: Path, progress: Progress | None = None) -> Exported:
    """Write all that the index serves to a new file, which is there only once it is whole.

    Files that failed are not in it: the next ingest tries them again. Raises :class:`TransferError` where the file
    exists or cannot be written, :class:`IndexDamagedError` for a document that is not there as it was written.
    """
    if file.exists():
        raise TransferError(f"{file} exists: choose another name, or delete it")
    beside = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        with beside.open("wb") as raw, gzip.GzipFile("", "wb", 1, raw, mtime=0) as out:
            done = _export(index, out.write, progress)
            out.close()
            raw.flush()
            os.fsync(raw.fileno())
        beside.rename(file)
        return Exported(bytes=file.stat().st_size, **done)
    except OSError as error:
        raise TransferError(
            f"{file} cannot be written ({error.strerror}): choose another place, or make room"
        ) from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def _export(index: DocumentIndex, write: Callable[[bytes], object], progress: Progress | None) -> dict[str, int]:
    catalogue = index.catalogue
    known = {document.document_id: document for document in index.documents()}
    stamps: dict[str, list[FileStamp]] = {id_: [] for id_ in known}
    for _, stamp in sorted(catalogue.stamps().items()):
        if stamp.document_id in stamps:
            stamps[stamp.document_id].append(stamp)
    given = catalogue.given_fields()
    made = catalogue.meta()
    write(header_line({name: made[name] for name in ("pipeline", "embedder", "dimension")}, len(known)))
    chunks = 0
    for number, (id_, document) in enumerate(known.items(), start=1):
        text, kept = catalogue.text(id_), catalogue.chunks(id_)
        _check(document, text, kept)
        chunks += len(kept)
        sources = [(stamp, given.get(stamp.source, {})) for stamp in stamps[id_]]
        boilerplate, fields = catalogue.boilerplate(id_), catalogue.document_fields(id_)
        write(document_line(document, text, boilerplate, fields, kept, sources))
        if progress is not None:
            progress(number, len(known), stamps[id_][0].source)
    write(end_line(len(known)))
    return {"documents": len(known), "sources": sum(map(len, stamps.values())), "chunks": chunks}


def _check(document: StoredDocument, text: str, kept: Sequence[KeptChunk]) -> None:
    wrong = [chunk.index for chunk in kept if not chunk.sound or chunk_sum(chunk.chunk(text)) != chunk.chunk_sum]
    if len(kept) != document.chunks or wrong:
        found = f"chunks {wrong} are damaged" if wrong else f"{len(kept)} of {document.chunks} chunks are there"
        raise IndexDamagedError(
            f"{document.source} cannot be exported ({found}): run 'rag docs verify', or wait until nobody ingests"
        )


def check_export(file: Path, embedder: Embedder) -> None:
    """Raise :class:`TransferError` for a file that is no export, :class:`IndexMismatchError` for one that was made with
    another embedder or pipeline, by its first line."""
    header = read_header(file)
    for name, value in (("pipeline", PIPELINE_VERSION), ("embedder", embedder.name), ("dimension", embedder.dimension)):
        if header.get(name) != value:
            remedy = f"pass --embedder {header.get(name)}" if name == "embedder" else "ingest the documents instead"
            raise IndexMismatchError(f"{file} was made with {name} {header.get(name)!r}, not {value!r}: {remedy}")


def import_index(file: Path, index: DocumentIndex, embedder: Embedder, progress: Progress | None = None) -> Imported:
    """Write the documents of an exported file into an index; what it holds beside them stays.

    A source that it holds from the same folder gets the document of the file. Stopped at any instant, it can be run
    again. Raises :class:`TransferError`, before anything is written, for a file that is damaged, cut off or does not
    fit; and what :func:`check_export` does.
    """
    check_export(file, embedder)
    total = _checked(file, index, embedder.dimension)
    policy, bm25 = ChunkPolicy(window=embedder.window), Bm25()
    documents = held = sources = chunks = 0
    group: list[MovedDocument] = []

    def read(chunk: Chunk) -> str:
        return embedding_text(chunk, embedder.counter, policy)

    for number, moved in enumerate(read_documents(file, embedder.dimension), start=1):
        sources += len(moved.stamps)
        if index.catalogue.holds(moved.pending.document.id):
            held += 1
            index.restamp(moved.stamps)
            _give(index, moved)
        else:
            documents += 1
            chunks += len(moved.pending.chunks)
            group.append(moved)
        if sum(len(one.pending.chunks) for one in group) >= GROUP_CHUNKS:
            _write(index, group, read, bm25)
            group = []
        if progress is not None:
            progress(number, total, moved.stamps[0].source)
    if group:
        _write(index, group, read, bm25)
    return Imported(documents=documents, held=held, sources=sources, chunks=chunks)


def _checked(file: Path, index: DocumentIndex, dimension: int) -> int:
    """The number of documents of a file that fits an index, read to its end."""
    known = index.catalogue.stamps()
    total = 0
    sources: set[str] = set()
    documents: set[str] = set()
    for moved in read_documents(file, dimension):
        total += 1
        id_ = moved.pending.document.id
        for stamp in moved.stamps:
            before = known.get(stamp.source)
            if before is not None and before.root != stamp.root:
                raise TransferError(
                    f"{file} holds {stamp.source} from {stamp.root}, the index one of that name from {before.root}: "
                    "import into another --collection"
                )
        named = [stamp.source for stamp in moved.stamps]
        if id_ in documents or len({*named}) != len(named) or sources & {*named}:
            raise TransferError(f"{file} holds {named[0]} twice: export the index again")
        documents.add(id_)
        sources.update(named)
    return total


def _write(index: DocumentIndex, group: Sequence[MovedDocument], read: Callable[[Chunk], str], bm25: Bm25) -> None:
    index.write(
        [
            EmbeddedDocument(
                pending=moved.pending,
                sparse=tuple(bm25.document(read(chunk)) for chunk in moved.pending.chunks),
                stamp=moved.stamps[0],
            )
            for moved in group
        ]
    )
    copies = [stamp for moved in group for stamp in moved.stamps[1:]]
    if copies:
        index.restamp(copies)
    for moved in group:
        _give(index, moved)


def _give(index: DocumentIndex, moved: MovedDocument) -> None:
    for stamp, fields in zip(moved.stamps, moved.given, strict=True):
        if fields:
            index.catalogue.give([stamp.source], fields)
