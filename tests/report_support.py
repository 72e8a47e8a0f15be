"""A report to be shown: a few cases of every outcome, with whatever text in the places where others write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cache
from typing import Any

from eval.aggregate import make_report
from eval.scores import score_cases
from eval.types import Case, Cited, Record, Report
from prompts.types import Message
from rag.grounding import Verdict
from rag.types import Passage

HOSTILE = (
    "</script><script>alert(1)</script><img src=http://evil.example/x onerror=alert(1)> \"'`|\n"
    "]]> \x00\x1b[31m \ud800 \u202e & [1](javascript:alert(1)) **b** <!-- --> ${x} {{ 7 * 7 }} www.evil.example"
)
"""What breaks pages, tables, XML and terminals."""

FACTS = {"verifier": "word verifier, balanced accuracy 0.700", "judge": {"name": "word", "balanced_accuracy": 0.7}}


@dataclass(frozen=True, slots=True, kw_only=True)
class WordVerifier:
    """Supports a claim as far as the evidence has its words: enough to try what shows a verdict."""

    name: str = "word"
    measured: Mapping[str, float] = field(default_factory=lambda: {"balanced_accuracy": 0.7, "auc": 0.7})

    def verify(self, claim: str, evidence: str, subject: str = "") -> Verdict:
        del subject
        words = claim.lower().strip(".").split()
        share = sum(word in evidence.lower() for word in words) / len(words) if words else 0.0
        return Verdict(
            label="supported" if share >= 0.5 else "not_enough", p_supported=share, evidence=evidence.split("\n")[0]
        )


def passage(number: int, text: str, source: str = "boats.md") -> Passage:
    return Passage(
        number=number, text=text, source=source, start=0, end=len(text), pages=(), headings=("Boats",), score=0.0
    )


def report_of(text: str = "plain", facts: Mapping[str, object] = FACTS) -> Report:
    """Six cases; ``text`` stands in ids, kinds, questions, answers, claims, passages, sources, errors, reasons, tags.

    It is put there after the scoring, so that the scores are the same for every text.
    """
    scored = _scored()
    return replace(scored, results=put(text, scored.results), facts=facts)


def put(text: str, value: Any) -> Any:
    """The value with ``text`` for every "plain" in it, however deep."""
    if isinstance(value, str):
        return value.replace("plain", text)
    if isinstance(value, tuple):
        return tuple(put(text, item) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{part.name: put(text, getattr(value, part.name)) for part in fields(value)})
    return value


@cache
def _scored() -> Report:
    text, fact = "plain", "The MV Orrin carries 214 passengers."
    sent = (passage(1, f"{fact}\n{text}", f"{text}.md"), passage(2, "Dogs travel free."))
    cases = [
        Case(id="right", question="How many?", kind="answerable", answers=("214",), gold_quotes=(fact,), cluster="c"),
        Case(id=f"wrong {text}", question=f"How many? {text}", kind="answerable", answers=(f"7 {text}",), cluster="c"),
        Case(id="shy", question="Who is the mayor?", kind="answerable", answers=("Bob",), gold_docs=(f"{text}.md",)),
        Case(id="none", question="What is 6 times 7?", kind="near_miss", tags=(f"t{text}",)),
        Case(id="invented", question="Who?", kind=f"{text} kind", history=_said(text)),
        Case(id="broken", question="Why?", kind="answerable", answers=("x",)),
    ]
    records = [
        Record(
            id="right", answer=f"{fact} [1]", passages=sent, citations=(Cited(number=1, quote=fact),), usage=_used(9)
        ),
        Record(id=f"wrong {text}", answer=f"{text} Orrin passengers 214 [1].", passages=sent, usage=_used(11)),
        Record(id="shy", answer="I don't know.", refused=True, passages=sent),
        Record(id="none", answer="I don't know.", refused=True, passages=sent),
        Record(id="invented", answer=f"Zebras wander around {text} tonight [9].", passages=sent),
        Record(id="broken", answer="", error=f"ModelError: {text}"),
    ]
    return make_report(score_cases(cases, {record.id: record for record in records}, WordVerifier()), {})


def _said(text: str) -> tuple[Message, ...]:
    return (Message(role="user", content=f"Before: {text}"), Message(role="assistant", content=f"So: {text}"))


def _used(tokens: float) -> dict[str, float]:
    return {"answer_tokens": tokens}
