"""Citation markers in a text: ``[2]``, ``[1, 3]``, ``[1; 3]``."""

from __future__ import annotations

import re

MARKER = re.compile(r"\[\s*(\d+(?:\s*[,;]\s*\d+)*)\s*\]")

_DIGITS = 9


def plain(text: str) -> str:
    """An answer without citation markers, in single spaces."""
    return re.sub(r"\s+([.,;!?])", r"\1", " ".join(MARKER.sub(" ", text).split()))


def numbers_in(text: str) -> tuple[int, ...]:
    """The numbers that a text cites, each once, in order. Only the first 9 digits of a number are read."""
    found = (int(number[:_DIGITS]) for match in MARKER.finditer(text) for number in re.findall(r"\d+", match[1]))
    return tuple(dict.fromkeys(found))
