"""Where was a text lost on its way from a file into the passages?"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from textwrap import shorten
from typing import Literal, NamedTuple

from ingest.coverage import Span, covered, visible
from ingest.document_index import DocumentIndex
from ingest.errors import ParseError
from ingest.facts import FileStamp
from ingest.formats import format_of
from ingest.held_text import held_text
from ingest.kept import KeptChunk
from ingest.types import SearchMode
from rag.retriever import Retrieval, Retriever
from rag.types import Passage

DEPTH = 100
"""Ranks below this are not looked at."""
_MOST_PLACES = 1000
"""Of a text in its document; one that is there more often is no text to look for."""
_WORD = re.compile(r"[^\W_]+")
_LEFT_OUT = {
    "pdf": "a header or footer that its pages repeat",
    "docx": "a header or footer without a letter",
    "doc": "a header or footer without a letter",
    "rtf": "a header or footer without a letter",
}
_NAVIGATION = "navigation, or outside of the main part of the page"

Stage = Literal["parse", "boilerplate", "chunk", "index", "rank", "budget", "found"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WhyNot:
    """``stage`` is where the text was lost, or "found"; ``rank`` counts from 1, among the ``chunks`` of the index, and
    is None where it has none."""

    stage: Stage
    detail: str
    source: str
    rank: int | None
    chunks: int


class _Lost(NamedTuple):
    stage: Stage
    detail: str


Prompted = Callable[[str], Sequence[Passage]]
"""A question -> the passages that stand in its prompt."""


def explain(
    index: DocumentIndex,
    retriever: Retriever,
    prompted: Prompted,
    source: str,
    text: str,
    question: str,
    k: int,
    mode: SearchMode = "hybrid",
) -> WhyNot:
    """Follow ``text`` through a document's extraction, chunks, rank for ``question`` among the first ``k``, and prompt.

    ``prompted`` is only asked about a text that gets so far. White space is not compared and, where the text is nowhere
    as it is, neither are case and punctuation. Raises :class:`ingest.errors.SourceNotFoundError` for a source that the
    index has never seen.
    """
    catalogue = index.catalogue
    name = catalogue.find_source(source)
    chunks = catalogue.chunk_count()

    def at(stage: Stage, detail: str, rank: int | None = None) -> WhyNot:
        return WhyNot(stage=stage, detail=detail, source=name, rank=rank, chunks=chunks)

    stamps, refused = catalogue.stamps(), catalogue.refused().get(name)
    stamp = stamps.get(name)
    if stamp is None or not stamp.document_id:
        if refused is not None:
            return at("parse", f"the file could not be read: {refused.reason}")
        return at("index", "its document was damaged and is waiting for the next run: ingest its folder again")
    body = catalogue.text(stamp.document_id)
    places = _places(body, text)
    if not places:
        for left_out in catalogue.boilerplate(stamp.document_id):
            if _places(left_out, text):
                what = _LEFT_OUT.get(format_of(Path(name)), _NAVIGATION)
                return at("boilerplate", f"left out as boilerplate ({what}): {shorten(left_out, 200)!r}")
        if refused is not None:
            now = f"the file as it is now could not be read: {refused.reason}"
            return at("parse", f"the text is not in the version that is indexed; {now}")
        return at("parse", "; ".join([_not_extracted(stamp, text), *catalogue.find(name).warnings]))
    sound = _sound(index, name, body, places)
    if isinstance(sound, _Lost):
        return at(sound.stage, sound.detail)
    rank = _rank(partial(retriever.search, question, mode=mode), k, list(sound.values()))
    if rank is None:
        return at("rank", f"not among the first {DEPTH} of {chunks} chunks for {question!r}")
    told = f"retrieved at rank {rank} of {chunks} chunks for {question!r}"
    if rank > k:
        return at("rank", f"{told}, below the {k} that are used", rank)
    copies = {other for other, its in stamps.items() if its.document_id == stamp.document_id}
    passages = [passage for passage in prompted(question) if passage.source in copies]
    if all(_missing(body, place, passages) for place in sound):
        some = "only other sentences" if passages else "nothing"
        detail = f"{told}, but {some} of its document fit into the prompt: raise --passage-tokens or --context-window"
        return at("budget", detail, rank)
    return at("found", told, rank)


def _sound(index: DocumentIndex, source: str, body: str, places: Sequence[Span]) -> dict[Span, list[str]] | _Lost:
    """By place of the text, the ids of the chunks that hold it and that the store has as they were written."""
    document = index.catalogue.find(source)
    kept = index.catalogue.chunks(document.document_id)
    holding = {place: _overlapping(kept, place) for place in places}
    missing = {place: _missing(body, place, held) for place, held in holding.items()}
    if min(missing.values()):
        if len(kept) < document.chunks:
            detail = f"only {len(kept)} of {document.chunks} chunks are there: run 'rag docs verify'"
            return _Lost("index", detail)
        return _Lost("chunk", f"{min(missing.values())} of its characters are in no chunk: please report this")
    stored = {chunk.id: chunk.text for chunk in index.chunks_of(document)}
    sound = {
        place: [chunk.id for chunk in held]
        for place, held in holding.items()
        if not missing[place] and all(stored.get(chunk.id) == body[chunk.start : chunk.end] for chunk in held)
    }
    lost = _Lost("index", "its chunk is in the catalogue, but not in the index as it was: run 'rag docs verify'")
    return sound or lost


def _places(text: str, wanted: str) -> list[Span]:
    """Where a text holds another."""
    exact = r"\s+".join(map(re.escape, wanted.split()))
    words = r"[\W_]+".join(_WORD.findall(wanted))
    for pattern, flags in ((exact, 0), (rf"\b{words}\b" if words else "", re.IGNORECASE)):
        if pattern and (found := [m.span() for m in islice(re.finditer(pattern, text, flags), _MOST_PLACES)]):
            return found
    return []


def _overlapping(chunks: Iterable[KeptChunk], place: Span) -> list[KeptChunk]:
    return [chunk for chunk in chunks if chunk.start < place[1] and chunk.end > place[0]]


def _missing(text: str, place: Span, pieces: Iterable[KeptChunk | Passage]) -> int:
    """Characters at that place that are in none of the pieces."""
    start, end = place
    within = ((max(start, piece.start), min(end, piece.end)) for piece in pieces)
    return visible(text[start:end]) - covered(text, (span for span in within if span[0] < span[1]))


def _rank(search: Callable[..., Retrieval], k: int, places: Collection[Sequence[str]]) -> int | None:
    """The best rank, from 1, by which all chunks of one place are found; as a search for ``k`` has them, if it does."""
    for limit in (k, DEPTH):
        ranks = {hit.chunk.id: rank for rank, hit in enumerate(search(k=limit).hits, start=1)}
        whole = [max(map(ranks.__getitem__, ids)) for ids in places if all(id_ in ranks for id_ in ids)]
        if whole:
            return min(whole) if limit == k else max(k + 1, min(whole))
    return None


def _not_extracted(stamp: FileStamp, text: str) -> str:
    """What the file itself tells of a text that was not found in it."""
    path = Path(stamp.root, stamp.source)
    told = "the text is not in what was extracted from the file"
    try:
        now = path.stat()
        if (now.st_size, now.st_mtime_ns) != (stamp.size, stamp.mtime_ns):
            return f"{told}; the file has changed since: ingest it again"
        held = held_text(path.read_bytes(), format_of(path))
    except (OSError, ParseError):
        held = None
    if held is None:
        return f"{told}: compare with another wording of it"
    if _places(held, text):
        return f"{told}, although the file holds it: please report this"
    return f"{told}, nor does the file seem to hold it: compare with another wording of it"
