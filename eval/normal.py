"""Texts as they are compared: as SQuAD does it, with numbers kept whole, or as quotes."""

from __future__ import annotations

import re
import string
import unicodedata

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_POINT = re.compile(r"(?<=\d)[.,:](?=\d)")
_SOFT_HYPHEN = "\xad"
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalised(text: str) -> str:
    """SQuAD's normalisation: lower case, no ASCII punctuation, no articles, single spaces.

    After ``normalize_answer`` of the official SQuAD 1.1 evaluation script (Rajpurkar et al. 2016).
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def tokens(text: str) -> str:
    """:func:`normalised`, but a number stays what it is: "1.5" is not "15", "1,500" is "1500"."""
    return normalised(_POINT.sub("·", _THOUSANDS.sub("", text)))


def evened(text: str) -> str:
    """A text as quotes are compared: composed characters (NFC), no soft hyphens, single spaces."""
    return " ".join(unicodedata.normalize("NFC", text).replace(_SOFT_HYPHEN, "").split())


def stands_in(piece: str, text: str) -> bool:
    """Whether a normalised text stands in another one as a run of whole tokens: "31" not in "1931"."""
    return f" {piece} " in f" {text} "
