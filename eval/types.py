"""The nouns of evaluation: cases and records in, scores and a report out. All are frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rag.types import History, Passage

UNANSWERABLE = frozenset({"near_miss", "far_ood", "unanswerable"})
"""Kinds that the documents hold no answer to, whatever else a case says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A question and what is known about its answer; only ``id`` and ``question`` must be given.

    ``answers`` are alternatives. ``gold_quotes`` are pieces of text that a relevant passage contains;
    ``gold_docs`` are sources. ``cluster`` names what is resampled together (empty: the case alone).
    """

    id: str
    question: str
    kind: str = ""
    answers: tuple[str, ...] = ()
    gold_docs: tuple[str, ...] = ()
    gold_quotes: tuple[str, ...] = ()
    cluster: str = ""
    history: History = ()
    tags: tuple[str, ...] = ()

    @property
    def answerable(self) -> bool | None:
        """Whether an answer is wanted (True) or a refusal (False); None when the case does not say.

        By kind where it is known (``answerable...``, or one of :data:`UNANSWERABLE`); else a case with
        answers is answerable, and one of another kind without answers is not.
        """
        if self.kind.startswith("answerable"):
            return True
        if self.kind in UNANSWERABLE:
            return False
        if self.answers:
            return True
        return False if self.kind else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cited:
    """A citation that a record lists: the passage's number, and the text it is said to hold (may be
    empty)."""

    number: int
    quote: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One answer of a run, by whatever system.

    ``refused`` is None when the system did not say. ``passages`` stood in the prompt; ``retrieved`` is the
    ranking, best first, where it was recorded (else the passages stand for it). ``error`` is not empty when
    no answer was made. ``usage`` and ``timings`` are as ``rag ask --json`` prints them.
    """

    id: str
    answer: str
    passages: tuple[Passage, ...] = ()
    refused: bool | None = None
    citations: tuple[Cited, ...] = ()
    retrieved: tuple[Passage, ...] | None = None
    error: str = ""
    usage: Mapping[str, float] = field(default_factory=dict)
    timings: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One metric of one answer: ``value`` from 0 to 1, or None where the metric does not apply; ``why``
    tells.

    ``weight`` is the share it has in the mean over cases. ``error`` says that there was no answer to score:
    the value is then the worst one, never a gap.
    """

    name: str
    value: float | None
    why: str = ""
    weight: float = 1.0
    error: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """All scores of one case, in the order of :data:`eval.scores.METRICS`; ``refused`` as it was
    recognised."""

    case: Case
    record: Record
    refused: bool
    scores: tuple[Score, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric over all cases.

    ``value`` is the weighted mean over the ``n`` cases it applies to, ``ci95`` its interval (both None when
    ``n`` is 0); ``errors`` of the ``n`` had no answer.
    """

    value: float | None
    ci95: tuple[float, float] | None
    n: int
    not_applicable: int
    errors: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a run came to. ``facts`` describe it: model, settings, index, verifier."""

    metrics: Mapping[str, Metric]
    results: tuple[CaseResult, ...]
    facts: Mapping[str, object]

    @property
    def errors(self) -> int:
        """Cases without an answer."""
        return sum(bool(result.record.error) for result in self.results)
