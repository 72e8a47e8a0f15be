"""HTML, and what becomes HTML on its way, through unstructured's HTML parser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ingest.html_tables import put_tables_right
from ingest.rows import Reading, squeezed
from ingest.unstructured_setup import element_rows, prepare_unstructured

_NAVIGATION_CLASSES = {"navheader", "navfooter"}
"""The page turners of DocBook's stylesheets, which were there before ``nav``."""
_NAVIGATION_ROLES = {"navigation", "doc-backlink"}
_FRAME = {"header", "footer", "aside"}
_NO_PROSE = ("button", "select", "svg")
"""What a page shows but nobody reads in a row: controls, and the labels in a drawing."""
_MAIN_CHARACTERS = 200


def read_html(text: str) -> Reading:
    """A page without its navigation; what was left out as that is named (:func:`_boilerplate`).

    Raises whatever lxml and unstructured raise for a page that they cannot read.
    """
    prepare_unstructured()
    from lxml import etree  # type: ignore[import-untyped]
    from unstructured.documents.elements import ListItem, Text
    from unstructured.partition.html import parser
    from unstructured.partition.text_type import is_bulleted_text

    def derive(text: str) -> type[Any] | None:
        if not text.strip():
            return None
        kind: type[Any] = ListItem if is_bulleted_text(text) else Text
        return kind

    # Three quarters of its HTML time is spaCy telling narrative from other text. We treat both alike, so only the
    # bullet test, the one part that changes the kind, is kept. Kept, too, is what it drops as likely boilerplate
    # although a reader sees it: figures, folded details, text in a form.
    parser.derive_element_type_from_text = derive
    shown = {
        **dict.fromkeys(("details", "dialog", "figure", "form"), parser.Flow),
        **dict.fromkeys(("summary", "figcaption", "legend", "textarea"), parser.BlockItem),
        "label": parser.Phrasing,
    }
    parser.element_class_lookup.get_namespace(None).update(shown)
    root = etree.fromstring(_without_xml_declaration(text), parser.html_parser)
    if root is None:
        return Reading(rows=[])
    parser.Math._normalize_katex(root)
    etree.strip_elements(root, "del", "link", "meta", "noscript", "script", "style", "template", with_tail=False)
    body = root.find(".//body")
    body = root if body is None else body
    put_tables_right(body)
    for formula in body.iter("math"):  # Without a text of its own in TeX it would be dropped.
        if not formula._latex:
            formula.set("alttext", squeezed(_text(formula)))
    left_out = [_removed(element) for element in _boilerplate(body)]
    outermost = [e for e in body.iter(*_NO_PROSE) if next(e.iterancestors(*_NO_PROSE), None) is None]
    left_out += [_removed(element) for element in outermost]
    return Reading(rows=list(element_rows(body.iter_elements())), boilerplate=tuple(filter(None, left_out)))


def read_markdown(text: str) -> Reading:
    """Markdown as the HTML that it stands for."""
    import markdown  # type: ignore[import-untyped]

    return read_html(markdown.markdown(text, extensions=["tables", "fenced_code", "sane_lists"]))


def _without_xml_declaration(text: str) -> str:
    """lxml refuses an encoding declaration in text that is already decoded."""
    head = text.lstrip()
    if not head.startswith("<?xml"):
        return text
    return head[head.find("?>") + 2 :]


def _boilerplate(body: Any) -> list[Any]:
    """The parts of a page that serve all pages of its site, by what the page itself says they are.

    Navigation and notices about cookies, by element, role or a class that only DocBook gives. On a page that marks its
    ``main`` part, what is outside of it; on one that marks its ``article``, headers, footers and asides outside of it.
    A page that marks neither keeps its headers and footers: they may be its content.
    """
    marked = {element for element in body.iter() if _navigates(element)}
    mains = [e for e in body.iter() if (e.tag == "main" or e.get("role") == "main") and not _under(e, marked)]
    if mains and _length(mains) >= min(_MAIN_CHARACTERS, _length([body]) // 2):
        marked |= set(_outside(body, mains))
    elif any(not _under(article, marked) for article in body.iter("article")):
        for element in body.iter(*_FRAME):
            if element.find(".//article") is None and not any(o.tag == "article" for o in element.iterancestors()):
                marked.add(element)
    return [element for element in body.iter() if element in marked and not _under(element.getparent(), marked)]


def _navigates(element: Any) -> bool:
    role = element.get("role", "")
    if element.tag == "nav" or role in _NAVIGATION_ROLES or _NAVIGATION_CLASSES & set(element.get("class", "").split()):
        return True
    if role not in ("dialog", "alertdialog", "banner", "region"):
        return False
    named = " ".join(element.get(name, "") for name in ("id", "class", "aria-label")).lower()
    return "cookie" in named or "consent" in named


def _outside(body: Any, mains: list[Any]) -> Iterator[Any]:
    """The largest parts of the tree in which there is no main part; but a page keeps a heading that is only there."""
    around = {outer for main in mains for outer in main.iterancestors()}
    if not any(main.find(".//h1") is not None for main in mains):
        around |= {outer for heading in body.iter("h1") for outer in heading.iterancestors()}

    def walk(element: Any) -> Iterator[Any]:
        for child in element:
            if child in around:
                yield from walk(child)
            elif child not in mains and child.tag != "h1":
                yield child

    return walk(body)


def _under(element: Any, marked: set[Any]) -> bool:
    """Whether the element or one around it is marked."""
    return element is not None and (element in marked or any(outer in marked for outer in element.iterancestors()))


def _length(elements: list[Any]) -> int:
    return sum(len(squeezed(_text(element))) for element in elements)


def _text(element: Any) -> str:
    return " ".join(element.itertext())


def _removed(element: Any) -> str:
    """Take an element out of its tree, but not the text after it; returns the element's text, as one line."""
    text = squeezed(_text(element))
    parent, tail = element.getparent(), element.tail or ""
    before = element.getprevious()
    if tail:
        if before is not None:
            before.tail = (before.tail or "") + tail
        else:
            parent.text = (parent.text or "") + tail
    parent.remove(element)
    return text
