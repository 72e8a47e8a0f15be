"""Where a value stands in a text, however it is written there."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

_WORDED = (
    *("zero", "", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
)
"""The place of a word is its value; "one" is left out, for it is seldom a number."""
# Digits of a name (VIS-1, HM-2), parts of a version (1.2.3) and what stands before a fraction (3½) are no number.
_NUMBER = re.compile(
    r"(?<![^\W_])(?<![^\W\d_]-)(?<!\d\.)\d+(?:\.\d+)?(?!\.?\d|[¼-¾⅐-⅟↉])|\b(?:"
    + "|".join(filter(None, _WORDED))
    + r")\b"
)
_THOUSANDS = re.compile(r"(?<![\d,.])\d{1,3}(?:,\d{3})+(?!\d)")
_EDGES = " .,;:!?\"'()[]"
_SAME = str.maketrans({**dict.fromkeys("‘’‚‛`´", "'"), **dict.fromkeys("“”„‟«»", '"'), **dict.fromkeys("‐‑‒–—−", "-")})


class EvenedText:
    """A text with its case, white space, punctuation marks and thousands separators evened out."""

    def __init__(self, text: str) -> None:
        folded: list[str] = []
        self._offsets: list[int] = []
        for offset, character in enumerate(text):
            fold = _fold(character)
            if text[offset - 1 : offset].isdigit():
                if character in "\u00a0\u2009\u202f" and text[offset + 1 : offset + 2].isdigit():
                    fold = ","
                elif unicodedata.category(character) == "No":  # of a note or a power (214²), no digit of the number
                    fold = character
            if fold == " " and folded[-1:] == [" "]:
                continue
            folded += fold
            self._offsets += [offset] * len(fold)
        self._offsets.append(len(text))
        self.text = "".join(folded)
        commas = [at for match in _THOUSANDS.finditer(self.text) for at in range(*match.span()) if self.text[at] == ","]
        for at in reversed(commas):
            self.text = self.text[:at] + self.text[at + 1 :]
            del self._offsets[at]

    def find(self, value: str | float) -> Iterator[tuple[int, int]]:
        """(start, end) in the text as it was, of every place where the value stands."""
        spans = self._find_text(value) if isinstance(value, str) else self._find_number(value)
        for start, end in spans:
            yield self._offsets[start], self._offsets[end - 1] + 1

    def _find_text(self, value: str) -> Iterator[tuple[int, int]]:
        wanted = EvenedText(value).text.strip(_EDGES)
        if not wanted:
            return
        before = r"(?<!\w)(?<!\d[.,])" if wanted[0].isdigit() else r"(?<!\w)" if wanted[0].isalpha() else ""
        after = r"(?!\w)(?![.,]\d)" if wanted[-1].isdigit() else r"(?!\w)" if wanted[-1].isalpha() else ""
        for match in re.finditer(before + re.escape(wanted) + after, self.text):
            yield match.span()

    def _find_number(self, value: float) -> Iterator[tuple[int, int]]:
        for match in _NUMBER.finditer(self.text):
            start, end = match.span()
            size = _WORDED.index(match[0]) if match[0] in _WORDED else float(match[0])
            before = self.text[max(0, start - 2) : start]
            negative = before.endswith("-") and before[:-1] in ("", " ", "(")
            if math.isclose(-size if negative else size, value, rel_tol=1e-9):
                yield start - negative, end


@lru_cache(maxsize=4096)
def _fold(character: str) -> str:
    if unicodedata.category(character) == "Cf":
        return ""
    if character.isspace():
        return " "
    if unicodedata.decomposition(character).startswith("<fraction>"):
        return character
    return unicodedata.normalize("NFKC", character.translate(_SAME)).casefold()
