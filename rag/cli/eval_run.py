"""``rag eval run``: answer cases, score the answers, check the gate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rag.cli import options
from rag.cli.eval_parts import BaselineFile, GateFile, Judge, show_report
from rag.cli.output import note, progress


@options.takes_settings(*options.GENERATE)
def run(
    cases: Annotated[list[Path], typer.Argument(help="JSONL files of cases, or suites (.toml).")],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            help="Folder for run.json, cases.jsonl, answers.jsonl and the reports; the same run goes on, another is "
            "replaced.",
        ),
    ] = Path(".rag/eval"),
    gate: GateFile = None,
    baseline: BaselineFile = None,
    judge_: Judge = "lexical",
    json: options.Json = False,
    *,
    flags: options.Flags,
) -> None:
    """Answer every case, score the answers, and check the gate."""
    from eval.cases import read_suite
    from eval.folder import claimed
    from eval.judging import Judging, write_reports
    from eval.prompt_facts import control_ids
    from eval.run import run_into
    from rag.cli.parts import open_chat
    from rag.settings import resolve

    suite = read_suite(cases)
    if suite.drafts:
        note(f"{suite.drafts} drafts are left out: 'rag eval accept' makes cases of those that a person has checked")
    settings = resolve(suite.flags(flags)).settings
    judging = Judging.open(judge_, gate, baseline, settings)
    judging.check(suite.cases)
    with claimed(out):
        try:
            with open_chat(settings) as chat, progress("answering", "cases") as show:
                controls = control_ids(settings)
                records, facts = run_into(out, chat, suite.cases, controls, lambda done, total: show(done, total, ""))
        except KeyboardInterrupt:
            note(f"interrupted: what was answered is kept in {out}, and the same command goes on from there")
            raise
        judged = judging.judge(suite.cases, records, facts)
        note(f"written: {write_reports(out, judged)}")
    show_report(judged, as_json=json)
