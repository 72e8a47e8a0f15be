"""``rag eval verify``: judge claims by their evidence."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rag.cli import options
from rag.cli.output import emit


def verify(
    claims: Annotated[Path, typer.Argument(help='JSONL file with {"id", "claim", "evidence"} a line.')],
    json: options.Json = False,
) -> None:
    """Say of each claim whether its evidence supports it: one JSON object a line, with or without --json."""
    from eval.jsonl import read_rows, unique
    from rag.verifier import LexicalVerifier

    del json
    verifier = LexicalVerifier()
    rows = unique(read_rows(claims))
    asked = [(id_, row.name("claim"), row.text("evidence")) for id_, row in rows.items()]
    for id_, claim, evidence in asked:
        verdict = verifier.verify(claim, evidence)
        emit({"id": id_, "label": verdict.label, "p_supported": round(verdict.p_supported, 4)})
