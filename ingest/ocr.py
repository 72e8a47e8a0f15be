"""Pages of a PDF that are pictures, read by the tesseract program.

pdfium draws a page in grey, tesseract finds its words. They become elements like those of a text layer, with their page
and place, so that headings, tables and repeated headers are found in the same way.
"""

from __future__ import annotations

import math
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from ingest.converters import run_program
from ingest.errors import MissingPartError, ParseError

DEFAULT_LANGUAGE = "eng"
TESSERACT = "tesseract (Debian: apt-get install tesseract-ocr)"
PAGE_SECONDS = 120
"""Of wall time, and of the processor, for one page."""
_DPI = 300
"""What tesseract's models were trained on; in the small print of a scan at 200, letters are mistaken."""
MAX_PIXELS = 36_000_000
"""Of a page's picture, two A3 at 300 dots an inch; a larger page is drawn coarser."""
_STAMP, _PICTURE = 100, 0.7
"""A page with fewer letters, under or over a picture that covers at least this share of it, may be a scan that was
numbered or signed."""
_CELL_GAP = 2.0
"""A gap between two words that is wider than so many heights of their line is one between the cells of a table."""


class _Word(NamedTuple):
    """Its paragraph and line on the page, its box in points from the upper left corner, and its text."""

    paragraph: tuple[int, int]
    line: int
    left: float
    top: float
    right: float
    bottom: float
    text: str


def check_ocr(languages: str) -> None:
    """Raise :class:`MissingPartError` where tesseract or its data for one of the ``languages`` (``eng+deu``) is not
    installed."""
    program = _tesseract()
    try:
        listed = subprocess.run(
            [program, "--list-langs"], capture_output=True, timeout=PAGE_SECONDS, stdin=subprocess.DEVNULL, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise MissingPartError(f"{program} does not work ({error}): install it again") from error
    # After a heading a name a line; older versions write to stderr.
    known = (listed.stdout + listed.stderr).decode("utf-8", "replace").split()
    for name in languages.split("+"):
        if name not in known:
            raise MissingPartError(
                f"tesseract has no data for a language {name[:40]!r}: install it (Debian: tesseract-ocr-{name[:40]}), "
                "or name others in --ocr-language, such as eng or eng+deu"
            )


def _tesseract() -> str:
    program = shutil.which("tesseract")
    if program is None:
        raise MissingPartError(f"OCR needs {TESSERACT}: install it, or leave out --ocr")
    return program


def scanned_pages(data: bytes, letters: Mapping[int, int]) -> tuple[int, ...]:
    """Pages, from 1, that look like scans, by the ``letters`` of their text layers: those that show something and have
    none, which empty pages do not, and those that are a picture and have hardly any, as from a stamp."""
    import pypdfium2

    try:
        pdf = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError:
        # What only other programs can open cannot be drawn either.
        return ()
    try:
        few = [number for number in range(1, len(pdf) + 1) if letters.get(number, 0) < _STAMP]
        return tuple(number for number in few if _is_scan(pdf, number, letters.get(number, 0)))
    finally:
        pdf.close()


def _is_scan(pdf: Any, number: int, letters: int) -> bool:
    import pypdfium2
    from pypdfium2.raw import FPDF_PAGEOBJ_IMAGE

    try:
        page = pdf[number - 1]
        if not letters:
            return next(page.get_objects(max_depth=1), None) is not None
        width, height = page.get_size()
        pictures = [shown.get_bounds() for shown in page.get_objects([FPDF_PAGEOBJ_IMAGE], max_depth=1)]
        largest = max(((right - left) * (top - bottom) for left, bottom, right, top in pictures), default=0.0)
        return bool(largest >= _PICTURE * width * height)
    except pypdfium2.PdfiumError:
        return not letters


def read_pages(data: bytes, pages: Sequence[int], languages: str) -> tuple[list[Any], dict[int, str]]:
    """unstructured's elements of these pages (from 1) of a PDF, as tesseract reads them; and by page, why it failed on
    one: the others go on.

    Raises :class:`MissingPartError` without tesseract.
    """
    import pypdfium2

    program = _tesseract()
    found: list[Any] = []
    failed: dict[int, str] = {}
    pdf = pypdfium2.PdfDocument(data)
    try:
        for number in pages:
            try:
                found += _page(pdf[number - 1], number, program, languages)
            except (ParseError, pypdfium2.PdfiumError) as error:
                failed[number] = str(error)
    finally:
        pdf.close()
    return found, failed


def _page(page: Any, number: int, program: str, languages: str) -> list[Any]:
    width, height = (max(side, 1.0) for side in page.get_size())
    scale = min(_DPI / 72, math.sqrt(MAX_PIXELS / (width * height)))
    picture = page.render(scale=scale, grayscale=True).to_numpy()
    with TemporaryDirectory() as folder:
        file, table = Path(folder, "page.pgm"), Path(folder, "page.tsv")
        file.write_bytes(b"P5 %d %d 255\n" % picture.shape[1::-1] + picture.tobytes())
        command = [program, str(file), str(table.with_suffix("")), "-l", languages, "--dpi", str(round(scale * 72))]
        # 1: columns and blocks are found, and a page that lies on its side is turned first.
        command += ["--psm", "1", "-c", "tessedit_create_tsv=1"]
        # The parsers run side by side already, one a core.
        variables = {"OMP_THREAD_LIMIT": "1"}
        if "TESSDATA_PREFIX" in os.environ:
            variables["TESSDATA_PREFIX"] = os.environ["TESSDATA_PREFIX"]
        run_program("tesseract", command, folder, PAGE_SECONDS, variables)
        words = _words(table.read_text(encoding="utf-8", errors="replace"), scale)
        return [_element(text, box, number, (width, height)) for text, box in _texts(words)]


def _words(table: str, scale: float) -> Iterator[_Word]:
    """From tesseract's table; ``scale``: pixels a point."""
    for row in table.split("\n")[1:]:
        level, _, block, paragraph, line, _, *box, _, text = row.split("\t") if row.count("\t") == 11 else [""] * 12
        if level == "5" and text.strip():
            left, top, width, height = (int(number) / scale for number in box)
            yield _Word(
                paragraph=(int(block), int(paragraph)),
                line=int(line),
                left=left,
                top=top,
                right=left + width,
                bottom=top + height,
                text=text.strip(),
            )


_Box = tuple[float, float, float, float]


def _texts(words: Iterable[_Word]) -> Iterator[tuple[str, _Box]]:
    """Paragraphs; of one with wide gaps in its lines each cell, with the height of its line."""
    for _, group in groupby(words, key=lambda word: word.paragraph):
        paragraph = list(group)
        lines = [list(line) for _, line in groupby(paragraph, key=lambda word: word.line)]
        rows = [list(_cells(line)) for line in lines]
        if all(len(cells) == 1 for cells in rows):
            yield _joined(paragraph), _box(paragraph)
            continue
        for line, cells in zip(lines, rows, strict=True):
            _, top, _, bottom = _box(line)
            for cell in cells:
                yield _joined(cell), (cell[0].left, top, cell[-1].right, bottom)


def _cells(line: list[_Word]) -> Iterator[list[_Word]]:
    _, top, _, bottom = _box(line)
    cell = line[:1]
    for word in line[1:]:
        if word.left - cell[-1].right > _CELL_GAP * (bottom - top):
            yield cell
            cell = []
        cell.append(word)
    yield cell


def _joined(words: Iterable[_Word]) -> str:
    return " ".join(word.text for word in words)


def _box(words: Sequence[_Word]) -> _Box:
    return (
        min(word.left for word in words),
        min(word.top for word in words),
        max(word.right for word in words),
        max(word.bottom for word in words),
    )


def _element(text: str, box: _Box, page: int, size: tuple[float, float]) -> Any:
    from unstructured.documents.coordinates import PixelSpace
    from unstructured.documents.elements import CoordinatesMetadata, ElementMetadata
    from unstructured.partition.text import element_from_text

    left, top, right, bottom = box
    points = ((left, top), (left, bottom), (right, bottom), (right, top))
    system = PixelSpace(width=size[0], height=size[1])
    element = element_from_text(text, coordinates=points, coordinate_system=system)
    element.metadata = ElementMetadata(page_number=page, coordinates=CoordinatesMetadata(points=points, system=system))
    return element
