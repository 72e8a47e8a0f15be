"""A report as JSON for programs, and as Markdown for people and CI summaries."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from eval.aggregate import rests_on_verifier
from eval.attribution import attribution
from eval.compare import overall
from eval.figures import Rate, costs, flips_by_case, improved, judge_of, strata
from eval.gate import Check
from eval.scores import LOWER_IS_BETTER
from eval.text import cell
from eval.types import CaseResult, Comparison, Report

LISTED = 20
"""Cases of a sort (flipped, without an answer) that the Markdown names; the page has them all."""


def report_json(report: Report, checks: Sequence[Check] = (), comparison: Comparison | None = None) -> dict[str, Any]:
    """The report as one object of strict JSON; ``gate`` and ``comparison`` are None when there was none.

    A number that is not finite becomes None. :func:`eval.saved.read_report` reads it back.
    """
    found: dict[str, Any] = strict_json(
        {
            "metrics": {name: asdict(metric) for name, metric in report.metrics.items()},
            "cases": len(report.results),
            "errors": report.errors,
            "kinds": {row.kind: {"cases": row.refused.n, "refused": row.refused.count} for row in strata(report)},
            "attribution": asdict(attribution(report.results)),
            "cost": {cost.name: cost.median for cost in costs(report.results)},
            **gate_json(checks, comparison),
            "facts": report.facts,
            "results": [_result_json(result) for result in report.results],
        }
    )
    return found


def gate_json(checks: Sequence[Check], comparison: Comparison | None = None) -> dict[str, Any]:
    """What the gate said and what changed, as strict JSON."""
    gate = {"passed": all(check.passed for check in checks), "checks": [asdict(check) for check in checks]}
    found: dict[str, Any] = strict_json(
        {"gate": gate if checks else None, "comparison": asdict(comparison) if comparison else None}
    )
    return found


def report_markdown(report: Report, checks: Sequence[Check] = (), comparison: Comparison | None = None) -> str:
    """A summary: the gate, what flipped, the metrics, refusals, the attribution table, and what an answer costs."""
    lines = _head(report, checks, comparison)
    lines += _errors(report)
    lines += _metrics(report)
    lines += _refusals(report)
    lines += _table(
        ("cost of an answer", "median", "10% to 90%", "answers"),
        "<><>",
        [
            (cost.name, f"{cost.median:.0f}", f"{cost.low:.0f} to {cost.high:.0f}", str(cost.n))
            for cost in costs(report.results)
        ],
    )
    return "\n".join(lines).rstrip("\n") + "\n"


def gate_markdown(report: Report, checks: Sequence[Check], comparison: Comparison | None = None) -> str:
    """Only what the gate said and what changed."""
    return "\n".join(_head(report, checks, comparison)).rstrip("\n") + "\n"


def _head(report: Report, checks: Sequence[Check], comparison: Comparison | None) -> list[str]:
    lines = [f"# Evaluation: {len(report.results)} cases, {report.errors} errors", ""]
    if checks:
        failed = sum(not check.passed for check in checks)
        lines += [f"**Gate failed**: {failed} of {len(checks)} bounds" if failed else "**Gate passed**", ""]
        lines += _table(
            ("gate", "", ""),
            "<<<",
            [
                (cell(check.gate), "ok" if check.passed else "FAIL", cell(check.why, 300))
                for check in sorted(checks, key=lambda check: check.passed)
            ],
        )
    return lines + (_changes(report, comparison) if comparison else [])


def _changes(report: Report, comparison: Comparison) -> list[str]:
    """What flipped first, then each metric that can be told apart, then a line on what cannot."""
    questions = {result.case.id: result.case.question for result in report.results}
    flipped = flips_by_case(comparison)
    lines = [f"## Against the baseline: {overall(comparison)}", ""]
    lines += [f"{comparison.cases} cases compared, {len(flipped)} flipped.", ""]
    lines += _table(
        ("case", "what flipped", "question"),
        "<<<",
        [
            (
                cell(id_, 60),
                ", ".join(
                    f"{flip.metric} {flip.before:.2g} → {flip.after:.2g} ({'better' if improved(flip) else 'worse'})"
                    for flip in flips
                ),
                cell(questions.get(id_, ""), 80),
            )
            for id_, flips in list(flipped.items())[:LISTED]
        ],
    )
    lines += _more(len(flipped))
    lines += _table(
        ("changed", "verdict", "before", "after", "change, 95% interval", "p (Holm)", "detectable", "cases"),
        "<<>><>>>",
        [
            (
                change.name,
                change.verdict,
                _number(change.before),
                _number(change.after),
                f"{change.change:+.3f}, {_span(change.ci95)}" if change.change is not None else "-",
                _number(change.p_holm),
                _number(change.detectable),
                str(change.n),
            )
            for change in comparison.changes
            if change.verdict != "cannot tell"
        ],
    )
    if unclear := [change.name for change in comparison.changes if change.verdict == "cannot tell"]:
        lines += [f"Cannot tell: {', '.join(unclear)}.", ""]
    for note in comparison.notes:
        lines += [cell(note, 400), ""]
    return lines


def _errors(report: Report) -> list[str]:
    failed = [result for result in report.results if result.record.error]
    rows = [(cell(result.case.id, 60), cell(result.record.error, 160)) for result in failed[:LISTED]]
    return _table(("without an answer", "error"), "<<", rows) + _more(len(failed))


def _metrics(report: Report) -> list[str]:
    judge = cell(judge_of(report).short)
    rows = []
    for name, metric in report.metrics.items():
        mark = "*" if rests_on_verifier(name) else " v" if name in LOWER_IS_BETTER else ""
        rows.append(
            (
                f"{name}{mark}",
                _number(metric.value),
                _span(metric.ci95),
                str(metric.n),
                str(metric.not_applicable),
                str(metric.errors),
                judge if rests_on_verifier(name) else "",
            )
        )
    header = ("metric", "value", "95% interval", "n", "n/a", "errors", "judge")
    verifier = cell(str(report.facts.get("verifier", "unknown")), 200)
    notes = [
        f"Judged by the verifier (*), its balanced accuracy beside: {verifier}. Lower is better (v). "
        "n: cases that the metric applies to; n/a: those that it does not.",
        "",
    ]
    return _table(header, "<><>>><", rows) + notes


def _refusals(report: Report) -> list[str]:
    wanted = {None: "not known", True: "yes", False: "no"}
    lines = _table(
        ("kind", "cases", "refused", "share", "95% interval", "is it wanted"),
        "<>>><<",
        [
            (cell(row.kind), str(row.refused.n), str(row.refused.count), *_rate(row.refused), wanted[row.wanted])
            for row in strata(report)
        ],
    )
    table = attribution(report.results)
    lines += _table(
        ("gold among the passages", "answered", "right of those with gold answers", "refused", "no answer"),
        "<>>>>",
        [
            (row.gold, str(row.answered), f"{row.right} of {row.scored}", str(row.refused), str(row.failed))
            for row in table.rows
        ],
    )
    if table.disputed:
        shown = ", ".join(cell(id_, 60) for id_ in table.disputed[:LISTED])
        lines += [f"Refused by the system's own word, not by its wording, or the other way: {shown}.", ""]
        lines += _more(len(table.disputed))
    return lines


def _table(header: Sequence[str], align: str, rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table with a blank line behind, none without rows; ``align`` has "<" or ">" for each column."""
    if not rows:
        return []
    rule = "|".join("---:" if side == ">" else "---" for side in align)
    return [*(f"| {' | '.join(header)} |", f"|{rule}|"), *(f"| {' | '.join(row)} |" for row in rows), ""]


def _more(found: int) -> list[str]:
    return [f"and {found - LISTED} more", ""] if found > LISTED else []


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _span(ci95: tuple[float, float] | None) -> str:
    return "-" if ci95 is None else f"{ci95[0]:.3f} to {ci95[1]:.3f}"


def _rate(rate: Rate) -> tuple[str, str]:
    return _number(rate.value), _span(rate.ci95)


def _result_json(result: CaseResult) -> dict[str, Any]:
    case, record = result.case, result.record
    return {
        "id": case.id,
        "kind": case.kind,
        "cluster": case.cluster,
        "tags": case.tags,
        "question": case.question,
        "history": [asdict(message) for message in case.history],
        "gold": {"answers": case.answers, "gold_docs": case.gold_docs, "gold_quotes": case.gold_quotes},
        "answer": record.answer,
        "refused": result.refused,
        "error": record.error,
        "scores": {
            score.name: {"value": score.value, "weight": score.weight, "why": score.why, "error": score.error}
            for score in result.scores
        },
        "claims": [asdict(claim) for claim in result.claims],
        "citations": [asdict(cited) for cited in record.citations],
        "passages": [asdict(passage) for passage in record.passages],
        "usage": record.usage,
        "timings": record.timings,
        "prompt": asdict(record.prompt) if record.prompt else None,
    }


def strict_json(value: Any) -> Any:
    """A value with what JSON has no word for replaced: numbers that are not finite by None, other things by text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): strict_json(item) for name, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [strict_json(item) for item in value]
    return value if value is None or isinstance(value, (str, int)) else str(value)
