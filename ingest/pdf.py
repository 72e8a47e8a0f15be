"""The text layer of a PDF, and OCR of the pages without one, without what its pages repeat."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import BytesIO
from typing import Any

from ingest.errors import ParseError
from ingest.ocr import read_pages, scanned_pages
from ingest.rows import UNREAD, Reading, Row, clean, squeezed
from ingest.unstructured_setup import element_row, prepare_unstructured

NO_TEXT_LAYER = "no text layer (a scan?): ingest it with --ocr"
_LITTLE_TEXT = "a picture with hardly any text (a scan with a stamp?): ingest it with --ocr"
_NO_TEXT = "no text layer, and OCR found no text: look at it in its own program"
_FULLER = 3
"""A page of little text is taken from OCR where that finds so many times as many letters."""
_MARGIN = 0.12
"""Share of a page's height, at its top and at its bottom, in which headers and footers stand."""
_FEWEST_PAGES = 4
_STEP_POINTS = 4.0
"""Places that differ by less are the same (in points, 1/72 inch)."""
_OF_STREAM = re.compile(r"^stream <.*?>: ")
"""Where qpdf has a file's name, which these bytes do not have."""
_DIGITS = re.compile(r"\d+")


def read_pdf(data: bytes, ocr: str = "") -> Reading:
    """Text in reading order with its page, from 1. Of a header or footer that half of the pages bear, the first one
    stays, unless it is only a page number.

    ``ocr``: tesseract's languages (``eng+deu``) for pages without a text layer, or with hardly any text over a picture;
    without it they are named in the reading's ``warnings``, as those are on which OCR finds nothing.

    Raises :class:`ParseError` for a file that is encrypted, damaged or has no text, and what
    :func:`ingest.ocr.read_pages` does.
    """
    from ingest.unstructured_pdf import partition_text_layer, table_rows

    prepare_unstructured()
    data = _plain_pdf(data)
    found = partition_text_layer(data)
    scans = scanned_pages(data, _letters(found))
    failed: dict[int, str] = {}
    if scans and ocr:
        read, failed = read_pages(data, scans, ocr)
        found = sorted(_fuller(found, read), key=lambda element: element.metadata.page_number)
    elements, left_out = _without_repeated(found)
    rows: list[Row] = []
    for cells in table_rows(elements):
        if len(cells) == 1:
            rows.append(element_row(cells[0]))
            continue
        line = " | ".join(clean(cell.text) for cell in cells)
        page = cells[0].metadata.page_number
        if rows and rows[-1].kind == "table" and rows[-1].page == page:
            line = f"{rows.pop().text}\n{line}"
        rows.append(Row(text=line, kind="table", page=page, depth=0))
    rows = [row for row in rows if row.text]
    letters = _letters(found)
    why = {page: _NO_TEXT if ocr else NO_TEXT_LAYER for page in scans if not letters[page]}
    if not ocr:
        why |= {page: _LITTLE_TEXT for page in scans if letters[page]}
    why = dict(sorted((why | failed).items()))
    if not rows:
        raise ParseError(next(iter(why.values()), NO_TEXT_LAYER))
    return Reading(
        rows=rows, boilerplate=left_out, scans=(ocr or UNREAD) if scans else "", warnings=tuple(_warnings(why))
    )


def _letters(elements: Iterable[Any]) -> Counter[int]:
    """By page, the letters and digits of its elements, each of which counts for one at least."""
    found: Counter[int] = Counter()
    for element in elements:
        found[element.metadata.page_number] += max(1, sum(map(str.isalnum, element.text)))
    return found


def _fuller(layer: Sequence[Any], read: Sequence[Any]) -> list[Any]:
    """Of each page either what its text layer has or what OCR read."""
    before, now = _letters(layer), _letters(read)
    taken = {page for page, letters in now.items() if letters >= _FULLER * before[page]}
    kept = [element for element in layer if element.metadata.page_number not in taken]
    return kept + [element for element in read if element.metadata.page_number in taken]


def _warnings(why: Mapping[int, str]) -> Iterator[str]:
    """From a reason for each page, in order: one line a reason."""
    for reason in dict.fromkeys(why.values()):
        pages = [page for page, said in why.items() if said == reason]
        yield f"{'pages' if len(pages) > 1 else 'page'} {_ranges(pages)}: {reason}"


def _ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers as "1, 3-5"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return ", ".join("-".join(map(str, run)) for run in runs)


def _without_repeated(elements: list[Any]) -> tuple[list[Any], tuple[str, ...]]:
    """The elements without repetitions of headers and footers, and the texts of those that were left out.

    They have the same text, but for digits, at the same place in the margin of at least half of four or more pages.
    """
    pages = {element.metadata.page_number for element in elements}
    if len(pages) < _FEWEST_PAGES:
        return elements, ()
    bearing: defaultdict[tuple[str, int, int], set[int]] = defaultdict(set)
    keys = [_marginal(element) for element in elements]
    for element, key in zip(elements, keys, strict=True):
        if key is not None:
            bearing[key].add(element.metadata.page_number)
    repeated = {key for key, on in bearing.items() if 2 * len(on) >= len(pages)}
    kept: list[Any] = []
    left_out: list[str] = []
    seen: Counter[str] = Counter()
    for element, key in zip(elements, keys, strict=True):
        if key is not None and key in repeated:
            seen[key[0]] += 1
            if seen[key[0]] > 1 or not any(character.isalpha() for character in key[0]):
                left_out.append(squeezed(clean(element.text)))
                continue
        kept.append(element)
    return kept, tuple(dict.fromkeys(left_out))


def _marginal(element: Any) -> tuple[str, int, int] | None:
    """The text without its digits and the place of an element in the margin; None for one that is elsewhere."""
    box = element.metadata.coordinates
    height = getattr(getattr(box, "system", None), "height", None)
    if box is None or not box.points or not height:
        return None
    ys = [float(y) for _, y in box.points]
    left = min(float(x) for x, _ in box.points)
    if max(ys) > _MARGIN * height and min(ys) < (1 - _MARGIN) * height:
        return None
    text = _DIGITS.sub("0", squeezed(clean(element.text)))
    # A text that is centred or set to the right begins elsewhere when its number has another length.
    return text, round(min(ys) / _STEP_POINTS), 0 if "0" in text else round(left / _STEP_POINTS)


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
        reason = _OF_STREAM.sub("", str(error))[:120]
        raise ParseError(f"damaged PDF ({reason}): open it and save it again") from error
