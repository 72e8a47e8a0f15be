"""``rag docs export`` and ``import``: an index as one file."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from rag.cli import options
from rag.cli.output import emit, progress, safe


@options.takes_settings(*options.INDEX)
def export_(
    file: Annotated[Path, typer.Argument(help="The file to make.")],
    json: options.Json = False,
    *,
    flags: options.Flags,
) -> None:
    """Write all documents of the index to one file, with their vectors, to be imported elsewhere."""
    from ingest.embed import open_embedder
    from ingest.index import open_index
    from ingest.transfer import export_index
    from rag.settings import resolve

    settings = resolve(flags).settings
    embedder = open_embedder(settings.embedder)
    with (
        open_index(settings.index, embedder, collection=settings.collection) as index,
        progress("export", "documents") as told,
    ):
        done = export_index(index, file, told)
    if json:
        emit({"file": str(file)} | asdict(done))
    else:
        typer.echo(
            f"{done.documents} documents ({done.sources} sources, {done.chunks} chunks, {done.bytes / 2**20:.1f} MB) "
            f"of {settings.location} are in {safe(str(file))}"
        )


@options.takes_settings(*options.INDEX)
def import_(
    file: Annotated[Path, typer.Argument(help="A file that 'rag docs export' made.")],
    json: options.Json = False,
    *,
    flags: options.Flags,
) -> None:
    """Take the documents of an exported file into the index; nothing is embedded again."""
    from ingest.embed import open_embedder
    from ingest.index import open_index
    from ingest.transfer import check_export, import_index
    from rag.settings import resolve

    settings = resolve(flags).settings
    embedder = open_embedder(settings.embedder)
    check_export(file, embedder)
    with (
        open_index(settings.index, embedder, create=True, collection=settings.collection) as index,
        progress("import", "documents") as told,
    ):
        done = import_index(file, index, embedder, told)
    if json:
        emit({"file": str(file)} | asdict(done))
    else:
        typer.echo(
            f"{done.documents} documents ({done.chunks} chunks) imported, {done.held} were there already; "
            f"{done.sources} sources in {settings.location}"
        )
