"""Zip archives and OLE files: what they are, and whether they are safe to hand to a reader.

Nothing is unpacked to disk here, and no size that an archive declares is believed.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from io import BytesIO

from ingest.errors import ParseError

OLE_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
MAX_UNPACKED_BYTES = 512 * 2**20
_MAX_MEMBERS = 20_000
_STEP = 2**20
_MARKUP = (".xml", ".rels", ".xhtml", ".html", ".htm", ".opf", ".ncx")
_PROLOGUE = 2**16
"""Bytes of an XML member in which its entities would have to be declared."""
_MEMBER_OF = {
    "docx": "word/document.xml",
    "pptx": "ppt/presentation.xml",
    "xlsx": "xl/workbook.xml",
    "epub": "META-INF/container.xml",
}
_MIME_OF = {
    "odt": b"application/vnd.oasis.opendocument.text",
    "ods": b"application/vnd.oasis.opendocument.spreadsheet",
    "odp": b"application/vnd.oasis.opendocument.presentation",
}
ZIPPED = frozenset((*_MEMBER_OF, *_MIME_OF))
"""Formats that are zip archives."""
_STREAM_OF = {
    "doc": "WordDocument",
    "xls": "Workbook",
    "ppt": "PowerPoint Document",
    "msg": "__properties_version1.0",
    "encrypted": "EncryptedPackage",
}
OLE_FORMATS = frozenset(_STREAM_OF) - {"encrypted"}


def ole_kind(data: bytes) -> str | None:
    """What an OLE file is: a key of the formats of old Office files, or "encrypted"; None for something else."""
    named = {kind for kind, stream in _STREAM_OF.items() if stream.encode("utf-16-le") in data}
    for kind in ("encrypted", "msg", "ppt", "doc", "xls"):
        if kind in named:
            return kind
    return "xls" if "Book".encode("utf-16-le") in data else None


def zip_kind(archive: zipfile.ZipFile) -> str | None:
    """Which of :data:`ZIPPED` the archive holds; None for something else."""
    names = set(archive.namelist())
    for kind, member in _MEMBER_OF.items():
        if member in names:
            return kind
    if "mimetype" in names and archive.getinfo("mimetype").file_size < 200:
        mime = archive.read("mimetype").strip()
        for kind, known in _MIME_OF.items():
            if mime == known:
                return kind
    return None


def check_zip(data: bytes, kind: str) -> None:
    """Raise :class:`ParseError` unless the bytes are a sound zip archive that holds that format.

    Refused are encrypted members, names that lead out of the archive, members that unpack to too much whatever they
    declare, and XML that declares entities.
    """
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            members = archive.infolist()
            if len(members) > _MAX_MEMBERS:
                raise ParseError(f"an archive of {len(members)} members: split it")
            if sum(member.file_size for member in members) > MAX_UNPACKED_BYTES:
                raise _too_large()
            room = MAX_UNPACKED_BYTES
            for member in members:
                _check_name(member)
                room -= _check_member(data, member, room)
            found = zip_kind(archive)
            if found == kind:
                _check_locks(archive, kind)
    except (zipfile.BadZipFile, zlib.error, struct.error, NotImplementedError) as error:
        raise ParseError(f"not a readable {kind.upper()} ({error}): open it and save it again") from error
    if found != kind:
        what = f"a .{found} file" if found else "a zip archive with something else in it"
        raise ParseError(f"{what} although its name says .{kind}: rename it to what it is")


def _too_large() -> ParseError:
    return ParseError(f"it unpacks to more than {MAX_UNPACKED_BYTES // 2**20} MiB: split it")


def _check_name(member: zipfile.ZipInfo) -> None:
    parts = member.filename.replace("\\", "/").split("/")
    if ".." in parts or parts[0] == "" or ":" in parts[0]:
        raise ParseError(f"a member of the archive leads out of it ({member.filename[:60]!r}): do not trust this file")


def _check_member(data: bytes, member: zipfile.ZipInfo, room: int) -> int:
    """Unpack one member as far as its own stream goes, not its header; returns its size in bytes."""
    if member.flag_bits & 0x1:
        raise ParseError("encrypted with a password: save a copy without one")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ParseError("an archive packed in an unusual way: open it and save it again")
    name_length, extra_length = struct.unpack_from("<HH", data, member.header_offset + 26)
    start = member.header_offset + 30 + name_length + extra_length
    if member.compress_type == zipfile.ZIP_STORED:
        head, size = data[start : start + min(member.compress_size, _PROLOGUE)], member.compress_size
    else:
        head, size = _inflated(memoryview(data)[start:], room)
    if size > room:
        raise _too_large()
    if member.filename.lower().endswith(_MARKUP) and b"<!ENTITY" in head.replace(b"\0", b""):
        raise ParseError(f"its {member.filename[:60]!r} declares XML entities: do not trust this file")
    return size


def _inflated(packed: memoryview, room: int) -> tuple[bytes, int]:
    """The beginning of a deflated stream, and its size or the first one seen that is over ``room``."""
    stream = zlib.decompressobj(-15)
    head, size, position, rest = b"", 0, 0, b""
    while not stream.eof and size <= room:
        if not rest:
            rest = bytes(packed[position : position + _STEP])
            position += _STEP
        if not rest:
            break
        text = stream.decompress(rest, _STEP)
        rest = stream.unconsumed_tail
        size += len(text)
        if len(head) < _PROLOGUE:
            head += text[: _PROLOGUE - len(head)]
    return head, size


def _check_locks(archive: zipfile.ZipFile, kind: str) -> None:
    """OpenDocument encrypts, and EPUB protects, member by member, and says so in a member of its own."""
    names = set(archive.namelist())
    if kind in _MIME_OF and "META-INF/manifest.xml" in names:
        if b"encryption-data" in archive.read("META-INF/manifest.xml"):
            raise ParseError("encrypted with a password: save a copy without one")
    elif kind == "epub" and "META-INF/encryption.xml" in names:
        locked = archive.read("META-INF/encryption.xml").lower()
        if b".xhtml" in locked or b".html" in locked or b".htm" in locked:
            raise ParseError("protected against copying: only its own reading program can open it")
