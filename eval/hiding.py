"""An index from which some passages are missing: how a system does without the evidence."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import replace

from eval.normal import evened
from ingest.document_index import PassageIndex
from ingest.filters import Filters
from ingest.late import LateQuery
from ingest.types import ScoredChunk, SearchResult, SparseVector, StoredDocument, Vectors
from rag.retriever import Retriever


class HiddenPassages:
    """A :class:`~ingest.document_index.PassageIndex` whose searches never find a chunk that holds one of some texts.

    White space is collapsed in both, and characters are composed. What is found in place of a hidden chunk is what the
    index finds without it; the nearest chunk's cosine is that of the nearest one that is not hidden.
    """

    def __init__(self, index: PassageIndex, hidden: Sequence[str]) -> None:
        self._index = index
        self._hidden = tuple(map(evened, hidden))

    def search(
        self,
        dense: Vectors | None,
        sparse: SparseVector | None,
        late: LateQuery | None = None,
        *,
        limit: int = 10,
        filters: Filters | None = None,
    ) -> SearchResult:
        """See :meth:`PassageIndex.search`; the search goes deeper until ``limit`` chunks are left, or there are no
        more."""
        depth = limit
        while True:
            found = self._index.search(dense, sparse, late, limit=depth, filters=filters)
            shown = [hit for hit in found.hits if not self._hides(hit)]
            if len(shown) >= limit or len(found.hits) < depth:
                return replace(found, hits=tuple(shown[:limit]), best_cosine=self._best_cosine(dense, filters))
            depth = max(2 * depth, depth + limit - len(shown))

    def text(self, document_id: str) -> str:
        """See :meth:`PassageIndex.text`; what is hidden stands in it."""
        return self._index.text(document_id)

    def documents(self, filters: Filters | None = None) -> list[StoredDocument]:
        """See :meth:`PassageIndex.documents`."""
        return self._index.documents(filters)

    def _best_cosine(self, dense: Vectors | None, filters: Filters | None) -> float | None:
        """The score of the first chunk of a search by meaning alone, which is a cosine."""
        if dense is None:
            return None
        depth = 8
        while True:
            found = self._index.search(dense, None, limit=depth, filters=filters)
            best = next((hit.score for hit in found.hits if not self._hides(hit)), None)
            if best is not None or len(found.hits) < depth:
                return best
            depth *= 2

    def _hides(self, hit: ScoredChunk) -> bool:
        text = evened(hit.chunk.text)
        return any(hidden in text for hidden in self._hidden)


def without(retriever: Retriever, hidden: Sequence[str]) -> Retriever:
    """A retriever to which passages that hold one of these texts are not there; the same one when there are none."""
    if not hidden:
        return retriever
    other = copy(retriever)
    other.index = HiddenPassages(retriever.index, hidden)
    return other
