"""The nouns of ingest. All are frozen; offsets count code points of ``Document.text``, from 0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from ingest.fields import Fields

ElementKind = Literal["title", "text", "list", "table", "code"]
SearchMode = Literal["hybrid", "dense", "sparse"]
Vectors = npt.NDArray[np.float32]

ELEMENT_SEPARATOR = "\n"
HEADING_SEPARATOR = " > "


@dataclass(frozen=True, slots=True, kw_only=True)
class Element:
    """A block of a document as the parser found it.

    ``start`` and ``end`` are its place in ``Document.text``; ``page`` counts from 1 and is None where the
    format has no pages; ``depth`` is the heading level of a title (0 is the highest) and 0 for all else.
    """

    text: str
    kind: ElementKind
    page: int | None
    start: int
    end: int
    depth: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """The extracted text of one file.

    ``id`` is made from the content and the pipeline version, so two files with the same bytes and the same
    format share it. ``source`` is the POSIX path below the folder that was ingested. ``fields``: what its front matter
    says, by name. ``boilerplate``: texts of the file that are not in ``elements`` because they serve all pages of a
    site or book (navigation, repeated headers and footers), each on one line. ``warnings``: why its text may not be
    what the file shows (:mod:`ingest.suspicion`).
    """

    id: str
    source: str
    content_hash: str
    elements: tuple[Element, ...]
    fields: Fields = field(default_factory=dict)
    boilerplate: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """All elements, joined by a line break: the text that every offset refers to."""
        return ELEMENT_SEPARATOR.join(element.text for element in self.elements)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A passage-sized piece of a document: ``document.text[start:end] == text``, always.

    ``index`` counts from 0 within the document; ``headings`` is the path of titles above the text, outermost
    first; ``pages`` are the pages it touches, ascending, counted from 1.
    """

    id: str
    document_id: str
    source: str
    index: int
    start: int
    end: int
    text: str
    headings: tuple[str, ...]
    pages: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A chunk that a search has found, before it is read: whose it is, its place among its document's chunks (from 0),
    and its score; scores compare only within one search. ``codes``: see :class:`ScoredChunk`."""

    chunk_id: str
    document_id: str
    index: int
    score: float
    codes: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredChunk:
    """A search hit; scores compare only within one search. ``codes``: of the tokens of what was embedded for the chunk
    (:mod:`ingest.late`), where the search has read them."""

    chunk: Chunk
    score: float
    codes: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TokenVectors:
    """The tokens of a text that the model has read: ``spans``, their places in it; ``vectors``, float32 (tokens,
    dimension), each in its context and of unit length."""

    spans: tuple[tuple[int, int], ...]
    vectors: Vectors


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseVector:
    """Non-zero dimensions of a BM25 vector; ``indices`` and ``values`` have equal length."""

    indices: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """Hits, best first, and the cosine of the nearest chunk (-1 to 1; None when no dense query was run)."""

    hits: tuple[ScoredChunk, ...]
    best_cosine: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDocument:
    """What the catalogue knows of one source. ``characters``: of its text, white space apart; ``coverage``: the share
    of them that is in chunks (0 to 1). ``fields``: from its front matter and ``--meta``, by name. ``warnings``: of its
    :class:`Document`."""

    source: str
    document_id: str
    content_hash: str
    chunks: int
    characters: int
    size: int
    root: str
    fields: Fields = field(default_factory=dict)
    coverage: float = 1.0
    warnings: tuple[str, ...] = ()


class TokenCounter(Protocol):
    """The embedder's own tokenizer, without special tokens. Must be picklable: worker processes chunk."""

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """Character span of each token of ``text``, in order."""


class Embedder(Protocol):
    """Texts to unit vectors."""

    name: str
    dimension: int
    window: int
    """Most tokens the model reads, special tokens included."""
    counter: TokenCounter

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Float32 array ``(len(texts), dimension)`` with rows of unit length, row i is text i."""

    def encode_tokens(self, texts: Sequence[str]) -> tuple[Vectors, list[TokenVectors]]:
        """:meth:`encode`, and the vectors of each text's tokens, special ones left out, from the same pass."""
