"""``rag eval score``: score answers that any system made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rag.cli import options
from rag.cli.eval_parts import BaselineFile, GateFile, Judge, show_report
from rag.cli.output import note


def score(
    answers: Annotated[Path, typer.Argument(help="JSONL file: what `rag ask --json` prints plus the case's id.")],
    cases: Annotated[list[Path], typer.Option("--cases", help="JSONL file of cases, or a suite; may be repeated.")],
    gate: GateFile = None,
    baseline: BaselineFile = None,
    judge_: Judge = "lexical",
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for report.json, report.html, summary.md and junit.xml."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Score answers that any system made, write the reports, check the gate."""
    from eval.cases import read_suite
    from eval.folder import claimed
    from eval.judging import Judging, write_reports
    from eval.records import read_records

    judging = Judging.open(judge_, gate, baseline)
    suite = read_suite(cases)
    judged = judging.judge(suite.cases, read_records(answers).values(), {"answers": str(answers)})
    if out:
        with claimed(out):
            note(f"written: {write_reports(out, judged)}")
    show_report(judged, as_json=json)
