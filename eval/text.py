"""Text from questions, answers and documents, made fit to be shown: any of it may hold anything."""

from __future__ import annotations

import re

_UNFIT = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters except tab and newline: no XML, escape codes at a terminal
    "\u202a-\u202e\u2066-\u2069"  # overrides of the direction of writing: text would show in another order
    "\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"  # halves of pairs and what is no character: no UTF-8, no XML
)
_MARKUP = re.compile(r"([\\`*|~$]|\](?=[(\[])|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))")
_LINKS = (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("://", ":\\//"), ("www.", "www\\."))


def printable(text: str) -> str:
    """The text with U+FFFD for each character that XML, UTF-8 or a terminal cannot take; CR LF becomes LF."""
    return _UNFIT.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))


def shortened(text: str, width: int) -> str:
    """One line of at most ``width`` characters, white space collapsed, "…" for what was cut."""
    line = " ".join(printable(text).split())
    return line if len(line) <= width else line[: width - 1].rstrip() + "…"


def cell(text: str, width: int = 120) -> str:
    """Text for a cell of a Markdown table: one line in which nothing is markup, a link or the end of the cell."""
    line = _MARKUP.sub(r"\\\1", shortened(text, width))
    for found, instead in _LINKS:
        line = line.replace(found, instead)
    return line or " "
