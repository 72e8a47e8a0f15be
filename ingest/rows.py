"""What a reader gives: blocks of text that have no place in their document yet."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

from ingest.fields import Fields
from ingest.types import ElementKind

_MOST_ROWS, _MOST_CHARACTERS = 200, 20_000
"""Of one table element: a longer table goes on in another, under the same header."""
UNREAD = "unread"
"""How scanned pages are read without OCR; see :class:`Reading`."""
_BLANK_LINES = re.compile(r"\n[ \t]*\n\s*")


class Row(NamedTuple):
    """An element before it has a place in its document's text; see :class:`ingest.types.Element`."""

    text: str
    kind: ElementKind = "text"
    page: int | None = None
    depth: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a reader found: ``rows`` in reading order, the ``fields`` that the file gives itself, and the texts that
    were left out of ``rows`` as ``boilerplate``. ``scans``: how its pages without a text layer were read,
    :data:`UNREAD` or the languages of OCR; empty where it has none. ``warnings``: what of the file may be missing, and
    the remedy."""

    rows: list[Row]
    fields: Fields = field(default_factory=dict)
    boilerplate: tuple[str, ...] = ()
    scans: str = ""
    warnings: tuple[str, ...] = ()


def clean(text: str) -> str:
    """Lone surrogates cannot be stored as UTF-8, nor NUL everywhere; outer white space belongs to no element."""
    text = text.encode("utf-8", "replace").decode("utf-8").replace("\0", "\N{REPLACEMENT CHARACTER}")
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()


def squeezed(text: str) -> str:
    """The text with every run of white space as one space."""
    return " ".join(text.split())


def paragraphs(text: str, page: int | None = None) -> Iterator[Row]:
    """A row for each run of lines without a blank one."""
    for block in _BLANK_LINES.split(clean(text)):
        if block:
            yield Row(block, page=page)


def table_line(cells: Iterable[str]) -> str:
    """The cells of one row as a line, parted by a bar; empty ones at its end are left out."""
    texts = [squeezed(cell) for cell in cells]
    while texts and not texts[-1]:
        texts.pop()
    return " | ".join(texts).strip()


def table_rows(lines: Iterable[Sequence[str]], page: int | None = None) -> Iterator[Row]:
    """Tables from rows of cells. The first row is the header: it is the first line of each element, for a long table
    is given in several. Rows without text are left out."""
    filled = filter(None, map(table_line, lines))
    header = next(filled, None)
    if header is None:
        return
    part, size = [header], 0
    for line in filled:
        if len(part) > _MOST_ROWS or size > _MOST_CHARACTERS:
            yield Row("\n".join(part), "table", page)
            part, size = [header], 0
        part.append(line)
        size += len(line)
    yield Row("\n".join(part), "table", page)


def blocks(lines: Iterable[Sequence[str]]) -> Iterator[Row]:
    """The parts of a sheet, which blank rows divide: tables, and texts that stand alone in their row."""
    block: list[list[str]] = []
    for line in chain(lines, [()]):
        cells = [squeezed(cell) for cell in line]
        if any(cells):
            block.append(cells)
        elif block:
            yield from _block(block)
            block = []


def _block(block: list[list[str]]) -> Iterator[Row]:
    if len(block) == 1:
        yield Row(table_line(filter(None, block[0])))
        return
    first = min(next(place for place, cell in enumerate(cells) if cell) for cells in block)
    yield from table_rows(cells[first:] for cells in block)
