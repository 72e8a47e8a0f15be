"""The project's own gate against systems that are broken on purpose: each must fail the bounds that are
named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from eval.aggregate import make_report
from eval.cases import read_cases
from eval.errors import GateError, InputError
from eval.gate import Gate, check_baseline, check_gate, read_gate
from eval.mutants import MUTANTS, Mutant, Records, always_refuse, fail_one, quotable, quoting_system, with_regressions
from eval.report import report_json, report_markdown
from eval.scores import METRICS, score_cases
from eval.types import Case, Report
from rag.verifier import LexicalVerifier

ROOT = Path(__file__).resolve().parent.parent
VERIFIER = LexicalVerifier()
ACCURACY = VERIFIER.measured["balanced_accuracy"]
GATE = with_regressions(read_gate(ROOT / "data" / "eval" / "gate.toml", ACCURACY))
CASES = tuple(filter(quotable, read_cases(ROOT / "data" / "eval" / "cases.jsonl")))
GOOD = quoting_system(CASES)


def reported(records: Records, cases: tuple[Case, ...] = CASES, verifier: str = "lexical") -> Report:
    return make_report(score_cases(cases, records, VERIFIER), {"verifier": verifier})


BASELINE = reported(GOOD)


def failed(report: Report, gate: Gate = GATE, baseline: Report = BASELINE) -> set[str]:
    return {check.gate for check in check_gate(gate, report, baseline) if not check.passed}


def test_a_system_that_quotes_and_refuses_rightly_passes() -> None:
    answered = sum(not record.refused for record in GOOD.values())
    assert answered >= 40
    assert len(GOOD) - answered >= 40
    assert failed(BASELINE) == set()
    assert all(BASELINE.metrics[name].n for name in GATE.invariants if name != "errors")


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_fails_its_bounds(mutant: Mutant) -> None:
    assert mutant.must_fail <= failed(reported(mutant.change(GOOD)))


def test_a_mutant_spoils_answers_and_leaves_the_originals_alone() -> None:
    before = dict(GOOD)
    for mutant in MUTANTS:
        assert dict(mutant.change(GOOD)) != before
    assert before == GOOD


def test_an_empty_run_cannot_be_judged() -> None:
    with pytest.raises(InputError, match="no cases"):
        score_cases([], {}, VERIFIER)
    with pytest.raises(InputError, match="no cases"):
        make_report([], {})
    with pytest.raises(GateError, match="no cases"):
        check_gate(GATE, replace(BASELINE, results=()), BASELINE)


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
        ("[regressions]\nerrors = 0", "'errors', which is no metric"),
        ("[regressions]\nf1 = -0.1", "from 0 to 1"),
        ("[regressions]\nf1 = 1e999", "must be a number"),
    ],
)
def test_a_malformed_gate(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(GateError, match=message):
        read_gate(written(tmp_path, text), ACCURACY)


def test_a_missing_gate(tmp_path: Path) -> None:
    with pytest.raises(GateError, match="cannot be read"):
        read_gate(tmp_path / "none.toml", ACCURACY)


@pytest.mark.parametrize("text", ["[floors]\ngroundedness = 0.5", "[regressions]\ncitation_recall = 0.5"])
def test_a_verifier_that_is_poor_or_was_never_measured_may_not_gate(tmp_path: Path, text: str) -> None:
    file = written(tmp_path, text)
    assert read_gate(file, 0.65)
    with pytest.raises(GateError, match=r"cannot gate: the verifier's balanced accuracy is 0\.60.*--judge"):
        read_gate(file, 0.60)
    with pytest.raises(GateError, match=r"never measured.*rag eval verify CLAIMS --judge \.\.\. --save"):
        read_gate(file, None)


def test_what_no_verifier_judged_may_gate_without_one(tmp_path: Path) -> None:
    file = written(tmp_path, "[floors]\nf1 = 0.5\n[invariants]\ncitation_validity = 1.0")
    assert read_gate(file, None) == read_gate(file, 0.3)
    assert read_gate(file, None).floors == {"f1": 0.5}


def test_a_floor_fails_only_when_the_whole_interval_is_below() -> None:
    low, high = BASELINE.metrics["f1"].ci95 or (0.0, 0.0)
    assert low < high < 0.99
    assert failed(BASELINE, Gate(floors={"f1": high - 1e-6})) == set()
    assert failed(BASELINE, Gate(floors={"f1": high + 1e-6})) == {"floor f1"}
    assert failed(BASELINE, Gate(ceilings={"f1": low - 1e-6})) == {"ceiling f1"}


def test_a_bound_on_what_applied_to_no_case_fails() -> None:
    silent = reported({id_: replace(record, prompt=None) for id_, record in GOOD.items()})
    assert failed(silent) == {"invariant within_budget", "invariant control_tokens_kept"}


def shy(share: int) -> Report:
    """A system that declines one in ``share`` of the questions it could answer."""
    answered = [id_ for id_, record in GOOD.items() if not record.refused]
    refusing = always_refuse(GOOD)
    return reported({**GOOD, **{id_: refusing[id_] for id_ in answered[::share]}})


def regressions(**tolerances: float) -> Gate:
    return Gate(regressions=tolerances)


def test_a_regression_is_a_drop_past_the_tolerance_that_the_cases_show() -> None:
    half = shy(2)
    (check,) = check_gate(regressions(answer_recall=0.2), half, BASELINE)
    assert not check.passed
    assert "0.94 -> 0.46, change -0.480" in check.why
    assert failed(half, regressions(answer_recall=0.6)) == set()
    assert failed(BASELINE, regressions(answer_recall=0.2), baseline=half) == set()


def test_lower_is_better_for_some() -> None:
    assert failed(shy(2), regressions(over_refusal=0.2)) == {"regression over_refusal"}
    assert failed(BASELINE, regressions(over_refusal=0.2), baseline=shy(2)) == set()


def test_a_tolerance_that_the_cases_cannot_show_is_an_error_of_the_gate() -> None:
    for report in (BASELINE, shy(2)):  # the first because nothing can be that sure, whatever the runs
        with pytest.raises(
            GateError, match=r"regression f1: the tolerance 0\.001 is below 0\.\d+, the smallest change"
        ):
            check_gate(regressions(f1=0.001), report, BASELINE)
    few = shy(20)
    with pytest.raises(GateError, match=r"tolerance 0\.07 is below 0\.1\d\d"):
        check_gate(regressions(over_refusal=0.07), few, BASELINE)
    assert failed(few, regressions(over_refusal=0.2)) == set()


def test_a_drop_that_shows_fails_however_small_the_tolerance_is_for_these_runs() -> None:
    """Runs that differ much can show only large changes; this one is larger still."""
    assert failed(shy(2), regressions(answer_recall=0.08)) == {"regression answer_recall"}


def test_a_drop_in_a_single_cluster_may_be_chance() -> None:
    answered = [case for case in CASES if not GOOD[case.id].refused][:40]
    cases = tuple(replace(case, cluster=str(place // 10)) for place, case in enumerate(answered))
    good = {case.id: GOOD[case.id] for case in cases}
    before, after = reported(good, cases), reported({**good, **always_refuse(dict(list(good.items())[:10]))}, cases)
    assert after.metrics["over_refusal"].value == 0.25
    with pytest.raises(GateError, match=r"tolerance 0\.2 is below"):
        check_gate(regressions(over_refusal=0.2), after, before)


def test_cases_of_one_cluster_show_no_regression() -> None:
    together = tuple(replace(case, cluster="all") for case in CASES)
    report = reported(GOOD, together)
    with pytest.raises(GateError, match="one cluster"):
        check_gate(regressions(f1=0.3), report, report)


def without(report: Report, count: int) -> Report:
    return replace(report, results=report.results[count:])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda report: without(report, 2), r"other cases than the run \('a\d+', 'a\d+'\)"),
        (lambda report: replace(report, results=(*report.results, other_case(report))), "other cases.*'elsewhere'"),
        (
            lambda report: replace(report, results=(asking_else(report), *report.results[1:])),
            r"another question or other gold for 'a\d+'",
        ),
        (
            lambda report: replace(report, metrics={k: v for k, v in report.metrics.items() if k != "f1"}),
            "older version, without f1",
        ),
    ],
)
def test_a_baseline_that_does_not_fit(change: Callable[[Report], Report], message: str) -> None:
    with pytest.raises(GateError, match=message):
        check_gate(regressions(f1=0.3), BASELINE, change(BASELINE))


def other_case(report: Report) -> object:
    first = report.results[0]
    return replace(first, case=replace(first.case, id="elsewhere"))


def asking_else(report: Report) -> object:
    first = report.results[0]
    return replace(first, case=replace(first.case, question="Something else?"))


def test_whether_a_baseline_fits_can_be_asked_before_the_cases_are_answered() -> None:
    assert check_baseline(regressions(f1=0.3), BASELINE, CASES) is BASELINE
    assert check_baseline(Gate(floors={"f1": 0.3}), None, CASES) is None
    with pytest.raises(GateError, match="other cases"):
        check_baseline(regressions(f1=0.3), BASELINE, CASES[1:])


def test_regressions_need_a_baseline() -> None:
    with pytest.raises(GateError, match="pass an earlier run as --baseline"):
        check_gate(regressions(f1=0.3), BASELINE)


def test_what_another_verifier_judged_is_no_baseline() -> None:
    other = reported(GOOD, verifier="another")
    with pytest.raises(GateError, match="another verifier judged the baseline, so groundedness"):
        check_gate(regressions(groundedness=0.5, f1=0.5), BASELINE, other)
    assert failed(BASELINE, regressions(f1=0.5), baseline=other) == set()


def test_a_regression_without_a_value_fails() -> None:
    refusing = reported(always_refuse(GOOD))
    assert failed(refusing, regressions(groundedness=0.5)) == {"regression groundedness"}


def test_the_report_counts_what_it_leaves_out() -> None:
    report = reported(fail_one(GOOD))
    data = report_json(report, check_gate(GATE, report, BASELINE))
    assert list(data["metrics"]) == list(METRICS)
    for metric in data["metrics"].values():
        assert set(metric) == {"value", "ci95", "n", "not_applicable", "errors"}
        assert metric["n"] + metric["not_applicable"] == len(CASES)
    assert data["metrics"]["groundedness"]["errors"] == 1
    assert data["errors"] == 1
    assert data["gate"]["passed"] is False
    shown = report_markdown(report, check_gate(GATE, report, BASELINE))
    assert "**Gate failed**" in shown
    assert "| invariant errors | FAIL |" in shown


def test_refusal_f1_is_that_of_precision_and_recall() -> None:
    metrics = reported(GOOD | {CASES[0].id: replace(GOOD[CASES[0].id], refused=True)}).metrics
    precision, recall = metrics["refusal_precision"].value, metrics["refusal_recall"].value
    assert precision is not None
    assert recall is not None
    assert precision < 1.0
    assert metrics["refusal_f1"].value == pytest.approx(2 * precision * recall / (precision + recall))


def test_a_metric_that_collapses_onto_one_case_does_not_pass() -> None:
    """All but one answer refused, and that one wrong: too few cases to tell, which is no reason to pass."""
    answered = next(id_ for id_, record in GOOD.items() if not record.refused)
    wrong = replace(GOOD[answered], answer="The mayor of Oslo has 999 ducks [1].")
    lone = reported({**always_refuse(GOOD), answered: wrong})
    assert lone.metrics["groundedness"].n == 1
    assert lone.metrics["groundedness"].value == 0.0
    with pytest.raises(GateError, match=r"the tolerance 0\.1 is below 1\.000"):
        check_gate(regressions(groundedness=0.1), lone, BASELINE)


def test_a_report_of_an_older_version_cannot_be_gated() -> None:
    older = replace(BASELINE, metrics={"f1": BASELINE.metrics["f1"]})
    with pytest.raises(GateError, match="older version, without recall_at_5"):
        check_gate(Gate(floors={"recall_at_5": 0.5}), older)
