"""``rag eval generate`` and ``rag eval accept``: drafts of cases from the index, and the review of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from rag.cli import options
from rag.cli.output import emit, note, progress, safe


@options.takes_settings(*options.GENERATE)
def generate(
    out: Annotated[Path, typer.Option("--out", help="New JSONL file for the drafts.")],
    count: Annotated[int, typer.Option("-n", min=1, max=10_000, help="Drafts to make.")] = 10,
    source: Annotated[
        Optional[list[str]],
        typer.Option("--source", help="A source, or the unique end of one; may be repeated [all documents]."),
    ] = None,
    json: options.Json = False,
    *,
    flags: options.Flags,
) -> None:
    """Draft cases from the index's own documents, for you to review; exit 1 when the model made none."""
    from eval.drafts import draft_cases, spread, write_drafts
    from ingest.embed import open_embedder
    from ingest.index import open_index
    from rag.chat import open_model
    from rag.models import check_model
    from rag.settings import resolve

    settings = resolve(flags).settings
    check_model(settings.model)
    embedder = open_embedder(settings.embedder)
    with open_index(settings.index, embedder, collection=settings.collection) as opened:
        documents = [opened.catalogue.find(name) for name in source] if source else opened.documents()
        chunks = [chunk for document in documents for chunk in opened.chunks_of(document)]
    model = open_model(settings)
    with progress("drafting", "drafts") as show:
        found = draft_cases(model, spread(chunks), count, settings)
        made, dropped = write_drafts(out, found, {"model": model.name}, lambda done: show(done, count, ""))
    if json:
        emit({"out": str(out) if made else None, "drafts": made, "dropped": dict(dropped.most_common())})
    else:
        typer.echo(safe(f"{made} drafts in {out}") if made else "no draft: try another model, or more documents")
    for why, times in dropped.most_common():
        note(f"dropped {times}: {why}")
    if not made:
        raise typer.Exit(1)
    note(f"review them (correct or delete lines), then: rag eval accept {out} --all --out CASES.jsonl")


def accept(
    file: Annotated[Path, typer.Argument(help="JSONL file of drafts.")],
    out: Annotated[Path, typer.Option("--out", help="JSONL file of cases; accepted drafts go to its end.")],
    ids: Annotated[Optional[list[str]], typer.Argument(metavar="[ID]...", help="Ids of drafts.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Accept every draft of the file.")] = False,
    json: options.Json = False,
) -> None:
    """Make cases of drafts that you have reviewed."""
    from eval.accept import accept_drafts
    from eval.errors import InputError

    if everything == bool(ids):
        raise InputError("name the ids of the drafts to accept, or pass --all")
    accepted = accept_drafts(file, None if everything else ids, out)
    if json:
        emit({"out": str(out), "accepted": list(accepted.ids), "remaining": accepted.remaining})
    else:
        typer.echo(safe(f"{len(accepted.ids)} cases added to {out}; {accepted.remaining} drafts remain in {file}"))
