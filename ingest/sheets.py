"""CSV, TSV and workbooks. unstructured reads them with pandas, which turns 007 into 7 and 1.10 into 1.1, and makes one
line of a table; here every cell is the text that was written, or that the program shows."""

from __future__ import annotations

import csv
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, time
from io import BytesIO
from typing import Any

from ingest.rows import Reading, Row, blocks, table_rows

_DELIMITERS = ",;\t|"
_SAMPLE_LINES = 50
_SAMPLE_CHARACTERS = 2**16


def read_csv(text: str) -> Reading:
    """A table; its delimiter is the one that divides the first lines most evenly."""
    return _delimited(text, _delimiter(text[:_SAMPLE_CHARACTERS]))


def read_tsv(text: str) -> Reading:
    """A table with tabs between the cells."""
    return _delimited(text, "\t")


def _delimited(text: str, delimiter: str) -> Reading:
    csv.field_size_limit(sys.maxsize)
    return Reading(rows=list(table_rows(csv.reader(text.split("\n"), delimiter=delimiter))))


def _delimiter(sample: str) -> str:
    lines = [line for line in sample.split("\n") if line.strip()][:_SAMPLE_LINES]
    csv.field_size_limit(sys.maxsize)

    def evenness(delimiter: str) -> tuple[float, int]:
        widths = Counter(len(row) for row in csv.reader(lines, delimiter=delimiter) if row)
        width, often = max(widths.items(), key=lambda item: (item[1], item[0]), default=(1, 1))
        return (often / max(1, widths.total()) if width > 1 else 0.0, width)

    return max(_DELIMITERS, key=evenness)


def read_xlsx(data: bytes) -> Reading:
    """Each sheet under its name. A formula's cell has the value that the program last saved."""
    from openpyxl import load_workbook  # type: ignore[import-untyped]

    rows: list[Row] = []
    book = load_workbook(BytesIO(data), read_only=True, data_only=True, keep_links=False)
    for sheet in book.worksheets:
        # What a sheet says of its size is not to be trusted.
        sheet.reset_dimensions()
        rows += _sheet(sheet.title, ([_shown(cell.value, cell) for cell in row] for row in sheet.iter_rows()))
    return Reading(rows=rows)


def read_xls(data: bytes) -> Reading:
    """Each sheet under its name."""
    import xlrd  # type: ignore[import-untyped]

    book = xlrd.open_workbook(file_contents=data, formatting_info=True, logfile=_Nowhere())
    rows: list[Row] = []
    for sheet in book.sheets():
        rows += _sheet(sheet.name, ([_xls_cell(book, cell) for cell in row] for row in sheet.get_rows()))
    return Reading(rows=rows)


class _Nowhere:
    """xlrd writes what it wonders about to a file."""

    def write(self, text: str) -> None:
        del text


def _sheet(name: str, lines: Iterable[Sequence[str]]) -> Iterator[Row]:
    found = list(blocks(lines))
    if found:
        yield Row(" ".join(name.split()) or "Sheet", "title")
    yield from found


def _shown(value: Any, cell: Any = None) -> str:
    """A value as a person sees it in the sheet, except that it is not rounded."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == time() else value.isoformat(sep=" ", timespec="minutes")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float | int) and "%" in str(getattr(cell, "number_format", "")):
        return f"{value * 100:.10g}%"
    if isinstance(value, float):
        return f"{value:.15g}"
    return str(value)


def _xls_cell(book: Any, cell: Any) -> str:
    import xlrd

    if cell.ctype == xlrd.XL_CELL_ERROR:
        return str(xlrd.error_text_from_code.get(cell.value, ""))
    if cell.ctype == xlrd.XL_CELL_BOOLEAN:
        return _shown(bool(cell.value))
    if cell.ctype == xlrd.XL_CELL_DATE:
        try:
            return _shown(xlrd.xldate_as_datetime(cell.value, book.datemode))
        except (ValueError, OverflowError):
            return _shown(cell.value)
    if cell.ctype == xlrd.XL_CELL_NUMBER:
        form = book.format_map.get(book.xf_list[cell.xf_index].format_key)
        return f"{cell.value * 100:.10g}%" if form is not None and "%" in form.format_str else _shown(cell.value)
    return str(cell.value or "")
