"""The project's own gate against systems that are broken on purpose: each must fail the bounds that are
named."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from eval.aggregate import make_report
from eval.cases import read_cases
from eval.errors import GateError, InputError
from eval.gate import Gate, check_gate, read_gate
from eval.report import report_json, report_markdown
from eval.scores import METRICS, score_cases
from eval.types import Case, Record, Report
from prompts.wording import load_wording
from rag.types import Passage
from rag.verifier import LexicalVerifier, load_weights

ROOT = Path(__file__).resolve().parent.parent
VERIFIER = LexicalVerifier()
ACCURACY = load_weights().measured["balanced_accuracy"]
GATE = read_gate(ROOT / "data" / "eval" / "gate.toml", ACCURACY)
REFUSAL = load_wording().refusal
NOISE = "The harbour band plays on the pier when the weather is fine."

Records = dict[str, Record]


def passage(number: int, text: str, source: str) -> Passage:
    return Passage(number=number, text=text, source=source, start=0, end=len(text), pages=(), headings=(), score=0.0)


def good_record(case: Case) -> Record:
    """Answers with a gold quote, cited, or refuses: what the harness must let pass."""
    if not case.answerable:
        return Record(id=case.id, answer=REFUSAL, refused=True, passages=(passage(1, NOISE, "band.txt"),))
    quote = max(case.gold_quotes, key=len)
    sent = (passage(1, f"{quote}.", case.gold_docs[0]), passage(2, NOISE, "band.txt"))
    return Record(id=case.id, answer=f"{quote} [1].", refused=False, passages=sent)


def plain_quote(case: Case) -> bool:
    """Whether the case is to be refused, or answered with a sentence that has a number (not a table's
    cell)."""
    quote = max(case.gold_quotes, key=len, default="")
    return not case.answerable or (
        len(quote.split()) > 4 and bool(re.search(r"\d", quote)) and "multi-doc" not in case.tags
    )


CASES = tuple(case for case in read_cases(ROOT / "data" / "eval" / "cases.jsonl") if plain_quote(case))[::2]
GOOD = {case.id: good_record(case) for case in CASES}


def each(change: Callable[[Record], Record]) -> Records:
    return {id_: change(record) for id_, record in GOOD.items()}


def always_refuse() -> Records:
    return each(lambda record: replace(record, answer=REFUSAL, refused=True))


def always_answer() -> Records:
    invented = "The mayor of Vardhamn, Bob Tree, paid 999 crowns for it in 1871 [1]."
    return each(lambda record: replace(record, answer=invented, refused=False))


def invent_citations() -> Records:
    return each(lambda record: replace(record, answer=record.answer.replace("[1]", "[9]")))


def copy_top_passage() -> Records:
    return each(lambda record: replace(record, answer=f"{record.passages[0].text} [1]", refused=False))


def shuffle_citations() -> Records:
    return each(lambda record: replace(record, answer=record.answer.replace("[1]", "[2]")))


def change_numbers() -> Records:
    def other(match: re.Match[str]) -> str:
        return str(3 * int(match[0]) + 7)

    return each(lambda record: replace(record, answer=re.sub(r"(?<!\[)\d+", other, record.answer)))


def lose_passages() -> Records:
    return each(lambda record: replace(record, passages=record.passages[-1:]))


def break_one() -> Records:
    return GOOD | {CASES[0].id: Record(id=CASES[0].id, answer="", error="ModelError: out of memory")}


def miss_one() -> Records:
    return {id_: record for id_, record in GOOD.items() if id_ != CASES[-1].id}


def reported(records: Records) -> Report:
    return make_report(score_cases(CASES, records, VERIFIER), {})


def failed(report: Report, gate: Gate = GATE) -> set[str]:
    return {check.gate for check in check_gate(gate, report) if not check.passed}


def test_a_system_that_quotes_and_refuses_rightly_passes() -> None:
    assert failed(reported(GOOD)) == set()


@pytest.mark.parametrize(
    ("mutant", "gates"),
    [
        (always_refuse, {"ceiling over_refusal", "floor groundedness", "floor citation_recall"}),
        (always_answer, {"floor groundedness", "floor refusal_recall", "floor citation_precision"}),
        (invent_citations, {"invariant citation_validity", "floor citation_precision"}),
        (copy_top_passage, {"floor refusal_recall"}),
        (shuffle_citations, {"floor citation_recall", "floor citation_precision"}),
        (change_numbers, {"floor groundedness", "floor citation_precision"}),
        (lose_passages, {"floor recall_at_5", "floor ndcg_at_10", "invariant citation_validity"}),
        (break_one, {"invariant errors"}),
        (miss_one, {"invariant errors"}),
    ],
)
def test_every_mutant_fails_its_gates(mutant: Callable[[], Records], gates: set[str]) -> None:
    assert gates <= failed(reported(mutant()))


def test_an_empty_run_cannot_be_judged() -> None:
    with pytest.raises(InputError, match="no cases"):
        score_cases([], {}, VERIFIER)


def written(folder: Path, text: str) -> Path:
    file = folder / "gate.toml"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[[", "cannot be read"),
        ("", "has no bound"),
        ("[floors]", "has no bound"),
        ("[floor]\nf1 = 0.5", "unknown tables floor"),
        ("floors = 1", "must be a table"),
        ("[floors]\nbleu = 0.5", "'bleu', which is no metric"),
        ("[floors]\nerrors = 0", "'errors', which is no metric"),
        ('[floors]\nf1 = "0.5"', "floors.f1 is '0.5'"),
        ("[floors]\nf1 = true", "floors.f1 is True"),
        ("[floors]\nf1 = nan", "must be a number"),
        ("[floors]\nf1 = 50", "from 0 to 1"),
        ("[invariants]\nerrors = -1", "from 0 to 1"),
    ],
)
def test_a_malformed_gate(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(GateError, match=message):
        read_gate(written(tmp_path, text), ACCURACY)


def test_a_missing_gate(tmp_path: Path) -> None:
    with pytest.raises(GateError, match="cannot be read"):
        read_gate(tmp_path / "none.toml", ACCURACY)


def test_a_poor_verifier_may_not_gate(tmp_path: Path) -> None:
    with pytest.raises(GateError, match=r"groundedness cannot gate.*0\.60"):
        read_gate(written(tmp_path, "[floors]\ngroundedness = 0.5"), 0.60)
    assert read_gate(written(tmp_path, "[floors]\nf1 = 0.5"), 0.60).floors == {"f1": 0.5}


def test_a_floor_fails_only_when_the_whole_interval_is_below() -> None:
    report = reported(GOOD)
    low, high = report.metrics["f1"].ci95 or (0.0, 0.0)
    assert low < high < 0.99
    assert failed(report, Gate(invariants={}, floors={"f1": high - 1e-6}, ceilings={})) == set()
    assert failed(report, Gate(invariants={}, floors={"f1": high + 1e-6}, ceilings={})) == {"floor f1"}
    assert failed(report, Gate(invariants={}, floors={}, ceilings={"f1": low - 1e-6})) == {"ceiling f1"}


def test_the_report_counts_what_it_leaves_out() -> None:
    report = reported(break_one())
    data = report_json(report, check_gate(GATE, report))
    assert list(data["metrics"]) == list(METRICS)
    for metric in data["metrics"].values():
        assert set(metric) == {"value", "ci95", "n", "not_applicable", "errors"}
        assert metric["n"] + metric["not_applicable"] == len(CASES)
    assert data["metrics"]["groundedness"]["errors"] == 1
    assert data["errors"] == 1
    assert data["gate"]["passed"] is False
    shown = report_markdown(report, check_gate(GATE, report))
    assert "**Gate failed**" in shown
    assert "| invariant errors | FAIL |" in shown


def test_refusal_f1_is_that_of_precision_and_recall() -> None:
    metrics = reported(GOOD | {CASES[0].id: replace(GOOD[CASES[0].id], refused=True)}).metrics
    precision, recall = metrics["refusal_precision"].value, metrics["refusal_recall"].value
    assert precision is not None
    assert recall is not None
    assert precision < 1.0
    assert metrics["refusal_f1"].value == pytest.approx(2 * precision * recall / (precision + recall))
