"""Where was a text lost on its way from a file into the passages?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from ingest.document_index import DocumentIndex
from rag.retriever import Retriever
from rag.types import Passage

DEPTH = 100
"""Ranks below this are not looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WhyNot:
    """``stage`` is where the text was lost, or "found"; ``rank`` counts from 1 and is None where it has none."""

    stage: Literal["parse", "chunk", "index", "rank", "budget", "found"]
    detail: str
    source: str
    rank: int | None


Prompted = Callable[[str], Sequence[Passage]]
"""A question -> the passages that stand in its prompt."""


def explain(
    index: DocumentIndex, retriever: Retriever, prompted: Prompted, source: str, text: str, question: str, k: int
) -> WhyNot:
    """Follow ``text`` through a document's extraction, chunks, rank for ``question`` among the first ``k``, and prompt.

    ``prompted`` is only asked about a text that gets so far. White space is not compared. Raises
    :class:`ingest.errors.SourceNotFoundError`.
    """
    document = index.catalogue.find(source)
    wanted = _squeezed(text)
    if wanted not in _squeezed(index.catalogue.text(document.document_id)):
        detail = "the text is not in what was extracted from the file: compare with another wording of it"
        return WhyNot(stage="parse", detail=detail, source=document.source, rank=None)
    stored = index.chunks_of(document)
    holding = {chunk.id for chunk in stored if wanted in _squeezed(chunk.text)}
    if not holding:
        if len(stored) < document.chunks:
            detail = f"only {len(stored)} of {document.chunks} chunks are stored: run rag docs verify"
            return WhyNot(stage="index", detail=detail, source=document.source, rank=None)
        detail = "the text is in the document, but runs over a border between chunks: look for a part of it"
        return WhyNot(stage="chunk", detail=detail, source=document.source, rank=None)
    hits = retriever.search(question, k=DEPTH).hits
    ranks = [rank for rank, hit in enumerate(hits, start=1) if hit.chunk.id in holding]
    if not ranks:
        detail = f"its chunk is not among the first {DEPTH} for {question!r}"
        return WhyNot(stage="rank", detail=detail, source=document.source, rank=None)
    detail = f"retrieved at rank {ranks[0]} for {question!r}"
    if ranks[0] > k:
        return WhyNot(
            stage="rank",
            detail=f"{detail}, below the {k} that are used",
            source=document.source,
            rank=ranks[0],
        )
    passages = [passage for passage in prompted(question) if passage.source == document.source]
    if not any(wanted in _squeezed(passage.text) for passage in passages):
        kept = "only other sentences" if passages else "nothing"
        detail = f"{detail}, but {kept} of its document fit into the prompt: raise --passage-tokens or --context-window"
        return WhyNot(stage="budget", detail=detail, source=document.source, rank=ranks[0])
    return WhyNot(stage="found", detail=detail, source=document.source, rank=ranks[0])


def _squeezed(text: str) -> str:
    return " ".join(text.split())
