"""An answer's claims, each judged once by the passages: what all judged metrics are made from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from eval.claims import Claim, claims_of, is_refusal, passages_of
from eval.types import JudgedClaim, Record
from rag.grounding import Grounding, Verdict, Verifier, verify_any, verify_pairs


def judge_claims(record: Record, verifier: Verifier) -> tuple[JudgedClaim, ...]:
    """The claims of an answer in order, judged by the passages sent; none for a refusal or an answer that failed.

    A claim is supported when one passage supports it, or the closest parts of two together
    (:func:`rag.grounding.verify_any`); what it cites is judged in the same way. No pair of claim and text is shown to
    the verifier twice.
    """
    if record.error or is_refusal(record):
        return ()
    once, record = _Once(verifier), _whole(record)
    return tuple(_judge(claim, record, once) for claim in claims_of(record.answer, Grounding()))


def _judge(claim: Claim, record: Record, verifier: Verifier) -> JudgedClaim:
    passages = passages_of(record)
    known = [number for number in claim.numbers if number in passages]

    def by(numbers: Iterable[int]) -> tuple[Verdict, int | None]:
        return verify_any(verifier, claim.text, [passages[number] for number in numbers])

    def supported(numbers: Iterable[int]) -> bool:
        return by(numbers)[0].label == "supported"

    def is_needed(number: int) -> bool:
        return supported([number]) or not supported([other for other in known if other != number])

    # The two that come closest among those cited may support together what the closest two of all do not.
    verdict, passage = max(by(passages), by(known), key=lambda pair: pair[0].p_supported)
    cited = supported(known)
    return JudgedClaim(
        text=claim.text,
        label=verdict.label,
        p_supported=verdict.p_supported,
        passage=passage,
        evidence=verdict.evidence,
        numbers=claim.numbers,
        cited=cited,
        needed=tuple(filter(is_needed, known)) if cited else (),
    )


def _whole(record: Record) -> Record:
    """A record whose answer and passages a verifier can read, as UTF-8: half of a surrogate pair, which JSON can hold,
    becomes U+FFFD."""

    def whole(text: str) -> str:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    passages = (
        replace(passage, text=whole(passage.text), headings=tuple(map(whole, passage.headings)))
        for passage in record.passages
    )
    return replace(record, answer=whole(record.answer), passages=tuple(passages))


class _Once:
    """A verifier that remembers what it has judged of one answer (:class:`rag.grounding.BatchVerifier`)."""

    def __init__(self, verifier: Verifier) -> None:
        self.name = verifier.name
        self.measured: Mapping[str, float] | None = verifier.measured
        self._verifier = verifier
        self._judged: dict[tuple[str, str, str], Verdict] = {}

    def verify(self, claim: str, evidence: str, subject: str = "") -> Verdict:
        return self.verify_many([(claim, evidence, subject)])[0]

    def verify_many(self, pairs: Sequence[tuple[str, str, str]]) -> list[Verdict]:
        new = [pair for pair in dict.fromkeys(pairs) if pair not in self._judged]
        self._judged.update(zip(new, verify_pairs(self._verifier, new), strict=True))
        return [self._judged[pair] for pair in pairs]
