"""Bytes -> text, whatever the encoding."""

from __future__ import annotations

import codecs
import re

from ingest.errors import ParseError

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WESTERN_LIKE = {"cp1250", "cp1257", "iso8859_10"}
"""What the detector takes French or Danish in Windows-1252 for: it cannot tell the accents apart."""
_SIGN_IN_A_WORD = re.compile(r"[^\W\d_][\xa1-\xa9\xab-\xb4\xb6-\xb9\xbb-\xbf\ufffd][^\W\d_]")
"""As in a Polish or Czech text that is read as Windows-1252."""
_DECLARED_CHARSET = re.compile(rb"""(?:charset|coding)\s*[=:]\s*["']?\s*([A-Za-z0-9_.:-]{2,40})""")


def decode(data: bytes) -> str:
    """Text of the bytes: by byte-order mark, as UTF-8 (a few broken bytes in it are replaced), by the
    declared charset, or by detection.

    Line ends become ``\\n``. NUL characters mean that it is no text: :class:`ParseError`.
    """
    text = _decode(data).replace("\r\n", "\n").replace("\r", "\n")
    if "\0" in text:
        raise ParseError("binary data, not text: rename it to what it is, or leave it out of the folder")
    return text


def _decode(data: bytes) -> str:
    for bom, encoding in _BOMS:
        if data.startswith(bom):
            return data.decode(encoding, errors="replace")
    if (wide := _utf16_without_mark(data)) is not None:
        return data.decode(wide, errors="replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        if (mostly := _mostly_utf8(data)) is not None:
            return mostly
    declared = _DECLARED_CHARSET.search(data[:2048])
    if declared:
        try:
            return data.decode(declared.group(1).decode("ascii"))
        except (LookupError, UnicodeError):  # Python has codecs, as idna, that are for no document.
            pass
    return _detect(data)


def _utf16_without_mark(data: bytes) -> str | None:
    """By where the zero bytes are: one half of most characters of a text in a Western language."""
    head = data[: 2**12]
    even, odd = head[::2].count(0), head[1::2].count(0)
    if len(head) < 16 or max(even, odd) < 0.35 * len(head) or min(even, odd) > len(head) // 64:
        return None
    return "utf-16-be" if even > odd else "utf-16-le"


def _mostly_utf8(data: bytes) -> str | None:
    """The text if ten times as many bytes beyond ASCII make sense as UTF-8 as do not."""
    text = data.decode("utf-8", errors="replace")
    broken = text.count("\N{REPLACEMENT CHARACTER}")
    sound = sum(character > "\x7f" for character in text) - broken
    return text if sound >= 10 * broken else None


def _looks_western(data: bytes) -> bool:
    return not _SIGN_IN_A_WORD.search(data.decode("cp1252", errors="replace"))


def _detect(data: bytes) -> str:
    """Detection needs evidence: for a text with few odd bytes, Windows-1252 is the better guess."""
    high = sum(byte >= 0x80 for byte in data)
    if high > 200 or (high > 40 and high >= 0.2 * len(data)):
        from charset_normalizer import from_bytes

        best = from_bytes(data).best()
        if best is not None and not (best.encoding in _WESTERN_LIKE and _looks_western(data)):
            return str(best)
    try:
        return data.decode("cp1252")
    except UnicodeDecodeError:
        return data.decode("latin-1")
