"""``rag ingest``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from rag.cli import options
from rag.cli.output import emit, note, progress, safe
from rag.cli.watch import changes, stoppable

if TYPE_CHECKING:
    from ingest.fields import Fields
    from ingest.pipeline import IngestReport
    from ingest.plan import Plan
    from ingest.types import Embedder
    from rag.settings import Settings


@options.takes_settings(*options.INDEX)
def ingest(
    paths: Annotated[list[Path], typer.Argument(help="Files and folders to read.", metavar="PATH...")],
    prune: Annotated[
        bool, typer.Option("--prune", help="Also remove documents whose file is gone from these folders.")
    ] = False,
    workers: Annotated[Optional[int], typer.Option("--workers", min=1, help="Parser processes [one a core].")] = None,
    meta: Annotated[
        Optional[list[str]],
        typer.Option(
            "--meta",
            metavar="KEY=VALUE",
            help="A field of all these files, for --filter; KEY= removes it; may be given several times.",
        ),
    ] = None,
    ocr: Annotated[bool, typer.Option("--ocr", help="Read scanned pages of PDFs with the tesseract program.")] = False,
    ocr_language: Annotated[
        Optional[str],
        typer.Option(
            "--ocr-language",
            metavar="LANGUAGES",
            help="What scanned pages are written in, by tesseract's names, such as eng+deu; with --ocr [eng].",
        ),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on: read files again whenever they change, until Ctrl-C.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, file by file, and do none of it.")
    ] = False,
    json: options.Json = False,
    *,
    flags: options.Flags,
) -> None:
    """Read documents into the index; unchanged files cost nothing. Ctrl-C finishes the documents in hand."""
    from ingest.embed import open_embedder
    from ingest.fields import parse_meta
    from ingest.ocr import DEFAULT_LANGUAGE, check_ocr
    from rag.settings import resolve

    if watch and json:
        raise typer.BadParameter("a watch never ends, and --json prints one object at the end: leave one of them out")
    if watch and dry_run:
        raise typer.BadParameter("--dry-run writes nothing, so there is nothing to watch for: leave one of them out")
    if ocr_language is not None and not ocr:
        raise typer.BadParameter("--ocr-language is of pages that --ocr reads: add --ocr, or leave it out")
    languages = (ocr_language or DEFAULT_LANGUAGE) if ocr else ""
    if ocr:
        check_ocr(languages)
    settings = resolve(flags).settings
    embedder = open_embedder(settings.embedder)
    if dry_run:
        planned = look(paths, settings, embedder, prune=prune, ocr=languages)
        if json:
            emit(plan_json(planned))
        else:
            print_plan(planned)
        raise typer.Exit(1 if planned.failed else 0)
    given = parse_meta(meta or ())
    again = partial(run, paths, settings, embedder, prune=prune, workers=workers, fields=given, ocr=languages)
    report = again()
    if json:
        emit(report_json(report))
    else:
        print_report(report, settings.location)
    if report.stopped:
        raise typer.Exit(130)
    if watch:
        _watch(paths, settings, again)
    if report.failed:
        raise typer.Exit(1)


def run(
    paths: list[Path],
    settings: Settings,
    embedder: Embedder,
    *,
    prune: bool = False,
    workers: int | None = None,
    fields: Fields | None = None,
    ocr: str = "",
) -> IngestReport:
    """Ingest with progress on stderr."""
    from ingest.index import open_index
    from ingest.pipeline import ingest as ingest_paths
    from ingest.scan import scan

    scan(paths)
    index = open_index(settings.index, embedder, create=True, collection=settings.collection)
    with index as opened, progress("ingest") as told, stoppable() as stop:
        if opened.swept:
            note(f"removed {opened.swept} documents that an interrupted run had left unfinished")
        return ingest_paths(
            paths, opened, embedder, prune=prune, workers=workers, fields=fields, ocr=ocr, progress=told, stop=stop
        )


def look(paths: list[Path], settings: Settings, embedder: Embedder, *, prune: bool, ocr: str) -> Plan:
    """What a run would do; no index is made where there is none."""
    from ingest.errors import IndexMissingError
    from ingest.index import open_index
    from ingest.plan import plan

    try:
        index = open_index(settings.index, embedder, collection=settings.collection)
    except IndexMissingError:
        return plan(paths, None, prune=prune, ocr=ocr)
    with index as opened:
        return plan(paths, opened.catalogue, prune=prune, ocr=ocr)


def _watch(paths: list[Path], settings: Settings, again: Callable[[], IngestReport]) -> None:
    """Ends with Ctrl-C. What goes wrong meanwhile is told, and tried again at the next change."""
    from ingest.errors import IngestError

    note("watching for changes; Ctrl-C ends it")
    failed: set[tuple[str, str]] = set()
    for _ in changes(paths, settings.index):
        try:
            report = again()
        except IngestError as error:
            note(f"not now: {error}")
            continue
        news = {(failure.source, failure.error) for failure in report.failed}
        if report.added or report.updated or report.removed or news - failed:
            print_report(report, settings.location)
        if report.stopped:
            raise typer.Exit(130)
        failed = news


def report_json(report: IngestReport) -> dict[str, Any]:
    """The public form of a report (DESIGN: ``rag ingest --json``)."""
    return {
        "files": report.files,
        "documents": {
            "added": report.added,
            "updated": report.updated,
            "unchanged": report.unchanged,
            "removed": report.removed,
            "failed": list(map(asdict, report.failed)),
        },
        "warnings": list(map(asdict, report.warnings)),
        "chunks": report.chunks,
        "left": report.left,
        "coverage": report.coverage,
        "seconds": report.seconds,
        "peak_rss_mb": report.peak_rss_mb,
    }


def plan_json(planned: Plan) -> dict[str, Any]:
    """As :func:`report_json`, and which sources they are."""
    return {
        "dry_run": True,
        "files": planned.files,
        "documents": {
            "added": len(planned.added),
            "updated": len(planned.updated),
            "unchanged": len(planned.unchanged),
            "removed": len(planned.removed),
            "failed": list(map(asdict, planned.failed)),
        },
        "sources": {
            "added": list(planned.added),
            "updated": list(planned.updated),
            "removed": list(planned.removed),
        },
    }


def print_plan(planned: Plan) -> None:
    """A line for each file that is not as the index has it; files that cannot be read go to stderr."""
    for verb, sources in (("add", planned.added), ("update", planned.updated), ("remove", planned.removed)):
        for source in sources:
            typer.echo(f"would {verb} {safe(source)}")
    counts = f"{len(planned.added)} to add, {len(planned.updated)} to update, {len(planned.unchanged)} unchanged"
    typer.echo(f"{planned.files} files: {counts}, {len(planned.removed)} to remove, {len(planned.failed)} not readable")
    for failure in planned.failed:
        note(safe(f"would fail: {failure.source}: {failure.error}"))


def print_report(report: IngestReport, index: str) -> None:
    """A summary for people; failures and warnings go to stderr."""
    counts = f"{report.added} added, {report.updated} updated, {report.unchanged} unchanged"
    typer.echo(f"{report.files} files: {counts}, {report.removed} removed, {len(report.failed)} failed")
    if report.chunks:
        seconds = report.seconds
        typer.echo(
            f"{report.chunks} chunks in {seconds['total']:.1f} s (parsing {seconds['parse']:.1f} s of CPU, "
            f"embedding {seconds['embed']:.1f} s, indexing {seconds['index']:.1f} s), "
            f"{report.peak_rss_mb:.0f} MB at the peak"
        )
    typer.echo(f"index: {index}")
    for failure in report.failed:
        note(safe(f"failed: {failure.source}: {failure.error}"))
    for warned in report.warnings:
        note(safe(f"warning: {warned.source}: {warned.warning}"))
    if report.left:
        note(f"stopped: {report.left} files were not looked at; run it again to go on")
