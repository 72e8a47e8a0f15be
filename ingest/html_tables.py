"""Tables of a page as browsers show them: every cell in a row, and what is in no cell in front of the table.

unstructured reads a table's rows where they should be, and drops captions and all that is anywhere else.
"""

from __future__ import annotations

from typing import Any

_CELLS = ("td", "th")


def put_tables_right(body: Any) -> None:
    """Change the tables of a parsed page in place. Those within a cell stay: their text is that cell's."""
    for table in list(body.iter("table")):
        if next(table.iterancestors("table"), None) is None:
            _Table(table).put_right()


class _Table:
    """The parts of a table: ``rows`` of cells only, and ``loose``, a block of what is in none."""

    def __init__(self, table: Any) -> None:
        self._table = table
        self._loose = table.makeelement("div")
        self._rows: list[Any] = []

    def put_right(self) -> None:
        self._sort(self._table)
        self._table.text = None
        self._table[:] = self._rows
        if len(self._loose) or self._loose.text:
            self._table.addprevious(self._loose)

    def _sort(self, part: Any, row: Any = None) -> None:
        """Of a part of the table, take the cells into ``row``, or into rows as they come."""
        self._say(part.text)
        own = row
        for child in list(part):
            tail, child.tail = child.tail, None
            if child.tag in _CELLS:
                own = self._new_row() if own is None else own
                own.append(child)
            elif child.tag == "tr":
                self._sort(child, self._new_row())
                own = row
            elif child.tag == "colgroup" or next(child.iter("tr", *_CELLS), None) is not None:
                self._sort(child, own)
                own = row
            elif isinstance(child.tag, str):
                self._show(child)
            self._say(tail)

    def _new_row(self) -> Any:
        self._rows.append(self._table.makeelement("tr"))
        return self._rows[-1]

    def _show(self, element: Any) -> None:
        if element.tag == "caption":
            caption = self._table.makeelement("div")
            caption.text = element.text
            caption[:] = list(element)
            element = caption
        self._loose.append(element)

    def _say(self, text: str | None) -> None:
        if text and text.strip():
            last = self._loose[-1] if len(self._loose) else None
            if last is None:
                self._loose.text = f"{self._loose.text or ''} {text} "
            else:
                last.tail = f"{last.tail or ''} {text} "
