"""Is a claim supported by a text, contradicted, or neither? Light enough for every sentence of every answer.

A softmax regression over the named features of :mod:`rag.claims`; its weights, and how it did on claims that
it was not fitted on, stand in ``rag/data/verifier.json`` (made by ``bench/fit_verifier.py``). It compares
words, numbers, names and negations. It does not understand: paraphrase without shared words looks unsupported
to it, and swapped roles ("A beat B") look supported.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from rag.claims import FEATURES, features
from rag.grounding import LABELS, Grounding, Label, Verdict, sentence_spans

_MARKER = re.compile(r"\s*\[\s*\d+(?:\s*[,;]\s*\d+)*\s*\]")
_NUMBER = re.compile(r"\d+")
_PRONOUN = re.compile(r"(?:He|She|It|They)\b")
_SUBJECT = re.compile(r"^(?:(?:The|A|An) )?(?:[A-Z][\w.&'-]* )+(?=[a-z])")
_READ_WHOLE = 80
_WIDEST = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """``matrix[f, l]`` is what feature f adds to the logit of label l; ``measured`` are figures out of
    fold."""

    matrix: np.ndarray[Any, np.dtype[np.float64]]
    intercept: np.ndarray[Any, np.dtype[np.float64]]
    measured: Mapping[str, float]


class LexicalVerifier:
    """Judges claims by features (:class:`rag.grounding.Verifier`)."""

    name = "lexical"

    def __init__(self, grounding: Grounding | None = None, weights: Weights | None = None) -> None:
        self.grounding = grounding or Grounding()
        self.weights = weights or load_weights()

    @property
    def measured(self) -> Mapping[str, float]:
        """Figures out of fold (``bench/fit_verifier.py``)."""
        return self.weights.measured

    def verify(self, claim: str, evidence: str, subject: str = "") -> Verdict:
        """Judge a claim by a text. Of a text of more than 80 words the closest one to three sentences count.

        ``subject`` says what the text is about (its headings). A text that opens with a pronoun, without a
        subject, is taken to speak of what the claim speaks of: whom else it means cannot be known from it.
        """
        claim = _MARKER.sub("", claim).strip()
        near = evidence if len(evidence.split()) <= _READ_WHOLE else self._nearest(claim, evidence)
        if subject:
            near = f"{subject}: {near}"
        elif pronoun := _PRONOUN.match(near):
            claim = _SUBJECT.sub(f"{pronoun[0]} ", claim, count=1)
        logits = np.asarray(features(self.grounding, claim, near)) @ self.weights.matrix + self.weights.intercept
        shares = np.exp(logits - logits.max())
        supported, contradicted, not_enough = (shares / shares.sum()).tolist()
        label: Label = "contradicted" if contradicted >= not_enough else "not_enough"
        return Verdict(label="supported" if supported >= 0.5 else label, p_supported=float(supported), evidence=near)

    def _nearest(self, claim: str, text: str) -> str:
        """The run of one to three sentences with most of the claim's terms and numbers; the shortest such."""
        wanted, numbers = self.grounding.terms(claim), set(_NUMBER.findall(claim))

        def shared(body: str) -> tuple[int, int]:
            found = len(wanted & self.grounding.terms(body)) + len(numbers & set(_NUMBER.findall(body)))
            return found, -len(body)

        return max(_runs(text), key=shared, default=text)


def _runs(text: str) -> Iterator[str]:
    """Runs of one to three sentences; one that would open with a pronoun begins a sentence earlier."""
    spans = sentence_spans(text)
    for first, (start, _) in enumerate(spans):
        if first and _PRONOUN.match(text, start):
            start = spans[first - 1][0]
        for _, end in spans[first : first + _WIDEST]:
            yield text[start:end]


@cache
def load_weights() -> Weights:
    """The weights that are shipped."""
    data = json.loads(resources.files("rag").joinpath("data/verifier.json").read_text(encoding="utf-8"))
    return Weights(
        matrix=np.array([[data["weights"][name][label] for label in LABELS] for name in FEATURES]),
        intercept=np.array([data["intercept"][label] for label in LABELS]),
        measured=data["measured"],
    )
