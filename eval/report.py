"""A report as JSON for programs, and as Markdown for people and CI summaries."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from eval.aggregate import rests_on_verifier
from eval.attribution import attribution
from eval.changes import LISTED, change_lines, flipped_lines
from eval.compare import overall
from eval.figures import Rate, costs, judge_of, strata
from eval.gate import Check
from eval.scores import LOWER_IS_BETTER
from eval.tables import number, span, table
from eval.text import cell
from eval.types import CaseResult, Comparison, Report


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
    lines += table(
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
        lines += table(
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
    lines = [f"## Against the baseline: {overall(comparison)}", "", f"{comparison.cases} cases compared.", ""]
    lines += flipped_lines(comparison, report)
    lines += change_lines([change for change in comparison.changes if change.verdict != "cannot tell"])
    if unclear := [change.name for change in comparison.changes if change.verdict == "cannot tell"]:
        lines += [f"Cannot tell: {', '.join(unclear)}.", ""]
    for note in comparison.notes:
        lines += [cell(note, 400), ""]
    return lines


def _errors(report: Report) -> list[str]:
    failed = [result for result in report.results if result.record.error]
    rows = [(cell(result.case.id, 60), cell(result.record.error, 160)) for result in failed[:LISTED]]
    return table(("without an answer", "error"), "<<", rows) + _more(len(failed))


def _metrics(report: Report) -> list[str]:
    judge = cell(judge_of(report).short)
    rows = []
    for name, metric in report.metrics.items():
        mark = "*" if rests_on_verifier(name) else " v" if name in LOWER_IS_BETTER else ""
        rows.append(
            (
                f"{name}{mark}",
                number(metric.value),
                span(metric.ci95),
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
    return table(header, "<><>>><", rows) + notes


def _refusals(report: Report) -> list[str]:
    wanted = {None: "not known", True: "yes", False: "no"}
    lines = table(
        ("kind", "cases", "refused", "share", "95% interval", "is it wanted"),
        "<>>><<",
        [
            (cell(row.kind), str(row.refused.n), str(row.refused.count), *_rate(row.refused), wanted[row.wanted])
            for row in strata(report)
        ],
    )
    found = attribution(report.results)
    lines += table(
        ("gold among the passages", "answered", "right of those with gold answers", "refused", "no answer"),
        "<>>>>",
        [
            (row.gold, str(row.answered), f"{row.right} of {row.scored}", str(row.refused), str(row.failed))
            for row in found.rows
        ],
    )
    if found.disputed:
        shown = ", ".join(cell(id_, 60) for id_ in found.disputed[:LISTED])
        lines += [f"Refused by the system's own word, not by its wording, or the other way: {shown}.", ""]
        lines += _more(len(found.disputed))
    return lines


def _more(found: int) -> list[str]:
    return [f"and {found - LISTED} more", ""] if found > LISTED else []


def _rate(rate: Rate) -> tuple[str, str]:
    return number(rate.value), span(rate.ci95)


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
