"""``rag eval derive`` and ``rag eval corpus``: cases made by rule, and the documents of evaluation sets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from rag.cli import options
from rag.cli.output import emit, note


@options.takes_settings(*options.INDEX)
def derive(
    cases: Annotated[list[Path], typer.Argument(help="Files of cases, suites, or evaluation sets.")],
    out: Annotated[Path, typer.Option("--out", help="New JSONL file for the derived cases.")],
    kind: Annotated[
        Optional[list[str]],
        typer.Option("--kind", help="gold_removed, entity_swapped, off_corpus; may be repeated [the first two]."),
    ] = None,
    json: options.Json = False,
    *,
    flags: options.Flags,
) -> None:
    """Make cases that must be refused from answerable ones, by rule, against the index they will run on."""
    from eval.cases import case_json, cases_text, read_suite, write_new
    from eval.errors import InputError
    from eval.strata import derive as derive_cases
    from eval.strata import passages_of, strata_of
    from ingest.embed import open_embedder
    from ingest.index import open_index
    from rag.settings import resolve

    strata = strata_of(kind or ["gold_removed", "entity_swapped"])
    suite = read_suite(cases)
    if suite.drafts:
        note(f"{suite.drafts} drafts are left out: accept them first")
    settings = resolve(flags).settings
    embedder = open_embedder(settings.embedder)
    with open_index(settings.index, embedder, collection=settings.collection) as opened:
        chunks = [chunk for document in opened.documents() for chunk in opened.chunks_of(document)]
    derived = derive_cases(suite.cases, passages_of(chunks), strata)
    for why, times in derived.left_out.most_common():
        note(f"left out {times}: {why}")
    if not derived.cases:
        raise InputError("no case could be derived: pass answerable cases, and the index that holds their documents")
    write_new(out, cases_text(map(case_json, derived.cases)))
    counts = {name: sum(case.kind == name for case in derived.cases) for name in ("gold_removed", "entity_swapped")}
    counts["off_corpus"] = len(derived.cases) - sum(counts.values())
    if json:
        emit({"out": str(out), "cases": counts, "left_out": dict(derived.left_out), "drafts": suite.drafts})
    else:
        shown = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        typer.echo(f"{len(derived.cases)} cases in {out}: {shown}")
    note("read some before you trust a figure: no rule knows every answer that the documents hold")


def corpus(
    path: Annotated[Path, typer.Argument(help="BEIR folder, SQuAD file, or question file with its corpus beside it.")],
    out: Annotated[Path, typer.Option("--out", help="New or empty folder for the documents.")],
    json: options.Json = False,
) -> None:
    """Write the documents of an evaluation set as files, for `rag ingest`."""
    from eval.loaders import write_corpus

    written = write_corpus(path, out)
    if written.empty:
        note(f"{len(written.empty)} documents have no text and are left out, such as {written.empty[0]!r}")
    if json:
        emit({"out": str(out), "documents": written.documents, "empty": list(written.empty)})
    else:
        typer.echo(f"{written.documents} documents in {out}: now run 'rag ingest {out}'")
