"""``rag eval``: answer cases in batch, score answers, judge claims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rag.cli import options
from rag.cli.output import emit, note, progress

if TYPE_CHECKING:
    from eval.gate import Check, Gate
    from eval.types import Case, Record, Report
    from rag.verifier import Verifier

app = typer.Typer(help="Measure answers, retrieval and refusals, and gate on them.", no_args_is_help=True)

GateFile = Annotated[Path | None, typer.Option("--gate", help="TOML file of bounds; exit 1 when one is not met.")]


@app.command()
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
    from rag.verifier import Verifier

    verifier = Verifier()
    bounds = _gate(gate, verifier)
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
    report, checks = _judge(suite.cases, by_id, verifier, bounds, facts)
    note(f"written: {_save(out, report, checks)}")
    _show(report, checks, as_json=json)


@app.command()
def score(
    answers: Annotated[Path, typer.Argument(help="JSONL file: what `rag ask --json` prints plus the case's id.")],
    cases: Annotated[list[Path], typer.Option("--cases", help="JSONL file of cases, or a suite; may be repeated.")],
    gate: GateFile = None,
    json: options.Json = False,
) -> None:
    """Score answers that any system made."""
    from eval.cases import read_suite
    from eval.records import read_records
    from rag.verifier import Verifier

    verifier = Verifier()
    bounds = _gate(gate, verifier)
    suite = read_suite(cases)
    report, checks = _judge(suite.cases, read_records(answers), verifier, bounds, {"answers": str(answers)})
    _show(report, checks, as_json=json)


@app.command()
def verify(
    claims: Annotated[Path, typer.Argument(help='JSONL file with {"id", "claim", "evidence"} a line.')],
    json: options.Json = False,
) -> None:
    """Say of each claim whether its evidence supports it: one JSON object a line, with or without --json."""
    from eval.jsonl import read_rows, unique
    from rag.verifier import Verifier

    del json
    verifier = Verifier()
    rows = unique(read_rows(claims))
    asked = [(id_, row.name("claim"), row.text("evidence")) for id_, row in rows.items()]
    for id_, claim, evidence in asked:
        verdict = verifier.verify(claim, evidence)
        emit({"id": id_, "label": verdict.label, "p_supported": round(verdict.p_supported, 4)})


def _gate(file: Path | None, verifier: Verifier) -> Gate | None:
    from eval.gate import read_gate

    return read_gate(file, verifier.weights.measured["balanced_accuracy"]) if file else None


def _judge(
    cases: Sequence[Case],
    records: Mapping[str, Record],
    verifier: Verifier,
    gate: Gate | None,
    facts: Mapping[str, object],
) -> tuple[Report, tuple[Check, ...]]:
    from eval.gate import check_gate
    from eval.report import make_report
    from eval.scores import score_cases

    accuracy = verifier.weights.measured["balanced_accuracy"]
    judged_by = f"lexical verifier, balanced accuracy {accuracy:.3f} on labelled claims it was not fitted on"
    report = make_report(score_cases(cases, records, verifier), {**facts, "verifier": judged_by})
    return report, check_gate(gate, report) if gate else ()


def _save(out: Path, report: Report, checks: tuple[Check, ...]) -> str:
    import json

    from eval.report import report_json, report_markdown

    (out / "summary.md").write_text(report_markdown(report, checks), encoding="utf-8")
    target = out / "report.json"
    text = json.dumps(report_json(report, checks), ensure_ascii=False, indent=1) + "\n"
    target.write_bytes(text.encode("utf-8", "backslashreplace"))
    return str(target)


def _show(report: Report, checks: tuple[Check, ...], *, as_json: bool) -> None:
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
