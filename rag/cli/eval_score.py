"""``rag eval score``: score answers that any system made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rag.cli import options
from rag.cli.eval_parts import GateFile, judge, open_gate, show_report


def score(
    answers: Annotated[Path, typer.Argument(help="JSONL file: what `rag ask --json` prints plus the case's id.")],
    cases: Annotated[list[Path], typer.Option("--cases", help="JSONL file of cases, or a suite; may be repeated.")],
    gate: GateFile = None,
    json: options.Json = False,
) -> None:
    """Score answers that any system made."""
    from eval.cases import read_suite
    from eval.records import read_records
    from rag.verifier import LexicalVerifier

    verifier = LexicalVerifier()
    bounds = open_gate(gate, verifier)
    suite = read_suite(cases)
    report, checks = judge(suite.cases, read_records(answers), verifier, bounds, {"answers": str(answers)})
    show_report(report, checks, as_json=json)
