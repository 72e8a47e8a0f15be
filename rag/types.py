"""The nouns of asking: passages in, an answer with citations out. All are frozen; offsets count from 0."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from prompts.types import Message, Prompt

CitationStatus = Literal["verified", "corrected"]
"""The passage supports the sentence; it does, but the model had named another passage, or none that there is."""
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
class Usage:
    """Tokens of one answer. ``reused_tokens`` of the prompt were still in the model's cache, not evaluated."""

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
class Answer:
    """What came of a question.

    ``why`` says, for people, why it was refused or what should be doubted; it is empty for a plain answer.
    ``prompt`` is None when the question was refused without asking the model.
    """

    question: str
    text: str
    refused: bool
    why: str
    citations: tuple[Citation, ...]
    passages: tuple[Passage, ...]
    usage: Usage
    timings: Timings
    stop: StopReason
    prompt: Prompt | None

    def as_json(self) -> dict[str, Any]:
        """The public form (what ``rag ask --json`` prints): without the prompt, times to a tenth of a millisecond."""
        timings = {name: None if ms is None else round(ms, 1) for name, ms in asdict(self.timings).items()}
        return {
            "question": self.question,
            "answer": self.text,
            "refused": self.refused,
            "why": self.why,
            "citations": [asdict(citation) for citation in self.citations],
            "passages": [asdict(passage) for passage in self.passages],
            "usage": asdict(self.usage),
            "timings": timings,
            "stop": self.stop,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How tokens are drawn: temperature 0 is greedy; ``seed`` counts only above it."""

    max_tokens: int = 256
    temperature: float = 0.0
    seed: int = 0
