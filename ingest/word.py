"""Word documents, through unstructured, which passes over text boxes and notes: they are put into the text first."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from io import BytesIO
from typing import Any

from ingest.rows import Reading, squeezed
from ingest.unstructured_setup import NO_LANGUAGE, element_rows, prepare_unstructured

_FURNITURE = {"Header", "Footer"}
_NOTES = {"footnote", "endnote"}


def read_docx(data: bytes) -> Reading:
    """Headings by their styles, lists, tables, the header and footer of each section; notes and text boxes follow the
    paragraph that they are attached to. A header or footer without a letter, as a page number, is left out."""
    prepare_unstructured()
    from unstructured.partition.docx import partition_docx

    elements = partition_docx(file=BytesIO(_with_inserts(data)), languages=NO_LANGUAGE)
    numbers = [e for e in elements if e.category in _FURNITURE and not any(map(str.isalpha, e.text))]
    left_out = dict.fromkeys(squeezed(element.text) for element in numbers)
    kept = (element for element in elements if element not in numbers)
    return Reading(rows=list(element_rows(kept)), boilerplate=tuple(left_out))


def _with_inserts(data: bytes) -> bytes:
    """The document itself, or a copy in which text boxes and notes are paragraphs."""
    from docx import Document
    from docx.oxml.ns import qn

    document = Document(BytesIO(data))
    body = document.element.body
    notes = {kind: dict(_notes(document, kind)) for kind in _NOTES}
    changed = False
    for paragraph in list(body.iter(qn("w:p"))):
        inserts: list[Any] = []
        for child in paragraph.iter(*(qn(f"w:{kind}Reference") for kind in _NOTES), qn("w:txbxContent")):
            if child.tag == qn("w:txbxContent"):
                # What a box has for older programs is there a second time, and what is in a box of a box with it.
                outer = {item.tag.rpartition("}")[2] for item in child.iterancestors()}
                owner = next(item for item in child.iterancestors() if item.tag == qn("w:p"))
                if "Fallback" not in outer and owner is paragraph:
                    inserts += list(child)
            else:
                kind = child.tag.rpartition("}")[2].removesuffix("Reference")
                inserts += map(deepcopy, notes[kind].get(child.get(qn("w:id")), ()))
        for insert in reversed(inserts):
            paragraph.addnext(insert)
            changed = True
    if not changed:
        return data
    copy = BytesIO()
    document.save(copy)
    return copy.getvalue()


def _notes(document: Any, kind: str) -> Iterator[tuple[str, list[Any]]]:
    """(id, paragraphs) of each footnote or endnote."""
    from docx.opc.constants import RELATIONSHIP_TYPE
    from docx.oxml import parse_xml
    from docx.oxml.ns import qn

    wanted = RELATIONSHIP_TYPE.FOOTNOTES if kind == "footnote" else RELATIONSHIP_TYPE.ENDNOTES
    for relation in document.part.rels.values():
        if relation.reltype == wanted and not relation.is_external:
            for note in parse_xml(relation.target_part.blob).iter(qn(f"w:{kind}")):
                yield note.get(qn("w:id")), list(note.iter(qn("w:p")))
