"""``rag eval compare``: what changed from one run to another of the same cases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rag.cli import options
from rag.cli.eval_parts import show_markdown
from rag.cli.output import emit


def compare(
    before: Annotated[Path, typer.Argument(metavar="A", help="Folder of a run, or its report.json.")],
    after: Annotated[Path, typer.Argument(metavar="B", help="Folder of the run to compare with it.")],
    json: options.Json = False,
) -> None:
    """Say what is better or worse in run B than in run A, or that the cases cannot tell; what flipped comes first."""
    from eval.changes import comparison_json, comparison_markdown
    from eval.compare import compare as compared
    from eval.saved import read_report

    first, second = read_report(before), read_report(after)
    found = compared(first, second)
    if json:
        emit(comparison_json(found, first, second))
    else:
        show_markdown(comparison_markdown(found, first, second))
