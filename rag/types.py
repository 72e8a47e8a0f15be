"""The nouns of asking: passages in, an answer with citations out. All are frozen; offsets count from 0."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from ingest.types import Chunk
from prompts.types import Message, Prompt

CitationStatus = Literal["verified", "misattributed", "unsupported", "invalid"]
"""What became of a sentence and the passages that the model named for it.

"verified": one of those supports it, or it named none and one was found. "misattributed": none of those does, but
another one, which is cited instead. "unsupported": no passage supports it. "invalid": nor is there a passage of the
number that it named. A sentence of the last two is not shown, so a citation has one of the first two.
"""
StopReason = Literal["end", "length", "quoted", "refused"]
"""The model ended; the token limit did; its words were replaced by a quoted sentence; it was refused."""

History = tuple[Message, ...]
"""Alternating user and assistant messages, oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A text that was put before the model. ``number`` counts from 1 in prompt order.

    ``text`` is ``document.text[start:end]`` of ``source``, unchanged; in the prompt it stands defused.
    """

    number: int
    text: str
    source: str
    start: int
    end: int
    pages: tuple[int, ...]
    headings: tuple[str, ...]
    score: float

    @classmethod
    def of(cls, chunk: Chunk, *, number: int, score: float) -> Passage:
        """A chunk of an index as a passage."""
        return cls(
            number=number,
            text=chunk.text,
            source=chunk.source,
            start=chunk.start,
            end=chunk.end,
            pages=chunk.pages,
            headings=chunk.headings,
            score=score,
        )

    def at(self, number: int) -> Passage:
        """The same passage under another number."""
        return self if number == self.number else replace(self, number=number)

    def cite(self, start: int, end: int, status: CitationStatus) -> Citation:
        """The citation of ``text[start:end]``."""
        return Citation(
            number=self.number,
            source=self.source,
            start=self.start + start,
            end=self.start + end,
            quote=self.text[start:end],
            pages=self.pages,
            status=status,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Citation:
    """A place that an answer rests on: ``quote`` is the text of ``source`` from ``start`` to ``end``, exactly.

    The quote comes closest to the sentence that cites it; that the passage supports the sentence has been checked
    (:mod:`rag.verifier`).
    """

    number: int
    source: str
    start: int
    end: int
    quote: str
    pages: tuple[int, ...]
    status: CitationStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A sentence of the model, without markers, and what became of it: it was shown if any passage supports it.

    ``named``: the numbers that the model cited, in order; ``numbers``: those that stand behind it now.
    ``p_supported`` (0 to 1): how likely it is that the best of those supports it; where there is none, that any does.
    """

    text: str
    status: CitationStatus
    named: tuple[int, ...]
    numbers: tuple[int, ...]
    p_supported: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one answer. ``reused_tokens`` of the prompt were still in the model's cache, not evaluated.

    The prompts that decide on a tool or ask for a summary are not counted.
    """

    prompt_tokens: int = 0
    reused_tokens: int = 0
    answer_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Milliseconds from the question on; ``first_token_ms`` is None when the model was not called."""

    retrieve_ms: float = 0.0
    first_token_ms: float | None = None
    total_ms: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A question and what was answered.

    ``standalone``: the question as it was searched for, which makes sense without the turns before it.
    ``passages``: what stood before the model, in prompt order; empty when it was not asked.
    """

    question: str
    standalone: str
    answer: str
    passages: tuple[Passage, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """What was said so far, oldest first. The first ``folded`` turns stand in the prompt as ``summary`` only."""

    turns: tuple[Turn, ...] = ()
    summary: str = ""
    folded: int = 0

    @classmethod
    def of(cls, history: History) -> Conversation:
        """The conversation of plain messages, whose passages are not known.

        Raises ValueError when they do not alternate user and assistant, beginning with the user.
        """
        roles = [message.role for message in history]
        if roles != ["user", "assistant"] * (len(roles) // 2):
            raise ValueError(f"a history alternates user and assistant messages and ends with an answer, not {roles}")
        return cls(
            turns=tuple(
                Turn(question=asked.content, standalone=asked.content, answer=said.content)
                for asked, said in zip(history[::2], history[1::2], strict=True)
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A registered function that the model asked for, and what it gave: ``result`` is the text put to the model."""

    name: str
    arguments: Mapping[str, Any]
    result: str
    failed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of a question.

    ``standalone``: the question as it was searched for; another text than ``question`` only for a follow-up.
    ``why`` says, for people, why it was refused or what should be doubted; it is empty for a plain answer.
    ``confidence`` (0 to 1): how likely it is that the documents answer the question, from ``signals``
    (:mod:`rag.confidence`); None where the answer rests on a tool's result. ``claims``: every sentence that the model
    said up to the end of the answer, those that are not shown too; empty for JSON.
    ``prompt`` is None when the question was refused without asking the model. ``data``: the parsed answer when a JSON
    schema was asked for. ``conversation``: the conversation that the question belongs to, with this turn at its end;
    give it back with the next question.
    """

    question: str
    standalone: str
    text: str
    refused: bool
    why: str
    citations: tuple[Citation, ...]
    passages: tuple[Passage, ...]
    usage: Usage
    timings: Timings
    stop: StopReason
    prompt: Prompt | None
    conversation: Conversation
    data: Any = None
    tool_calls: tuple[ToolCall, ...] = ()
    confidence: float | None = None
    signals: Mapping[str, float | None] = field(default_factory=dict)
    claims: tuple[Claim, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The public form (what ``rag ask --json`` prints): without the prompt, times to a tenth of a millisecond."""
        timings = {name: None if ms is None else round(ms, 1) for name, ms in asdict(self.timings).items()}
        extra = {"data": self.data} if self.data is not None else {}
        return extra | {
            "question": self.question,
            "standalone": self.standalone,
            "answer": self.text,
            "refused": self.refused,
            "why": self.why,
            "confidence": _rounded(self.confidence),
            "signals": {name: _rounded(value) for name, value in self.signals.items()},
            "citations": [asdict(citation) for citation in self.citations],
            "claims": [asdict(claim) | {"p_supported": _rounded(claim.p_supported)} for claim in self.claims],
            "passages": [asdict(passage) for passage in self.passages],
            "usage": asdict(self.usage),
            "timings": timings,
            "stop": self.stop,
            "tool_calls": [asdict(call) for call in self.tool_calls],
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How tokens are drawn. Temperature 0 is greedy: then only ``max_tokens``, ``repeat_penalty``, ``stop`` and
    ``schema`` matter.

    ``top_k`` 0, ``top_p`` 1, ``min_p`` 0 and ``repeat_penalty`` 1 switch that sampler off. ``stop``: texts at which
    the answer ends; they are no part of it. ``schema``: a JSON schema that the answer is made to follow. ``rival``: a
    text that the answer might begin with instead; a model that can tells how likely (:class:`Likelihood`).
    """

    max_tokens: int = 256
    temperature: float = 0.0
    seed: int = 0
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.05
    repeat_penalty: float = 1.0
    stop: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = None
    rival: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Likelihood:
    """Natural logarithms of probabilities, at most 0, as the model gives them before anything is drawn.

    ``rival``: mean over the tokens of ``Sampling.rival``, were they the beginning of the answer. ``first``: of the
    token that the answer could most likely begin with. ``own``: mean over the first tokens of the answer, 32 at most.
    """

    rival: float
    first: float
    own: float
