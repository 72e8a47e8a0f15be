"""Question, passages and history -> a prompt that fits: prompt tokens + reserved answer tokens <= window, always.

Kept in any case: the instruction, the question and the best passage, shortened at a sentence border if need be.
What is given up for them, in this order: the oldest turns of the history, then passages from the last one up.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ingest.types import ScoredChunk
from prompts.defuse import defuse, find_reserved
from prompts.encoding import clean
from prompts.formats import Encoded, PromptFormat
from prompts.types import Action, LedgerEntry, Message, Prompt
from prompts.wording import Wording
from rag.errors import QuestionTooLongError
from rag.grounding import sentence_spans
from rag.types import History, Passage


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """A prompt and the passages that stand in it, numbered from 1 in prompt order."""

    prompt: Prompt
    passages: tuple[Passage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """One way to fill the prompt: which passages (perhaps shortened) and which turns of the history."""

    passages: tuple[Passage, ...]
    history: History


def build_context(
    question: str,
    hits: Sequence[ScoredChunk],
    history: History,
    *,
    format_: PromptFormat,
    wording: Wording,
    window: int,
    reserved: int,
) -> Context:
    """The best prompt that leaves ``reserved`` of ``window`` tokens for the answer.

    ``history`` alternates user and assistant messages. Every text is defused. Raises
    :class:`QuestionTooLongError` when instruction and question alone do not fit.
    """
    builder = _Builder(question, format_, wording)
    room = window - reserved
    everything = _Draft(
        passages=tuple(_passage(number, hit) for number, hit in enumerate(hits, start=1)), history=history
    )
    bare = builder.encode(_Draft(passages=(), history=()))
    if len(bare.token_starts) > room:
        raise QuestionTooLongError(
            f"the question and the instruction take {len(bare.token_starts)} tokens, but a window of {window} with "
            f"{reserved} kept for the answer has room for {room}: shorten it, or raise --context-window"
        )
    draft = _fit(builder, everything, room)
    encoded = builder.encode(draft)
    prompt = Prompt(
        messages=builder.messages(draft),
        token_ids=encoded.token_ids,
        text=encoded.text,
        ledger=_ledger(builder, draft, everything, encoded),
    )
    return Context(prompt=prompt, passages=draft.passages)


def _fit(builder: _Builder, draft: _Draft, room: int) -> _Draft:
    """Drop and shorten until the final ids fit; each step is counted on the real prompt."""
    while len(builder.encode(draft).token_starts) > room:
        if draft.history:
            draft = replace(draft, history=draft.history[2:])
        elif len(draft.passages) > 1:
            draft = replace(draft, passages=draft.passages[:-1])
        elif draft.passages:
            return _shorten(builder, draft, room)
        else:
            break
    return draft


def _shorten(builder: _Builder, draft: _Draft, room: int) -> _Draft:
    """As many whole sentences from the start of the only passage as fit; none, if not even one does."""
    passage = draft.passages[0]
    ends = [end for _, end in sentence_spans(passage.text)]
    fits, too_long = 0, len(ends)
    while fits + 1 < too_long:
        middle = (fits + too_long) // 2
        shorter = replace(draft, passages=(_cut(passage, ends[middle - 1]),))
        if len(builder.encode(shorter).token_starts) <= room:
            fits = middle
        else:
            too_long = middle
    return replace(draft, passages=(_cut(passage, ends[fits - 1]),) if fits else ())


def _cut(passage: Passage, length: int) -> Passage:
    return replace(passage, text=passage.text[:length], end=passage.start + length)


def _passage(number: int, hit: ScoredChunk) -> Passage:
    chunk = hit.chunk
    return Passage(
        number=number,
        text=chunk.text,
        source=chunk.source,
        start=chunk.start,
        end=chunk.end,
        pages=chunk.pages,
        headings=chunk.headings,
        score=hit.score,
    )


class _Builder:
    """Drafts -> messages -> ids, with every text that we did not write defused."""

    def __init__(self, question: str, format_: PromptFormat, wording: Wording) -> None:
        self._format = format_
        self._wording = wording
        self._question = self._safe(question.strip())

    def _safe(self, text: str) -> str:
        return defuse(clean(text), self._format.tags)

    def frame(self, passage: Passage) -> str:
        """A passage as it stands in the prompt."""
        headings = [self._safe(heading) for heading in passage.headings]
        framed = self._wording.passage(
            passage.number, self._safe(passage.text.rstrip()), self._safe(passage.source), headings
        )
        return self._safe_joined(framed)

    def _safe_joined(self, framed: str) -> str:
        """Texts that are harmless apart can make a tag where the frame joins them."""
        return self._safe(framed) if find_reserved(framed, self._format.tags) else framed

    def messages(self, draft: _Draft) -> tuple[Message, ...]:
        system = self._wording.system([self.frame(passage) for passage in draft.passages])
        turns = [Message(role=turn.role, content=self._safe(turn.content)) for turn in draft.history]
        question = self._safe_joined(self._wording.question(self._question))
        return (
            Message(role="system", content=self._safe_joined(system)),
            *turns,
            Message(role="user", content=question),
        )

    def encode(self, draft: _Draft) -> Encoded:
        return self._format.build(self.messages(draft))


def _ledger(builder: _Builder, draft: _Draft, everything: _Draft, encoded: Encoded) -> tuple[LedgerEntry, ...]:
    """One entry a part; a token belongs to the part in which it begins, so the counts add up exactly."""
    regions: list[tuple[int, int, LedgerEntry]] = []
    at = encoded.content_spans[0][0]
    for passage, whole in zip(draft.passages, everything.passages, strict=False):
        framed = builder.frame(passage)
        start = encoded.text.index(framed, at)
        at = start + len(framed)
        cut = passage.end < whole.end
        why = f"cut to {len(passage.text)} of {len(whole.text)} characters to fit" if cut else "retrieved"
        entry = _entry(f"passage {passage.number}: {passage.source}", "shortened" if cut else "kept", why)
        regions.append((start, at, entry))
    spans = encoded.content_spans[1:]
    for number, (start, end) in enumerate(spans[:-1]):
        role = ("user", "assistant")[number % 2]
        regions.append((start, end, _entry(f"history {number + 1}: {role}", "kept", "fits")))
    regions.append((*spans[-1], _entry("question", "kept", "always kept")))
    entries: list[LedgerEntry] = []
    rest = len(encoded.token_starts)
    for start, end, entry in regions:
        tokens = bisect_left(encoded.token_starts, end) - bisect_left(encoded.token_starts, start)
        rest -= tokens
        entries.append(replace(entry, tokens=tokens))
    head = replace(_entry("instruction and format", "kept", "always kept"), tokens=rest)
    dropped = [
        _entry(f"passage {passage.number}: {passage.source}", "dropped", "the window is full")
        for passage in everything.passages[len(draft.passages) :]
    ]
    lost = len(everything.history) - len(draft.history)
    if lost:
        dropped.append(_entry(f"history: the oldest {lost} messages", "dropped", "the window is full"))
    return (head, *entries, *dropped)


def _entry(part: str, action: Action, why: str) -> LedgerEntry:
    return LedgerEntry(part=part, tokens=0, action=action, why=why)
