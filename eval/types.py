"""The nouns of evaluation: cases and records in, scores and a report out. All are frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from rag.grounding import Label
from rag.types import History, Passage

UNANSWERABLE = frozenset({"near_miss", "far_ood", "unanswerable", "gold_removed", "entity_swapped"})
"""Kinds that the documents hold no answer to, whatever else a case says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A question and what is known about its answer; only ``id`` and ``question`` must be given.

    ``answers`` are alternatives. ``gold_quotes`` are pieces of text that a relevant passage contains;
    ``gold_docs`` are sources. ``cluster`` names what is resampled together (empty: the case alone).
    ``hidden`` are pieces of text: passages that hold one are kept from the system (the gold passage removed).
    ``draft`` marks a case that no person has accepted; it is never counted.
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
    hidden: tuple[str, ...] = ()
    draft: bool = False

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
class PromptFacts:
    """What a run notes of a prompt: its length, what it was allowed, and its control tokens.

    ``sha256`` is that of the token ids. ``control_tokens`` were found among them, ``template_tokens`` is how many the
    prompt's template puts there: more means that a text has become a command.
    """

    tokens: int
    context_window: int
    reserved_tokens: int
    control_tokens: int
    template_tokens: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One answer of a run, by whatever system.

    ``refused`` is None when the system did not say. ``passages`` stood in the prompt; ``retrieved`` is the
    ranking, best first, where it was recorded (else the passages stand for it). ``error`` is not empty when
    no answer was made. ``usage`` and ``timings`` are as ``rag ask --json`` prints them. ``prompt`` is None where
    the model was not asked, or the system does not say.
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
    prompt: PromptFacts | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedClaim:
    """A claim of an answer and what became of it.

    ``label`` and ``p_supported`` (0 to 1) are those of the passage sent that supports it best, ``passage`` that
    passage's number (None without passages) and ``evidence`` the text of it that was judged. ``numbers`` are the
    passages that the claim cites; ``cited`` says whether they support it together; ``needed`` are those of them that
    are needed for it (ALCE's precision).
    """

    text: str
    label: Label
    p_supported: float
    passage: int | None
    evidence: str
    numbers: tuple[int, ...]
    cited: bool
    needed: tuple[int, ...]


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
    """All scores of one case, in the order of :data:`eval.scores.SCORED`; ``refused`` as it was recognised;
    ``claims`` of the answer, none for a refusal."""

    case: Case
    record: Record
    refused: bool
    scores: tuple[Score, ...]
    claims: tuple[JudgedClaim, ...] = ()


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


Change = Literal["better", "worse", "cannot tell"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricChange:
    """A metric of two runs over the cases they share: each run's own value, over the cases it applies to in that run.

    Those are ``n_before`` and ``n_after`` cases, ``n`` of them in both. ``change`` is after - before and ``ci95`` its
    interval; ``p`` is the paired test's, ``p_holm`` corrected for the number of metrics compared. ``detectable`` is the
    smallest change that so many cases would show four times of five. All are None where the metric has no value in one
    of the runs, ``detectable`` also where all cases are one cluster.
    """

    name: str
    before: float | None
    after: float | None
    change: float | None
    ci95: tuple[float, float] | None
    n: int
    test: str
    p: float | None
    p_holm: float | None
    detectable: float | None
    verdict: Change
    n_before: int = 0
    n_after: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """A case whose value of a metric changed from 0.5 or more to less, or the other way."""

    id: str
    metric: str
    before: float
    after: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two runs of the same cases, paired by id; ``only_before`` and ``only_after`` are ids without a partner.

    ``notes`` say what was left out, and why: a line each.
    """

    changes: tuple[MetricChange, ...]
    flips: tuple[Flip, ...]
    cases: int
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]
    notes: tuple[str, ...] = ()
