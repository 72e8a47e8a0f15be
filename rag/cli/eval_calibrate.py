"""``rag eval calibrate``: the weights of the confidence, fitted to cases of one's own."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rag.cli import options
from rag.cli.eval_parts import show_markdown
from rag.cli.output import emit, note, progress

if TYPE_CHECKING:
    from eval.calibrate import Calibration


@options.takes_settings(*options.GENERATE)
def calibrate(
    cases: Annotated[list[Path], typer.Argument(help="Files of cases, with an answer and without, or suites.")],
    out: Annotated[Path, typer.Option("--out", help="File for the weights.")] = Path(".rag/abstention.json"),
    json: options.Json = False,
    *,
    flags: options.Flags,
) -> None:
    """Fit the confidence to your documents and your model, from cases that say whether they have an answer."""
    from json import dumps

    from eval.calibrate import calibrate as fit
    from eval.calibrate import try_cases
    from eval.cases import read_suite
    from eval.folder import unwritable, write_whole
    from rag.cli.parts import open_chat
    from rag.settings import resolve

    suite = read_suite(cases)
    if suite.drafts:
        note(f"{suite.drafts} drafts are left out: accept them first")
    settings = resolve({**suite.flags(flags), "min_confidence": 0.0}).settings
    with open_chat(settings) as chat, progress("answering", "cases") as show:
        tried = try_cases(chat, suite.cases, lambda done, total: show(done, total, ""))
        fitted_on = {
            "cases": len(tried),
            "clusters": len({item.cluster for item in tried}),
            "models": [chat.model.name],
        }
    if left := len(suite.cases) - len(tried):
        note(f"{left} cases are left out: they do not say whether they have an answer, or could not be asked")
    found = fit(tried, fitted_on)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_whole(out, dumps(found.abstention.as_json(), indent=1) + "\n")
    except OSError as error:
        raise unwritable(out, error) from error
    if json:
        figures = {"auc": dict(found.auc), "before": asdict(found.before), "after": asdict(found.after)}
        emit({"out": str(out), "stage": found.stage, **fitted_on, **figures})
    else:
        show_markdown(_table(found))
    note(f"written: {out}; use it with --abstention {out}, or the setting abstention")


def _table(found: Calibration) -> str:
    from eval.tables import number, table

    columns = ("precision", "recall", "f1", "over_refusal")
    rows = [
        [name, *(number(asdict(figures)[column]) for column in columns)]
        for name, figures in (("without", found.before), ("with", found.after))
    ]
    areas = [[name, number(value)] for name, value in found.auc.items()]
    lines = [
        "Out of fold, no cluster judged by weights that saw it.",
        "",
        *table(("late decision", "refusal precision", "recall", "F1", "over-refusal"), "<>>>>", rows),
        *table(("answerable against", "AUC"), "<>", areas),
    ]
    return "\n".join(lines)
