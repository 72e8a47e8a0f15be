"""What a file shows as text, taken from its bytes in the crudest way: something to hold a reader's text against.

It knows nothing of structure, so it errs where a reader does not; but it loses nothing on the way, and every step takes
time in proportion to the file.
"""

from __future__ import annotations

import html
import re
import zipfile
import zlib
from io import BytesIO

from ingest.decoding import decode
from ingest.formats import Format
from ingest.front_matter import split_front_matter

_PLAIN = {"text", "code", "csv", "tsv"}
_TAG = re.compile(r"<[A-Za-z/!?][^<>]*+>")
_UNSEEN = re.compile(r"<(/?)(script|style|template|noscript|title|del|svg)\b[^<>]*+>", re.IGNORECASE)
"""Elements of HTML of which a reader of the page sees nothing, or no text."""
_LINK_TARGET = re.compile(r"\]\([^()\s]*+|^ {0,3}\[[^\]\n]*+\]:.*$", re.MULTILINE)
_NO_PROSE = {
    # Comments with all that is indented below them; of directives, the first line.
    "rst": re.compile(
        r"^[ \t]*\.\.(?![^\n]*::)(?:[ \t][^\n]*+)?\n(?:(?:[ \t][^\n]*+)?\n)*+|^[ \t]*\.\. .*$", re.MULTILINE
    ),
    "org": re.compile(r"^[ \t]*(?:#\+?|:\w+:).*$|\[\[[^\[\]]*+\]\[", re.MULTILINE),
}
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|[nrtbf])")
_MEMBERS: dict[str, tuple[str, str]] = {
    "docx": (r"word/(?:document|footnotes|endnotes|diagrams/data\d*)\.xml", "w:t|a:t"),
    "pptx": (r"ppt/(?:slides/slide|notesSlides/notesSlide|diagrams/data)\d*\.xml", "a:t"),
    "xlsx": (r"xl/sharedStrings\.xml", "t"),
    "odt": (r"content\.xml", ""),
    "ods": (r"content\.xml", ""),
    "odp": (r"content\.xml", ""),
    "epub": (r".*\.x?html?", ""),
}
"""Of a zip archive, the members with text and, where not all of it is shown, the elements that hold it."""


def held_text(data: bytes, kind: Format) -> str | None:
    """What a file of that format, which its reader could read, shows as text; None where only its reader can tell."""
    if kind in _MEMBERS:
        return _of_members(data, *_MEMBERS[kind])
    if kind in _PLAIN:
        return decode(data)
    if kind in ("json", "ndjson"):
        return _ESCAPE.sub(lambda match: chr(int(match[1], 16)) if match[1] else " ", decode(data))
    if kind == "html":
        return _page_text(decode(data))
    if kind == "xml":
        return _without_tags(decode(data))
    if kind == "markdown":
        return _page_text(_LINK_TARGET.sub(" ", split_front_matter(decode(data))[1]))
    if kind in _NO_PROSE:
        return _NO_PROSE[kind].sub(" ", decode(data))
    return None


def _page_text(page: str) -> str:
    """Of a page in HTML, without what browsers do not show."""
    page = _without_comments(page)
    shown: list[str] = []
    start, within = 0, ""
    for tag in _UNSEEN.finditer(page):
        closes, name = bool(tag[1]), tag[2].lower()
        if not within and not closes:
            shown.append(page[start : tag.start()])
            within = name
        elif within == name and closes:
            start, within = tag.end(), ""
    if not within:
        shown.append(page[start:])
    return _without_tags(" ".join(shown))


def _without_comments(page: str) -> str:
    parts: list[str] = []
    start = 0
    while (begin := page.find("<!--", start)) >= 0:
        parts.append(page[start:begin])
        end = page.find("-->", begin + 4)
        start = end + 3 if end >= 0 else len(page)
    return " ".join([*parts, page[start:]])


def _without_tags(markup: str) -> str:
    text = markup.replace("<![CDATA[", " ").replace("]]>", " ")
    return html.unescape(_TAG.sub(" ", text))


def _of_members(data: bytes, names: str, elements: str) -> str:
    texts: list[str] = []
    with zipfile.ZipFile(BytesIO(data)) as archive:
        for name in archive.namelist():
            if not re.fullmatch(names, name):
                continue
            try:
                text = archive.read(name).decode("utf-8", "replace")
            except (zipfile.BadZipFile, zlib.error):  # A member that the reader had no need of.
                continue
            if elements:
                text = " ".join(re.findall(rf"<(?:{elements})(?:\s[^<>]*+)?>([^<]*+)", text))
            texts.append(_page_text(text))
    return "\n".join(texts)
