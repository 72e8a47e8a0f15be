"""Which files are read, and how their bytes are checked before a reader sees them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from ingest.archives import OLE_FORMATS, OLE_MAGIC, ZIPPED, check_zip, ole_kind
from ingest.errors import ParseError

Format = Literal[
    "html", "markdown", "text", "pdf", "docx", "xml", "rst", "org", "doc", "odt", "rtf", "epub", "pptx", "ppt", "odp",
    "xlsx", "xls", "ods", "csv", "tsv", "eml", "msg", "json", "ndjson", "code",
]  # fmt: skip

_SUFFIXES: dict[Format, str] = {
    "html": ".html .htm .xhtml",
    "markdown": ".md .markdown",
    "text": ".txt .text .log",
    "pdf": ".pdf",
    "docx": ".docx",
    "xml": ".xml",
    "rst": ".rst",
    "org": ".org",
    "doc": ".doc",
    "odt": ".odt",
    "rtf": ".rtf",
    "epub": ".epub",
    "pptx": ".pptx",
    "ppt": ".ppt",
    "odp": ".odp",
    "xlsx": ".xlsx .xlsm",
    "xls": ".xls",
    "ods": ".ods",
    "csv": ".csv",
    "tsv": ".tsv .tab",
    "eml": ".eml",
    "msg": ".msg",
    "json": ".json .geojson",
    "ndjson": ".ndjson .jsonl",
    "code": (
        ".py .pyi .js .mjs .cjs .jsx .ts .tsx .java .kt .kts .scala .c .h .cc .cpp .cxx .hh .hpp .cs .go .rs .rb .php "
        ".swift .m .pl .pm .lua .r .jl .hs .ml .ex .exs .erl .clj .dart .zig .sh .bash .zsh .fish .ps1 .bat .sql .css "
        ".scss .less .vue .svelte .toml .yaml .yml .ini .cfg .conf .properties .tf .proto .graphql .cmake .gradle .tex"
    ),
}
FORMATS: dict[str, Format] = {suffix: kind for kind, suffixes in _SUFFIXES.items() for suffix in suffixes.split()}
"""The format of each suffix."""
MAX_FILE_BYTES = 512 * 2**20
"""A larger file is refused unread."""
_MAGICS: tuple[tuple[bytes, str], ...] = (
    (b"%PDF-", "a PDF"),
    (b"PK\x03\x04", "a zip archive or an Office file"),
    (OLE_MAGIC, "an old Office file"),
    (b"{\\rtf", "an RTF file"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"\x1f\x8b", "a gzip file"),
    (b"SQLite format 3", "an SQLite database"),
)


def format_of(path: Path) -> Format:
    """The format that the file's suffix promises; :class:`ParseError` names the known ones otherwise."""
    found = FORMATS.get(path.suffix.lower())
    if found is None:
        known = " ".join(suffix for suffix, kind in FORMATS.items() if kind != "code")
        raise ParseError(
            f"unknown file type {path.suffix or 'without a suffix'!r}: known are {known} and source code; "
            "convert it, or leave it out of the folder"
        )
    return found


def check_bytes(data: bytes, kind: Format) -> None:
    """Raise :class:`ParseError` when the bytes cannot be of that format (mis-named, encrypted, empty), or when it is
    not safe to read them as it."""
    if not data.strip():
        raise ParseError("the file is empty: there is nothing to index")
    if kind == "pdf":
        if b"%PDF-" not in data[:1024]:
            raise ParseError("not a PDF although its name says so: rename it to what it is")
        return
    if kind in ZIPPED:
        if data.startswith(OLE_MAGIC):
            raise ParseError(_ole_reason(data, kind))
        check_zip(data, kind)
        return
    if kind in OLE_FORMATS and data.startswith(OLE_MAGIC):
        if ole_kind(data) != kind:
            raise ParseError(_ole_reason(data, kind))
        return
    if kind == "rtf" and data.lstrip().startswith(b"{\\rtf"):
        return
    found = next((what for magic, what in _MAGICS if data.startswith(magic)), None)
    if found is not None:
        raise ParseError(f"{found} in a file named as {kind}: rename it to what it is")
    if kind in OLE_FORMATS or kind == "rtf":
        raise ParseError(f"not {kind.upper()} although its name says so: rename it to what it is (text, HTML, CSV?)")


def _ole_reason(data: bytes, kind: Format) -> str:
    found = ole_kind(data)
    if found == "encrypted":
        return "encrypted with a password: save a copy without one"
    if found is None:
        return f"encrypted, or an old file that is no .{kind}: save it as .{kind} without a password"
    return f"an old .{found} file although its name says .{kind}: rename it to .{found}"
