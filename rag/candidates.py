"""Which passages a question is put before the model with, and in which order.

llama.cpp need not read again what stands at the same place as in the turn before. So passages that are there already
stay where they are, and new ones are appended behind them; a new topic starts afresh.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ingest.types import ScoredChunk
from rag.packing import Candidate, LeftOut, Pack, numbered, overlaps, whole
from rag.types import Conversation, Passage

ENOUGH = 2
"""A follow-up is given what stands there already, and its own first two hits (docs/decisions/0009-conversations.md)."""
SAME_TOPIC = 2
"""A question that stands alone belongs to the topic before if one of its first two hits stood in the prompt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrangement:
    """The candidates in prompt order, numbered from 1, and the hits of which none was made."""

    candidates: tuple[Candidate, ...] = ()
    left_out: tuple[LeftOut, ...] = ()


def arrange(
    conversation: Conversation, hits: Sequence[ScoredChunk], *, follow_up: bool, pack: Pack = whole
) -> Arrangement:
    """``hits``: best first; ``follow_up``: the question leans on the conversation; ``pack`` makes passages of hits."""
    before = next((turn.passages for turn in reversed(conversation.turns) if turn.passages), ())
    if not (follow_up or any(overlaps(passage, hit.chunk) for passage in before for hit in hits[:SAME_TOPIC])):
        before = ()
    packing = pack(hits[: ENOUGH if before else None], before)
    stays = [Candidate(passage=passage, rank=_rank(passage, hits), whole=len(passage.text)) for passage in before]
    return Arrangement(candidates=numbered((*stays, *packing.passages)), left_out=packing.left_out)


def _rank(passage: Passage, hits: Sequence[ScoredChunk]) -> int | None:
    return next((rank for rank, hit in enumerate(hits, start=1) if overlaps(passage, hit.chunk)), None)


def place(passage: Passage) -> tuple[str, int]:
    """What makes two passages of a prompt the same: where they begin, for none overlap. Their ends differ when one was
    shortened."""
    return passage.source, passage.start
