"""What a claim and its evidence have in common: the named features that :mod:`rag.verifier` weighs.

Terms are compared by stem (:meth:`rag.grounding.Grounding.terms`), numbers by value, names by their letters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

from rag.grounding import Grounding

FEATURES = (
    "term_recall",
    "missing_terms",
    "first_term_recall",
    "last_term_recall",
    "order",
    "letters",
    "number_missing",
    "number_found",
    "bound_met",
    "bound_broken",
    "negation_differs",
    "name_missing",
    "opposite",
    "claim_length",
    "evidence_length",
)
"""Names of the features, in the order of :func:`features`."""

_WORD = re.compile(r"[^\W_]+(?:['’.-][^\W_]+)*", re.UNICODE)
# Digits of a name (VIS-1, HM-2) are no number: the name is compared as a word.
_NUMBER = re.compile(r"(?<![^\W_])(?<![^\W\d_]-)(?:\d+(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)")
_UNITS = (
    *(
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
    ),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
)
_TENS = ("thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_WORDED = {name: float(value) for value, name in enumerate(_UNITS)} | {
    name: 10.0 * value for value, name in enumerate(_TENS, start=3)
}
_AMBIGUOUS = frozenset({"one"})
_SCALES = {"hundred": 1e2, "thousand": 1e3, "million": 1e6, "billion": 1e9}
_UP = r"more than|over|above|at least|exceed(?:s|ed|ing)?|greater than|higher than|after|since|upwards of"
_DOWN = r"less than|fewer than|under|below|at most|up to|lower than|before|until|nearly|almost"
_BOUND = re.compile(
    rf"\b({_UP}|({_DOWN}))\s+(?:\W|\b(?:a|an|the|year|of|in|us|january|february|march|april|may|june|"
    rf"july|august|september|october|november|december)\b\s*){{0,4}}({_NUMBER.pattern})",
    re.IGNORECASE,
)
_NEGATIONS = frozenset(
    (
        "not",
        "no",
        "never",
        "none",
        "neither",
        "nor",
        "nobody",
        "nothing",
        "without",
        "cannot",
        "unable",
        "n't",
    )
)
_NEGATION_REACH = 4
_COMPARED = 160
"""Words of a claim, and of its evidence, whose order is compared."""
_FAMILIES = {
    "currency": "euro/euros/eur/€ dollar/dollars/usd/$ pound/pounds/gbp/£ yen/¥ krone/kroner/nok franc/francs/chf",
    "time": "second/seconds minute/minutes hour/hours day/days week/weeks month/months year/years decade/decades",
    "length": (
        "millimetre/millimetres/millimeter/millimeters/mm centimetre/centimetres/centimeter/centimeters/cm "
        "metre/metres/meter/meters kilometre/kilometres/kilometer/kilometers/km inch/inches foot/feet yard/yards "
        "mile/miles"
    ),
    "mass": "gram/grams/gramme/grammes kilogram/kilograms/kilo/kilos/kg ton/tons/tonne/tonnes ounce/ounces",
    "volume": "litre/litres/liter/liters millilitre/millilitres/milliliter/milliliters/ml gallon/gallons",
    "data": "kilobyte/kilobytes/kb megabyte/megabytes/mb gigabyte/gigabytes/gb terabyte/terabytes/tb",
    "temperature": "degree/degrees/°",
}
_UNIT_OF = {
    word: (family, number)
    for family, units in _FAMILIES.items()
    for number, unit in enumerate(units.split())
    for word in unit.split("/")
}
_MEASURE = re.compile(
    rf"(?P<sign>(?<!\d)(?<!\d\s)(?<![^\W_])[-−]|\bminus\s+)?(?P<money>[€$£¥]\s?)?"
    rf"(?P<number>{_NUMBER.pattern}|\b(?:{'|'.join((*_WORDED, *_SCALES))})\b)"
    rf"(?P<scale>(?:\s+(?:{'|'.join(_SCALES)})\b)*)(?:[\s-]?(?P<unit>°|[a-z]+|€))?(?P<below>[^.;,]{{0,12}}\bbelow\b)?"
)
_OPPOSITES = tuple(
    (frozenset(left.split("/")), frozenset(right.split("/")))
    for left, right in (
        pair.split(" ")
        for pair in (
            "first last/second/third/latest/final",
            "before after",
            "more less/fewer",
            "increase/increased/rose decrease/decreased/fell",
            "highest lowest",
            "best worst",
            "largest/biggest smallest",
            "positive negative/mixed",
            "favorable/good unfavorable/bad/poor",
            "male/he/his female/she/her",
            "won/win/wins lost/lose/loses",
            "born died",
            "north/northern south/southern",
            "east/eastern west/western",
            "oldest/older youngest/younger",
            "father/son/brother/husband mother/daughter/sister/wife",
            "start/started/begin/began end/ended/finished",
            "open/opened/opens close/closed/closes",
            "always never",
            "all none/some/few",
            "above below",
            "over under",
            "majority minority",
            "success/successful failure/flop/unsuccessful",
            "allowed/may/permitted forbidden/prohibited/banned",
            "only several/many/also",
            "alive dead",
            "true false",
            "maximum minimum",
            "accepted rejected/declined",
            "free paid",
            "early late",
            "upper lower",
            "left right",
        )
    )
)


def features(grounding: Grounding, claim: str, evidence: str) -> tuple[float, ...]:
    """The values of :data:`FEATURES`, each from 0 to about 1.

    The numbers of a claim that are bounds ("more than 40") are not looked up but compared with those of the
    evidence that are nearest in size.
    """
    words = _content(grounding, claim)
    here = grounding.terms(evidence)
    present = [bool(terms & here) for _, terms in words]
    half = (len(words) + 1) // 2
    bounds = list(_bounds(claim))
    plain = _numbers(_BOUND.sub(" ", claim))
    given = _numbers(evidence)
    missing = [number for number in plain if number not in given]
    met = [_met(lower, value, given) for lower, value in bounds]
    names = [word for word in _names(claim) if word.casefold() not in evidence.casefold()]
    left, right = _folded(claim), _folded(evidence)
    return (
        _mean(present),
        min(1.0, present.count(False) / 4),
        _mean(present[:half]),
        _mean(present[half:]),
        _order(left, right),
        _letters(claim, evidence),
        float(bool(missing)),
        float(bool(plain) and not missing),
        float(bool(met) and all(met)),
        float(not all(met)),
        float(_negated_otherwise(grounding, claim, evidence)),
        min(1.0, len(names) / 2),
        float(_opposed(set(left), set(right))),
        min(1.0, len(left) / 40),
        min(1.0, len(right) / 80),
    )


def _content(grounding: Grounding, text: str) -> list[tuple[str, frozenset[int]]]:
    words = ((match[0], grounding.terms(match[0])) for match in _WORD.finditer(text))
    return [(word, terms) for word, terms in words if terms]


def _folded(text: str) -> list[str]:
    return [match[0].casefold() for match in _WORD.finditer(text)]


def _numbers(text: str) -> list[float]:
    """Values of the numbers of a text, in figures or words, with "million" and the like multiplied in."""
    found: list[float] = []
    for word in re.findall(rf"{_NUMBER.pattern}|[a-z]+", text.casefold()):
        if word[0].isdigit():
            found.append(float(word.replace(",", "")))
        elif word in _WORDED and word not in _AMBIGUOUS:
            found.append(_WORDED[word])
        elif word in _SCALES and found:
            found[-1] *= _SCALES[word]
    return found


def measured_otherwise(claim: str, evidence: str) -> bool:
    """Whether a number of the claim has another unit of the same kind in the evidence (5 dollars, 5 euros), or the
    temperature another sign, and the evidence has it nowhere as the claim does."""
    asked, told = _measures(claim), _measures(evidence)
    return any(
        (abs(value), family) == (abs(other), kind) for value, family, _ in asked - told for other, kind, _ in told
    )


def _measures(text: str) -> set[tuple[float, str, int]]:
    """(value, kind, unit) of each number with a unit that is known; only a temperature has a sign."""
    found = set()
    for match in _MEASURE.finditer(text.casefold()):
        unit = _UNIT_OF.get((match["money"] or match["unit"] or "").strip())
        values = _numbers(match["number"] + match["scale"])
        if unit and values:
            cold = unit[0] == "temperature" and (match["sign"] or match["below"])
            found.add((-values[0] if cold else values[0], *unit))
    return found


def _bounds(claim: str) -> Iterator[tuple[bool, float]]:
    """(whether it is a lower bound, its value) of each "more than 40", with its scale."""
    for match in _BOUND.finditer(claim):
        scaled = _numbers(claim[match.start(3) : match.end() + 9])
        yield match[2] is None, scaled[0]


def _met(lower: bool, bound: float, given: Sequence[float]) -> bool:
    near = [number for number in given if bound / 3 <= number <= bound * 3]
    if not near:
        return False
    nearest = min(near, key=lambda number: abs(number - bound))
    return nearest > bound if lower else nearest < bound


def _names(text: str) -> Iterator[str]:
    """Words with a capital letter that do not begin a sentence."""
    for match in _WORD.finditer(text):
        before = text[: match.start()].rstrip(" \"'“‘(`")
        if match[0][0].isupper() and before and before[-1] not in ".!?:\n":
            yield match[0].removesuffix("'s").removesuffix("’s")


def _order(left: Sequence[str], right: Sequence[str]) -> float:
    """Share of the claim's words that the evidence has in blocks of two or more, in the same order.

    Of texts longer than sentences only the first words are compared: the time can grow with the cube of the length.
    """
    left, right = left[:_COMPARED], right[:_COMPARED]
    matcher = SequenceMatcher(None, left, right, autojunk=False)
    return sum(block.size for block in matcher.get_matching_blocks() if block.size > 1) / max(1, len(left))


def _letters(claim: str, evidence: str) -> float:
    """Share of the claim's runs of four characters that the evidence has: sees other forms of a word."""
    left, right = (" ".join(_folded(text)) for text in (claim, evidence))
    wanted = {left[at : at + 4] for at in range(len(left) - 3)}
    return len(wanted & {right[at : at + 4] for at in range(len(right) - 3)}) / max(1, len(wanted))


def _opposed(left: set[str], right: set[str]) -> bool:
    """Whether one has a word and the other only its opposite."""
    return any(
        (left & one and right & other and not right & one) or (left & other and right & one and not right & other)
        for one, other in _OPPOSITES
    )


def _negated_otherwise(grounding: Grounding, claim: str, evidence: str) -> bool:
    """Whether a term that both have stands soon after a negation in one of them only."""
    both = grounding.terms(claim) & grounding.terms(evidence)
    return any(
        both & (_negated(grounding, one) - _negated(grounding, other))
        for one, other in ((claim, evidence), (evidence, claim))
    )


def _negated(grounding: Grounding, text: str) -> frozenset[int]:
    words = [word.replace("’", "'") for word in _folded(text.replace(" n't", " not"))]
    found: frozenset[int] = frozenset()
    for at, word in enumerate(words):
        if word in _NEGATIONS or word.endswith("n't"):
            found |= grounding.terms(" ".join(words[at + 1 : at + 1 + _NEGATION_REACH]))
    return found


def _mean(values: Sequence[bool]) -> float:
    return sum(values) / len(values) if values else 0.0
