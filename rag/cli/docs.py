"""``rag docs`` and ``rag why-not``: what the index holds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from rag.cli import options, transfer
from rag.cli.output import emit, note, safe

if TYPE_CHECKING:
    from ingest.document_index import DocumentIndex
    from rag.settings import Settings

app = typer.Typer(help="List, remove and check the documents of an index.", no_args_is_help=True)
app.command("export")(transfer.export_)
app.command("import")(transfer.import_)


@contextmanager
def _index(settings: Settings) -> Iterator[DocumentIndex]:
    from ingest.embed import open_embedder
    from ingest.index import open_index

    embedder = open_embedder(settings.embedder)
    with open_index(settings.index, embedder, collection=settings.collection) as index:
        yield index


@app.command("list")
@options.takes_settings(*options.INDEX)
def list_(filter_: options.Filter = None, json: options.Json = False, *, flags: options.Flags) -> None:
    """Every document with its chunks and size, what looks wrong with it, and the files that failed and wait."""
    from ingest.filters import parse_filters
    from rag.settings import resolve

    settings = resolve(flags).settings
    filters = parse_filters(filter_ or ())
    with _index(settings) as opened:
        documents = opened.documents(filters)
        failed = {source: refused.reason for source, refused in opened.catalogue.refused().items()}
    if json:
        listed = [asdict(document) for document in documents]
        named = [{"source": source, "error": reason} for source, reason in failed.items()]
        emit({"index": settings.index, "collection": settings.collection, "documents": listed, "failed": named})
        return
    for source, reason in failed.items():
        note(f"failed: {safe(source)}: {safe(reason)}")
    for document in documents:
        for warning in document.warnings:
            note(safe(f"warning: {document.source}: {warning}"))
        missing = round((1 - document.coverage) * document.characters)
        but = f"  ({missing} of its {document.characters} characters in no chunk)" if missing else ""
        typer.echo(f"{document.chunks:6d} chunks  {document.size:10d} bytes  {safe(document.source)}{but}")
    typer.echo(f"{len(documents)} documents, {sum(d.chunks for d in documents)} chunks in {settings.location}")


@app.command("collections")
@options.takes_settings("index")
def collections(json: options.Json = False, *, flags: options.Flags) -> None:
    """The collections of an index, each with its documents; reads no model and waits for nobody."""
    from ingest.index import collections_at
    from rag.settings import resolve

    index = resolve(flags).settings.index
    found = collections_at(index)
    if json:
        emit({"index": index, "collections": [asdict(collection) for collection in found]})
        return
    for collection in found:
        typer.echo(f"{collection.documents:6d} documents  {collection.chunks:8d} chunks  {collection.name}")


@app.command("remove")
@options.takes_settings(*options.INDEX)
def remove(
    source: Annotated[str, typer.Argument(help="A source, or the unique end of one.")],
    json: options.Json = False,
    *,
    flags: options.Flags,
) -> None:
    """Remove one document from the index; its file is left alone."""
    from rag.settings import resolve

    with _index(resolve(flags).settings) as opened:
        found = opened.catalogue.find_source(source)
        opened.remove([found])
    if json:
        emit({"removed": found})
    else:
        typer.echo(f"removed {safe(found)}")


@app.command("verify")
@options.takes_settings(*options.INDEX)
def verify(json: options.Json = False, *, flags: options.Flags) -> None:
    """Check every stored text, vector and token code; exit 1 if anything is missing or differs."""
    from ingest.errors import IndexDamagedError
    from rag.settings import resolve

    settings = resolve(flags).settings
    try:
        with _index(settings) as opened:
            documents = opened.documents()
            damage = opened.damage()
    except IndexDamagedError as error:
        documents, damage = [], {settings.location: str(error)}
    if json:
        emit({"documents": len(documents), "damaged": damage})
    else:
        for source, found in damage.items():
            typer.echo(f"{safe(source)}: {found}")
        typer.echo(f"{len(documents)} documents checked, {len(damage)} damaged")
    if damage:
        raise typer.Exit(1)


@app.command("rebuild")
@options.takes_settings(*options.INDEX)
def rebuild(json: options.Json = False, *, flags: options.Flags) -> None:
    """Make the stored chunks anew from the catalogue, without files; exit 1 if a document could not be repaired."""
    from ingest.embed import open_embedder
    from ingest.errors import IndexDamagedError
    from ingest.index import rebuild_index
    from ingest.rebuild import Rebuilt
    from rag.settings import resolve

    settings = resolve(flags).settings
    embedder = open_embedder(settings.embedder)
    try:
        found = rebuild_index(settings.index, embedder, collection=settings.collection)
    except IndexDamagedError as error:
        found = Rebuilt(documents=0, chunks=0, embedded=0, lost={settings.location: str(error)})
    if json:
        emit(asdict(found))
    else:
        for source, reason in found.lost.items():
            typer.echo(f"lost: {safe(source)}: {safe(reason)}")
        typer.echo(
            f"{found.documents} documents, {found.chunks} chunks, {found.embedded} of them embedded again; "
            f"{len(found.lost)} lost"
        )
    if found.lost:
        raise typer.Exit(1)


@options.takes_settings(*options.PROMPT)
def why_not(
    source: Annotated[str, typer.Argument(help="A source, or the unique end of one.")],
    text: Annotated[str, typer.Argument(help="A text that you expected to be found.")],
    question: Annotated[
        str, typer.Option("--question", help="Rank the text for this question [the text itself].")
    ] = "",
    json: options.Json = False,
    *,
    flags: options.Flags,
) -> None:
    """Say where a text was lost: parse, boilerplate, chunk, index, rank, or the prompt's budget. Exit 1 if lost."""
    from ingest.embed import open_embedder
    from ingest.index import open_index
    from rag.chat import RagChat, open_model
    from rag.retriever import Retriever
    from rag.settings import resolve
    from rag.types import Passage
    from rag.whynot import explain

    if not text.strip():
        raise typer.BadParameter("the text is empty: give one that you expected to be found")
    settings = resolve(flags).settings
    encoder = open_embedder(settings.embedder)
    with open_index(settings.index, encoder, collection=settings.collection) as opened:
        retriever = Retriever(opened, encoder, rerank=settings.rerank)

        def prompted(asked: str) -> tuple[Passage, ...]:
            chat = RagChat(retriever, open_model(settings, vocabulary_only=True), settings)
            return chat.prepare(asked)[1].passages

        found = explain(opened, retriever, prompted, source, text, question or text, settings.k, settings.mode)
    if json:
        emit(asdict(found))
    else:
        typer.echo(f"{found.stage}: {safe(found.detail)}")
    if found.stage != "found":
        raise typer.Exit(1)
