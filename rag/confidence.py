"""How likely it is that the documents answer a question: a logistic regression over named signals.

Its weights stand in a JSON file (``rag/data/abstention.json``, or one that ``rag eval calibrate`` made), in up to
three stages, each fitted for itself: "search" knows the signals of the search alone, "answer" those of the answer too,
"model" those of the model too. The richest stage counts for which there is everything. The classes were weighed alike,
so 0.5 is right where as many questions can be answered as cannot.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args

from rag.abstention import ANSWER, MODEL, NAMED, SEARCH, Missing, Signals
from rag.errors import SettingsError

StageName = Literal["search", "answer", "model"]
STAGES: dict[StageName, tuple[str, ...]] = {
    "search": SEARCH,
    "answer": (*SEARCH, *ANSWER),
    "model": (*SEARCH, *ANSWER, *MODEL),
}
"""The signals of each stage, from poor to rich."""

STEEP = 3.0
"""Standard deviations; a signal further from its mean counts as if it were so far, whatever the documents are like."""
STRONG = 0.25
"""A reason is told when it moves the logit down by so much."""
REASONS = 2
"""So many reasons are told."""
_LARGEST = 1e9
PHRASES = {
    "cosine": "nothing in the documents comes close to this question",
    "late": "no passage has most of what the question asks about",
    "weakest": "nothing in the passages comes close to a word of the question",
    "coverage": "the passages lack words of the question",
    "sentence": "no sentence of the passages has most of the question's words",
    "first_hit": "the best passage lacks words of the question",
    "names_missing": "the passages lack a name of the question",
    "numbers_missing": "the passages lack a number of the question",
    "declined": "the model found no answer in the passages",
    "left_out": "no passage supports part of what the model said",
    "support": "the passages support the answer only weakly",
    "focus": "what the answer rests on is about something else",
    "refusal_likelihood": "the model was close to refusing",
    "first_likelihood": "the model was unsure how to begin",
    "own_likelihood": "the model was unsure of its words",
}
_ABOUT_WORDS = frozenset({"coverage", "first_hit", "names_missing", "numbers_missing"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalWeight:
    """``weight`` is what a signal adds to the logit when it is one ``scale`` above its ``mean``."""

    mean: float
    scale: float
    weight: float

    def part(self, value: float | None) -> float:
        """What this value adds to the logit; nothing when it is not known, as if it were the mean."""
        if value is None:
            return 0.0
        return self.weight * max(-STEEP, min(STEEP, (value - self.mean) / self.scale))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One regression. ``threshold`` (0 to 1): a question whose confidence is below it is refused."""

    intercept: float
    threshold: float
    signals: Mapping[str, SignalWeight]

    def parts(self, signals: Signals) -> dict[str, float]:
        """What each signal adds to the logit."""
        return {name: weight.part(signals.get(name)) for name, weight in self.signals.items()}

    def confidence(self, signals: Signals) -> float:
        """Probability (0 to 1) that the documents answer the question."""
        logit = self.intercept + sum(self.parts(signals).values())
        return 1 / (1 + math.exp(-logit))


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """``confidence`` from 0 to 1. ``reasons``: what speaks against an answer, the strongest first, for people."""

    confidence: float
    threshold: float
    signals: Signals
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Abstention:
    """The stages of a file. ``fitted_on``: what they were fitted on, for people."""

    fitted_on: Mapping[str, Any]
    stages: Mapping[StageName, Stage]

    def judge(self, signals: Signals, missing: Missing) -> Judgement:
        """Weigh the signals. ``missing``: words of the question that the reasons name."""
        stage = self._stage(signals)
        told = stage.signals if signals.get("support") else [name for name in stage.signals if name not in ANSWER]
        return Judgement(
            confidence=stage.confidence(signals),
            threshold=stage.threshold,
            signals=signals,
            reasons=_reasons(stage.parts(signals), missing, told),
        )

    def _stage(self, signals: Signals) -> Stage:
        """The richest stage whose own signals are known; those of the search are in every one."""
        for name in ("model", "answer"):
            own = (signals.get(signal) for signal in STAGES[name] if signal not in SEARCH)
            if name in self.stages and all(value is not None for value in own):
                return self.stages[name]
        return self.stages["search"]

    def as_json(self) -> dict[str, Any]:
        """What :func:`load_abstention` reads."""
        return {
            "fitted_on": dict(self.fitted_on),
            "stages": {name: asdict(stage) for name, stage in self.stages.items()},
        }


def _reasons(parts: Mapping[str, float], missing: Missing, told: Collection[str]) -> tuple[str, ...]:
    """Which words the passages lack, before all others: a reader can look for himself. ``told``: signals whose
    reasons make sense here."""
    words = (*missing.names, *missing.numbers, *missing.words)
    lacking = ["the passages do not hold " + ", ".join(map(repr, words[:NAMED]))] if words else []
    against = sorted((part, name) for name, part in parts.items() if part <= -STRONG)
    others = [PHRASES[name] for _, name in against if name in told and not (words and name in _ABOUT_WORDS)]
    return tuple(dict.fromkeys((*lacking, *others)))[:REASONS]


def load_abstention(file: str = "") -> Abstention:
    """The weights of a file; empty: those that are shipped.

    Raises :class:`SettingsError` when it cannot be read or is not made as this version wants it.
    """
    if not file:
        return _shipped()
    try:
        data = json.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise SettingsError(f"the abstention file {file} cannot be read ({error}): {_REMEDY}") from error
    return read_abstention(data, file)


_REMEDY = "make one with 'rag eval calibrate', or leave the setting empty"


@cache
def _shipped() -> Abstention:
    text = resources.files("rag").joinpath("data", "abstention.json").read_text(encoding="utf-8")
    return read_abstention(json.loads(text), "rag/data/abstention.json")


def read_abstention(data: object, where: str) -> Abstention:
    """The weights of a parsed file. "search" and "answer" must be there. Raises :class:`SettingsError`."""
    top = _fields(data, {"fitted_on", "stages"}, where)
    stages = top["stages"]
    names = get_args(StageName)
    if not isinstance(stages, dict) or not {"search", "answer"} <= set(stages) <= set(names):
        raise _wrong(where, f"stages must be {', '.join(names)} (the last may be missing)")
    if not isinstance(top["fitted_on"], dict):
        raise _wrong(where, "fitted_on must be an object")
    read = {name: _stage(stages[name], STAGES[name], f"{where}: {name}") for name in STAGES if name in stages}
    return Abstention(fitted_on=top["fitted_on"], stages=read)


def _stage(data: object, signals: tuple[str, ...], where: str) -> Stage:
    fields = _fields(data, {"intercept", "threshold", "signals"}, where)
    threshold = _number(fields["threshold"], f"{where}: threshold")
    if not 0 <= threshold <= 1:
        raise _wrong(where, f"threshold is {threshold}, and must be from 0 to 1")
    weights = _fields(fields["signals"], set(signals), f"{where}: signals")
    return Stage(
        intercept=_number(fields["intercept"], f"{where}: intercept"),
        threshold=threshold,
        signals={name: _weight(weights[name], f"{where}: {name}") for name in signals},
    )


def _weight(data: object, where: str) -> SignalWeight:
    fields = _fields(data, {"mean", "scale", "weight"}, where)
    values = {name: _number(value, f"{where}: {name}") for name, value in fields.items()}
    if values["scale"] <= 0:
        raise _wrong(where, f"scale is {values['scale']}, and must be above 0")
    return SignalWeight(**values)


def _fields(data: object, names: set[str], where: str) -> dict[str, Any]:
    if not isinstance(data, dict) or set(data) != names:
        raise _wrong(where, f"expected an object with {', '.join(sorted(names))}")
    return data


def _number(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < _LARGEST:
        raise _wrong(where, f"expected a number, not {str(value)[:40]!r}")
    return float(value)


def _wrong(where: str, what: str) -> SettingsError:
    return SettingsError(f"the abstention file {where}: {what}: {_REMEDY}")
