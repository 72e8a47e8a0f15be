"""Which reader a format has, what it needs beyond what is installed with groundchat, and what it gives.

unstructured reads HTML, text, PDF and DOCX; what pandoc or LibreOffice converts becomes one of these on the way. Where
its reader of a format loses text or the shape of a table, there is one of our own on the library that it stands on.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from ingest.converters import LIBREOFFICE, PANDOC, office_bytes, pandoc_html
from ingest.decoding import decode
from ingest.formats import FORMATS, Format
from ingest.front_matter import split_front_matter
from ingest.mail import read_eml, read_msg
from ingest.markup import read_html, read_markdown
from ingest.ocr import TESSERACT
from ingest.opendocument import read_odp, read_ods, read_odt
from ingest.pdf import read_pdf
from ingest.records import read_json, read_ndjson
from ingest.rows import Reading, Row, clean, squeezed
from ingest.rtf import read_rtf
from ingest.sheets import read_csv, read_tsv, read_xls, read_xlsx
from ingest.slides import read_pptx
from ingest.source_code import read_code
from ingest.unstructured_setup import NO_LANGUAGE, element_rows, prepare_unstructured
from ingest.word import read_docx
from ingest.xml_text import read_xml


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """``read`` turns a file's bytes into a reading; it raises :class:`ingest.errors.ParseError`, MemoryError, or what
    its library raises for a file that is broken. ``name``: of the format, for people. ``needs``: what has to be
    installed besides. ``headings``, ``tables``, ``pages``: what is kept of them, empty where the format has none.
    ``read_scans``: as ``read``, with OCR of scanned pages in tesseract's languages; None where there are no such pages.
    """

    read: Callable[[bytes], Reading]
    name: str
    read_scans: Callable[[bytes, str], Reading] | None = None
    headings: str = ""
    tables: str = ""
    pages: str = ""
    needs: str = ""
    notes: str = ""


def _text(read: Callable[[str], Reading]) -> Callable[[bytes], Reading]:
    """For bytes, a reader that takes text."""
    return lambda data: read(decode(data))


_OTHER_FILE = re.compile(r"^[ \t]+:(?:file|url):.*$", re.MULTILINE)
"""An option of a directive that takes its content from elsewhere, where nothing is looked for: pandoc would give up."""


def _read_rst(text: str) -> Reading:
    return read_html(pandoc_html(_OTHER_FILE.sub("", text).encode("utf-8", "replace"), "rst"))


def _pandoc(kind: str, text: bool = True) -> Callable[[bytes], Reading]:
    """By way of pandoc and HTML. Formats that are text are handed to pandoc in UTF-8."""
    return lambda data: read_html(pandoc_html(decode(data).encode("utf-8", "replace") if text else data, kind))


def _office(kind: str, target: str, read: Callable[[bytes], Reading]) -> Callable[[bytes], Reading]:
    """By way of LibreOffice and one of the formats that have a reader here."""
    return lambda data: read(office_bytes(data, kind, target))


def _read_markdown(data: bytes) -> Reading:
    """Under the title of the front matter, which many sites show above the text, unless that begins with it."""
    fields, text = split_front_matter(decode(data))
    reading = read_markdown(text)
    rows = reading.rows
    title = clean(next(iter(fields.get("title", ())), ""))
    if title and not (rows and rows[0].kind == "title" and squeezed(rows[0].text) == title):
        rows = [Row(title, "title"), *rows]
    return Reading(rows=rows, fields=fields, boilerplate=reading.boilerplate)


def _read_plain(text: str) -> Reading:
    prepare_unstructured()
    from unstructured.partition.text import partition_text

    return Reading(rows=list(element_rows(partition_text(text=text, languages=NO_LANGUAGE))))


_BY_STYLE = "by style"
_BY_MARKUP = "by markup"
_LINES = "a line a row"

READERS: dict[Format, Reader] = {
    "html": Reader(
        read=_text(read_html), name="HTML", headings=_BY_MARKUP, tables=_LINES,
        notes="navigation, and what is outside of `main`, is left out and named",
    ),
    "markdown": Reader(
        read=_read_markdown, name="Markdown", headings=_BY_MARKUP, tables=_LINES, notes="front matter becomes fields"
    ),
    "text": Reader(read=_text(_read_plain), name="Text", headings="guessed"),
    "rst": Reader(
        read=_text(_read_rst), name="reStructuredText", needs=PANDOC, headings=_BY_MARKUP, tables=_LINES
    ),
    "org": Reader(read=_pandoc("org"), name="Org", needs=PANDOC, headings=_BY_MARKUP, tables=_LINES),
    "xml": Reader(
        read=_text(read_xml), name="XML", headings="`title`, `head`", tables=_LINES,
        notes="documents as prose, data as records; entities are not expanded",
    ),
    "pdf": Reader(
        read=read_pdf, read_scans=read_pdf, name="PDF", headings="guessed", tables="lines that stand side by side",
        pages="yes", needs=f"for scans, with `--ocr`: {TESSERACT}",
        notes="the text layer; pages without one are named; repeated headers and footers are left out and named",
    ),
    "docx": Reader(
        read=read_docx, name="Word", headings=_BY_STYLE, tables=_LINES, notes="with notes and text boxes"
    ),
    "doc": Reader(
        read=_office("doc", "docx", read_docx), name="Word 97", needs=LIBREOFFICE, headings=_BY_STYLE, tables=_LINES
    ),
    "odt": Reader(
        read=read_odt, name="OpenDocument text", headings=_BY_STYLE, tables=_LINES, notes="with notes and text boxes"
    ),
    "rtf": Reader(read=read_rtf, name="RTF", headings="by outline level", tables=_LINES, notes="any code page"),
    "epub": Reader(
        read=_pandoc("epub", text=False), name="EPUB", needs=PANDOC, headings=_BY_MARKUP, tables=_LINES,
        notes="chapters in reading order",
    ),
    "pptx": Reader(
        read=read_pptx, name="PowerPoint", headings="slide titles", tables=_LINES, pages="slides",
        notes="with notes and the data of charts",
    ),
    "ppt": Reader(
        read=_office("ppt", "pptx", read_pptx), name="PowerPoint 97", needs=LIBREOFFICE, headings="slide titles",
        tables=_LINES, pages="slides",
    ),
    "odp": Reader(
        read=read_odp, name="OpenDocument slides", headings="slide titles", tables=_LINES, pages="slides",
        notes="with notes",
    ),
    "xlsx": Reader(
        read=read_xlsx, name="Excel", headings="sheet names", tables="a line a row, the header first",
        notes="formulas as their saved values",
    ),
    "xls": Reader(
        read=read_xls, name="Excel 97", headings="sheet names", tables="a line a row, the header first",
        notes="formulas as their saved values",
    ),
    "ods": Reader(
        read=read_ods, name="OpenDocument sheets", headings="sheet names", tables="a line a row, the header first",
        notes="cells as they are shown",
    ),
    "csv": Reader(
        read=_text(read_csv), name="CSV", tables="a line a row, the header first", notes="any usual delimiter"
    ),
    "tsv": Reader(read=_text(read_tsv), name="TSV", tables="a line a row, the header first"),
    "eml": Reader(
        read=read_eml, name="Mail", headings="the subject", tables="of an HTML body",
        notes="attachments are listed, not read",
    ),
    "msg": Reader(
        read=read_msg, name="Outlook mail", headings="the subject", tables="of an HTML body",
        notes="attachments are listed, not read",
    ),
    "json": Reader(
        read=_text(read_json), name="JSON", headings="keys of objects",
        notes="each value behind the path of its keys, a record after the other",
    ),
    "ndjson": Reader(read=_text(read_ndjson), name="JSON lines", notes="as JSON; a broken line stays as it is"),
    "code": Reader(read=_text(read_code), name="Source code", notes="the text as it is, in blocks"),
}  # fmt: skip


def describe() -> list[list[str]]:
    """The table of formats for people: a header, then a row for each format."""
    table = [["format", "files", "needs", "headings", "tables", "pages", "notes"]]
    for kind, reader in READERS.items():
        suffixes = " ".join(f"`{suffix}`" for suffix, found in FORMATS.items() if found == kind)
        gives = [reader.headings, reader.tables, reader.pages]
        table.append([reader.name, suffixes, reader.needs, *(text or "–" for text in gives), reader.notes])
    return table
