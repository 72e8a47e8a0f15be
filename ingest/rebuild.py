"""Catalogue -> store, made anew: the points come from what the catalogue keeps, without files.

The model is asked only for chunks whose vectors or token codes are damaged there. A document whose text or places are
damaged, or of which chunks are missing, is lost: it waits for the next run, with the fields that were given to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ingest.catalogue import Catalogue
from ingest.edge import EdgeStore
from ingest.errors import IndexDamagedError
from ingest.kept import KeptChunk, chunk_sum
from ingest.late import token_codes
from ingest.soundness import Terms
from ingest.types import Chunk, Embedder, Vectors

EmbeddingText = Callable[[Chunk], str]
"""What is embedded of a chunk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """``documents`` and ``chunks`` are in the new store; ``embedded``: chunks among them that were embedded again;
    ``lost``: by source, what could not be repaired."""

    documents: int
    chunks: int
    embedded: int
    lost: dict[str, str]


def rebuild(
    folder: Path, catalogue: Catalogue, embedder: Embedder, embedding_text: EmbeddingText, terms: Terms
) -> Rebuilt:
    """Put a store made from the catalogue in the place of ``folder``. Killed half-way, it can be done again."""
    lost: dict[str, str] = {}
    documents = chunks = embedded = 0
    with EdgeStore.replacing(folder, embedder.dimension) as store:
        for document_id, count in catalogue.chunk_counts().items():
            try:
                kept, whole = _read(catalogue, document_id, count)
            except IndexDamagedError as error:
                lost[document_id] = str(error)
                continue
            vectors, again = _vectors(catalogue, kept, whole, embedder, embedding_text)
            store.write(whole, vectors, [terms(chunk) for chunk in whole])
            store.settle()
            documents, chunks, embedded = documents + 1, chunks + count, embedded + again
    reasons = {
        source: lost[stamp.document_id] for source, stamp in catalogue.stamps().items() if stamp.document_id in lost
    }
    unfinished = catalogue.unfinished()
    catalogue.lose([*lost, *unfinished])
    waiting = dict.fromkeys(catalogue.lost(), "lost before: ingest its folder again")
    return Rebuilt(documents=documents, chunks=chunks, embedded=embedded, lost=waiting | reasons)


def _read(catalogue: Catalogue, document_id: str, count: int) -> tuple[list[KeptChunk], list[Chunk]]:
    kept, text = catalogue.chunks(document_id), catalogue.text(document_id)
    catalogue.boilerplate(document_id)
    whole = [item.chunk(text) for item in kept]
    if [item.index for item in kept] != list(range(count)) or any(
        chunk_sum(chunk) != item.chunk_sum for chunk, item in zip(whole, kept, strict=True)
    ):
        raise IndexDamagedError("its text or its chunks are damaged in the catalogue: ingest its folder again")
    return kept, whole


def _vectors(
    catalogue: Catalogue, kept: list[KeptChunk], whole: list[Chunk], embedder: Embedder, embedding_text: EmbeddingText
) -> tuple[Vectors, int]:
    """Of all chunks, and how many of them were embedded again; those are kept from now on."""
    bad = [number for number, item in enumerate(kept) if not item.sound or item.vector.shape != (embedder.dimension,)]
    vectors = {number: item.vector for number, item in enumerate(kept)}
    if bad:
        dense, tokens = embedder.encode_tokens([embedding_text(whole[number]) for number in bad])
        codes = [token_codes(item.vectors) for item in tokens]
        catalogue.keep(zip((whole[number] for number in bad), dense, codes, strict=True))
        vectors |= dict(zip(bad, dense, strict=True))
    shape = (len(kept), embedder.dimension)
    return np.array([vectors[number] for number in range(len(kept))], dtype=np.float32).reshape(shape), len(bad)
