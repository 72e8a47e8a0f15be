"""What puts the candidates of a hybrid search into their last order (``--rerank``).

none          cosine and BM25 alone
late          late interaction over the embedder's token vectors (:mod:`ingest.late`), no other model
cross:MODEL   late, then a cross-encoder over the best of it: a folder, or a hub id in the local cache
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ingest.cross_encoder import PairScorer, open_pair_scorer
from ingest.types import HEADING_SEPARATOR, ScoredChunk
from rag.errors import SettingsError

KNOWN = "late, none or cross:MODEL"
DEPTH = 30
"""Candidates that a cross-encoder reads, at least."""


class CrossReranker:
    """By a cross-encoder, which reads the question together with each candidate, headings first; scores are the
    logistic function of its output, 0 to 1."""

    def __init__(self, scorer: PairScorer) -> None:
        """Raises :class:`SettingsError` for a model with more than one output: that is a classifier."""
        if len(scorer.labels) != 1:
            raise SettingsError(
                f"the cross-encoder in {scorer.folder} has {len(scorer.labels)} outputs ({', '.join(scorer.labels)}): "
                "--rerank needs one with a single score"
            )
        self._scorer = scorer

    def rerank(self, question: str, hits: Sequence[ScoredChunk]) -> list[ScoredChunk]:
        texts = ["\n".join((HEADING_SEPARATOR.join(hit.chunk.headings), hit.chunk.text)).strip() for hit in hits]
        logits = self._scorer.logits([(question, text) for text in texts])[:, 0]
        scores = 1.0 / (1.0 + np.exp(-logits.astype(np.float64)))
        found = [replace(hit, score=float(score)) for hit, score in zip(hits, scores, strict=True)]
        return sorted(found, key=lambda hit: (-hit.score, hit.chunk.source, hit.chunk.start))


def open_reranker(spec: str) -> CrossReranker | None:
    """The cross-encoder of a spec; None for one without.

    Raises :class:`SettingsError` for a spec that names nothing, and :class:`ingest.errors.EmbedderError` when the model
    is not on this machine.
    """
    if spec in ("late", "none"):
        return None
    kind, _, model = spec.partition(":")
    if kind != "cross" or not model:
        raise SettingsError(f"unknown reranker {spec!r}: choose one of {KNOWN}")
    return CrossReranker(open_pair_scorer(model))
