"""The report as JSON and Markdown: complete, strict, and whole whatever the texts hold."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from report_support import FACTS, HOSTILE, put, report_of

from eval.changes import LISTED
from eval.compare import compare
from eval.figures import (
    BINS,
    calibration,
    costs,
    fails,
    flips_by_case,
    improved,
    judge_of,
    outcome,
    strata,
    supported_rate,
)
from eval.gate import Check
from eval.report import gate_markdown, report_json, report_markdown
from eval.scores import METRICS
from eval.statistics import wilson
from eval.text import cell, printable, shortened
from eval.types import Comparison, Flip, Report, Score

CHECKS = (
    Check(gate="floor f1", passed=True, why="fine"),
    Check(gate="invariant errors", passed=False, why="1, must be 0"),
)
MARKDOWN = MarkdownIt("commonmark").enable("table")
ANY = st.text(st.characters(), min_size=1).filter(str.strip)


def improved_run(report: Report) -> Report:
    """The same run, but that the wrong answer was right and the right one wrong."""

    def turned(score: Score) -> Score:
        return score if score.name != "answer_recall" or score.value is None else replace(score, value=1 - score.value)

    results = tuple(
        replace(result, scores=tuple(map(turned, result.scores))) if result.claims else result
        for result in report.results
    )
    return replace(report, results=results)


def tables(text: str) -> list[list[list[str]]]:
    """The cells of every table, read as CommonMark with tables; no cell may hold anything but text."""
    found: list[list[list[str]]] = []
    kind = ""
    for token in MARKDOWN.parse(text):
        kind = token.type
        assert kind != "html_block"
        if kind == "table_open":
            found.append([])
        elif kind == "tr_open":
            found[-1].append([])
        elif kind == "inline":
            plain = {"text", "text_special", "softbreak"} | (
                {"strong_open", "strong_close"} if token.level < 2 else set()
            )
            assert {child.type for child in token.children or ()} <= plain, token.content
            if token.level > 2:
                found[-1][-1].append("".join(child.content for child in token.children or ()))
    return found


def test_json_has_everything_and_is_strict() -> None:
    report = report_of(facts={**FACTS, "model": {"speed": math.nan}, "sizes": (1, math.inf), 3: {"a"}})  # type: ignore[dict-item]
    data = report_json(report, CHECKS, compare(report, report))
    again = json.loads(json.dumps(data, allow_nan=False))
    assert again == data
    assert list(data["metrics"]) == list(METRICS)
    assert data["gate"]["passed"] is False
    assert data["comparison"]["cases"] == 6
    assert data["facts"]["model"] == {"speed": None}
    assert data["facts"]["sizes"] == [1, None]
    row = data["results"][0]
    assert row["gold"]["answers"] == ["214"]
    assert row["claims"][0]["label"] == "supported"
    assert row["passages"][0]["number"] == 1
    assert row["citations"] == [{"number": 1, "quote": "The MV Orrin carries 214 passengers."}]
    assert row["scores"]["answer_recall"]["value"] == 1.0
    assert report_json(report)["gate"] is None
    assert report_json(report)["comparison"] is None


def test_the_gate_comes_first_and_what_failed_before_what_passed() -> None:
    lines = report_markdown(report_of(), CHECKS).split("\n")
    assert lines[0] == "# Evaluation: 6 cases, 1 errors"
    assert lines[2] == "**Gate failed**: 1 of 2 bounds"
    assert lines.index("| invariant errors | FAIL | 1, must be 0 |") < lines.index("| floor f1 | ok | fine |")


def test_every_judged_figure_names_its_judge_and_how_good_it_is() -> None:
    rows = [line for line in report_markdown(report_of()).split("\n") if line.startswith(("| grounded", "| citation"))]
    judged = [row for row in rows if "*" in row]
    assert len(judged) >= 5
    assert all(row.endswith("| word 0.70 |") for row in judged)
    unknown = report_markdown(report_of(facts={"judge": {"name": "mine", "balanced_accuracy": None}}))
    assert "| mine ? |" in unknown


def test_refusals_attribution_and_cost_are_told() -> None:
    found = {table[0][0]: table for table in tables(report_markdown(report_of()))}
    low, high = wilson(1, 4)
    assert found["kind"][1] == ["answerable", "4", "1", "0.250", f"{low:.3f} to {high:.3f}", "no"]
    assert found["kind"][2][0] == "near_miss"
    assert [row[0] for row in found["gold among the passages"][1:]] == ["sent", "not sent", "unknown"]
    assert sum(int(row[1]) + int(row[3]) + int(row[4]) for row in found["gold among the passages"][1:]) == 6
    assert found["cost of an answer"][1] == ["answer_tokens", "11", "9 to 11", "2"]
    assert found["without an answer"][1] == ["broken", "ModelError: plain"]


def test_what_flipped_comes_before_the_metrics_and_worse_before_better() -> None:
    before = report_of()
    after = improved_run(before)
    text = report_markdown(after, (), compare(before, after))
    table = next(table for table in tables(text) if table[0][1] == "what flipped")
    assert [row[0] for row in table[1:]] == ["right", "wrong plain"]
    assert table[1][1] == "worse: answer_recall 1 → 0"
    assert text.index("## Against the baseline") < text.index("| metric |")
    assert gate_markdown(after, CHECKS, compare(before, after)) in report_markdown(
        after, CHECKS, compare(before, after)
    )


def test_a_long_list_is_cut_and_counted() -> None:
    flips = tuple(Flip(id=f"c{number}", metric="f1", before=1.0, after=0.0) for number in range(LISTED + 3))
    comparison = Comparison(changes=(), flips=flips, cases=99, only_before=(), only_after=())
    text = report_markdown(report_of(), (), comparison)
    assert f"{LISTED + 3} cases flipped (listed: {LISTED})." in text
    assert len(next(table for table in tables(text) if table[0][1] == "what flipped")) == LISTED + 1


@settings(max_examples=40, deadline=None)
@given(ANY)
def test_no_text_breaks_the_tables(text: str) -> None:
    report = report_of(text)
    comparison = put(text, compare(report_of(), improved_run(report_of())))
    checks = (Check(gate=f"floor {text}", passed=False, why=text),)
    shown = report_markdown(report, checks, comparison)
    shown.encode("utf-8")
    assert [[len(row) for row in table] for table in tables(shown)] == [
        [len(row) for row in table] for table in tables(report_markdown(report_of(), checks, comparison))
    ]
    assert all(len({len(row) for row in table}) == 1 for table in tables(shown))


def test_hostile_text_is_only_text() -> None:
    row = next(table for table in tables(report_markdown(report_of(HOSTILE))) if table[0][0] == "without an answer")
    assert row[1][1].startswith("ModelError: </script><script>alert(1)</script><img src=http://evil")
    assert "\x1b" not in report_markdown(report_of(HOSTILE))


@given(ANY)
def test_a_cell_reads_as_what_was_meant(text: str) -> None:
    read = tables(f"| a | b |\n|---|---|\n| {cell(text, 1000)} | x |\n")[0][1]
    assert read == [shortened(text, 1000), "x"]


@given(st.text(st.characters()))
def test_printable_text_can_be_written_and_stays_so(text: str) -> None:
    shown = printable(text)
    shown.encode("utf-8")
    assert printable(shown) == shown
    assert len(shortened(text, 10)) <= 10


def test_outcomes_and_what_to_look_at() -> None:
    report = report_of()
    assert {result.case.id: (outcome(result), fails(result)) for result in report.results} == {
        "right": ("right", False),
        "wrong plain": ("wrong", False),
        "shy": ("wrongly refused", True),
        "none": ("rightly refused", False),
        "invented": ("wrongly answered", True),
        "broken": ("error", True),
    }


def test_strata_know_whether_a_refusal_is_wanted() -> None:
    rows = {row.kind: row for row in strata(report_of())}
    assert (rows["answerable"].wanted, rows["answerable"].refused.count, rows["answerable"].errors) == (False, 1, 1)
    assert (rows["near_miss"].wanted, rows["near_miss"].refused.value) == (True, 1.0)


def test_calibration_counts_every_answer_with_a_claim_and_a_gold_answer_once() -> None:
    bins = calibration(report_of().results)
    assert len(bins) == BINS
    assert sum(bin_.right.n for bin_ in bins) == 2
    assert sum(bin_.right.count for bin_ in bins) == 1
    for bin_ in bins:
        assert bin_.mean is None or bin_.low <= bin_.mean <= bin_.high


def test_costs_leave_out_what_is_no_number() -> None:
    results = report_of().results
    odd = replace(results[0], record=replace(results[0].record, usage={"answer_tokens": math.nan}))
    assert [(cost.name, cost.n, cost.median) for cost in costs((odd, *results[1:]))] == [("answer_tokens", 1, 11.0)]
    assert costs(results[2:3]) == ()


def test_claims_are_counted_with_their_interval() -> None:
    rate, ci95 = supported_rate(report_of().results)
    assert rate.n == sum(len(result.claims) for result in report_of().results)
    assert ci95 is not None
    assert ci95[0] <= (rate.value or 0) <= ci95[1]
    assert supported_rate(report_of().results[2:4]) == (replace(rate, count=0, n=0), None)


@pytest.mark.parametrize(
    ("metric", "before", "after", "better"),
    [("f1", 0, 1, True), ("f1", 1, 0, False), ("over_refusal", 0, 1, False), ("over_refusal", 1, 0, True)],
)
def test_which_way_a_flip_goes(metric: str, before: float, after: float, better: bool) -> None:
    assert improved(Flip(id="a", metric=metric, before=before, after=after)) is better


def test_a_case_that_got_worse_in_something_comes_first() -> None:
    flips = (
        Flip(id="up", metric="f1", before=0, after=1),
        Flip(id="mixed", metric="f1", before=0, after=1),
        Flip(id="mixed", metric="over_refusal", before=0, after=1),
    )
    comparison = Comparison(changes=(), flips=flips, cases=2, only_before=(), only_after=())
    assert {id_: len(found) for id_, found in flips_by_case(comparison).items()} == {"mixed": 2, "up": 1}
    assert list(flips_by_case(comparison)) == ["mixed", "up"]


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"judge": None},
        {"judge": "x"},
        {"judge": {"name": 3, "balanced_accuracy": "x"}},
        {"judge": {"balanced_accuracy": math.nan}},
        {"judge": {"balanced_accuracy": True}},
    ],
)
def test_a_judge_that_is_not_told_is_unknown(facts: dict[str, object]) -> None:
    assert str(judge_of(report_of(facts=facts))) == "unknown, balanced accuracy not measured"
