"""``rag eval run``: answer cases, score the answers, check the gate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rag.cli import options
from rag.cli.eval_parts import GateFile, judge, open_gate, save, show_report
from rag.cli.output import note, progress


@options.takes_settings(*options.GENERATE)
def run(
    cases: Annotated[list[Path], typer.Argument(help="JSONL files of cases, or suites (.toml).")],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            help="Folder for answers.jsonl, report.json, summary.md; the same run goes on, another is replaced.",
        ),
    ] = Path(".rag/eval"),
    gate: GateFile = None,
    json: options.Json = False,
    *,
    flags: options.Flags,
) -> None:
    """Answer every case, score the answers, and check the gate."""
    from eval.cases import read_suite
    from eval.run import model_facts, run_cases, run_facts
    from ingest.embed import open_embedder
    from ingest.index import open_index
    from rag.chat import RagChat, open_model
    from rag.models import check_model
    from rag.retriever import Retriever
    from rag.settings import resolve
    from rag.verifier import LexicalVerifier

    verifier = LexicalVerifier()
    bounds = open_gate(gate, verifier)
    suite = read_suite(cases)
    settings = resolve(suite.flags(flags)).settings
    check_model(settings.model)
    embedder_ = open_embedder(settings.embedder)
    with open_index(settings.index, embedder_) as opened, progress("answering", "cases") as show:
        chat = RagChat(Retriever(opened, embedder_), open_model(settings), settings)
        facts = run_facts(chat, model_facts(settings.model, chat.model))
        answers = out / "answers.jsonl"
        records = run_cases(chat, suite.cases, answers, facts, lambda done, total: show(done, total, ""))
    by_id = {record.id: record for record in records}
    report, checks = judge(suite.cases, by_id, verifier, bounds, facts)
    note(f"written: {save(out, report, checks)}")
    show_report(report, checks, as_json=json)
