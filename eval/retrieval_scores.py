"""Retrieval metrics of one case: recall at 5, reciprocal rank at 10, nDCG at 10.

What has to be found (the needs of a case):

- with gold quotes, a passage that contains one of them, white space collapsed; wherever it stands, one is
  enough. A case tagged ``multi-doc`` needs one such passage from each of its gold documents;
- without gold quotes, a passage of each gold document.

A passage is of a gold document when its source is that path, or ends with it, with or without the file
extension. A passage is relevant when it meets a need. The ranking is ``retrieved`` where the record has it,
else the passages in the order in which they were sent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath

from eval.types import Case, Record, Score
from rag.types import Passage

Need = Callable[[Passage], bool]

NO_GOLD = "the case has no gold quotes or documents"


def recall_at_5(case: Case, record: Record) -> Score:
    """Needs met by the first 5 passages / needs (Manning et al., Introduction to Information Retrieval,
    8.3)."""
    needs = needs_of(case)
    if not needs:
        return Score(name="recall_at_5", value=None, why=NO_GOLD)
    met = [any(need(passage) for passage in ranking(record)[:5]) for need in needs]
    return Score(name="recall_at_5", value=sum(met) / len(met), why=f"{sum(met)} of {len(met)} found")


def mrr_at_10(case: Case, record: Record) -> Score:
    """1 / rank of the first relevant passage among the first 10, else 0 (Voorhees 1999, TREC-8 QA)."""
    gains = _gains(case, record)
    if gains is None:
        return Score(name="mrr_at_10", value=None, why=NO_GOLD)
    rank = next((rank for rank, gain in enumerate(gains, start=1) if gain), None)
    return Score(name="mrr_at_10", value=1 / rank if rank else 0.0, why=f"rank {rank}" if rank else "not found")


def ndcg_at_10(case: Case, record: Record) -> Score:
    """DCG / ideal DCG over the first 10, gain / log2(rank + 1) (Jarvelin & Kekalainen 2002).

    The gain of a passage is the number of needs that it is the first to meet, so that a second copy of the
    same evidence adds nothing (Clarke et al. 2008, alpha = 1); the ideal ranking meets one need a rank.
    """
    gains = _gains(case, record)
    if gains is None:
        return Score(name="ndcg_at_10", value=None, why=NO_GOLD)
    gained = sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, start=1))
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(10, len(needs_of(case))) + 1))
    return Score(name="ndcg_at_10", value=min(1.0, gained / ideal), why=f"gains {gains}")


def needs_of(case: Case) -> tuple[Need, ...]:
    """What has to be found for a case; empty when the case does not say, or is to be refused."""
    if case.answerable is False:
        return ()
    if not case.gold_quotes:
        return tuple(_of(document) for document in case.gold_docs)
    quoted = _quoting(case.gold_quotes)
    if "multi-doc" in case.tags:
        return tuple(_both(quoted, _of(document)) for document in case.gold_docs)
    return (quoted,)


def ranking(record: Record) -> Sequence[Passage]:
    """The passages as they were ranked, best first."""
    return record.passages if record.retrieved is None else record.retrieved


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


def _quoting(quotes: Sequence[str]) -> Need:
    wanted = [" ".join(quote.split()) for quote in quotes]
    return lambda passage: any(quote in " ".join(passage.text.split()) for quote in wanted)


def _of(document: str) -> Need:
    def need(passage: Passage) -> bool:
        path = PurePosixPath(passage.source)
        return any(name == document or name.endswith(f"/{document}") for name in (str(path), str(path.with_suffix(""))))

    return lambda passage: bool(passage.source) and need(passage)


def _both(one: Need, other: Need) -> Need:
    return lambda passage: one(passage) and other(passage)
