"""Document -> Chunks: token-aware, cut at sentence and line borders, never over the embedder's window.

Text is cut into atoms (sentences, list items, table rows, lines of code), atoms are gathered into sections
that start at headings, and a section that is too long is divided into chunks of about equal length. Rows that are
parted from the first row of their table have it as the last of their headings.
"""

from __future__ import annotations

import re
import uuid
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ingest.types import HEADING_SEPARATOR, Chunk, Document, Element, TokenCounter

SPECIAL_TOKENS = 2
"""[CLS] and [SEP], which the embedder adds to every text."""

HEADER = 300
"""Characters up to which the first row of a table is taken for its header."""

_LINE_END = re.compile(r"\n+")
_SENTENCE_END = re.compile(r"""(?<=[.!?…。！？])["'”’)\]]*\s+|\n+""")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkPolicy:
    """Sizes in tokens of the embedder's tokenizer.

    ``window``: what the embedder reads, special tokens included, at least 8. ``target``: the most that a
    chunk's own text takes. ``prefix``: the most that its heading path takes. ``smallest``: shorter sections
    join the next one. ``longest`` is in characters: whatever is one token to this tokenizer, an endless word
    among them, can be thousands to a chat model.
    """

    window: int
    target: int = 200
    prefix: int = 40
    smallest: int = 40
    longest: int = 4000

    @property
    def limit(self) -> int:
        """Most tokens of a chunk's own text; in a small window, headings take a quarter at most."""
        room = self.window - SPECIAL_TOKENS
        return max(1, min(self.target, room - min(self.prefix, room // 4)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Atom:
    start: int
    end: int
    tokens: int
    path: tuple[str, ...]
    title: bool
    page: int | None


def chunk_document(document: Document, counter: TokenCounter, policy: ChunkPolicy) -> tuple[Chunk, ...]:
    """Chunks in document order. Together they hold every non-blank character of the document, none twice."""
    text = document.text
    found: list[Chunk] = []
    for section in _sections(_atoms(document, counter, policy.limit), policy.smallest):
        for part in _divide(section, policy.limit):
            for atoms in _fitted(text, part, counter, policy):
                found.append(_chunk(document, text, atoms, len(found)))
    return tuple(found)


def embedding_text(chunk: Chunk, counter: TokenCounter, policy: ChunkPolicy) -> str:
    """What is embedded and indexed for BM25: as much of the heading path as has room, then the text."""
    path = HEADING_SEPARATOR.join(chunk.headings)[: policy.longest]
    ends = [end for _, end in counter.offsets(path)]
    for tokens in range(min(len(ends), policy.prefix), 0, -1):
        text = f"{path if tokens == len(ends) else path[: ends[tokens - 1]]}\n{chunk.text}"
        if _fits(text, counter, policy):
            return text
    return chunk.text


def _fits(text: str, counter: TokenCounter, policy: ChunkPolicy) -> bool:
    return len(counter.offsets(text)) + SPECIAL_TOKENS <= policy.window


def _atoms(document: Document, counter: TokenCounter, limit: int) -> Iterator[_Atom]:
    trail: list[tuple[int, str]] = []
    for element in document.elements:
        if element.kind == "title":
            trail = [*(item for item in trail if item[0] < element.depth), (element.depth, element.text)]
        path = tuple(" ".join(title.split()) for _, title in trail)
        header = element.text.partition("\n")[0] if element.kind == "table" else ""
        below = (*path, header) if len(header) <= HEADER and any(map(str.isalpha, header)) else path
        for start, end, tokens in _cut(element, counter, limit):
            yield _Atom(
                start=element.start + start,
                end=element.start + end,
                tokens=tokens,
                path=path if start < len(header) else below,
                title=element.kind == "title",
                page=element.page,
            )


def _cut(element: Element, counter: TokenCounter, limit: int) -> Iterator[tuple[int, int, int]]:
    """(start, end, tokens) of each atom, relative to the element; a long row is cut between sentences, a long sentence
    between words or tokens."""
    offsets = counter.offsets(element.text)
    starts = [start for start, _ in offsets]
    border = _LINE_END if element.kind in ("table", "code") else _SENTENCE_END
    for start, end in _spans(element.text, border):
        first, last = bisect_left(starts, start), bisect_left(starts, end)
        while last - first > limit:
            cut = starts[first + limit]
            space = element.text.rfind(" ", start + 1, cut + 1)
            ends = [match.end() for match in _SENTENCE_END.finditer(element.text, start, cut)]
            if ends or space > start:
                cut = ends[-1] if ends else space + 1
            middle = bisect_left(starts, cut)
            if middle == first:  # One character that is several tokens: leave it to _fitted.
                break
            yield start, start + len(element.text[start:cut].rstrip()), middle - first
            start, first = cut, middle
        yield start, end, last - first


def _spans(text: str, border: re.Pattern[str]) -> Iterator[tuple[int, int]]:
    """Spans of what stands between borders, without the white space around them."""
    position = 0
    for match in border.finditer(text):
        end = position + len(text[position : match.end()].rstrip())
        if end > position:
            yield position, end
        position = match.end()
    end = position + len(text[position:].rstrip())
    if end > position:
        yield position, end


def _sections(atoms: Iterator[_Atom], smallest: int) -> Iterator[list[_Atom]]:
    """Runs that begin at a heading; a run of fewer than ``smallest`` tokens joins what follows it."""
    section: list[_Atom] = []
    for atom in atoms:
        starts = atom.title and not (section and section[-1].title)
        if starts and sum(item.tokens for item in section) >= smallest:
            yield section
            section = []
        section.append(atom)
    if section:
        yield section


def _divide(section: list[_Atom], limit: int) -> Iterator[list[_Atom]]:
    """As few parts as the limit allows, of about equal length; a heading stays with the text below it."""
    total = sum(atom.tokens for atom in section)
    goal = total / -(-total // limit) if total else 1
    part: list[_Atom] = []
    size = 0
    for atom in section:
        if part and (size + atom.tokens > limit or size + atom.tokens / 2 > goal):
            keep = len(part)
            while keep and part[keep - 1].title:
                keep -= 1
            if not keep or sum(item.tokens for item in part[keep:]) + atom.tokens > limit:
                keep = len(part)
            yield part[:keep]
            part = part[keep:]
            size = sum(item.tokens for item in part)
        part.append(atom)
        size += atom.tokens
    if part:
        yield part


def _fitted(text: str, atoms: list[_Atom], counter: TokenCounter, policy: ChunkPolicy) -> Iterator[list[_Atom]]:
    """The part itself if, counted as a whole, it fits the window; else its halves.

    Tokens are counted element by element above; a cut inside a word, or a tokenizer for which the pieces of a
    text do not add up, can make the whole longer than its parts.
    """
    body = text[atoms[0].start : atoms[-1].end]
    if len(body) == 1 or (len(body) <= policy.longest and _fits(body, counter, policy)):
        yield atoms
        return
    if len(atoms) > 1:
        middle = len(atoms) // 2
        halves = [atoms[:middle], atoms[middle:]]
    else:
        halves = [[half] for half in _halved(text, atoms[0])]
    for half in halves:
        yield from _fitted(text, half, counter, policy)


def _halved(text: str, atom: _Atom) -> Iterator[_Atom]:
    middle = (atom.start + atom.end) // 2
    for start, end in ((atom.start, middle), (middle, atom.end)):
        body = text[start:end]
        start += len(body) - len(body.lstrip())
        end = start + len(body.strip())
        if end > start:
            yield _Atom(start=start, end=end, tokens=atom.tokens, path=atom.path, title=atom.title, page=atom.page)


def _common_path(atoms: Sequence[_Atom]) -> tuple[str, ...]:
    """The heading path that all atoms share; if they share none, that of the most text."""
    first, *rest = [atom.path for atom in atoms]
    shared = first
    for path in rest:
        length = 0
        while length < min(len(shared), len(path)) and shared[length] == path[length]:
            length += 1
        shared = shared[:length]
    return shared or max(atoms, key=lambda atom: atom.tokens).path


def _chunk(document: Document, text: str, atoms: list[_Atom], index: int) -> Chunk:
    start, end = atoms[0].start, atoms[-1].end
    return Chunk(
        id=str(uuid.uuid5(uuid.UUID(document.id), str(index))),
        document_id=document.id,
        source=document.source,
        index=index,
        start=start,
        end=end,
        text=text[start:end],
        headings=_common_path(atoms),
        pages=tuple(sorted({atom.page for atom in atoms if atom.page is not None})),
    )
