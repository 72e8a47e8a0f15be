"""What the catalogue keeps of a chunk: enough to make its point again without the file and without the model.

Each part has a checksum: SQLite has none of its own, and a damaged file can be read without an error.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from ingest.types import Chunk, Vectors

COLUMNS = "document_id, chunk, place, place_sum, codes, codes_sum, vector, vector_sum"
CHUNKS_TABLE = """
CREATE TABLE IF NOT EXISTS chunks (
  document_id TEXT NOT NULL, chunk INTEGER NOT NULL, place TEXT NOT NULL, place_sum INTEGER NOT NULL,
  codes BLOB NOT NULL, codes_sum INTEGER NOT NULL, vector BLOB NOT NULL, vector_sum INTEGER NOT NULL,
  PRIMARY KEY (document_id, chunk)
);
"""
_NUMBER = np.dtype("<f4")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KeptChunk:
    """A chunk without its text. ``chunk_sum``: :func:`chunk_sum` of the whole chunk; ``vector``: float32 (dimension,);
    ``codes``: of its tokens (:mod:`ingest.late`); ``sound``: the last two are as they were written."""

    document_id: str
    id: str
    index: int
    start: int
    end: int
    headings: tuple[str, ...]
    pages: tuple[int, ...]
    chunk_sum: int
    vector: Vectors
    codes: bytes
    sound: bool

    def chunk(self, text: str) -> Chunk:
        """The chunk, ``source`` left empty, by the text of its document."""
        return Chunk(
            id=self.id,
            document_id=self.document_id,
            source="",
            index=self.index,
            start=self.start,
            end=self.end,
            text=text[self.start : self.end],
            headings=self.headings,
            pages=self.pages,
        )


def chunk_sum(chunk: Chunk) -> int:
    """CRC-32 of all that a chunk says, its source apart."""
    said = [chunk.document_id, chunk.index, chunk.id, chunk.start, chunk.end, chunk.text, chunk.headings, chunk.pages]
    return zlib.crc32(json.dumps(said).encode())


def row_of(chunk: Chunk, vector: Vectors, codes: bytes) -> tuple[Any, ...]:
    """The values of ``COLUMNS``."""
    place = json.dumps([chunk.id, chunk.start, chunk.end, chunk.headings, chunk.pages])
    packed = vector.astype(_NUMBER).tobytes()
    blobs = (codes, zlib.crc32(codes), packed, zlib.crc32(packed))
    return (chunk.document_id, chunk.index, place, chunk_sum(chunk), *blobs)


def kept_of(row: tuple[Any, ...]) -> KeptChunk:
    """The chunk of a row of ``COLUMNS``. Raises :class:`ValueError` or TypeError where it cannot be read at all."""
    document_id, index, place, sum_, codes, codes_sum, vector, vector_sum = row
    id_, start, end, headings, pages = json.loads(place)
    sound = zlib.crc32(codes) == codes_sum and zlib.crc32(vector) == vector_sum
    return KeptChunk(
        document_id=document_id,
        id=id_,
        index=index,
        start=start,
        end=end,
        headings=tuple(headings),
        pages=tuple(pages),
        chunk_sum=sum_,
        vector=np.frombuffer(vector, dtype=_NUMBER) if sound else np.zeros(0, dtype=_NUMBER),
        codes=codes if sound else b"",
        sound=sound,
    )
