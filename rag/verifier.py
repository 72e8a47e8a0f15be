"""Is a claim supported by a text, contradicted, or neither? Light enough for every sentence of every answer.

A softmax regression over the named features of :mod:`rag.claims`; its weights, and how it did on claims that
it was not fitted on, stand in ``rag/data/verifier.json`` (made by ``bench/fit_verifier.py``). It compares
words, numbers, names and negations, and sees names in each other's place where claim and text are worded alike
(:mod:`rag.roles`). It does not understand: paraphrase without shared words looks unsupported to it, and in a claim that
is worded freely a wrong name that the text has elsewhere looks supported.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from rag.claims import FEATURES, features
from rag.grounding import LABELS, Grounding, Label, Verdict
from rag.reading import PRONOUN, bare, near
from rag.roles import turned

_SUBJECT = re.compile(r"^(?:(?:The|A|An) )?(?:[A-Z][\w.&'-]* )+(?=[a-z])")
TURNED = 0.49
"""What is left of the probability of support when names are swapped: whatever it was, it is not enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """``matrix[f, l]`` is what feature f adds to the logit of label l; ``measured`` are figures out of
    fold."""

    matrix: np.ndarray[Any, np.dtype[np.float64]]
    intercept: np.ndarray[Any, np.dtype[np.float64]]
    measured: Mapping[str, float]

    def verdict(self, values: Sequence[float], evidence: str, *, turned: bool) -> Verdict:
        """What the features say. ``turned``: names of the claim are swapped (:mod:`rag.roles`).

        That is a rule and no feature, because labelled claims of that kind are too rare to weigh it by: more than half
        of the probability of support then goes to "contradicted", so that the claim does not pass.
        """
        logits = np.asarray(values) @ self.matrix + self.intercept
        shares = np.exp(logits - logits.max())
        supported, contradicted, not_enough = (shares / shares.sum()).tolist()
        if turned:
            supported, contradicted = TURNED * supported, contradicted + (1 - TURNED) * supported
        label: Label = "contradicted" if contradicted >= not_enough else "not_enough"
        return Verdict(
            label="supported" if supported >= 0.5 else label, p_supported=float(supported), evidence=evidence
        )


class LexicalVerifier:
    """Judges claims by features (:class:`rag.grounding.Verifier`)."""

    name = "lexical"

    def __init__(self, grounding: Grounding | None = None, weights: Weights | None = None) -> None:
        self._grounding = grounding or Grounding()
        self._weights = weights or load_weights("verifier.json", FEATURES)

    @property
    def measured(self) -> Mapping[str, float]:
        """Figures out of fold (``bench/fit_verifier.py``)."""
        return self._weights.measured

    def verify(self, claim: str, evidence: str, subject: str = "") -> Verdict:
        """Judge a claim by a text. Of a text of more than 80 words the closest one to three sentences count.

        ``subject`` says what the text is about (its headings). A text that opens with a pronoun, without a
        subject, is taken to speak of what the claim speaks of: whom else it means cannot be known from it.
        """
        asked, read = compared(self._grounding, claim, evidence, subject)
        values = features(self._grounding, asked, read)
        return self._weights.verdict(values, read, turned=turned(self._grounding, asked, read))


def compared(grounding: Grounding, claim: str, evidence: str, subject: str = "") -> tuple[str, str]:
    """The claim and the text as their words are compared; see :meth:`LexicalVerifier.verify`."""
    claim = bare(claim)
    read = near(grounding, claim, evidence)
    if subject:
        read = f"{subject}: {read}"
    elif pronoun := PRONOUN.match(read):
        claim = _SUBJECT.sub(f"{pronoun[0]} ", claim, count=1)
    return claim, read


@cache
def load_weights(file: str, names: tuple[str, ...]) -> Weights:
    """The shipped weights of a file of ``rag/data`` for features of these names."""
    data = json.loads(resources.files("rag").joinpath("data", file).read_text(encoding="utf-8"))
    return Weights(
        matrix=np.array([[data["weights"][name][label] for label in LABELS] for name in names]),
        intercept=np.array([data["intercept"][label] for label in LABELS]),
        measured=data["measured"],
    )
