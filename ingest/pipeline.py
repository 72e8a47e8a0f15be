"""Paths -> index: the unchanged costs a stat; the new is parsed in child processes, embedded and written.

Documents are written in groups; a group is on disk entirely or not at all (:mod:`ingest.catalogue`), so the
run can be stopped at any instant and the next one goes on where it was.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from ingest.chunk import ChunkPolicy, embedding_text
from ingest.document_index import DocumentIndex, EmbeddedDocument
from ingest.edge import Bm25
from ingest.errors import NothingToIngestError
from ingest.facts import FileStamp, PendingDocument, Refused
from ingest.fields import Fields
from ingest.late import token_codes
from ingest.plan import UNLISTED, Content, Failure, Known, Same, Seen, gone, sort_out
from ingest.renames import heirs
from ingest.scan import Scan, SourceFile, scan
from ingest.types import Embedder
from ingest.workers import ParsedFile, Unparsed, parse_files

GROUP_CHUNKS = 256
"""Chunks that are embedded together and committed together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned:
    """A file that is in the index, but of which the text may not be what it shows (:mod:`ingest.suspicion`)."""

    source: str
    warning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestReport:
    """What one run did. ``chunks`` were written in this run; ``coverage`` is over the whole index (0 to 1);
    ``warnings`` are of the files that were added or updated.

    ``stopped``: it was asked to end early; ``left``: files that it did not look at. Seconds: ``total`` is wall time;
    ``parse`` is summed over the worker processes, so it can exceed it.
    """

    files: int
    added: int
    updated: int
    unchanged: int
    removed: int
    failed: tuple[Failure, ...]
    warnings: tuple[Warned, ...]
    chunks: int
    coverage: float | None
    seconds: dict[str, float]
    peak_rss_mb: float
    left: int = 0
    stopped: bool = False


Stop = Callable[[], bool]
"""Asked between files: True ends the run as soon as what has been read is written."""
Progress = Callable[[int, int, str], None]
"""Called with (files done, files in all, source) after every file."""


@dataclass(slots=True)
class _Run:
    """The counts of a run while it goes on."""

    index: DocumentIndex
    embedder: Embedder
    policy: ChunkPolicy
    bm25: Bm25
    known: Known
    progress: Progress | None
    stop: Stop
    total: int
    heirs: dict[str, str] = field(default_factory=dict)
    held: list[str] = field(default_factory=list)
    written: set[str] = field(default_factory=set)
    done: int = 0
    added: int = 0
    updated: int = 0
    unchanged: int = 0
    chunks: int = 0
    failed: list[Failure] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=lambda: {"parse": 0.0, "embed": 0.0, "index": 0.0})

    def tell(self, source: str) -> None:
        self.done += 1
        if self.progress is not None:
            self.progress(self.done, self.total, source)

    def fail(self, source: str, reason: str) -> None:
        self.failed.append(Failure(source=source, error=reason))
        self.tell(source)

    def keep(self, source: str) -> None:
        self.unchanged += 1
        self.held.append(source)
        self.tell(source)

    def count(self, source: str) -> None:
        if source in self.known.stamps:
            self.updated += 1
        else:
            self.added += 1
        self.held.append(source)
        self.written.add(source)
        self.tell(source)


def ingest(
    paths: Sequence[Path],
    index: DocumentIndex,
    embedder: Embedder,
    *,
    prune: bool = False,
    workers: int | None = None,
    fields: Fields | None = None,
    ocr: str = "",
    progress: Progress | None = None,
    stop: Stop = lambda: False,
) -> IngestReport:
    """Bring the index up to date with the files below ``paths``.

    ``prune`` removes sources of the same folders that are no longer on disk; it needs the folder: a path that
    is a file prunes nothing. ``workers``: parser processes, at least 1 (default: one for each core that this
    process may use). ``fields`` are set for every file that the index holds then, an unchanged one too: in place of
    earlier values of the same name, and without values to remove them (:func:`ingest.fields.parse_meta`). ``ocr``: the
    languages of scanned pages in tesseract's names (``eng+deu``), which are read then, also those of unchanged files;
    empty to leave what is new of them (:mod:`ingest.scans`). A run that ``stop`` ends prunes nothing.

    Raises :class:`NothingToIngestError` when nothing could be read at all.
    """
    began = time.monotonic()
    found = scan(paths)
    files = found.files
    policy = ChunkPolicy(window=embedder.window)
    total = len(files) + len(found.unlisted)
    run = _Run(index, embedder, policy, Bm25(), Known.of(index.catalogue, ocr), progress, stop, total=total)
    for folder in found.unlisted:
        run.fail(folder.source, UNLISTED)
    work = [] if stop() else _take(run, files)
    if work and not stop():
        _process(run, work, workers or _usable_cpus())
    readable = [source for source in run.held if source in run.known.refused]
    if readable:
        index.catalogue.accept(readable)
    removed = _prune(run, found) if prune and run.done == total else 0
    if fields:
        index.catalogue.give(run.held, fields)
    if run.failed and run.done == total and not (run.added or run.updated or run.unchanged):
        named = "; ".join(f"{failure.source}: {failure.error}" for failure in run.failed[:3])
        raise NothingToIngestError(f"none of the {len(files)} files could be read ({named})")
    run.seconds["total"] = time.monotonic() - began
    return IngestReport(
        files=len(files),
        added=run.added,
        updated=run.updated,
        unchanged=run.unchanged,
        removed=removed,
        failed=tuple(sorted(run.failed, key=lambda failure: failure.source)),
        warnings=_warnings(run) if run.written else (),
        chunks=run.chunks,
        coverage=index.catalogue.coverage(),
        seconds={name: round(value, 3) for name, value in run.seconds.items()},
        peak_rss_mb=_peak_rss_mb(),
        left=total - run.done,
        stopped=stop(),
    )


def _warnings(run: _Run) -> tuple[Warned, ...]:
    found = run.index.catalogue.warnings()
    return tuple(
        Warned(source=source, warning=warning)
        for source, warnings in found.items()
        if source in run.written
        for warning in warnings
    )


def _take(run: _Run, files: Sequence[SourceFile]) -> list[Seen]:
    """Settle every file of which the index holds the content; returns those that must be parsed."""
    work: list[Seen] = []
    stamps: list[FileStamp] = []
    new: dict[str, str] = {}
    for verdict in sort_out(files, run.known, run.index.catalogue.holds):
        match verdict:
            case Failure(source=source, error=error):
                run.fail(source, error)
            case Same(source=source):
                run.keep(source)
            case Seen(file=file, stamp=stamp, content=content):
                if file.source not in run.known.stamps:
                    new[file.source] = _content(run, stamp)
                if content is Content.UNREAD:
                    work.append(verdict)
                else:
                    stamps.append(stamp)
                    (run.keep if content is Content.OWN else run.count)(file.source)
        if run.stop():
            break
    run.heirs = heirs(new, _gone_with_fields(run, files)) if new else {}
    if stamps:
        run.index.restamp(stamps, run.heirs)
    return work


def _gone_with_fields(run: _Run, files: Sequence[SourceFile]) -> dict[str, str]:
    """Contents by source, of those to which fields were given and whose file is not there any more."""
    given, present = run.index.catalogue.with_given_fields(), {file.source for file in files}
    return {
        stamp.source: _content(run, stamp)
        for stamp in run.known.stamps.values()
        if stamp.source in given - present and not Path(stamp.root, stamp.source).exists()
    }


def _content(run: _Run, stamp: FileStamp) -> str:
    """The same for all texts of a scanned file."""
    return run.known.readings.contents.get(stamp.document_id, stamp.document_id)


def _process(run: _Run, work: Sequence[Seen], workers: int) -> None:
    """Parse in child processes while this one embeds and writes; copies of one content are parsed once."""
    by_document: dict[str, list[Seen]] = {}
    for item in work:
        by_document.setdefault(item.stamp.document_id, []).append(item)
    files = [items[0].file for items in by_document.values()]
    group: list[tuple[ParsedFile, list[Seen]]] = []
    readings = run.known.readings
    with closing(parse_files(files, run.embedder.counter, run.policy, workers, readings.ocr)) as results:
        for items, result in zip(by_document.values(), results, strict=True):
            if isinstance(result, ParsedFile):
                content = readings.content(result.document.content_hash, items[0].file.path)
                if content != items[0].stamp.document_id:
                    result = Unparsed(reason="changed while it was being read: ingest it again", lasting=False)
            if isinstance(result, Unparsed):
                for item in items:
                    if result.lasting:
                        run.index.catalogue.refuse(Refused(stamp=item.stamp, reason=result.reason))
                    run.fail(item.file.source, result.reason)
            else:
                run.seconds["parse"] += result.seconds
                group.append((result, [_read_as(item, result.document.id) for item in items]))
            if sum(len(parsed.chunks) for parsed, _ in group) >= GROUP_CHUNKS:
                _write(run, group)
                group = []
            if run.stop():
                break
        if group:
            _write(run, group)


def _read_as(item: Seen, document_id: str) -> Seen:
    return replace(item, stamp=replace(item.stamp, document_id=document_id))


def _write(run: _Run, group: Sequence[tuple[ParsedFile, list[Seen]]]) -> None:
    began = time.monotonic()
    counter, policy = run.embedder.counter, run.policy
    texts = [embedding_text(chunk, counter, policy) for parsed, _ in group for chunk in parsed.chunks]
    dense, tokens = run.embedder.encode_tokens(texts)
    codes = [token_codes(item.vectors) for item in tokens]
    embedded = time.monotonic()
    sparse = [run.bm25.document(text) for text in texts]
    documents: list[EmbeddedDocument] = []
    row = 0
    for parsed, items in group:
        rows = slice(row, row + len(parsed.chunks))
        row = rows.stop
        documents.append(
            EmbeddedDocument(
                pending=PendingDocument(
                    document=parsed.document, chunks=parsed.chunks, dense=dense[rows], codes=tuple(codes[rows])
                ),
                sparse=tuple(sparse[rows]),
                stamp=items[0].stamp,
            )
        )
    run.index.write(documents, run.heirs)
    copies = [item.stamp for _, items in group for item in items[1:]]
    if copies:
        run.index.restamp(copies, run.heirs)
    run.seconds["embed"] += embedded - began
    run.seconds["index"] += time.monotonic() - embedded
    run.chunks += len(texts)
    for _, items in group:
        for item in items:
            run.count(item.file.source)


def _prune(run: _Run, found: Scan) -> int:
    """Forget the sources of which the file is gone; returns how many had a document."""
    removed = gone(found, run.known.stamps.values())
    refused = gone(found, (refused.stamp for refused in run.known.refused.values()))
    if removed or refused:
        run.index.remove([*removed, *refused])
    return len(removed)


def _usable_cpus() -> int:
    """Cores that this process may use, which in a container or under taskset are fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _peak_rss_mb() -> float:
    """Of this process, in MiB."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)
