"""The lexical features, and how the embedder's token vectors of a claim and a text match: sees paraphrase as well.

Each token of the claim is compared with every token of the text, in their contexts, and keeps the best cosine (the
MaxSim of ColBERT, Khattab & Zaharia 2020). Weights in ``rag/data/alignment.json`` (``bench/fit_verifier.py``), fitted
for the default embedder, so it is always that one.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from ingest.embed import open_embedder
from ingest.types import Embedder
from rag.claims import FEATURES, features
from rag.grounding import Grounding, Verdict
from rag.roles import turned
from rag.verifier import Weights, compared, load_weights

MATCHES = ("token_match", "weakest_match", "unmatched")
"""Over the content tokens of the claim: the mean of their best cosines, that of the lowest quarter, and the share of
tokens whose best cosine is below a half."""
ALIGNMENT_FEATURES = (*FEATURES, *MATCHES)
_KEPT_TEXTS = 256


class AlignmentVerifier:
    """Judges claims by words and token vectors (:class:`rag.grounding.Verifier`)."""

    name = "alignment"

    def __init__(
        self,
        embedder: Embedder | None = None,
        grounding: Grounding | None = None,
        weights: Weights | None = None,
    ) -> None:
        """Raises :class:`ingest.errors.EmbedderError` when the default embedder is not on this machine."""
        self._grounding = grounding or Grounding()
        self._weights = weights or load_weights("alignment.json", ALIGNMENT_FEATURES)
        reader = embedder or open_embedder()
        self._vectors = lru_cache(maxsize=_KEPT_TEXTS)(lambda text: reader.encode_tokens([text])[1][0])

    @property
    def measured(self) -> Mapping[str, float]:
        """Figures out of fold (``bench/fit_verifier.py``)."""
        return self._weights.measured

    def verify(self, claim: str, evidence: str, subject: str = "") -> Verdict:
        """Judge a claim by a text, read as :meth:`rag.verifier.LexicalVerifier.verify` reads it."""
        asked, read = compared(self._grounding, claim, evidence, subject)
        swap = turned(self._grounding, asked, read)
        return self._weights.verdict(self.features(asked, read), read, turned=swap)

    def features(self, claim: str, text: str) -> tuple[float, ...]:
        """The values of :data:`ALIGNMENT_FEATURES`; those of the tokens are from -1 to 1."""
        return (*features(self._grounding, claim, text), *self._matches(claim, text))

    def _matches(self, claim: str, text: str) -> tuple[float, float, float]:
        spans, asked = (read := self._vectors(claim)).spans, read.vectors
        told = self._vectors(text).vectors
        content = [at for at, (start, end) in enumerate(spans) if self._grounding.term(claim[start:end]) is not None]
        if not content or not len(told):
            return 0.0, 0.0, 1.0
        best = np.sort((asked[content] @ told.T).max(axis=1))
        weakest = best[: max(1, len(best) // 4)]
        return float(best.mean()), float(weakest.mean()), float((best < 0.5).mean())
