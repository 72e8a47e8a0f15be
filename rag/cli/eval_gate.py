"""``rag eval gate``: check a report that was made before."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rag.cli import options
from rag.cli.eval_parts import BaselineFile, exit_by, show_markdown
from rag.cli.output import emit


def gate(
    report: Annotated[Path, typer.Argument(help="report.json of `rag eval run` or `score`, or its folder.")],
    gate_: Annotated[Path, typer.Option("--gate", help="TOML file of bounds; exit 1 when one is not met.")],
    baseline: BaselineFile = None,
    json: options.Json = False,
) -> None:
    """Check a report against a gate: the last of the steps run, score, gate."""
    from eval.compare import compare
    from eval.figures import judge_of
    from eval.gate import check_gate, read_gate
    from eval.report import gate_json, gate_markdown
    from eval.saved import read_report

    found, before = read_report(report), read_report(baseline) if baseline else None
    checks = check_gate(read_gate(gate_, judge_of(found).balanced_accuracy), found, before)
    comparison = compare(before, found) if before else None
    if json:
        emit(gate_json(checks, comparison))
    else:
        show_markdown(gate_markdown(found, checks, comparison))
    exit_by(checks)
