"""XML that has no reader of its own: documents (DocBook, TEI, feeds...) as prose, data as records.

unstructured's XML reader gives the text before an element's first child only, and what follows a child is lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ingest.markup import read_html
from ingest.records import Pairs, record_rows
from ingest.rows import Reading, Row, clean, squeezed, table_rows

_PROSE = {"p", "para", "simpara"}
_TITLES = {"title", "head", "heading"}
_TABLES = {"table", "informaltable", "tgroup"}
_LINES = {"row", "tr"}
_ITEMS = {"listitem", "item", "li"}
_VERBATIM = {"programlisting", "screen", "literallayout", "pre", "code", "verbatim"}


def read_xml(text: str) -> Reading:
    """The text of every element. Entities are not expanded, nothing outside of the file is looked at.

    Raises lxml's XMLSyntaxError, also for one nested deeper than 256 elements.
    """
    from lxml import etree  # type: ignore[import-untyped]

    parser = etree.XMLParser(
        encoding="utf-8", resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False,
        remove_comments=True, remove_pis=True,
    )  # fmt: skip
    head = text.lstrip("\ufeff \t\n")
    body = head[head.find("?>") + 2 :] if head.startswith("<?xml") else head
    root = etree.fromstring(body.encode("utf-8", "replace"), parser)
    if _name(root) == "html":
        return read_html(text)
    if any(_name(element) in _PROSE or _is_mixed(element) for element in root.iter(etree.Element)):
        return Reading(rows=[row for row in _prose(root, 0) if row.text])
    return Reading(rows=list(record_rows(Pairs([(_name(root), _value(root))]))))


def _name(element: Any) -> str:
    """Its name without its namespace; empty for what is no element, as an entity."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _is_mixed(element: Any) -> bool:
    """Whether text stands beside child elements."""
    return len(element) > 0 and bool((element.text or "").strip() or any((c.tail or "").strip() for c in element))


def _prose(element: Any, depth: int) -> Iterator[Row]:
    name, text = _name(element), "".join(element.itertext())
    if name in _TITLES:
        yield Row(squeezed(text), "title", depth=max(0, depth - 1))
    elif name in _VERBATIM:
        yield Row(clean(text), "code")
    elif name in _TABLES and (lines := [line for line in element.iter() if _name(line) in _LINES]):
        for title in (child for child in element if _name(child) in {*_TITLES, "caption"}):
            yield Row(squeezed("".join(title.itertext())))
        yield from table_rows(["".join(cell.itertext()) for cell in line] for line in lines)
    elif len(element) == 0 or _is_mixed(element):
        yield Row(squeezed(text), "list" if name in _ITEMS else "text")
    elif name in _ITEMS and len(element) == 1 and not len(element[0]):
        yield Row(squeezed(text), "list")
    else:
        within = depth + any(_name(child) in _TITLES and squeezed("".join(child.itertext())) for child in element)
        for child in element:
            yield from _prose(child, within)


def _value(element: Any) -> Any:
    """An element as JSON would have it: attributes and children by name, those of one name as a list."""
    text = squeezed(element.text or "")
    members: dict[str, list[Any]] = {_local(name): [value] for name, value in element.attrib.items()}
    for child in element:
        if name := _name(child):
            members.setdefault(name, []).append(_value(child))
    if not members:
        return text
    pairs = [(name, values[0] if len(values) == 1 else values) for name, values in members.items()]
    return Pairs([("", text), *pairs] if text else pairs)


def _local(name: str) -> str:
    return "@" + name.rpartition("}")[2]
