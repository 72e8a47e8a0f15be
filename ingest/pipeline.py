"""Paths -> index: what is unchanged costs a stat, what is new is parsed in child processes, embedded, written.

Documents are written in groups; a group is on disk entirely or not at all (:mod:`ingest.catalogue`), so the run
can be stopped at any instant and the next one goes on where it was.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, TimeoutError
from dataclasses import dataclass, field
from pathlib import Path

from ingest.catalogue import FileStamp, PendingDocument
from ingest.chunk import ChunkPolicy, chunk_document, embedding_text
from ingest.edge import Bm25
from ingest.errors import IngestError, NothingToIngestError, ParseError
from ingest.formats import format_of
from ingest.index import EdgeIndex, EmbeddedDocument
from ingest.parse import content_hash, document_id, parse_bytes
from ingest.scan import SourceFile, scan
from ingest.types import Chunk, Document, Embedder, TokenCounter

GROUP_CHUNKS = 256
"""Chunks that are embedded together and committed together."""
PARSE_SECONDS = 300.0
"""A file whose parser takes longer is given up."""
_STAMP_GRACE_NS = 2_000_000_000
"""A file that changed so shortly before it was seen may change again without a new time stamp: it is hashed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A file that could not be read, and why; what the index held of it before is still served."""

    source: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestReport:
    """What one run did. ``chunks`` were written in this run; ``coverage`` is over the whole index (0 to 1).

    Seconds: ``total`` is wall time; ``parse`` is summed over the worker processes, so it can exceed it.
    """

    files: int
    added: int
    updated: int
    unchanged: int
    removed: int
    failed: tuple[Failure, ...]
    chunks: int
    coverage: float | None
    seconds: dict[str, float]
    peak_rss_mb: float


Progress = Callable[[int, int, str], None]
"""Called with (files done, files in all, source) after every file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """A file whose content the index does not hold yet."""

    file: SourceFile
    stamp: FileStamp


@dataclass(slots=True)
class _Run:
    """The counts of a run while it goes on."""

    index: EdgeIndex
    embedder: Embedder
    policy: ChunkPolicy
    bm25: Bm25
    known: dict[str, FileStamp]
    progress: Progress
    total: int
    done: int = 0
    added: int = 0
    updated: int = 0
    unchanged: int = 0
    chunks: int = 0
    failed: list[Failure] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=lambda: {"parse": 0.0, "embed": 0.0, "index": 0.0})

    def tell(self, source: str) -> None:
        self.done += 1
        self.progress(self.done, self.total, source)

    def fail(self, source: str, reason: str) -> None:
        self.failed.append(Failure(source=source, error=reason))
        self.tell(source)

    def count(self, source: str) -> None:
        if source in self.known:
            self.updated += 1
        else:
            self.added += 1
        self.tell(source)


def ingest(
    paths: Sequence[Path],
    index: EdgeIndex,
    embedder: Embedder,
    *,
    prune: bool = False,
    workers: int | None = None,
    progress: Progress = lambda done, total, source: None,
) -> IngestReport:
    """Bring the index up to date with the files below ``paths``.

    ``prune`` removes sources of the same folders that are no longer on disk. ``workers``: parser processes,
    at least 1 (default: one a core). Raises :class:`NothingToIngestError` when nothing could be read at all.
    """
    began = time.monotonic()
    files = scan(paths)
    known = index.catalogue.stamps()
    policy = ChunkPolicy(window=embedder.window)
    run = _Run(index, embedder, policy, Bm25(), known, progress, total=len(files))
    work = _sort_out(run, files)
    if work:
        _process(run, work, workers or os.cpu_count() or 1)
    removed = _prune(index, files, known) if prune else 0
    if run.failed and not (run.added or run.updated or run.unchanged):
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
        chunks=run.chunks,
        coverage=index.catalogue.coverage(),
        seconds={name: round(value, 3) for name, value in run.seconds.items()},
        peak_rss_mb=_peak_rss_mb(),
    )


def _sort_out(run: _Run, files: Sequence[SourceFile]) -> list[_Work]:
    """Tell unchanged, touched, renamed and copied files from those that must be parsed."""
    work: list[_Work] = []
    restamped: list[FileStamp] = []
    for file in files:
        try:
            before = run.known.get(file.source)
            if before is not None and before.root != file.root and Path(before.root, file.source).exists():
                raise ParseError(
                    f"a file of the same name from {before.root} is in this index: "
                    "ingest the folder above both, or use another --index"
                )
            found = file.path.stat()
            if before is not None and _same_file(before, file, found):
                run.unchanged += 1
                run.tell(file.source)
                continue
            seen_ns = time.time_ns()
            id_ = document_id(content_hash(file.path.read_bytes()), format_of(file.path))
        except ParseError as error:
            run.fail(file.source, str(error))
            continue
        except OSError as error:
            run.fail(file.source, f"cannot be opened ({error.strerror}): check its permissions")
            continue
        stamp = FileStamp(
            source=file.source,
            root=file.root,
            size=found.st_size,
            mtime_ns=found.st_mtime_ns,
            seen_ns=seen_ns,
            document_id=id_,
        )
        if before is not None and before.document_id == id_:
            run.unchanged += 1
            run.tell(file.source)
            restamped.append(stamp)
        elif run.index.catalogue.holds(id_):
            run.count(file.source)
            restamped.append(stamp)
        else:
            work.append(_Work(file=file, stamp=stamp))
    if restamped:
        run.index.restamp(restamped)
    return work


def _same_file(before: FileStamp, file: SourceFile, found: os.stat_result) -> bool:
    return (
        before.root == file.root
        and before.size == found.st_size
        and before.mtime_ns == found.st_mtime_ns
        and before.seen_ns - found.st_mtime_ns > _STAMP_GRACE_NS
    )


def _process(run: _Run, work: Sequence[_Work], workers: int) -> None:
    """Parse in child processes while this one embeds and writes; copies of one content are parsed once."""
    by_document: dict[str, list[_Work]] = {}
    for item in work:
        by_document.setdefault(item.stamp.document_id, []).append(item)
    group: list[tuple[Document, tuple[Chunk, ...], list[_Work]]] = []
    for items, result in _parsed(list(by_document.values()), run.embedder.counter, run.policy, workers):
        if isinstance(result, str):
            for item in items:
                run.fail(item.file.source, result)
            continue
        document, chunks, seconds = result
        run.seconds["parse"] += seconds
        if document.id != items[0].stamp.document_id:
            for item in items:
                run.fail(item.file.source, "changed while it was being read: ingest it again")
            continue
        group.append((document, chunks, items))
        if sum(len(chunks) for _, chunks, _ in group) >= GROUP_CHUNKS:
            _write(run, group)
            group = []
    if group:
        _write(run, group)


def _write(run: _Run, group: Sequence[tuple[Document, tuple[Chunk, ...], list[_Work]]]) -> None:
    began = time.monotonic()
    counter, policy = run.embedder.counter, run.policy
    texts = [embedding_text(chunk, counter, policy) for _, chunks, _ in group for chunk in chunks]
    dense = run.embedder.encode(texts)
    embedded = time.monotonic()
    sparse = [run.bm25.document(text) for text in texts]
    documents: list[EmbeddedDocument] = []
    row = 0
    for document, chunks, items in group:
        rows = slice(row, row + len(chunks))
        row = rows.stop
        covered = sum(len(word) for chunk in chunks for word in chunk.text.split())
        documents.append(
            EmbeddedDocument(
                pending=PendingDocument(document=document, chunks=len(chunks), covered=covered),
                chunks=chunks,
                dense=dense[rows],
                sparse=tuple(sparse[rows]),
                stamp=items[0].stamp,
            )
        )
    run.index.write(documents)
    copies = [item.stamp for _, _, items in group for item in items[1:]]
    if copies:
        run.index.restamp(copies)
    run.seconds["embed"] += embedded - began
    run.seconds["index"] += time.monotonic() - embedded
    run.chunks += len(texts)
    for _, _, items in group:
        for item in items:
            run.count(item.file.source)


_Parsed = tuple[Document, tuple[Chunk, ...], float]


def _parse_file(path: str, source: str, counter: TokenCounter, policy: ChunkPolicy) -> _Parsed | str:
    """In a child process. A reason instead of a result: exceptions of libraries do not always pickle."""
    began = time.process_time()
    try:
        document = parse_bytes(Path(path).read_bytes(), source)
        chunks = chunk_document(document, counter, policy)
    except (IngestError, OSError) as error:
        return str(error)
    return document, chunks, time.process_time() - began


def _parsed(
    work: Sequence[list[_Work]], counter: TokenCounter, policy: ChunkPolicy, workers: int
) -> Iterator[tuple[list[_Work], _Parsed | str]]:
    """Results in the order of the work. A file that hangs or crashes its parser costs that one file."""
    import multiprocessing

    from pebble import ProcessExpired, ProcessPool

    context = multiprocessing.get_context("spawn")
    waiting = 4 * workers
    with ProcessPool(max_workers=min(workers, len(work)), context=context, initializer=_quiet) as pool:
        futures = []
        try:
            for position, items in enumerate(work):
                while len(futures) < min(len(work), position + waiting):
                    file = work[len(futures)][0].file
                    arguments = (str(file.path), file.source, counter, policy)
                    futures.append(pool.schedule(_parse_file, args=arguments, timeout=PARSE_SECONDS))
                try:
                    yield items, futures[position].result()
                except TimeoutError:
                    yield items, f"its parser took longer than {PARSE_SECONDS:.0f} s and was stopped: split it"
                except (ProcessExpired, CancelledError) as error:
                    yield items, f"its parser crashed ({error}): open the file and save it again"
                futures[position] = None
        except BaseException:
            pool.stop()
            raise


def _quiet() -> None:
    """Ctrl-C is the parent's business, and parsers' warnings are nobody's."""
    import logging
    import signal
    import warnings

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")


def _prune(index: EdgeIndex, files: Sequence[SourceFile], known: dict[str, FileStamp]) -> int:
    roots = {file.root for file in files}
    present = {file.source for file in files}
    gone = [s.source for s in known.values() if s.root in roots and s.source not in present]
    if gone:
        index.remove(gone)
    return len(gone)


def _peak_rss_mb() -> float:
    """Of this process, in MiB."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)
