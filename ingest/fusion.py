"""Candidates of both searches -> one ranking, by a weighted sum of scores (docs/decisions/0015-retrieval.md)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ingest.late import LateQuery, late_scores
from ingest.types import Candidate

RERANKED = 40
"""Candidates, the best by cosine and BM25 alone, that late interaction looks at, at least."""
LATE, DENSE, SPARSE = 0.8, 0.15, 0.05
"""Weights of MaxSim, of the cosine and of BM25 as a share of the best BM25 score; they add up to 1."""

Codes = Callable[[Sequence[Candidate]], list[bytes]]


def fuse(
    dense: Sequence[Candidate], sparse: Sequence[Candidate], late: LateQuery | None, codes: Codes, limit: int
) -> list[Candidate]:
    """At least ``limit`` of the candidates if there are as many, best first; scores are about 0 to 1.

    A candidate that only one search has found counts, in the other, as much as the last one found there.
    """
    cosines = {found.chunk_id: max(0.0, found.score) for found in dense}
    terms = {found.chunk_id: found.score for found in sparse}
    least, nearest = min(cosines.values(), default=0.0), max(cosines.values(), default=0.0) or 1.0
    fewest, most = min(terms.values(), default=0.0), max(terms.values(), default=0.0) or 1.0
    weighed = []
    for id_, found in {found.chunk_id: found for found in (*dense, *sparse)}.items():
        cosine, share = cosines.get(id_, least), terms.get(id_, fewest) / most
        weighed.append((replace(found, score=(cosine / nearest + share) / 2), DENSE * cosine + SPARSE * share))
    weighed.sort(key=lambda pair: (-pair[0].score, pair[0].chunk_id))
    if late is None:
        return [found for found, _ in weighed[:limit]]
    weighed = weighed[: max(RERANKED, limit)]
    held = codes([found for found, _ in weighed])
    scores = late_scores(late, held)
    ranked = [
        replace(found, score=LATE * float(score) + part, codes=own)
        for (found, part), own, score in zip(weighed, held, scores, strict=True)
    ]
    return sorted(ranked, key=lambda found: -found.score)
