"""Systems that are broken on purpose: what a gate must notice, or it is worth nothing.

Each mutant takes the answers of a system that answers well (:func:`quoting_system`) and spoils them in one way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from eval.gate import Gate
from eval.types import Case, PromptFacts, Record
from prompts.wording import load_wording
from rag.types import Passage

Records = Mapping[str, Record]

REGRESSIONS = {"answer_recall": 0.2}

_OTHER = "The harbour band plays on the pier when the weather is fine."
_MARKER = re.compile(r"\[(\d+)\]")
_NUMBER = re.compile(r"(?<!\[)\b\d+\b(?!\])")
_PROMPT = PromptFacts(
    tokens=900, context_window=4096, reserved_tokens=512, control_tokens=4, template_tokens=4, sha256="0" * 64
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A way to break a system; ``must_fail`` are the bounds of the project's gate that have to notice."""

    name: str
    must_fail: frozenset[str]
    change: Callable[[Records], Records]


def quoting_system(cases: Sequence[Case]) -> dict[str, Record]:
    """Answers with a gold quote and a citation, or refuses: what every gate must let pass.

    Two passages are sent: one with the quote among other quotes of the same source, and one about something else.
    Raises :class:`ValueError` for an answerable case without gold quotes.
    """
    return {case.id: _quoted(case, cases) if case.answerable else _declined(case) for case in cases}


def quotable(case: Case) -> bool:
    """Whether the case is to be refused, or a single gold quote is a sentence that answers it, with a number in it."""
    quote = max(case.gold_quotes, key=len, default="")
    sentence = len(quote.split()) > 4 and bool(re.search(r"\d", quote)) and len(case.gold_docs) == 1
    return not case.answerable or sentence


def with_regressions(gate: Gate) -> Gate:
    """The gate with a regression to check against a baseline, which a gate file for every push has not."""
    return replace(gate, regressions={**gate.regressions, **REGRESSIONS})


def always_refuse(records: Records) -> Records:
    """Declines everything."""
    return _each(records, lambda record: replace(record, answer=load_wording().refusal, refused=True))


def always_answer(records: Records) -> Records:
    """Where it should decline, it says what it said to another question."""
    said = [record.answer for record in records.values() if not record.refused]
    changed = dict(records)
    for place, record in enumerate(record for record in records.values() if record.refused):
        changed[record.id] = replace(record, answer=said[place % len(said)], refused=False)
    return changed


def copy_top_passage(records: Records) -> Records:
    """Answers every question with the first passage, cited."""
    return _each(records, lambda record: replace(record, answer=f"{record.passages[0].text} [1]", refused=False))


def shuffle_citations(records: Records) -> Records:
    """Cites the next passage instead, the first instead of the last."""

    def turned(record: Record) -> Record:
        count = len(record.passages)
        return replace(record, answer=_MARKER.sub(lambda found: f"[{int(found[1]) % count + 1}]", record.answer))

    return _each(records, turned)


def invent_citations(records: Records) -> Records:
    """Cites passages that were not sent."""
    return _each(
        records, lambda record: replace(record, answer=_MARKER.sub(f"[{len(record.passages) + 1}]", record.answer))
    )


def change_numbers(records: Records) -> Records:
    """Every number of an answer becomes another one."""
    return _each(
        records,
        lambda record: replace(record, answer=_NUMBER.sub(lambda found: str(3 * int(found[0]) + 7), record.answer)),
    )


def lose_passages(records: Records) -> Records:
    """The passage that holds the answer is not found."""
    return _each(records, lambda record: replace(record, passages=record.passages[-1:]))


def fail_one(records: Records) -> Records:
    """The model fails on a single question."""
    first = next(iter(records))
    return {**records, first: Record(id=first, answer="", error="ModelError: out of memory")}


def miss_one(records: Records) -> Records:
    """One answer is missing from the file."""
    return {id_: record for id_, record in records.items() if id_ != next(reversed(list(records)))}


def overflow_once(records: Records) -> Records:
    """One prompt leaves no room for the answer that was promised."""
    return _prompt_of_first(records, replace(_PROMPT, tokens=_PROMPT.context_window - _PROMPT.reserved_tokens + 1))


def leak_once(records: Records) -> Records:
    """In one prompt a text has become a control token."""
    return _prompt_of_first(records, replace(_PROMPT, control_tokens=_PROMPT.template_tokens + 1))


def decline_every_second(records: Records) -> Records:
    """Declines every second question that it could answer: a release that got shy."""
    answered = [record for record in records.values() if not record.refused]
    shy = {record.id: replace(record, answer=load_wording().refusal, refused=True) for record in answered[::2]}
    return {**records, **shy}


MUTANTS = tuple(
    Mutant(name=change.__name__.replace("_", " "), must_fail=frozenset(gates), change=change)
    for change, gates in (
        (always_refuse, ("ceiling over_refusal", "floor groundedness", "floor citation_recall")),
        (always_answer, ("floor refusal_recall", "floor groundedness", "floor citation_precision")),
        (copy_top_passage, ("floor refusal_recall",)),
        (shuffle_citations, ("floor citation_recall", "floor citation_precision")),
        (invent_citations, ("invariant citation_validity", "floor citation_recall", "floor citation_precision")),
        (change_numbers, ("floor groundedness", "floor citation_recall", "floor citation_precision")),
        (lose_passages, ("floor recall_at_5", "floor ndcg_at_10")),
        (fail_one, ("invariant errors",)),
        (miss_one, ("invariant errors",)),
        (overflow_once, ("invariant within_budget",)),
        (leak_once, ("invariant control_tokens_kept",)),
        (decline_every_second, ("regression answer_recall",)),
    )
)
"""What issue and experience say goes wrong, each with the bounds that have to notice. An empty run is not among them:
it cannot be judged at all (:class:`~eval.errors.InputError`)."""


def _each(records: Records, change: Callable[[Record], Record]) -> Records:
    return {id_: change(record) for id_, record in records.items()}


def _prompt_of_first(records: Records, prompt: PromptFacts) -> Records:
    first = next(record for record in records.values() if record.prompt)
    return {**records, first.id: replace(first, prompt=prompt)}


def _declined(case: Case) -> Record:
    return Record(id=case.id, answer=load_wording().refusal, refused=True, passages=(_passage(1, _OTHER, ""),))


def _quoted(case: Case, cases: Sequence[Case]) -> Record:
    quote = max(case.gold_quotes, key=len)
    source = case.gold_docs[0] if case.gold_docs else ""
    near = [other.gold_quotes[0] for other in cases if other.gold_docs == case.gold_docs and other.id != case.id]
    text = ". ".join((*near[:2], quote)) + "."
    return Record(
        id=case.id,
        answer=f"{quote} [1].",
        refused=False,
        passages=(_passage(1, text, source), _passage(2, _OTHER, "")),
        prompt=_PROMPT,
    )


def _passage(number: int, text: str, source: str) -> Passage:
    return Passage(number=number, text=text, source=source, start=0, end=len(text), pages=(), headings=(), score=0.0)
