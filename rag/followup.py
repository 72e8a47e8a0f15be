"""Follow-up questions -> questions that can be searched for without the conversation.

Whether a question leans on the conversation is told by its words. Then it is searched for together with what it
follows, which finds as much as a question rewritten by hand does, at no cost; models were tried and left out
(docs/decisions/0009-conversations.md).
"""

from __future__ import annotations

import re

from rag.grounding import Grounding
from rag.types import Conversation, Turn

LONGEST_ANSWER = 300
"""Characters of an answer that are searched for with a question that follows it."""
_MARKER = re.compile(r"\s*\[\d+\]")

_REFERS = re.compile(
    r"\b(?:it|its|itself|they|them|their|theirs|he|him|his|she|her|hers|this|these|those|else|instead)\b"
    r"|\bthe (?:same|other|others|former|latter|first|second|third|last|next|previous)(?: ones?)?\W*$"
    r"|\b(?:other|another|which|newer|older|bigger|smaller|cheaper|the \w+) ones?\b"
    r"|\b(?:do|does|did|is|was|can|could|will|would|should|may|might|must|has|have) that\b"
    r"|\b(?:of|about|for|with|after|before|than|on|in|to|at|from|by|like) that\b"
    r"|(?<!\bis )(?<!\bare )(?<!\bwas )(?<!\bwere )(?<!\bbe )\bthere\b(?! (?:is|are|was|were|be|a|an|any|has|have)\b)",
    re.IGNORECASE,
)
_ENDS = re.compile(r"\b(?:that|one|ones|so|too|both|either|neither)\W*$", re.IGNORECASE)
_EXPLETIVE = re.compile(
    r"\b(?:is|was) it that\b|"
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
_GOES_ON = re.compile(
    r"^\W*(?:and|but|or|what|so|ok|okay)\W+(?:if|in|on|at|for|with|without|during|after|before|about|from|to|by|outside)\b",
    re.IGNORECASE,
)
_CLAUSE = re.compile(r"[,;:]|\b(?:and|but|or|if|when|because(?! of)|while)\b", re.IGNORECASE)
_BARE = 1
"""A question of at most this many content terms is a fragment ("Why?", "How much?", "And in winter?")."""


def leans(question: str, grounding: Grounding) -> bool:
    """Whether a question (English) cannot be understood without what was said before it."""
    text = _EXPLETIVE.sub(" ", question)
    if _GOES_ON.search(text) or _ENDS.search(text):
        return True
    found = _REFERS.search(text)
    if found and not _names(text[: found.start()], grounding):
        return True
    terms = len(grounding.terms(text))
    return terms <= _BARE or (bool(_OPENS.search(text)) and terms <= _BARE + 1)


def _names(before: str, grounding: Grounding) -> bool:
    """Whether what stands before a pronoun is a clause of its own that can hold what the pronoun means."""
    return bool(_CLAUSE.search(before.lstrip())) and len(grounding.terms(before)) > _BARE


def joined(question: str, conversation: Conversation, refusal: str = "") -> str:
    """The question behind what it follows: the newest question that stands alone, the last one, and its answer.

    An answer that is the ``refusal`` has nothing to search for.
    """
    last = conversation.turns[-1]
    opened = _opening(conversation)
    before = [opened.question] if opened is last else [opened.question, last.question]
    answer = "" if last.answer == refusal else _MARKER.sub("", last.answer)[:LONGEST_ANSWER]
    return " ".join(part for part in (*before, answer, question) if part)


def _opening(conversation: Conversation) -> Turn:
    """The newest turn whose question stands alone."""
    standing = (turn for turn in reversed(conversation.turns) if turn.standalone == turn.question)
    return next(standing, conversation.turns[0])
