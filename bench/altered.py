"""Copies of a supported claim that say something else: what a verifier must not find supported.

The copies are made by rule, so a few still say the same ("A and B met" with its names swapped): no verifier can, or
should, catch all of them.
"""

from __future__ import annotations

import re

_VERB = re.compile(r"\b(?:is|was|are|were|has|have|had|can|will)\b(?! not)")
_YEAR = re.compile(r"\b(?:1[5-9]|20)\d\d\b")
_NUMBER = re.compile(r"(?<![\w.,])\d+(?:,\d{3})*(?![\w]|[.,]\d)")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_MONTH = re.compile(rf"\b(?:{'|'.join(_MONTHS)})\b(?=,? \d)")
_NAME = re.compile(r"[A-Z][\w.'’-]*(?: (?:of |the )?[A-Z][\w.'’-]*)*(?<![.'’-])")
_NO_NAME = re.compile(
    r"(?:The|A|An|In|On|At|As|By|For|From|Of|With|After|Before|He|She|It|They|We|You|I|His|Her|Its|Their|This|That|"
    rf"There|When|While|During|Although|However|{'|'.join(_MONTHS)})\b"
)
_EVEN = re.compile(r"^\W*(?:and|or|,|with|'s|&)\W*$")


def altered(claim: str, evidence: str) -> dict[str, str]:
    """The altered copies by kind; a kind that the claim gives no hold for is missing.

    ``negation``: a "not" put in. ``number``: the first number that is no year made 2n + 1. ``date``: the first year
    moved by seven, or the first month by five. ``swapped``: two names that the evidence has, with words between
    them, in each other's place. ``replaced``: a name of the claim that the evidence has gives way to another name of
    the evidence.
    """
    found: dict[str, str] = {}
    if verb := _VERB.search(claim):
        found["negation"] = f"{claim[: verb.end()]} not{claim[verb.end() :]}"
    for number in _NUMBER.finditer(claim):
        if not _YEAR.fullmatch(number[0]):
            found["number"] = _put(claim, number, f"{2 * int(number[0].replace(',', '')) + 1}")
            break
    if year := _YEAR.search(claim):
        found["date"] = _put(claim, year, str(int(year[0]) - 7))
    elif month := _MONTH.search(claim):
        found["date"] = _put(claim, month, _MONTHS[(_MONTHS.index(month[0]) + 5) % 12])
    body = evidence.partition(": ")[2] or evidence
    names = [match for match in _NAME.finditer(claim) if _has(body, match[0]) and not _NO_NAME.match(match[0])]
    for at, left in enumerate(names):
        for right in names[at + 1 :]:
            between = claim[left.end() : right.start()]
            if left[0] != right[0] and any(word.islower() for word in between.split()) and not _EVEN.match(between):
                found.setdefault(
                    "swapped", f"{claim[: left.start()]}{right[0]}{between}{left[0]}{claim[right.end() :]}"
                )
    for name in names:
        for other in _NAME.finditer(body):
            apart = not set(other[0].split()) & set(claim.split())
            if apart and not _NO_NAME.match(other[0]) and body[: other.start()].rstrip()[-1:] not in ("", ".", ":"):
                found.setdefault("replaced", _put(claim, name, other[0]))
    return found


KINDS = ("number", "date", "negation", "swapped", "replaced")
"""Kinds of copies, in the order in which tables show them."""


def _put(claim: str, match: re.Match[str], text: str) -> str:
    return f"{claim[: match.start()]}{text}{claim[match.end() :]}"


def _has(text: str, name: str) -> bool:
    return re.search(rf"\b{re.escape(name)}\b", text) is not None
