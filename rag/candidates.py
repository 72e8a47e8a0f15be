"""Which passages a question is put before the model with, and in which order.

llama.cpp need not read again what stands at the same place as in the turn before. So passages that are there already
stay where they are, and new ones are appended behind them; a new topic starts afresh.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ingest.types import ScoredChunk
from rag.types import Conversation, Passage

ENOUGH = 2
"""A follow-up is given what stands there already, and its own first two hits (docs/decisions/0009-conversations.md)."""
SAME_TOPIC = 2
"""A question that stands alone belongs to the topic before if one of its first two hits stood in the prompt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A passage in its place in the prompt. ``rank`` (from 1) is its place among the hits of this question, or None
    when only an earlier question found it."""

    passage: Passage
    rank: int | None


def arrange(conversation: Conversation, hits: Sequence[ScoredChunk], *, follow_up: bool) -> tuple[Candidate, ...]:
    """The candidates in prompt order, numbered from 1. ``hits``: best first; ``follow_up``: the question leans on
    the conversation."""
    found = [Passage.of(hit.chunk, number=1, score=hit.score) for hit in hits]
    before = next((turn.passages for turn in reversed(conversation.turns) if turn.passages), ())
    there = {place(passage) for passage in before}
    if not (follow_up or any(place(passage) in there for passage in found[:SAME_TOPIC])):
        before, there = (), set()
    rank = {place(passage): number for number, passage in enumerate(found, start=1)}
    fresh = [passage for passage in found[: ENOUGH if before else None] if place(passage) not in there]
    return numbered([Candidate(passage=p, rank=rank.get(place(p))) for p in (*before, *fresh)])


def numbered(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """The same candidates, their passages numbered from 1 in this order."""
    return tuple(
        Candidate(passage=candidate.passage.at(number), rank=candidate.rank)
        for number, candidate in enumerate(candidates, start=1)
    )


def place(passage: Passage) -> tuple[str, int]:
    """What makes two passages the same: where they begin. Their ends differ when one was shortened."""
    return passage.source, passage.start
