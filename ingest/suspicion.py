"""Does the text of a document look like what its file shows? Signs that it does not, each of which can be explained.

The thresholds are far from what sound files gave (``docs/decisions/0021-coverage.md``): a sign is worth a look.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

from ingest.formats import Format
from ingest.held_text import held_text

FEWEST = 200
"""Letters or characters; a shorter text tells nothing by its shares."""
LEAST_READ = 0.5
"""Share of the letters that a file shows."""
FEWEST_BROKEN, MOST_BROKEN = 3, 0.01
"""Number and share of characters that stand for what could not be read."""
MOST_PRIVATE = 0.1
"""Share of characters without a meaning of their own, which in lists of some PDFs are the bullets."""
LEAST_LETTERS = 0.25
"""Share of letters and digits, rulers and table borders apart."""
_LOOK = "look at it in its own program, and copy its text from there if that is better"

# Bytes of UTF-8: to delete them all at once is many times faster than to look at every character.
_CONTINUED = bytes(range(0x80, 0xC0))
_BLANKS = b" \t\n\r\f\v"
_CONTROLS = bytes({*range(32), 0x7F} - {*_BLANKS, 0x1C, 0x1D, 0x1E, 0x1F})
_NO_LETTERS = bytes(code for code in range(128) if not chr(code).isalnum())

_ASCII = re.compile("[\0-\x7f]+")
_BROKEN = re.compile("[\ufffd\x80-\x84\x86-\x9f]")
_GLYPH = re.compile(r"\(cid:\d+\)")
"""What pdfminer writes for a glyph of which the font does not say what character it is."""
_PRIVATE = re.compile("[\ue000-\uf8ff\U000f0000-\U0010fffd]+")
_TRAIL = "[\x80-\xbf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]"
_TWICE_ENCODED = re.compile(f"[Â-ß]{_TRAIL}|[à-ï]{_TRAIL}{{2}}|[ð-ô]{_TRAIL}{{3}}")
"""The bytes of a character in UTF-8, read as Windows-1252: ``é`` as ``Ã©``."""
_ACCENTS_ONLY = re.compile("[À-ÖØ-öø-ÿ]{4,}")
"""No language has four in a row: Cyrillic or Greek, read as Windows-1252."""
_LETTER = re.compile(r"[^\W\d_]")
_RULERS = re.compile(r"(.)\1{3,}|[|\s]")


def suspicions(data: bytes, kind: Format, text: str, boilerplate: Iterable[str]) -> tuple[str, ...]:
    """What looks wrong with the text that was extracted from a file, a line each, with the remedy; empty if nothing.

    ``boilerplate`` was left out of ``text`` on purpose, and counts as read.
    """
    return (*_garbled(text), *_missing(data, kind, text, boilerplate))


def _garbled(text: str) -> Iterator[str]:
    raw = text.encode("utf-8", "replace")
    characters = len(raw.translate(None, _BLANKS + _CONTINUED))
    beyond = _ASCII.sub(" ", text)
    glyphs = _GLYPH.findall(text) if "(cid:" in text else []
    broken = len(_BROKEN.findall(beyond)) + sum(map(len, glyphs)) + len(raw) - len(raw.translate(None, _CONTROLS))
    if broken >= max(FEWEST_BROKEN, MOST_BROKEN * characters):
        yield f"{broken} of its {characters} characters stand for what could not be read: {_LOOK}"
    private = sum(map(len, _PRIVATE.findall(beyond)))
    if private >= max(FEWEST_BROKEN, MOST_PRIVATE * characters):
        yield f"{private} of its {characters} characters have a meaning in a font of the file only: {_LOOK}"
    if odd := _misread(beyond, characters):
        some = ", ".join(map(repr, list(dict.fromkeys(odd))[:3]))
        yield f"its text looks as if it was read in another encoding ({some}): save the file in UTF-8"
    latin = len(raw.translate(None, _NO_LETTERS + bytes(range(128, 256))))
    if latin < LEAST_LETTERS * characters and _few_letters(text):
        yield f"hardly any of its {characters} characters are letters or digits: {_LOOK}"


def _misread(beyond: str, characters: int) -> list[str]:
    """Pieces of a text that were written in another encoding than they were read in, if many of its ``characters`` are.
    ``beyond``: without its ASCII characters."""
    twice = _TWICE_ENCODED.findall(beyond)
    # In "Spaß“", or "CAFÉ…", two characters look so by chance.
    if len(twice) >= max(FEWEST_BROKEN, len(_LETTER.findall(_TWICE_ENCODED.sub("", beyond)))):
        return twice
    accents = _ACCENTS_ONLY.findall(beyond)
    return accents if 10 * sum(map(len, accents)) >= max(FEWEST, characters) else []


def _few_letters(text: str) -> bool:
    rest = _RULERS.sub("", text)
    if len(rest) < FEWEST:
        return False
    # Vowels of Indian scripts, among others, are marks.
    letters = sum(unicodedata.category(character)[0] in "LMN" for character in rest)
    return letters < LEAST_LETTERS * len(rest)


def _missing(data: bytes, kind: Format, text: str, boilerplate: Iterable[str]) -> Iterator[str]:
    held = held_text(data, kind)
    shown = _letters(held) if held is not None else 0
    if shown < FEWEST:
        return
    found = _letters(text) + sum(map(_letters, boilerplate))
    if found < LEAST_READ * shown:
        share = f"{found / shown:.0%}" if found >= shown / 100 else "under 1%"
        yield f"{share} of what the file shows was read ({found} of {shown} letters and digits): {_LOOK}"


def _letters(text: str) -> int:
    """Letters and digits; beyond ASCII, whatever it is."""
    return len(text.encode("utf-8", "replace").translate(None, _NO_LETTERS + _CONTINUED))
