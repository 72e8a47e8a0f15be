"""Texts as SQuAD compares them."""

from __future__ import annotations

import re
import string

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalised(text: str) -> str:
    """SQuAD's normalisation: lower case, no ASCII punctuation, no articles, single spaces.

    After ``normalize_answer`` of the official SQuAD 1.1 evaluation script (Rajpurkar et al. 2016).
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def stands_in(piece: str, text: str) -> bool:
    """Whether a normalised text stands in another one as a run of whole tokens: "31" not in "1931"."""
    return f" {piece} " in f" {text} "
