"""unstructured's text-layer PDF reader, without the layout models it never calls.

``partition_pdf(strategy="fast")`` reads the text layer with pdfminer.six alone, but its module imports
unstructured-inference and OpenCV (torchvision, timm, ONNX, OCR: gigabytes) at the top. Where those are not
installed, placeholders take their names while that module is imported, so that the fast path can be used.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from io import BytesIO
from typing import Any
from unittest.mock import MagicMock

_NEVER_CALLED = (
    "cv2",
    "unstructured_inference",
    "unstructured_inference.config",
    "unstructured_inference.constants",
    "unstructured_inference.inference",
    "unstructured_inference.inference.elements",
    "unstructured_inference.inference.layout",
    "unstructured_inference.inference.pdf_image",
)


@contextmanager
def _placeholders() -> Iterator[None]:
    if find_spec("unstructured_inference") is not None:
        yield
        return
    added = [name for name in _NEVER_CALLED if name not in sys.modules]
    sys.modules.update({name: MagicMock(name=name) for name in added})
    try:
        yield
    finally:
        for name in added:
            del sys.modules[name]


_LINE_POINTS = 24.0
"""No line of a table's text is higher than this (in points, 1/72 inch)."""


def partition_text_layer(data: bytes) -> list[Any]:
    """unstructured's elements of a PDF's text layer, in reading order, with 1-based page numbers."""
    with _placeholders():
        from unstructured.partition.pdf import partition_pdf
    try:
        found: list[Any] = partition_pdf(file=BytesIO(data), strategy="fast", languages=["eng"])
    except ValueError as error:
        # Without a text layer it turns to OCR and, where that is not installed, says so like this.
        if "not extractable" in str(error):
            return []
        raise
    return found


def table_rows(elements: list[Any]) -> Iterator[list[Any]]:
    """Group elements that stand side by side on one line of a page: the cells of a table row, left to right.

    The fast path gives every cell as an element of its own. Neighbours in reading order belong together when
    each is one line high, they overlap vertically by half a line or more, and they follow from left to right.
    """
    row: list[Any] = []
    for element in elements:
        if row and _side_by_side(row[-1], element):
            row.append(element)
            continue
        if row:
            yield row
        row = [element]
    if row:
        yield row


def _side_by_side(left: Any, right: Any) -> bool:
    if left.metadata.page_number != right.metadata.page_number:
        return False
    boxes = [element.metadata.coordinates for element in (left, right)]
    if any(box is None or box.points is None for box in boxes):
        return False
    (x1, top1, x2, bottom1), (x3, top2, _, bottom2) = (_box(box.points) for box in boxes)
    height = min(bottom1 - top1, bottom2 - top2)
    overlap = min(bottom1, bottom2) - max(top1, top2)
    one_line = max(bottom1 - top1, bottom2 - top2) < 1.7 * height
    return x3 >= x2 > x1 and one_line and overlap > 0.5 * height and height < _LINE_POINTS


def _box(points: Any) -> tuple[float, float, float, float]:
    xs = [float(x) for x, _ in points]
    ys = [float(y) for _, y in points]
    return min(xs), min(ys), max(xs), max(ys)
