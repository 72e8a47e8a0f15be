"""OpenDocument text, sheets and slides (LibreOffice's own), from ``content.xml``.

unstructured reads text only, through pandoc, which passes over text boxes. After OpenDocument 1.3, part 3 (OASIS,
2021).
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from io import BytesIO
from typing import Any

from ingest.errors import ParseError
from ingest.rows import Reading, Row, blocks, clean, squeezed, table_rows

_MOST_REPEATED = 1000
_MOST_CHARACTERS = 20_000
"""A filled cell or row that is said to be there more often, or with more text in all, is there this often."""
_WITHOUT_TEXT = {"annotation", "annotation-end", "tracked-changes", "forms", "sequence-decls", "soft-page-break"}
_CONTAINERS = {
    "section",
    "index-body",
    "table-of-content",
    "frame",
    "text-box",
    "g",
    "page",
    "list-header",
    "a",
    "shapes",
}


def read_odt(data: bytes) -> Reading:
    """Headings by their level, lists, tables; notes and text boxes follow the paragraph that they are attached to."""
    return Reading(rows=[row for row in _flow(_content(data, "text"), None) if row.text])


def read_ods(data: bytes) -> Reading:
    """Each sheet under its name, with the cells as they are shown."""
    rows: list[Row] = []
    for table in _content(data, "spreadsheet"):
        if _name(table) == "table":
            found = list(blocks(_lines(table)))
            rows += [Row(squeezed(_attribute(table, "name")) or "Sheet", "title"), *found] if found else []
    return Reading(rows=rows)


def read_odp(data: bytes) -> Reading:
    """Each slide under its title, then its notes; the page of a row is the number of its slide, from 1."""
    rows: list[Row] = []
    pages = [page for page in _content(data, "presentation") if _name(page) == "page"]
    for number, page in enumerate(pages, start=1):
        frames = [child for child in page if _name(child) != "notes"]
        titles = [frame for frame in frames if _attribute(frame, "class") == "title"]
        rows += [Row(squeezed(_inline(title)), "title", number) for title in titles]
        for frame in frames:
            if frame not in titles:
                rows += _flow([frame], number)
        for notes in (child for child in page if _name(child) == "notes"):
            text = clean("\n".join(row.text for row in _flow(notes, number)))
            rows += [Row(f"Notes: {text}", page=number)] if text else []
    return Reading(rows=[row for row in rows if row.text])


def _content(data: bytes, kind: str) -> Any:
    """The element that holds a document's body of that kind."""
    from lxml import etree  # type: ignore[import-untyped]

    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True, remove_pis=True
    )
    with zipfile.ZipFile(BytesIO(data)) as archive:
        root = etree.fromstring(archive.read("content.xml"), parser)
    found = root.find(f".//{{*}}body/{{*}}{kind}")
    if found is None:
        raise ParseError(f"an OpenDocument file without {kind} in it: open it and save it again")
    return found


def _name(element: Any) -> str:
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _attribute(element: Any, name: str) -> str:
    return next((value for key, value in element.attrib.items() if key.rpartition("}")[2] == name), "")


def _flow(parent: Any, page: int | None, listed: bool = False) -> Iterator[Row]:
    for element in parent:
        name = _name(element)
        if name == "h":
            level = _attribute(element, "outline-level")
            yield Row(
                squeezed(_inline(element)), "title", page, int(level) - 1 if level.isdigit() and level > "0" else 0
            )
            yield from _attached(element, page)
        elif name == "p":
            yield Row(clean(_inline(element)), "list" if listed else "text", page)
            yield from _attached(element, page)
        elif name == "list":
            for item in element:
                yield from _flow(item, page, listed=True)
        elif name == "table":
            yield from table_rows(_lines(element), page)
        elif name in _CONTAINERS:
            yield from _flow(element, page, listed)


def _attached(paragraph: Any, page: int | None) -> Iterator[Row]:
    """The notes and text boxes of a paragraph, which are within it but not of its text."""
    for child in paragraph:
        if _name(child) == "note":
            for body in child.iter("{*}note-body"):
                yield from _flow(body, page)
        elif _name(child) in ("frame", "g", "custom-shape"):
            yield from _flow([child] if _name(child) != "custom-shape" else child, page)
        elif _name(child) not in _WITHOUT_TEXT:
            yield from _attached(child, page)


def _inline(element: Any) -> str:
    """The text of a paragraph, with the white space that has elements of its own."""
    parts = [element.text or ""]
    for child in element:
        name = _name(child)
        if name == "s":
            count = _attribute(child, "c")
            parts.append(" " * (min(int(count), _MOST_REPEATED) if count.isdigit() else 1))
        elif name == "tab":
            parts.append("\t")
        elif name == "line-break":
            parts.append("\n")
        elif _name(element) in ("frame", "text-box") or name not in {
            *_WITHOUT_TEXT,
            "note",
            "frame",
            "g",
            "custom-shape",
        }:
            parts.append(_inline(child))
        parts.append(child.tail or "")
    return "".join(parts)


def _lines(table: Any) -> Iterator[list[str]]:
    """The rows of a table as their cells' texts; of rows that are repeated without text, one."""
    for row in table.iter("{*}table-row"):
        if next(outer for outer in row.iterancestors("{*}table")) is not table:
            continue
        cells: list[str] = []
        gap = 0
        for cell in row:
            if _name(cell) not in ("table-cell", "covered-table-cell"):
                continue
            text = " ".join(filter(None, (squeezed(part.text) for part in _flow(cell, None))))
            repeated = _repeated(cell, "number-columns-repeated")
            if text:
                cells += [""] * min(gap, _MOST_REPEATED) + [text] * min(repeated, 1 + _MOST_CHARACTERS // len(text))
                gap = 0
            else:
                gap += repeated
        most = 1 + _MOST_CHARACTERS // (1 + sum(len(cell) + 3 for cell in cells))
        yield from [cells] * (min(most, _repeated(row, "number-rows-repeated")) if cells else 1)


def _repeated(element: Any, name: str) -> int:
    count = _attribute(element, name)
    return min(int(count), _MOST_REPEATED) if count.isdigit() and len(count) < 10 else 1
