"""Two runs of the same cases: better, worse or cannot tell, and what flipped first."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from eval.aggregate import make_report, rests_on_verifier
from eval.changes import comparison_markdown
from eval.compare import SIGNIFICANT, compare, differing, overall, pair_up
from eval.errors import InputError
from eval.paired import least_p
from eval.report import report_json
from eval.scores import METRICS, score_cases
from eval.types import Case, Comparison, Flip, MetricChange, Record, Report
from rag.cli.evaluate import app
from rag.types import Passage
from rag.verifier import LexicalVerifier

VERIFIER = LexicalVerifier()
COUNT = 24
CASES = tuple(
    Case(
        id=f"q{number:02}",
        question=f"How many passengers does boat {number} carry?",
        kind="answerable",
        answers=(str(100 + number),),
        gold_docs=("boats.md",),
    )
    for number in range(COUNT)
)


def answer(number: int, *, right: bool = True) -> Record:
    text = f"Boat {number} carries {100 + number} passengers."
    sent = Passage(number=1, text=text, source="boats.md", start=0, end=len(text), pages=(), headings=(), score=0.0)
    said = text if right else f"Boat {number} carries {900 + number} passengers."
    return Record(id=f"q{number:02}", answer=f"{said[:-1]} [1].", passages=(sent,), refused=False)


def reported(wrong: set[int], cases: tuple[Case, ...] = CASES, **facts: object) -> Report:
    records = {f"q{number:02}": answer(number, right=number not in wrong) for number in range(COUNT)}
    known: Mapping[str, object] = {"verifier": "lexical", **facts}
    return make_report(score_cases(cases, {case.id: records[case.id] for case in cases}, VERIFIER), known)


GOOD = reported(set())
POOR = reported(set(range(10)))


def change_of(comparison: Comparison, name: str) -> MetricChange:
    return next(change for change in comparison.changes if change.name == name)


def test_worse_and_better_are_mirrors() -> None:
    there, back = compare(GOOD, POOR), compare(POOR, GOOD)
    found = change_of(there, "answer_recall")
    assert (found.before, found.after, found.n) == (1.0, pytest.approx(14 / 24), 24)
    assert found.test == "exact McNemar"
    assert found.p == pytest.approx(2 / 2**10)
    assert found.p_holm is not None
    assert found.p_holm >= found.p
    assert found.verdict == "worse"
    assert change_of(back, "answer_recall").verdict == "better"
    assert change_of(there, "unsupported_answer_rate").verdict == "worse"
    assert change_of(back, "unsupported_answer_rate").verdict == "better"
    assert (overall(there), overall(back)) == ("worse", "better")


def test_five_of_24_cases_leave_out_0_but_not_after_correction() -> None:
    found = change_of(compare(GOOD, reported(set(range(5)))), "answer_recall")
    assert found.ci95 is not None
    assert found.ci95[1] < 0
    assert found.p == pytest.approx(2 / 2**5)
    assert found.verdict == "cannot tell"


def test_a_few_cases_cannot_tell() -> None:
    found = compare(GOOD, reported({3, 4}))
    assert overall(found) == "cannot tell"
    assert {change.verdict for change in found.changes} == {"cannot tell"}
    assert change_of(found, "answer_recall").change == pytest.approx(-2 / 24)
    assert {flip.id for flip in found.flips} == {"q03", "q04"}


def test_the_same_run_twice() -> None:
    found = compare(GOOD, GOOD)
    assert (found.flips, found.only_before, found.only_after, found.notes) == ((), (), (), ())
    assert found.cases == COUNT
    for change in found.changes:
        assert change.verdict == "cannot tell"
        assert change.change in (0.0, None)
        assert change.p in (1.0, None)
        assert (change.detectable is None) == (change.change is None)


def test_a_mixed_picture_cannot_be_told_over_all() -> None:
    base = change_of(compare(GOOD, POOR), "answer_recall")
    both = replace(compare(GOOD, POOR), changes=(base, replace(base, name="f1", verdict="better")))
    assert overall(both) == "cannot tell"


def test_holm_counts_every_metric_in_which_enough_cases_differ() -> None:
    found = compare(GOOD, POOR)
    tested = [change for change in found.changes if change.p is not None]
    pairs = pair_up(GOOD, POOR, [result.case.id for result in GOOD.results])
    tried = [change for change in tested if least_p(pairs.pair(change.name)) <= SIGNIFICANT]
    assert 5 < len(tried) < len(tested)
    smallest = min(tested, key=lambda change: change.p or 0.0)
    assert smallest.p_holm == pytest.approx(len(tried) * (smallest.p or 0.0))
    for change in tested:
        if change not in tried:
            assert change.p_holm == change.p
            assert (change.p or 0.0) > SIGNIFICANT


def test_flips_that_got_worse_come_first() -> None:
    found = compare(reported({20}), reported({5}))
    assert [flip.id for flip in found.flips if flip.metric == "answer_recall"] == ["q05", "q20"]
    assert Flip(id="q05", metric="answer_recall", before=1.0, after=0.0) in found.flips


def test_cases_are_paired_by_id_whatever_their_order() -> None:
    turned = replace(POOR, results=POOR.results[::-1])
    assert compare(GOOD, turned).changes == compare(GOOD, POOR).changes


def test_cases_without_a_partner_are_left_out_and_named() -> None:
    found = compare(replace(GOOD, results=GOOD.results[2:]), replace(POOR, results=POOR.results[:-1]))
    assert (found.only_before, found.only_after, found.cases) == (("q23",), ("q00", "q01"), 21)
    assert change_of(found, "answer_recall").n == 21


def test_another_question_or_other_gold_under_the_same_id_is_left_out() -> None:
    cases = (replace(CASES[0], question="Else?"), replace(CASES[1], answers=("7",)), *CASES[2:])
    found = compare(GOOD, reported(set(), cases))
    assert found.cases == COUNT - 2
    assert found.notes == ("left out, because the two runs have another question or other gold for them: 'q00', 'q01'",)


def test_what_different_verifiers_judged_is_left_out() -> None:
    found = compare(GOOD, reported(set(range(10)), verifier="nli"))
    assert [change.name for change in found.changes] == [name for name in METRICS if not rests_on_verifier(name)]
    assert not any(rests_on_verifier(flip.metric) for flip in found.flips)
    assert "different verifiers (lexical; nli): groundedness" in found.notes[0]
    assert overall(found) == "worse"


def test_runs_without_a_common_case() -> None:
    with pytest.raises(InputError, match="no case in common"):
        compare(replace(GOOD, results=GOOD.results[:3]), replace(GOOD, results=GOOD.results[3:]))
    others = tuple(replace(case, question="Else?") for case in CASES)
    with pytest.raises(InputError, match="none of the 24 ids in both runs is the same case"):
        compare(GOOD, reported(set(), others))


def test_what_differs_between_the_runs() -> None:
    one = replace(GOOD, facts={"settings": {"k": 3, "mode": "dense"}, "model": "m"})
    two = replace(GOOD, facts={"settings": {"k": 5, "mode": "dense"}, "index": "i"})
    assert differing(one, two) == {"settings.k": (3, 5), "model": ("m", None), "index": (None, "i")}
    assert differing(one, one) == {}


def test_nothing_in_the_text_is_markup() -> None:
    cases = (replace(CASES[0], question="a | b\x1b[31m <script>"), *CASES[1:])
    before, after = reported(set(), cases), reported({0}, cases)
    shown = comparison_markdown(compare(before, after), before, after)
    assert "\x1b" not in shown
    assert "<script>" not in shown
    assert r"a \| b" in shown


def saved(folder: Path, report: Report) -> str:
    folder.mkdir()
    (folder / "report.json").write_text(json.dumps(report_json(report)), encoding="utf-8")
    return str(folder)


def test_the_command_tells_flips_first_and_exits_0_whatever_the_verdict(tmp_path: Path) -> None:
    good, poor = saved(tmp_path / "good", GOOD), saved(tmp_path / "poor", replace(POOR, facts={**POOR.facts, "k": 5}))
    result = CliRunner().invoke(app, ["compare", good, poor])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("# Worse: 24 cases in both runs")
    assert "10 cases flipped." in result.stdout
    assert result.stdout.index("| q00 | worse: ") < result.stdout.index("| answer_recall | 1.000 | 0.583 |")
    assert "| k | None | 5 |" in result.stdout
    assert "Better" in CliRunner().invoke(app, ["compare", poor, good]).stdout
    assert "No case flipped." in CliRunner().invoke(app, ["compare", good, good]).stdout


def test_the_command_prints_one_object(tmp_path: Path) -> None:
    good, poor = saved(tmp_path / "good", GOOD), saved(tmp_path / "poor", POOR)
    result = CliRunner().invoke(app, ["compare", good, poor, "--json"])
    data = json.loads(result.stdout)
    assert data["verdict"] == "worse"
    assert "answer_recall" in data["worse"]
    assert (data["better"], data["cases"], data["differing_facts"]) == ([], COUNT, {})
    assert {row["name"] for row in data["changes"]} == set(METRICS)
    assert data["flips"][0] == {"id": "q00", "metric": "groundedness", "before": 1.0, "after": 0.0}


def test_the_command_refuses_what_is_no_report(tmp_path: Path) -> None:
    good = saved(tmp_path / "good", GOOD)
    result = CliRunner().invoke(app, ["compare", good, str(tmp_path)])
    assert isinstance(result.exception, InputError)
