"""Question, passages and conversation -> a prompt that fits: prompt + reserved answer tokens <= window, always.

Kept in any case: the instruction, the question and the best passage, shortened at a sentence border if need be.
What is given up for them, in this order: passages that only earlier questions found; turns of the conversation, the
oldest first, and their summary; passages of this question, from the worst up.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from prompts.defuse import defuse, find_reserved
from prompts.encoding import clean
from prompts.formats import Encoded, PromptFormat
from prompts.types import Action, LedgerEntry, Message, Prompt
from prompts.wording import Wording
from rag.candidates import Arrangement, place
from rag.errors import QuestionTooLongError
from rag.grounding import sentence_spans
from rag.packing import Candidate, LeftOut, numbered
from rag.types import Conversation, Passage, Turn

_MARKER = re.compile(r"(\s*)\[(\d+)\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """A prompt and the passages that stand in it, numbered from 1 in prompt order.

    ``turns``: how many of the newest turns stand in it word for word.
    """

    prompt: Prompt
    passages: tuple[Passage, ...]
    turns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """What the prompt asks for: the user's question in the wording of an answer, or a request of our own as it is.

    ``exchange``: turns that belong to the question (a tool's call and result) and are kept as surely as it is.
    """

    question: str
    plain: bool = False
    exchange: tuple[Message, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """One way to fill the prompt: which passages (perhaps shortened), which turns, with the summary or without."""

    candidates: tuple[Candidate, ...]
    turns: tuple[Turn, ...]
    summary: str

    @property
    def passages(self) -> tuple[Passage, ...]:
        return tuple(candidate.passage for candidate in self.candidates)


def build_context(
    asked: Instruction,
    arranged: Arrangement,
    conversation: Conversation,
    *,
    format_: PromptFormat,
    wording: Wording,
    window: int,
    reserved: int,
) -> Context:
    """The best prompt that leaves ``reserved`` of ``window`` tokens for the answer.

    Every text is defused. Turns that the conversation has folded into its summary are not put in again. Raises
    :class:`QuestionTooLongError` when instruction and question alone do not fit.
    """
    builder = _Builder(asked, format_, wording)
    room = window - reserved
    everything = _Draft(
        candidates=numbered(arranged.candidates),
        turns=conversation.turns[conversation.folded :],
        summary=conversation.summary,
    )
    draft = _fit(builder, everything, room)
    if (size := builder.size(draft)) > room:
        raise QuestionTooLongError(
            f"the question and the instruction take {size} tokens, but a window of {window} with "
            f"{reserved} kept for the answer has room for {room}: shorten it, or raise --context-window"
        )
    encoded = builder.encode(draft)
    prompt = Prompt(
        messages=builder.messages(draft),
        token_ids=encoded.token_ids,
        text=encoded.text,
        ledger=_ledger(builder, draft, everything, encoded, arranged.left_out),
    )
    return Context(prompt=prompt, passages=draft.passages, turns=len(draft.turns))


def _fit(builder: _Builder, draft: _Draft, room: int) -> _Draft:
    """Drop and shorten until the final ids fit or nothing is left; each step is counted on the real prompt."""
    while builder.size(draft) > room:
        found = tuple(candidate for candidate in draft.candidates if candidate.rank is not None)
        if found and len(found) < len(draft.candidates):
            draft = replace(draft, candidates=numbered(found))
        elif draft.turns:
            draft = _newest(builder, draft, room)
        elif draft.summary:
            draft = replace(draft, summary="")
        elif len(draft.candidates) > 1:
            worst = max(range(len(draft.candidates)), key=lambda at: (draft.candidates[at].rank or 0, at))
            draft = replace(draft, candidates=numbered(draft.candidates[:worst] + draft.candidates[worst + 1 :]))
        elif draft.candidates:
            return _shorten(builder, draft, room)
        else:
            break
    return draft


def _newest(builder: _Builder, draft: _Draft, room: int) -> _Draft:
    """As many of the newest turns as fit."""

    def keep(turns: int) -> _Draft:
        return replace(draft, turns=draft.turns[len(draft.turns) - turns :])

    return keep(_most(len(draft.turns) - 1, lambda turns: builder.size(keep(turns)) <= room))


def _shorten(builder: _Builder, draft: _Draft, room: int) -> _Draft:
    """As many whole sentences from the start of the only passage as fit; none, if not even one does."""
    (candidate,) = draft.candidates
    ends = [end for _, end in sentence_spans(candidate.passage.text)]

    def keep(sentences: int) -> _Draft:
        passage = _cut(candidate.passage, ends[sentences - 1])
        return replace(draft, candidates=(replace(candidate, passage=passage),))

    most = _most(len(ends) - 1, lambda sentences: builder.size(keep(sentences)) <= room)
    return keep(most) if most else replace(draft, candidates=())


def _most(limit: int, fits: Callable[[int], bool]) -> int:
    """The largest number up to ``limit`` that fits, where what is larger than one that does not, does not either; 0 is
    not asked."""
    fit, too_many = 0, limit + 1
    while fit + 1 < too_many:
        middle = (fit + too_many) // 2
        fit, too_many = (middle, too_many) if fits(middle) else (fit, middle)
    return fit


def _cut(passage: Passage, length: int) -> Passage:
    return replace(passage, text=passage.text[:length], end=passage.start + length)


class _Builder:
    """Drafts -> messages -> ids, with every text that we did not write defused."""

    def __init__(self, asked: Instruction, format_: PromptFormat, wording: Wording) -> None:
        self._format = format_
        self._wording = wording
        self._asked = asked
        self._framed: dict[Passage, str] = {}
        self._encoded: dict[_Draft, Encoded] = {}

    def _safe(self, text: str) -> str:
        return defuse(clean(text), self._format.tags)

    def frame(self, passage: Passage) -> str:
        """A passage as it stands in the prompt."""
        if passage not in self._framed:
            headings = [self._safe(heading) for heading in passage.headings]
            text, source = self._safe(passage.text.rstrip()), self._safe(passage.source)
            self._framed[passage] = self._safe_joined(self._wording.passage(passage.number, text, source, headings))
        return self._framed[passage]

    def _safe_joined(self, framed: str) -> str:
        """Texts that are harmless apart can make a tag where the frame joins them."""
        return self._safe(framed) if find_reserved(framed, self._format.tags) else framed

    def messages(self, draft: _Draft) -> tuple[Message, ...]:
        passages = draft.passages
        system = self._wording.system([self.frame(passage) for passage in passages], self._safe(draft.summary))
        spoken: list[Message] = []
        for turn in draft.turns:
            spoken.append(Message(role="user", content=self._question(turn.question)))
            spoken.append(Message(role="assistant", content=self._safe(_renumbered(turn, passages))))
        asked = self._asked
        return (
            Message(role="system", content=self._safe_joined(system)),
            *spoken,
            *(Message(role=message.role, content=self._safe(message.content)) for message in asked.exchange),
            Message(role="user", content=self._safe(asked.question) if asked.plain else self._question(asked.question)),
        )

    def _question(self, text: str) -> str:
        """A question of the user's, worded alike in its own turn and in those after it."""
        return self._safe_joined(self._wording.question(self._safe(text.strip())))

    def encode(self, draft: _Draft) -> Encoded:
        """The prompt of a draft, built once."""
        if draft not in self._encoded:
            self._encoded[draft] = self._format.build(self.messages(draft))
        return self._encoded[draft]

    def size(self, draft: _Draft) -> int:
        """Tokens of the prompt."""
        return len(self.encode(draft).token_starts)


def _renumbered(turn: Turn, passages: Sequence[Passage]) -> str:
    """The answer with its markers naming the passages as they are numbered now; those that are gone are left out."""
    now = {place(passage): passage.number for passage in passages}
    number = {passage.number: now.get(place(passage)) for passage in turn.passages}

    def marker(found: re.Match[str]) -> str:
        new = number.get(int(found[2]))
        return f"{found[1]}[{new}]" if new else ""

    return _MARKER.sub(marker, turn.answer)


def _ledger(
    builder: _Builder, draft: _Draft, everything: _Draft, encoded: Encoded, left_out: Sequence[LeftOut]
) -> tuple[LedgerEntry, ...]:
    """One entry a part; a token belongs to the part in which it begins, so the counts add up exactly."""
    regions: list[tuple[int, int, LedgerEntry]] = []
    at = encoded.content_spans[0][0]
    whole = {place(candidate.passage): candidate.passage for candidate in everything.candidates}
    for candidate in draft.candidates:
        passage = candidate.passage
        framed = builder.frame(passage)
        start = encoded.text.index(framed, at)
        at = start + len(framed)
        why = "retrieved" if candidate.rank is not None else "was there in the turn before"
        length = len(passage.text)
        if cut := length < candidate.whole:
            limit = "to fit" if length < len(whole[place(passage)].text) else "for the budget"
            why = f"cut to {length} of {candidate.whole} characters {limit}"
        entry = _entry(f"passage {passage.number}: {passage.source}", "shortened" if cut else "kept", why)
        regions.append((start, at, entry))
    if draft.summary:
        regions.append((at, encoded.content_spans[0][1], _entry("summary of earlier turns", "kept", "fits")))
    spans = encoded.content_spans[1:]
    for number, (start, end) in enumerate(spans[:-1]):
        role = ("user", "assistant")[number % 2]
        own = number < 2 * len(draft.turns)
        part = f"history {number + 1}: {role}" if own else f"tool {'call' if role == 'assistant' else 'question'}"
        regions.append((start, end, _entry(part, "kept", "fits" if own else "always kept")))
    regions.append((*spans[-1], _entry("question", "kept", "always kept")))
    entries: list[LedgerEntry] = []
    rest = len(encoded.token_starts)
    for start, end, entry in regions:
        tokens = bisect_left(encoded.token_starts, end) - bisect_left(encoded.token_starts, start)
        rest -= tokens
        entries.append(replace(entry, tokens=tokens))
    head = replace(_entry("instruction and format", "kept", "always kept"), tokens=rest)
    return (head, *entries, *_dropped(draft, everything, left_out))


def _dropped(draft: _Draft, everything: _Draft, left_out: Sequence[LeftOut]) -> list[LedgerEntry]:
    """What was there to be put in and is not."""
    kept = {place(passage) for passage in draft.passages}
    dropped = [
        _entry(f"passage: {passage.source}", "dropped", "the window is full")
        for passage in everything.passages
        if place(passage) not in kept
    ]
    dropped += [_entry(f"passage: {hit.source}", "dropped", hit.why) for hit in left_out]
    lost = 2 * (len(everything.turns) - len(draft.turns))
    if lost:
        dropped.append(_entry(f"history: the oldest {lost} messages", "dropped", "the window is full"))
    if everything.summary and not draft.summary:
        dropped.append(_entry("summary of earlier turns", "dropped", "the window is full"))
    return dropped


def _entry(part: str, action: Action, why: str) -> LedgerEntry:
    return LedgerEntry(part=part, tokens=0, action=action, why=why)
