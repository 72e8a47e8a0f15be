"""Is what the store holds of a chunk what the catalogue keeps of it?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from ingest.kept import KeptChunk, chunk_sum
from ingest.points import StoredPoint
from ingest.types import Chunk, SparseVector

TOLERANCE = 1e-4
"""Of a component: the engine scales vectors to length 1 once more."""

Terms = Callable[[Chunk], SparseVector]
"""The BM25 vector of a chunk."""


def differing(kept: Iterable[KeptChunk], points: Mapping[str, StoredPoint]) -> list[int]:
    """Numbers of the chunks of which the point is missing, or differs in its payload or its dense vector."""
    return [chunk.index for chunk in kept if not _same(chunk, points.get(chunk.id))]


def document_damage(
    kept: list[KeptChunk], points: Mapping[str, StoredPoint], text: str, count: int, terms: Terms
) -> str:
    """What is wrong with a document of ``count`` chunks; an empty text for nothing."""
    if [chunk.index for chunk in kept] != list(range(count)):
        return f"{len(kept)} of {count} chunks are kept in the catalogue"
    faults = {
        "differ in the catalogue from the document's text": [
            chunk.index for chunk in kept if chunk_sum(chunk.chunk(text)) != chunk.chunk_sum
        ],
        "have damaged vectors or token codes in the catalogue": [chunk.index for chunk in kept if not chunk.sound],
    }
    for what, numbers in faults.items():
        if numbers:
            return f"chunks {_few(numbers)} {what}"
    if len(points) != count:
        return f"{len(points)} of {count} chunks are stored"
    wrong = differing(kept, points)
    if wrong:
        return f"stored chunks {_few(wrong)} differ from the catalogue"
    wrong = [chunk.index for chunk in kept if not _same_terms(points[chunk.id].sparse, terms(chunk.chunk(text)))]
    return f"stored chunks {_few(wrong)} have other words than their text" if wrong else ""


def _same(kept: KeptChunk, point: StoredPoint | None) -> bool:
    if point is None or not kept.sound or chunk_sum(point.chunk) != kept.chunk_sum:
        return False
    length = float(np.linalg.norm(kept.vector)) or 1.0
    return point.dense.shape == kept.vector.shape and bool(
        np.allclose(point.dense, kept.vector / length, rtol=0, atol=TOLERANCE)
    )


def _same_terms(found: SparseVector, expected: SparseVector) -> bool:
    ours, theirs = (dict(zip(vector.indices, vector.values, strict=True)) for vector in (found, expected))
    return ours.keys() == theirs.keys() and all(abs(ours[term] - theirs[term]) <= TOLERANCE for term in ours)


def _few(numbers: list[int]) -> str:
    more = f" and {len(numbers) - 5} more" if len(numbers) > 5 else ""
    return f"{', '.join(map(str, numbers[:5]))}{more}"
