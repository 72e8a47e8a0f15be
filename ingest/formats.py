"""Which files are read, and how their bytes are checked and decoded before a parser sees them."""

from __future__ import annotations

import codecs
import re
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Literal

from ingest.errors import ParseError

Format = Literal["html", "markdown", "text", "pdf", "docx"]

FORMATS: dict[str, Format] = {
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".md": "markdown",
    ".markdown": "markdown",
    ".txt": "text",
    ".text": "text",
    ".log": "text",
    ".pdf": "pdf",
    ".docx": "docx",
}

_OLE_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
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
_DECLARED_CHARSET = re.compile(rb"""(?:charset|encoding)\s*=\s*["']?\s*([A-Za-z0-9_.:-]{2,40})""")
MAX_FILE_BYTES = 512 * 2**20
"""A larger file is refused unread."""
_MAX_UNPACKED_BYTES = 512 * 2**20


def format_of(path: Path) -> Format:
    """The format that the file's suffix promises; :class:`ParseError` names the known ones otherwise."""
    found = FORMATS.get(path.suffix.lower())
    if found is None:
        raise ParseError(
            f"unknown file type {path.suffix or 'without a suffix'!r}: "
            f"known are {' '.join(FORMATS)}; convert it, or leave it out of the folder"
        )
    return found


def check_bytes(data: bytes, kind: Format) -> None:
    """Raise :class:`ParseError` when the bytes cannot be of that format (mis-named, encrypted, empty)."""
    if not data.strip():
        raise ParseError("the file is empty: there is nothing to index")
    if kind == "pdf":
        if b"%PDF-" not in data[:1024]:
            raise ParseError("not a PDF although its name says so: rename it to what it is")
    elif kind == "docx":
        _check_docx(data)
    elif data.startswith((b"%PDF-", b"PK\x03\x04", _OLE_MAGIC, b"\x89PNG", b"\x1f\x8b")):
        raise ParseError(f"binary data in a file named as {kind}: rename it to what it is")


def _check_docx(data: bytes) -> None:
    if data.startswith(_OLE_MAGIC):
        raise ParseError("encrypted, or an old .doc: save it as .docx without a password")
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            members = archive.infolist()
    except zipfile.BadZipFile as error:
        raise ParseError(f"not a readable DOCX ({error}): open it and save it again") from error
    if not any(member.filename == "word/document.xml" for member in members):
        raise ParseError("a zip archive without a Word document in it: rename it to what it is")
    if sum(member.file_size for member in members) > _MAX_UNPACKED_BYTES:
        raise ParseError(f"it unpacks to more than {_MAX_UNPACKED_BYTES // 2**20} MiB: split it")


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
