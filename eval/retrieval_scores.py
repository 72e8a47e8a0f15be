"""Retrieval metrics of one case: recall at 5, reciprocal rank at 10, nDCG at 10.

What has to be found is in :mod:`eval.gold`. None of them applies to a case without gold quotes or documents, or to one
that is to be refused. Where one thing has to be found they are those of trec_eval for binary relevance, with one
difference: of several passages that hold the same evidence, only the first has a gain.
"""

from __future__ import annotations

import math

from eval.gold import needs_of, ranking
from eval.types import Case, Record, Score

NO_GOLD = "the case has no gold quotes or documents"


def recall_at_5(case: Case, record: Record) -> Score:
    """Needs of the case that the first 5 passages meet / needs.

    From 0 to 1. Manning, Raghavan & Schuetze 2008, Introduction to Information Retrieval, 8.3, with needs in the place
    of relevant documents. Not applicable without gold.
    """
    needs = needs_of(case)
    if not needs:
        return Score(name="recall_at_5", value=None, why=NO_GOLD)
    met = [any(need(passage) for passage in ranking(record)[:5]) for need in needs]
    return Score(name="recall_at_5", value=sum(met) / len(met), why=f"{sum(met)} of {len(met)} found")


def mrr_at_10(case: Case, record: Record) -> Score:
    """1 / rank of the first relevant passage among the first 10, else 0.

    From 0 to 1; its mean over cases is the mean reciprocal rank (Voorhees 1999, TREC-8 question answering track). Not
    applicable without gold.
    """
    gains = _gains(case, record)
    if gains is None:
        return Score(name="mrr_at_10", value=None, why=NO_GOLD)
    rank = next((rank for rank, gain in enumerate(gains, start=1) if gain), None)
    return Score(name="mrr_at_10", value=1 / rank if rank else 0.0, why=f"rank {rank}" if rank else "not found")


def ndcg_at_10(case: Case, record: Record) -> Score:
    """DCG / ideal DCG over the first 10 passages, with gain / log2(rank + 1).

    From 0 to 1 (Jarvelin & Kekalainen 2002). The gain of a passage is the number of needs that it is the first to meet,
    so that a second copy of the same evidence adds nothing: alpha-nDCG (Clarke et al. 2008) with alpha = 1. The ideal
    ranking meets one need a rank; one that does better, by a passage that meets two, has 1. Not applicable without
    gold.
    """
    gains = _gains(case, record)
    if gains is None:
        return Score(name="ndcg_at_10", value=None, why=NO_GOLD)
    gained = sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, start=1))
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(10, len(needs_of(case))) + 1))
    return Score(name="ndcg_at_10", value=min(1.0, gained / ideal), why=f"gains {gains}")


def _gains(case: Case, record: Record) -> list[int] | None:
    left = list(needs_of(case))
    if not left:
        return None
    gains = []
    for passage in ranking(record)[:10]:
        met = [need for need in left if need(passage)]
        left = [need for need in left if need not in met]
        gains.append(len(met))
    return gains
