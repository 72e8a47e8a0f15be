"""``rag eval``: answer cases in batch, score answers, judge claims."""

from __future__ import annotations

import typer

from rag.cli.eval_calibrate import calibrate
from rag.cli.eval_compare import compare
from rag.cli.eval_derive import corpus, derive
from rag.cli.eval_gate import gate
from rag.cli.eval_generate import accept, generate
from rag.cli.eval_replay import replay
from rag.cli.eval_run import run
from rag.cli.eval_score import score
from rag.cli.eval_verify import verify

app = typer.Typer(help="Measure answers, retrieval and refusals, and gate on them.", no_args_is_help=True)
for command in (run, replay, score, gate, compare, verify, calibrate, generate, accept, derive, corpus):
    app.command()(command)
