"""Where answers and refusals come from: gold in the passages sent x answered or refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from eval.claims import is_disputed
from eval.gold import gold_sent
from eval.types import CaseResult

Gold = Literal["sent", "not sent", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributionRow:
    """Cases of one row by what became of them; ``answered + refused + failed`` is the number of cases.

    Of those ``answered``, ``scored`` have gold answers to compare with, and ``right`` of these hold one
    (answer_recall). ``failed`` have no answer.
    """

    gold: Gold
    answered: int
    scored: int
    right: int
    refused: int
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """The rows "sent", "not sent" and "unknown", in this order; together they hold every case once.

    A right answer with its gold not sent was not read in the passages that the case names: the model knew it, guessed
    it, or found it elsewhere. ``disputed`` are ids of cases whose system says of an answer whether it is a refusal, and
    whose wording says otherwise (:func:`eval.claims.is_disputed`); the system's word counts.
    """

    rows: tuple[AttributionRow, ...]
    disputed: tuple[str, ...]


def attribution(results: Sequence[CaseResult]) -> Attribution:
    """The attribution table of scored cases."""
    kinds: tuple[tuple[Gold, bool | None], ...] = (("sent", True), ("not sent", False), ("unknown", None))
    return Attribution(
        rows=tuple(
            _row(name, [result for result in results if gold_sent(result.case, result.record) is gold])
            for name, gold in kinds
        ),
        disputed=tuple(result.case.id for result in results if is_disputed(result.record)),
    )


def _row(gold: Gold, results: Sequence[CaseResult]) -> AttributionRow:
    answered = [result for result in results if not result.refused and not result.record.error]
    recalls = [value for value in map(_answer_recall, answered) if value is not None]
    return AttributionRow(
        gold=gold,
        answered=len(answered),
        scored=len(recalls),
        right=sum(recall == 1.0 for recall in recalls),
        refused=sum(result.refused for result in results),
        failed=sum(bool(result.record.error) for result in results),
    )


def _answer_recall(result: CaseResult) -> float | None:
    return next((score.value for score in result.scores if score.name == "answer_recall"), None)
