"""Follow-up questions -> questions that can be searched for without the conversation.

Whether a question leans on the conversation is told by its words. Then the model is asked to rewrite it; its text is
used only if it is made of the words of the question and of the conversation, leaves none of the question's own out,
and adds something. Otherwise the question is put behind the ones that it follows.
"""

from __future__ import annotations

import re

from rag.grounding import Grounding
from rag.types import Conversation, Turn

LONGEST_QUESTION = 64
"""Tokens of a rewritten question."""

_REFERS = re.compile(
    r"\b(?:it|its|itself|they|them|their|theirs|he|him|his|she|her|hers|this|these|those|else|instead)\b"
    r"|\bthe (?:same|other|others|former|latter|first|second|third|last|next|previous)(?: ones?)?\W*$"
    r"|\b(?:other|another|which|newer|older|bigger|smaller|cheaper|the \w+) ones?\b"
    r"|\b(?:do|does|did|is|was|of|about|for|with|after|before|than|on|in|to|at|from|by|like) that\b"
    r"|(?<!\bis )(?<!\bare )(?<!\bwas )(?<!\bwere )(?<!\bbe )\bthere\b(?! (?:is|are|was|were|be|a|an|any|has|have)\b)",
    re.IGNORECASE,
)
_ENDS = re.compile(r"\b(?:that|one|ones|so|too|both|either|neither)\W*$", re.IGNORECASE)
_EXPLETIVE = re.compile(
    r"\b(?:does|did|will|would|can|could|should|must|is|was|has|might|may)\s+it\s+"
    r"(?:(?:usually|normally|ever|still|really|also|even|usual|normal|possible|allowed|necessary|required|safe|true|"
    r"likely|worth|take|cost|matter|mean|make sense|help|hurt|have to|ok|okay|better|best|hard|easy|important)\b\W*)+"
    r"(?:to|that|if|when|for|in order)\b",
    re.IGNORECASE,
)
_OPENS = re.compile(
    r"^\W*(?:and|but|or|so|also|then|ok|okay|no|yes|what about|how about|why so|why not|since when|until when)\b",
    re.IGNORECASE,
)
_ASKS = re.compile(r"\b(?:what|which|who|whom|whose|when|where|why|how)\b", re.IGNORECASE)
_BARE = 1
"""A question of at most this many content terms is a fragment ("Why?", "How much?", "And in winter?")."""


def leans(question: str, grounding: Grounding) -> bool:
    """Whether a question (English) cannot be understood without what was said before it."""
    text = _EXPLETIVE.sub(" ", question)
    if _REFERS.search(text) or _ENDS.search(text):
        return True
    terms = len(grounding.terms(text))
    return terms <= _BARE or (bool(_OPENS.search(text)) and terms <= _BARE + 1)


def joined(question: str, conversation: Conversation) -> str:
    """The question behind the one that it follows, and behind the one which that one follows."""
    last = conversation.turns[-1]
    opened = _opening(conversation)
    before = [opened.question] if opened is last else [opened.question, last.question]
    return " ".join([*before, question])


def _opening(conversation: Conversation) -> Turn:
    """The newest turn whose question stands alone."""
    standing = (turn for turn in reversed(conversation.turns) if turn.standalone == turn.question)
    return next(standing, conversation.turns[0])


def accepted(rewritten: str, question: str, conversation: Conversation, grounding: Grounding) -> str | None:
    """The model's rewritten question, tidied, or None if it cannot be trusted to ask the same."""
    text = " ".join(rewritten.split()).strip("\"'“”")
    new, own = grounding.terms(text), grounding.terms(question)
    spoken = [text for turn in conversation.turns for text in (turn.question, turn.standalone, turn.answer)]
    asks = _ASKS.search(question)
    return (
        text
        if text.endswith("?")
        and text.count("?") == 1
        and text not in spoken
        and own <= new <= own | grounding.terms(" ".join(spoken))
        and new != own
        and (asks is None or asks[0].casefold() in text.casefold())
        else None
    )
