"""Ingest a folder into a new index, then again: rates, seconds a stage, memory, size on disk, distance to the floor.

python bench/ingest_folder.py FOLDER [--workers N] [--no-floor]

The floor is what no arrangement can go below: processor seconds of parsing and chunking each file and of embedding each
chunk, measured one after the other in this process, over the cores that there are. Both are measured before the first
run, in the order in which ingest does them, and nothing of them is kept.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from machine import print_head

from ingest.chunk import ChunkPolicy, chunk_document, embedding_text
from ingest.embed import open_embedder
from ingest.errors import ParseError
from ingest.index import open_index
from ingest.parse import parse_bytes
from ingest.pipeline import GROUP_CHUNKS, ingest
from ingest.scan import SourceFile, scan
from ingest.types import Embedder


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """Processor seconds, of all threads."""

    parse: float
    embed: float

    @property
    def wall(self) -> float:
        return (self.parse + self.embed) / (os.cpu_count() or 1)


def floor_of(files: Sequence[SourceFile], embedder: Embedder) -> Floor:
    """What parsing and embedding alone take; models are loaded and code is warm before the clock starts."""
    policy = ChunkPolicy(window=embedder.window)
    embedder.encode_tokens(["warm"])
    texts: list[str] = []
    began = 0.0
    for number, file in enumerate(files):
        if number == 1:
            began = time.process_time()
        try:
            document = parse_bytes(file.path.read_bytes(), file.source)
        except ParseError:
            continue
        chunks = chunk_document(document, embedder.counter, policy)
        texts += [embedding_text(chunk, embedder.counter, policy) for chunk in chunks]
    parsed = time.process_time()
    for start in range(0, len(texts), GROUP_CHUNKS):
        embedder.encode_tokens(texts[start : start + GROUP_CHUNKS])
    return Floor(parse=parsed - began, embed=time.process_time() - parsed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--no-floor", action="store_true", help="leave out the floor, which takes as long as a run")
    given = parser.parse_args()

    files = scan([given.folder]).files
    size = sum(file.path.stat().st_size for file in files)
    embedder = open_embedder()
    print_head(data=f"{given.folder.name}, {len(files)} files, {size / 1e6:.1f} MB", embedder=embedder.name)
    floor = None if given.no_floor else floor_of(files, embedder)
    with tempfile.TemporaryDirectory() as folder:
        for run in ("first run", "second run, unchanged"):
            used = time.process_time()
            with open_index(f"{folder}/index", embedder, create=True) as index:
                report = ingest([given.folder], index, embedder, workers=given.workers)
            total, used = report.seconds["total"], time.process_time() - used
            print(f"\n{run}: {total:.2f} s, {report.files / total:.1f} files/s, {size / total / 1e6:.2f} MB/s")
            print(f"  documents: {report.added} added, {report.unchanged} unchanged, {len(report.failed)} failed")
            print(f"  chunks: {report.chunks}, {report.chunks / total:.1f} chunks/s, coverage {report.coverage}")
            print(f"  seconds: {report.seconds}, of the processor in this process {used:.1f}")
            if floor and report.chunks:
                parts = f"{floor.parse:.1f} parsing, {floor.embed:.1f} embedding, over the cores"
                print(f"  floor: {floor.wall:.1f} s ({parts}); wall time / floor: {total / floor.wall:.2f}")
        children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(f"\npeak memory: {report.peak_rss_mb} MB here, {children:.0f} MB in the largest parser process")
        blocks = sum(path.stat().st_blocks for path in Path(folder).rglob("*") if path.is_file())
        print(f"index on disk: {blocks * 512 / 1e6:.1f} MB")
        for failure in report.failed[:10]:
            print(f"failed: {failure.source}: {failure.error}")


if __name__ == "__main__":
    main()
