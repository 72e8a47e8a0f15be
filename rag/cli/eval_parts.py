"""What the commands of ``rag eval`` share."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rag.cli.output import emit, note

if TYPE_CHECKING:
    from eval.gate import Check
    from eval.judging import Judged

GateFile = Annotated[Path | None, typer.Option("--gate", help="TOML file of bounds; exit 1 when one is not met.")]
BaselineFile = Annotated[
    Path | None, typer.Option("--baseline", help="An earlier run to compare with: its folder, or its report.json.")
]
Judge = Annotated[str, typer.Option("--judge", help="Verifier that judges claims, as in 'rag eval verify'.")]


def show_report(judged: Judged, *, as_json: bool) -> None:
    """Print a report: tables at a terminal, Markdown elsewhere; exit 1 when its gate failed."""
    from eval.report import report_json, report_markdown

    if as_json:
        emit(report_json(judged.report, judged.checks, judged.comparison))
    else:
        show_markdown(report_markdown(judged.report, judged.checks, judged.comparison))
    exit_by(judged.checks)


def show_markdown(text: str) -> None:
    """Markdown as it is, or set in tables and headings when a person reads it at a terminal."""
    if not sys.stdout.isatty():
        typer.echo(text, nl=False)
        return
    from rich.console import Console
    from rich.markdown import Markdown

    Console().print(Markdown(text, hyperlinks=False))


def exit_by(checks: Sequence[Check]) -> None:
    """Name what failed, on stderr, and exit 1 if anything did."""
    failed = [check for check in checks if not check.passed]
    for check in failed:
        note(f"gate failed: {check.gate}: {check.why}")
    if failed:
        raise typer.Exit(1)
