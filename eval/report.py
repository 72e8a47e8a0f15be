"""A report as JSON for programs, and as Markdown for people and CI summaries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eval.gate import Check
from eval.scores import JUDGED, LOWER_IS_BETTER
from eval.types import CaseResult, Metric, Report

_COSTS = (
    ("usage", "prompt_tokens"),
    ("usage", "reused_tokens"),
    ("usage", "answer_tokens"),
    ("timings", "first_token_ms"),
    ("timings", "total_ms"),
)


def report_json(report: Report, checks: Sequence[Check] = ()) -> dict[str, Any]:
    """The report as one JSON object; ``gate`` is None when there was none to pass."""
    return {
        "metrics": {name: _metric_json(metric) for name, metric in report.metrics.items()},
        "cases": len(report.results),
        "errors": report.errors,
        "kinds": _kinds(report),
        "cost": _costs(report),
        "gate": {
            "passed": all(check.passed for check in checks),
            "checks": [{"gate": check.gate, "passed": check.passed, "why": check.why} for check in checks],
        }
        if checks
        else None,
        "facts": dict(report.facts),
        "results": [_result_json(result) for result in report.results],
    }


def report_markdown(report: Report, checks: Sequence[Check] = ()) -> str:
    """A summary: the gate, the metrics with their intervals, refusals by kind, and what a case costs."""
    data = report_json(report, checks)
    lines = [f"# Evaluation: {data['cases']} cases, {data['errors']} errors", ""]
    if checks:
        lines += [
            f"**Gate {'passed' if data['gate']['passed'] else 'failed'}**",
            "",
            "| gate | | |",
            "|---|---|---|",
        ]
        lines += [f"| {check.gate} | {'ok' if check.passed else 'FAIL'} | {check.why} |" for check in checks]
        lines += [""]
    lines += [
        "| metric | value | 95% interval | cases | not applicable | errors |",
        "|---|---:|---|---:|---:|---:|",
    ]
    lines += [_metric_row(name, metric) for name, metric in report.metrics.items()]
    lines += [
        "",
        f"Judged by the verifier (*): {report.facts.get('verifier', 'unknown')}. Lower is better (v).",
    ]
    lines += ["", "| kind | cases | refused |", "|---|---:|---:|"]
    lines += [f"| {kind} | {row['cases']} | {row['refused']} |" for kind, row in data["kinds"].items()]
    lines += ["", "| cost (median) | |", "|---|---:|"]
    lines += [f"| {name} | {value:.0f} |" for name, value in data["cost"].items()]
    return "\n".join(lines) + "\n"


def _metric_json(metric: Metric) -> dict[str, Any]:
    return {
        "value": metric.value,
        "ci95": list(metric.ci95) if metric.ci95 else None,
        "n": metric.n,
        "not_applicable": metric.not_applicable,
        "errors": metric.errors,
    }


def _result_json(result: CaseResult) -> dict[str, Any]:
    return {
        "id": result.case.id,
        "kind": result.case.kind,
        "cluster": result.case.cluster,
        "tags": list(result.case.tags),
        "question": result.case.question,
        "answer": result.record.answer,
        "refused": result.refused,
        "error": result.record.error,
        "scores": {
            score.name: {"value": score.value, "weight": score.weight, "why": score.why, "error": score.error}
            for score in result.scores
        },
    }


def _metric_row(name: str, metric: Metric) -> str:
    mark = "*" if name in JUDGED else " v" if name in LOWER_IS_BETTER else ""
    if metric.value is None or metric.ci95 is None:
        return f"| {name}{mark} | - | - | 0 | {metric.not_applicable} | 0 |"
    low, high = metric.ci95
    return (
        f"| {name}{mark} | {metric.value:.3f} | {low:.3f} to {high:.3f} "
        f"| {metric.n} | {metric.not_applicable} | {metric.errors} |"
    )


def _kinds(report: Report) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for result in report.results:
        row = found.setdefault(result.case.kind or "(none)", {"cases": 0, "refused": 0})
        row["cases"] += 1
        row["refused"] += result.refused
    return found


def _costs(report: Report) -> dict[str, float]:
    """Medians over the answers that say."""
    found: dict[str, float] = {}
    for table, name in _COSTS:
        values = sorted(
            getattr(result.record, table)[name] for result in report.results if name in getattr(result.record, table)
        )
        if values:
            found[name] = values[len(values) // 2]
    return found
