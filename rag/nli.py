"""A cross-encoder for natural language inference as verifier: entailment, contradiction, or neither."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from rag.errors import ModelError
from rag.grounding import LABELS, Grounding, Label, Verdict
from rag.reading import bare, near

_READ_WHOLE = 200
"""Words; with the claim they fit the usual window of 512 tokens."""
_MEANINGS: Mapping[str, Label] = {
    "entailment": "supported",
    "entails": "supported",
    "supported": "supported",
    "supports": "supported",
    "contradiction": "contradicted",
    "contradicts": "contradicted",
    "contradicted": "contradicted",
    "refutes": "contradicted",
    "neutral": "not_enough",
    "not_entailment": "not_enough",
    "not_enough": "not_enough",
    "not_enough_info": "not_enough",
}


class Scorer(Protocol):
    """What is needed of a cross-encoder; :class:`ingest.cross_encoder.PairScorer` has it."""

    @property
    def folder(self) -> Path: ...

    @property
    def labels(self) -> tuple[str, ...]: ...

    def logits(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray[Any, np.dtype[np.float32]]:
        """See :meth:`ingest.cross_encoder.PairScorer.logits`."""
        ...


class NliVerifier:
    """Judges claims by a cross-encoder (:class:`rag.grounding.Verifier`); the evidence is the premise."""

    def __init__(
        self,
        name: str,
        scorer: Scorer,
        *,
        measured: Mapping[str, float] | None = None,
        grounding: Grounding | None = None,
    ) -> None:
        """Raises :class:`ModelError` when the model's labels do not say which output is entailment."""
        self.name = name
        self.measured = measured
        self._scorer = scorer
        self._grounding = grounding or Grounding()
        self._meanings = _meanings(name, scorer.labels)

    def verify(self, claim: str, evidence: str, subject: str = "") -> Verdict:
        """Judge a claim by a text. Of a text of more than 200 words the closest one to three sentences count."""
        return self.verify_many([(claim, evidence, subject)])[0]

    def verify_many(self, pairs: Sequence[tuple[str, str, str]]) -> list[Verdict]:
        """:meth:`verify` for each (claim, evidence, subject), in batches."""
        asked = [self._asked(*pair) for pair in pairs]
        scores = self._scorer.logits(
            [(f"{subject}: {read}" if subject else read, claim) for claim, read, subject in asked]
        )
        return [self._verdict(row, read) for row, (_, read, _) in zip(scores, asked, strict=True)]

    def _asked(self, claim: str, evidence: str, subject: str) -> tuple[str, str, str]:
        claim = bare(claim)
        return claim, near(self._grounding, claim, evidence, _READ_WHOLE), subject

    def _verdict(self, row: np.ndarray[Any, np.dtype[np.float32]], read: str) -> Verdict:
        powers = np.exp(row.astype(np.float64) - row.max())
        shares = dict.fromkeys(LABELS, 0.0)
        for label, share in zip(self._meanings, (powers / powers.sum()).tolist(), strict=True):
            shares[label] += share
        supported = min(1.0, shares["supported"])
        rest: Label = "contradicted" if shares["contradicted"] >= shares["not_enough"] else "not_enough"
        return Verdict(label="supported" if supported >= 0.5 else rest, p_supported=supported, evidence=read)


def _meanings(name: str, labels: tuple[str, ...]) -> tuple[Label, ...]:
    if len(labels) == 1:
        raise ModelError(f"{name} has one output, so it scores relevance, not support: pass a model with NLI labels")
    plain = [label.casefold().replace("-", "_").replace(" ", "_") for label in labels]
    found = tuple(_MEANINGS[label] for label in plain if label in _MEANINGS)
    if len(found) < len(plain) or "supported" not in found or len(set(found)) < len(found):
        raise ModelError(
            f"{name} names its labels {', '.join(labels)[:80]}: write entailment, neutral and contradiction, in the "
            "order of its outputs, into id2label of its config.json"
        )
    return found
