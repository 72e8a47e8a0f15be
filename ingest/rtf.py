"""RTF, read here: pandoc, which unstructured has read it, swallows letters behind accented ones and knows one code
page.

After the Rich Text Format Specification 1.9.1 (Microsoft, 2008): groups inherit and restore their state, ``\\*`` and
some known words open groups that hold no text, ``\\u`` is followed by ``\\uc`` characters that stand in for it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from ingest.rows import Reading, Row, clean, squeezed, table_rows

_TOKEN = re.compile(
    rb"\\(?P<word>[A-Za-z]{1,32})(?P<number>-?\d{1,10})? ?|\\'(?P<hex>[0-9A-Fa-f]{2})|\\(?P<sign>[^A-Za-z'])"
    rb"|(?P<brace>[{}])|(?P<text>[^\\{}\r\n]+)|(?P<rest>[\s\S])"
)
_WITHOUT_TEXT = {
    "colortbl", "info", "pict", "object", "fldinst", "bkmkstart", "bkmkend", "listtable", "listoverridetable", "revtbl",
    "rsidtbl", "generator", "nonshppict", "themedata", "colorschememapping", "datastore", "latentstyles", "xmlnstbl",
    "sp", "nonesttables", "filetbl", "pnseclvl", "template",
}  # fmt: skip
_STARRED_WITH_TEXT = {"shpinst", "shptxt", "footnote", "nesttableprops", "ud"}
_FURNITURE = {f"{part}{side}" for part in ("header", "footer") for side in ("", "l", "r", "f")}
_SIGNS = {
    "par": "\n", "line": "\n", "sect": "\n", "page": "\n", "tab": "\t", "emdash": "—", "endash": "–", "bullet": "•",
    "lquote": "‘", "rquote": "’", "ldblquote": "“", "rdblquote": "”", "emspace": " ", "enspace": " ",
}  # fmt: skip
_PARAGRAPH_ENDS = {"par", "sect", "page"}
_CODE_PAGES = {
    0: "cp1252", 2: "cp1252", 77: "mac_roman", 128: "cp932", 129: "cp949", 134: "gbk", 136: "big5", 161: "cp1253",
    162: "cp1254", 163: "cp1258", 177: "cp1255", 178: "cp1256", 186: "cp1257", 204: "cp1251", 222: "cp874",
    238: "cp1250",
}  # fmt: skip
"""Of the character sets of fonts (``\\fcharset``)."""
_NOT_OUTLINED = 9


@dataclass(frozen=True, slots=True)
class _State:
    """What a group inherits; ``target`` is where its text goes."""

    target: str = "text"
    stand_ins: int = 1
    font: int = -1
    outline: int = _NOT_OUTLINED
    listed: bool = False
    in_table: bool = False
    furniture: bool = False
    """In a header or footer."""


@dataclass(slots=True)
class _Reader:
    """Rows gathered so far, and the paragraph, table row and table in hand."""

    code_page: str = "cp1252"
    fonts: dict[int, str] = field(default_factory=dict)
    styles: dict[int, int] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    raw: bytearray = field(default_factory=bytearray)
    cells: list[str] = field(default_factory=list)
    table: list[list[str]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def add(self, text: str, state: _State) -> None:
        self.flush(state)
        self.text.append(text)

    def flush(self, state: _State) -> None:
        """Bytes become text in the code page of their font; only together, for a character may take two."""
        if self.raw:
            encoding = self.fonts.get(state.font, self.code_page)
            self.text.append(self.raw.decode(encoding, "replace"))
            self.raw.clear()

    def taken(self, state: _State) -> str:
        self.flush(state)
        text = "".join(self.text).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        self.text.clear()
        return clean(text)

    def end_table(self) -> None:
        self.rows += table_rows(self.table)
        self.table = []

    def end_paragraph(self, state: _State) -> None:
        text = self.taken(state)
        if not text:
            return
        if state.furniture and not any(map(str.isalpha, text)):
            self.left_out.append(squeezed(text))
            return
        self.end_table()
        bare = text.lstrip("•·\t ")
        if state.outline < _NOT_OUTLINED:
            self.rows.append(Row(text, "title", depth=state.outline))
        elif bare and (state.listed or bare != text):
            self.rows.append(Row(bare, "list"))
        else:
            self.rows.append(Row(text))


def read_rtf(data: bytes) -> Reading:
    """Headings by their outline level, lists, tables, text in any code page; the text of pictures and fields' codes is
    left out, as is what the file says of itself. A header or footer without a letter, as a page number, is left out and
    named."""
    reader = _Reader()
    stack: list[_State] = []
    state, skip, opened, starred, position = _State(), 0, False, False, 0
    while (token := _TOKEN.match(data, position)) is not None:
        position = token.end()
        kind, first = token.lastgroup, opened
        opened = kind == "brace" and token["brace"] == b"{"
        if kind == "brace":
            reader.flush(state)
            skip, starred = 0, False
            if opened:
                stack.append(state)
            elif stack:
                state = stack.pop()
            continue
        if kind == "sign" and token["sign"] == b"*":
            starred, opened = True, True
            continue
        word = token["word"].decode("ascii") if token["word"] else ""
        number = int(token["number"]) if token["number"] else None
        if word == "bin":
            position += max(0, number or 0)
            continue
        if first and word:
            state = _entered(state, word, starred)
        starred = False
        if skip and (token["hex"] or token["sign"]):
            skip -= 1
            continue
        if word:
            skip = 0
            if word == "u" and number is not None and state.target == "text":
                reader.add(chr(number & 0xFFFF), state)
                skip = state.stand_ins
            else:
                state = _obey(reader, state, word, number)
        elif state.target == "text":
            piece = token["text"] or b""
            if skip:
                skip, piece = max(0, skip - len(piece)), piece[skip:]
            _gather(reader, state, token, piece)
    reader.end_paragraph(state)
    reader.end_table()
    return Reading(rows=reader.rows, boilerplate=tuple(dict.fromkeys(reader.left_out)))


def _gather(reader: _Reader, state: _State, token: re.Match[bytes], piece: bytes) -> None:
    if token["hex"]:
        reader.raw.append(int(token["hex"], 16))
    elif token["sign"]:
        sign = token["sign"].decode("latin-1")
        reader.add({"~": "\N{NO-BREAK SPACE}", "_": "-", "-": "", "\n": "\n", "\r": "\n"}.get(sign, sign), state)
        if sign in "\r\n":
            reader.end_paragraph(state)
    else:
        reader.raw += piece


def _entered(state: _State, word: str, starred: bool) -> _State:
    """The state in a group that begins with that word."""
    if word in ("fonttbl", "stylesheet") and state.target == "text":
        return replace(state, target=word)
    if word in _WITHOUT_TEXT or (starred and word not in _STARRED_WITH_TEXT):
        return replace(state, target="nowhere")
    if word in ("listtext", "pntext"):
        return replace(state, target="nowhere")
    if word in _FURNITURE:
        return replace(state, furniture=True)
    return state


def _obey(reader: _Reader, state: _State, word: str, number: int | None) -> _State:
    """What a control word does to the text in hand and to the state."""
    value = number or 0
    if word == "f":
        reader.flush(state)
        return replace(state, font=value)
    if word == "fcharset":
        if state.target == "fonttbl" and value in _CODE_PAGES:
            reader.fonts[state.font] = _CODE_PAGES[value]
    elif word == "ansicpg":
        reader.code_page = _known(f"cp{value}")
    elif word == "mac":
        reader.code_page = "mac_roman"
    elif word == "uc":
        return replace(state, stand_ins=max(0, min(value, 32)))
    elif word == "outlinelevel":
        if state.target == "stylesheet":
            reader.styles[state.font] = value
        return replace(state, outline=max(0, value))
    elif word == "s":
        if state.target == "stylesheet":
            return replace(state, font=value)
        return replace(state, outline=reader.styles.get(value, state.outline))
    elif word == "pard":
        return replace(state, outline=_NOT_OUTLINED, listed=False, in_table=False)
    elif word == "intbl":
        return replace(state, in_table=True)
    elif word == "ls":
        return replace(state, listed=True)
    elif state.target == "text":
        _write(reader, state, word)
    return state


def _write(reader: _Reader, state: _State, word: str) -> None:
    if word in ("cell", "nestcell"):
        reader.cells.append(reader.taken(state))
    elif word in ("row", "nestrow"):
        reader.table.append(reader.cells)
        reader.cells = []
    elif word in _PARAGRAPH_ENDS and not state.in_table:
        reader.end_paragraph(state)
    elif word in _SIGNS:
        reader.add(_SIGNS[word], state)


def _known(code_page: str) -> str:
    try:
        "".encode(code_page)
    except LookupError:
        return "cp1252"
    return code_page
