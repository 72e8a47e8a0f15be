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
_COMMONEST = "cp1252"
_ASCII = bytes(range(128))
_SURE, _ENOUGH = 0.12, 3
"""Of the detector's confidence, and bytes beyond ASCII. Where it took one of 40 short Western texts for something else,
it had one such byte or a confidence of 0.09 at most; where it was right with one of 115 texts, of one to three
sentences in 28 languages, of 0.145 at least."""
_OTHER_SCRIPT = 0.2
"""Share of bytes beyond ASCII that no language in Latin letters has. For less, encodings of DOS are not thought of: the
detector finds them in English with a few typographic quotes."""
_WIDER = {"ISO-8859-1": "cp1252", "EUC-KR": "cp949", "GB2312": "gb18030", "SHIFT_JIS": "cp932", "Big5": "big5hkscs"}
"""What a text turns out to be in when it goes on behind what the detector looks at."""
_ISO_2022_JP = re.compile(rb"\x1b\$[@B](?:[\x21-\x7e]{2})+\x1b\([BJ]")
"""Japanese mail: ASCII bytes only, between escape sequences."""
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
    if _ISO_2022_JP.search(data):
        return data.decode("iso2022_jp_2", errors="replace")
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


def _detect(data: bytes) -> str:
    """Detection needs evidence: for a text with few odd bytes, Windows-1252 is the better guess."""
    from chardet import EncodingEra, detect

    odd = len(data.translate(None, _ASCII))
    eras = EncodingEra.MODERN_WEB | EncodingEra.LEGACY_ISO
    if odd > len(data) * _OTHER_SCRIPT:
        eras |= EncodingEra.DOS
    found = detect(data, encoding_era=eras)
    sure = odd >= _ENOUGH and found["confidence"] >= _SURE
    name = found["encoding"] if sure and found["encoding"] else _COMMONEST
    return data.decode(_WIDER.get(name, name), errors="replace")
