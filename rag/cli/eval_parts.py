"""What the commands of ``rag eval`` share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rag.cli.output import emit, note

if TYPE_CHECKING:
    from eval.gate import Check, Gate
    from eval.types import Case, Record, Report
    from rag.verifier import LexicalVerifier

GateFile = Annotated[Path | None, typer.Option("--gate", help="TOML file of bounds; exit 1 when one is not met.")]


def open_gate(file: Path | None, verifier: LexicalVerifier) -> Gate | None:
    """The gate of a file; None without one."""
    from eval.gate import read_gate

    return read_gate(file, verifier.weights.measured["balanced_accuracy"]) if file else None


def judge(
    cases: Sequence[Case],
    records: Mapping[str, Record],
    verifier: LexicalVerifier,
    gate: Gate | None,
    facts: Mapping[str, object],
) -> tuple[Report, tuple[Check, ...]]:
    """The report of answers, and what became of the gate's bounds."""
    from eval.aggregate import make_report
    from eval.gate import check_gate
    from eval.scores import score_cases

    accuracy = verifier.weights.measured["balanced_accuracy"]
    judged_by = f"lexical verifier, balanced accuracy {accuracy:.3f} on labelled claims it was not fitted on"
    report = make_report(score_cases(cases, records, verifier), {**facts, "verifier": judged_by})
    return report, check_gate(gate, report) if gate else ()


def save(out: Path, report: Report, checks: tuple[Check, ...]) -> str:
    """Write the report into a folder; returns the path of its JSON form."""
    import json

    from eval.report import report_json, report_markdown

    (out / "summary.md").write_text(report_markdown(report, checks), encoding="utf-8")
    target = out / "report.json"
    text = json.dumps(report_json(report, checks), ensure_ascii=False, indent=1) + "\n"
    target.write_bytes(text.encode("utf-8", "backslashreplace"))
    return str(target)


def show_report(report: Report, checks: tuple[Check, ...], *, as_json: bool) -> None:
    """Print a report; exit 1 when its gate failed."""
    from eval.report import report_json, report_markdown

    if as_json:
        emit(report_json(report, checks))
    else:
        typer.echo(report_markdown(report, checks), nl=False)
    for check in checks:
        if not check.passed:
            note(f"gate failed: {check.gate}: {check.why}")
    if not all(check.passed for check in checks):
        raise typer.Exit(1)
