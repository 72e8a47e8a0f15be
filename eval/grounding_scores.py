"""Metrics of the answer against the passages: groundedness, and citations after ALCE.

All of them judge sentences with a :class:`rag.grounding.Verifier`, so they are worth no more than it is: its
balanced accuracy is printed beside them. ALCE is Gao et al. 2023, "Enabling Large Language Models to Generate
Text with Citations", section 3; its judge is an NLI model, ours is the verifier.
"""

from __future__ import annotations

from eval.claims import Claim, cited_numbers, claims_of, is_refusal, passages_of, resolves
from eval.types import Case, Record, Score
from rag.grounding import Grounding, Verifier, verify_any


def groundedness(case: Case, record: Record, verifier: Verifier) -> Score:
    """Claims that some passage sent supports / claims. A refusal claims nothing: not applicable, never zero.

    After "faithfulness" (Es et al. 2023, RAGAS): |supported statements| / |statements|.
    """
    del case
    return _grounded("groundedness", record, verifier, strict=False)


def groundedness_strict(case: Case, record: Record, verifier: Verifier) -> Score:
    """1 if every claim is supported by some passage sent, else 0; not applicable to a refusal."""
    del case
    return _grounded("groundedness_strict", record, verifier, strict=True)


def citation_recall(case: Case, record: Record, verifier: Verifier) -> Score:
    """Claims that what they cite supports / claims (ALCE, citation recall); a claim that cites nothing counts
    0."""
    del case
    claims = _claims(record, verifier)
    if not claims:
        return _nothing("citation_recall", record)
    supported = [_supported(claim, claim.numbers, record, verifier) for claim in claims]
    return Score(
        name="citation_recall",
        value=sum(supported) / len(claims),
        why=f"{sum(supported)} of {len(claims)} claims are borne out by what they cite",
    )


def citation_precision(case: Case, record: Record, verifier: Verifier) -> Score:
    """Citations that are needed / citations (ALCE, citation precision).

    One counts when all that its sentence cites supports the sentence, and either it does so alone or the
    others do not do so without it. A number that no passage has counts as wrong.
    """
    del case
    pairs = [(claim, number) for claim in _claims(record, verifier) for number in claim.numbers]
    if not pairs:
        return _nothing("citation_precision", record, "the answer cites nothing")
    right = [_needed(claim, number, record, verifier) for claim, number in pairs]
    return Score(
        name="citation_precision",
        value=sum(right) / len(pairs),
        why=f"{sum(right)} of {len(pairs)} citations support their sentence",
    )


def citation_validity(case: Case, record: Record) -> Score:
    """Cited numbers that name a passage sent (which holds the quote, where one is listed) / cited numbers."""
    del case
    numbers = cited_numbers(record)
    if not numbers:
        return _nothing("citation_validity", record, "the answer cites nothing")
    wrong = [number for number in numbers if not resolves(record, number)]
    why = f"no such passage or quote: {wrong}" if wrong else "all resolve"
    return Score(name="citation_validity", value=1 - len(wrong) / len(numbers), why=why)


def _grounded(name: str, record: Record, verifier: Verifier, *, strict: bool) -> Score:
    claims = _claims(record, verifier)
    if not claims:
        return _nothing(name, record)
    doubted = [
        claim.text for claim in claims if verify_any(verifier, claim.text, record.passages)[0].label != "supported"
    ]
    share = 1 - len(doubted) / len(claims)
    return Score(
        name=name,
        value=float(not doubted) if strict else share,
        why="not supported: " + " / ".join(doubted) if doubted else f"all {len(claims)} claims supported",
    )


def _claims(record: Record, verifier: Verifier) -> tuple[Claim, ...]:
    return () if is_refusal(record) else claims_of(record.answer, Grounding())


def _nothing(name: str, record: Record, why: str = "the answer makes no claim") -> Score:
    return Score(name=name, value=None, why="refused" if is_refusal(record) else why)


def _supported(claim: Claim, numbers: tuple[int, ...], record: Record, verifier: Verifier) -> bool:
    passages = passages_of(record)
    cited = [passages[number] for number in numbers if number in passages]
    return verify_any(verifier, claim.text, cited)[0].label == "supported"


def _needed(claim: Claim, number: int, record: Record, verifier: Verifier) -> bool:
    if number not in passages_of(record) or not _supported(claim, claim.numbers, record, verifier):
        return False
    others = tuple(other for other in claim.numbers if other != number)
    return _supported(claim, (number,), record, verifier) or not _supported(claim, others, record, verifier)
