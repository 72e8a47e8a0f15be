"""Presentations. unstructured's reader puts a slide's notes before its title, and leaves charts and what stands beside
the slide out; python-pptx, which it stands on, gives all of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from io import BytesIO
from typing import Any

from ingest.rows import Reading, Row, clean, squeezed, table_rows


def read_pptx(data: bytes) -> Reading:
    """Each slide under its title, then its notes; the page of a row is the number of its slide, from 1."""
    from pptx import Presentation

    rows: list[Row] = []
    for number, slide in enumerate(Presentation(BytesIO(data)).slides, start=1):
        title = slide.shapes.title
        if title is not None and (text := squeezed(title.text_frame.text)):
            rows.append(Row(text, "title", number))
        rows += _shapes((shape for shape in slide.shapes if title is None or shape.shape_id != title.shape_id), number)
        notes = slide.notes_slide.notes_text_frame if slide.has_notes_slide else None
        if notes is not None and (text := clean(notes.text)):
            rows.append(Row(f"Notes: {text}", page=number))
    return Reading(rows=[row for row in rows if row.text])


def _shapes(shapes: Iterable[Any], page: int) -> Iterator[Row]:
    """From top to bottom and from left to right; placeholders without a place of their own come first, in order."""
    for shape in sorted(shapes, key=lambda shape: (shape.top or 0, shape.left or 0)):
        if hasattr(shape, "shapes"):
            yield from _shapes(shape.shapes, page)
        elif getattr(shape, "has_table", False):
            yield from table_rows(([cell.text for cell in row.cells] for row in shape.table.rows), page)
        elif getattr(shape, "has_chart", False):
            yield from _chart(shape.chart, page)
        elif getattr(shape, "has_text_frame", False):
            for paragraph in shape.text_frame.paragraphs:
                listed = bool(paragraph._p.xpath("./a:pPr/a:buChar | ./a:pPr/a:buAutoNum"))
                yield Row(clean(paragraph.text.replace("\v", "\n")), "list" if listed else "text", page)


def _chart(chart: Any, page: int) -> Iterator[Row]:
    """The title of a chart, and its series as a table with the categories as its first column."""
    if chart.has_title and chart.chart_title.has_text_frame:
        yield Row(clean(chart.chart_title.text_frame.text), page=page)
    for plot in chart.plots:
        names = [series.name or "" for series in plot.series]
        columns = [[f"{value:g}" if value is not None else "" for value in series.values] for series in plot.series]
        categories = [str(category) for category in plot.categories]
        yield from table_rows([["", *names], *map(list, zip(categories, *columns, strict=False))], page)
