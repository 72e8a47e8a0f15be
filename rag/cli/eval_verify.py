"""``rag eval verify``: judge claims by their evidence, and measure who judges."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rag.cli import options
from rag.cli.eval_parts import Judge
from rag.cli.output import emit, note, progress

if TYPE_CHECKING:
    from eval.verifying import Measurement


@options.takes_settings("threads", "gpu_layers")
def verify(
    claims: Annotated[
        Path, typer.Argument(help='JSONL file with {"id", "claim", "evidence"} a line; "label" and "cluster" if known.')
    ],
    judge_: Judge = "lexical",
    save: Annotated[
        bool, typer.Option("--save", help="Keep what was measured on the labels: --judge then may gate.")
    ] = False,
    json: options.Json = False,
    *,
    flags: options.Flags,
) -> None:
    """Say of each claim whether its evidence supports it: one JSON object a line, with or without --json.

    Claims with a label measure the judge; the figures go to stderr.
    """
    from eval.verifying import check_enough, claims_digest, judge_claims, measure, read_claims
    from rag.measured import MEASURED_FILE, save_measured
    from rag.settings import resolve
    from rag.verifiers import open_verifier, saved_under

    del json
    asked = read_claims(claims)
    key = saved_under(judge_) if save else ""
    if save:
        check_enough(asked)
    verifier = open_verifier(judge_, resolve(flags).settings)
    judged = []
    with progress("judging", "claims") as show:
        for one in judge_claims(asked, verifier, lambda done, total: show(done, total, "")):
            verdict = one.verdict
            emit({"id": one.claim.id, "label": verdict.label, "p_supported": round(verdict.p_supported, 4)})
            judged.append(one)
    found = measure(judged)
    if found is None:
        return
    _show(verifier.name, found)
    if save:
        save_measured(key, claims_digest(claims), found.figures())
        note(f"kept in {MEASURED_FILE}")


def _show(name: str, found: Measurement) -> None:
    low, high = found.ci95
    recalls = {f"recall {label}": value for label, value in found.recall.items() if value is not None}
    rows = {
        "verifier": name,
        "labelled claims": f"{found.n} in {found.clusters} clusters",
        "balanced accuracy": f"{found.balanced_accuracy:.3f} [{low:.3f}, {high:.3f}]",
        "AUC": f"{found.auc:.3f}",
        **{what: f"{value:.3f}" for what, value in recalls.items()},
        "ms a pair": f"{found.ms:.1f}",
    }
    for what, value in rows.items():
        note(f"{what:20} {value}")
