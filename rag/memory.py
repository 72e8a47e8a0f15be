"""What a conversation becomes when it no longer fits beside the passages.

Turns leave the prompt several at a time, and for good: what follows them in the prompt moves, so that the model has
to read it again, and that should happen seldom.
"""

from __future__ import annotations

from dataclasses import replace

from rag.settings import HistoryStrategy
from rag.types import Conversation

VERBATIM = 2
"""Turns that ``hybrid`` keeps word for word."""
LONGEST_SUMMARY = 160
"""Tokens of a summary."""


def folds(conversation: Conversation, strategy: HistoryStrategy, fitting: int) -> int:
    """How many of the first turns leave the prompt, now that only the newest ``fitting`` fit.

    ``head`` and ``hybrid`` leave half of what fits (``hybrid`` at most :data:`VERBATIM`), ``summary`` none.
    """
    kept = {"head": (fitting + 1) // 2, "hybrid": min(VERBATIM, fitting), "summary": 0}[strategy]
    return max(conversation.folded, len(conversation.turns) - kept)


def fold(conversation: Conversation, turns: int, summary: str) -> Conversation:
    """The conversation with its first ``turns`` turns standing as ``summary``; white space in it is tidied."""
    return replace(conversation, folded=turns, summary=" ".join(summary.split()))
