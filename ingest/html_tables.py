"""Tables of a page as browsers show them: every cell in a row, and what is in no cell in front of the table.

unstructured reads a table's rows where they should be, and drops captions and all that is anywhere else.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

_CELLS = {"td", "th"}
_SECTIONS = {"thead", "tbody", "tfoot"}


def put_tables_right(body: Any) -> None:
    """Change the tables of a parsed page in place. Those within a cell stay: their text is that cell's."""
    for table in list(body.iter("table")):
        within = table.getparent() is None or next(table.iterancestors("table"), None) is not None
        if not within and not _is_right(table):
            _Table(table).put_right()


def _is_right(table: Any) -> bool:
    rows: list[Any] = []
    for child in table:
        rows.extend(child if child.tag in _SECTIONS and not _says(child) else [child])
    return not _says(table) and all(row.tag == "tr" and _is_right_row(row) for row in rows)


def _is_right_row(row: Any) -> bool:
    return not _says(row) and all(cell.tag in _CELLS for cell in row)


def _says(part: Any) -> bool:
    """Whether there is text in it that is not in an element in it."""
    return _is_text(part.text) or any(_is_text(child.tail) for child in part)


def _is_text(found: str | None) -> bool:
    return found is not None and bool(found.strip())


class _Table:
    """The parts of a table: ``rows`` of cells only, and ``loose``, texts and elements that are in none."""

    def __init__(self, table: Any) -> None:
        from lxml import etree  # type: ignore[import-untyped]

        self._table = table
        self._new = etree.SubElement
        self._rows = self._new(table, "tbody")
        self._loose: list[Any] = []

    def put_right(self) -> None:
        self._sort(self._table)
        self._table.text = None
        for child in list(self._table):
            if child is not self._rows:
                self._table.remove(child)
        if self._loose:
            block = self._new(self._table.getparent(), "div")
            _fill(block, self._loose)
            self._table.addprevious(block)

    def _sort(self, part: Any, row: Any = None) -> None:
        """Of a part of the table, take the cells into ``row``, or into rows as they come."""
        own = row
        self._say(part.text)
        for child in list(part):
            if child is self._rows:
                continue
            tail, child.tail = child.tail, None
            if child.tag in _CELLS:
                own = self._new(self._rows, "tr") if own is None else own
                own.append(child)
            elif child.tag == "tr" and _is_right_row(child):
                self._rows.append(child)
                own = row
            elif child.tag == "tr":
                self._sort(child, self._new(self._rows, "tr"))
                own = row
            elif child.tag == "colgroup" or next(child.iter("tr", *_CELLS), None) is not None:
                self._sort(child, own)
                own = row
            elif child.tag == "caption":
                caption = self._new(self._rows, "div")
                _fill(caption, [child.text, *child])
                self._loose.append(caption)
            elif isinstance(child.tag, str):
                self._loose.append(child)
            self._say(tail)

    def _say(self, text: str | None) -> None:
        if _is_text(text):
            self._loose.append(f" {text} ")


def _fill(element: Any, parts: Iterable[Any]) -> None:
    """Put texts and elements into an empty element."""
    last, texts = None, []
    for part in [*parts, None]:
        if isinstance(part, str):
            texts.append(part)
            continue
        if last is None:
            element.text = "".join(texts)
        else:
            last.tail = "".join([last.tail or "", *texts])
        if part is not None:
            element.append(part)
            last, texts = part, []
