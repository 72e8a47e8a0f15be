"""Metrics of the answer against the passages: groundedness, and citations after ALCE.

All but citation validity are functions of the judged claims (:func:`eval.judged.judge_claims`), so they are worth no
more than the verifier is: its balanced accuracy is printed beside them. A refusal claims nothing: they do not apply to
it, and are never zero for it. ALCE is Gao et al. 2023, "Enabling Large Language Models to Generate Text with
Citations", section 3; its judge is an NLI model, ours is the verifier.
"""

from __future__ import annotations

from collections.abc import Sequence

from eval.claims import cited_numbers, is_refusal, passages_of, resolves
from eval.types import JudgedClaim, Record, Score

Claims = Sequence[JudgedClaim]


def groundedness(record: Record, claims: Claims) -> Score:
    """Claims that the passages sent support / claims.

    From 0 to 1. After "faithfulness" (Es et al. 2023, RAGAS): |supported statements| / |statements|. Not applicable to
    a refusal or an answer without a claim.
    """
    if not claims:
        return _nothing("groundedness", record)
    return Score(name="groundedness", value=1 - len(_doubted(claims)) / len(claims), why=_support(claims))


def groundedness_strict(record: Record, claims: Claims) -> Score:
    """1 if the passages sent support every claim, else 0.

    0 or 1. As "attributable to identified sources" (Rashkin et al. 2023) is judged: one sentence too much fails the
    answer. Not applicable to a refusal or an answer without a claim.
    """
    if not claims:
        return _nothing("groundedness_strict", record)
    return Score(name="groundedness_strict", value=float(not _doubted(claims)), why=_support(claims))


def groundedness_min(record: Record, claims: Claims) -> Score:
    """How likely it is that the worst claim is supported.

    min over claims of max over passages of p_supported, from 0 to 1: an answer is as good as its weakest sentence.
    After SummaC-ZS (Laban et al. 2022), with the minimum for the mean over sentences. p_supported is the verifier's;
    unless that is calibrated, only the order of the values means something. Not applicable to a refusal or an answer
    without a claim.
    """
    if not claims:
        return _nothing("groundedness_min", record)
    worst = min(claims, key=lambda claim: claim.p_supported)
    return Score(name="groundedness_min", value=worst.p_supported, why=f"the worst claim: {worst.text}")


def unsupported_answer_rate(record: Record, claims: Claims) -> Score:
    """Of all cases, those answered with a claim that the passages sent do not support.

    0 or 1, lower is better; 0 for a refusal and for an answer without a claim. Coverage times selective risk (El-Yaniv
    & Wiener 2010, "On the Foundations of Noise-free Selective Classification"): how many of those who ask are told
    something unsupported. Of the answers alone it would be 1 - groundedness_strict, which is there already. It applies
    to every case; read it beside over_refusal, since refusing all has 0.
    """
    if not claims:
        why = "refused" if is_refusal(record) else "the answer makes no claim"
        return Score(name="unsupported_answer_rate", value=0.0, why=why)
    return Score(name="unsupported_answer_rate", value=float(bool(_doubted(claims))), why=_support(claims))


def citation_recall(record: Record, claims: Claims) -> Score:
    """Claims that what they cite supports / claims.

    From 0 to 1; a claim that cites nothing, or only numbers that no passage has, counts 0 (ALCE, citation recall). Not
    applicable to a refusal or an answer without a claim.
    """
    if not claims:
        return _nothing("citation_recall", record)
    supported = sum(claim.cited for claim in claims)
    return Score(
        name="citation_recall",
        value=supported / len(claims),
        why=f"{supported} of {len(claims)} claims are borne out by what they cite",
    )


def citation_precision(record: Record, claims: Claims) -> Score:
    """Citations that are needed / citations.

    From 0 to 1. One is needed when all that its claim cites supports the claim, and either it does so alone or the
    others do not do so without it (ALCE, citation precision). A number that no passage has counts as wrong, even where
    no claim stands beside it. Not applicable to a refusal or an answer that cites nothing.
    """
    sent = passages_of(record)
    beside = {number for claim in claims for number in claim.numbers}
    stray = [number for number in cited_numbers(record) if number not in sent and number not in beside]
    total = sum(len(claim.numbers) for claim in claims) + len(stray)
    if is_refusal(record) or not total:
        return _nothing("citation_precision", record, "the answer cites nothing that is a claim's")
    needed = sum(len(claim.needed) for claim in claims)
    return Score(
        name="citation_precision",
        value=needed / total,
        why=f"{needed} of {total} citations support their claim",
    )


def citation_validity(record: Record) -> Score:
    """Cited numbers that name a passage sent, which holds the quote where one is listed / cited numbers.

    From 0 to 1; a number counts once. groundchat's own: what a machine can check of a citation without a verifier. Not
    applicable to an answer that cites nothing.
    """
    numbers = cited_numbers(record)
    if not numbers:
        return _nothing("citation_validity", record, "the answer cites nothing")
    wrong = [number for number in numbers if not resolves(record, number)]
    why = f"no such passage or quote: {wrong}" if wrong else "all resolve"
    return Score(name="citation_validity", value=1 - len(wrong) / len(numbers), why=why)


def _doubted(claims: Claims) -> list[JudgedClaim]:
    return [claim for claim in claims if claim.label != "supported"]


def _support(claims: Claims) -> str:
    doubted = " / ".join(f"{claim.text} ({claim.label.replace('_', ' ')})" for claim in _doubted(claims))
    return f"not supported: {doubted}" if doubted else f"all {len(claims)} claims supported"


def _nothing(name: str, record: Record, why: str = "the answer makes no claim") -> Score:
    return Score(name=name, value=None, why="refused" if is_refusal(record) else why)
