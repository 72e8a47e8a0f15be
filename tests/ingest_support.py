"""What the tests of `ingest` share: a parser without weight, an embedder that counts, failpoints for a child.

Run as a program it ingests a folder with those, so that a test can kill it:
``python ingest_support.py DOCS INDEX [FAILPOINT]``.
"""

import functools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from ingest import pipeline
from ingest.catalogue import Catalogue
from ingest.chunk import ChunkPolicy, chunk_document
from ingest.edge import Bm25, EdgeStore
from ingest.edge_index import EdgeIndex
from ingest.embed import HashEmbedder
from ingest.formats import format_of
from ingest.late import late_query
from ingest.parse import content_hash, document_id, parse_bytes
from ingest.types import Document, Element, TokenCounter, Vectors
from ingest.workers import ParsedFile, Unparsed, parse_file

FILES = Path(__file__).parent / "files" / "formats"
ROOT = Path(__file__).resolve().parent.parent
CORPUS = ROOT / "data" / "corpus"
BORDERS = [
    f"{owner.__name__}.{method}:{when}:{call}"
    for owner, method in [
        (Catalogue, "begin"),
        (EdgeStore, "write"),
        (EdgeStore, "flush"),
        (Catalogue, "commit"),
        (EdgeStore, "delete"),
        (Catalogue, "forget"),
        (Catalogue, "remove"),
    ]
    for when, call in [("before", 1), ("after", 1)]
]


def document_of(parts: Sequence[tuple[str, str, int]], name: str = "made.md") -> Document:
    """A document of (text, kind, depth) elements, placed as the parser places them."""
    elements, start = [], 0
    for text, kind, depth in parts:
        end = start + len(text)
        elements.append(Element(text=text, kind=kind, page=None, start=start, end=end, depth=depth))
        start = end + 1
    hash_ = content_hash(repr(parts).encode())
    return Document(id=document_id(hash_, "markdown"), source=name, content_hash=hash_, elements=tuple(elements))


def light_parse(path: str, source: str, counter: TokenCounter, policy: ChunkPolicy) -> ParsedFile | Unparsed:
    """Stands in for ``workers.parse_file``: lines are paragraphs, ``# `` begins a title, ``~`` boilerplate (much
    of it is odd), ``FAIL`` fails."""
    data = Path(path).read_bytes()
    if data.startswith(b"FAIL"):
        return Unparsed(reason="cannot be read", lasting=True)
    parts = [
        (line.lstrip("# "), "title" if line.startswith("#") else "text", 0)
        for line in data.decode().splitlines()
        if line.strip("# ") and not line.startswith("~")
    ]
    boilerplate = tuple(line for line in data.decode().splitlines() if line.startswith("~"))
    made = document_of(parts, source)
    hash_ = content_hash(data)
    document = Document(
        id=document_id(hash_, format_of(Path(source))),
        source=source,
        content_hash=hash_,
        elements=made.elements,
        boilerplate=boilerplate,
        warnings=("much was left out",) if len(boilerplate) > 1 else (),
    )
    return ParsedFile(document=document, chunks=chunk_document(document, counter, policy), seconds=0.0)


def light_parse_files(
    files: Any, counter: Any, policy: Any, workers: int, ocr: str = ""
) -> Iterator[ParsedFile | Unparsed]:
    """Stands in for ``workers.parse_files``, in this process: for tests of what comes after parsing."""
    assert workers >= 1
    for file in files:
        yield light_parse(str(file.path), file.source, counter, policy)


def parse_files_here(
    files: Any, counter: Any, policy: Any, workers: int, ocr: str = ""
) -> Iterator[ParsedFile | Unparsed]:
    """Stands in for ``workers.parse_files``, in this process: its parser without its processes."""
    assert workers >= 1
    for file in files:
        yield parse_file(str(file.path), file.source, counter, policy, ocr)


def wayward_parse(
    path: str, source: str, counter: TokenCounter, policy: ChunkPolicy, ocr: str = ""
) -> ParsedFile | Unparsed:
    """A parser that hangs, exits, dies of a signal, eats memory or raises, as the file's name says."""
    name = Path(source).stem
    if name == "hangs":
        time.sleep(600)
    if name == "exits":
        os._exit(3)
    if name == "dies":
        os.kill(os.getpid(), signal.SIGSEGV)
    if name == "eats":
        return Unparsed(reason=f"got {len(bytearray(8 * 2**30))} bytes", lasting=False)
    return light_parse(path, source, counter, policy)


class CountingEmbedder(HashEmbedder):
    """Counts the texts that it was given."""

    def __init__(self, dimension: int = 16, window: int = 64) -> None:
        super().__init__(dimension, window)
        self.embedded = 0

    def encode(self, texts: Sequence[str]) -> Vectors:
        self.embedded += len(texts)
        return super().encode(texts)


@functools.cache
def corpus_document(name: str) -> Document:
    """A document of the sample corpus, parsed once for all tests."""
    return parse_bytes((CORPUS / name).read_bytes(), name)


def write_files(folder: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def state(index: EdgeIndex) -> dict[str, Any]:
    """All that an index serves, in a form that compares: by source, the document and every chunk of it.

    Raises AssertionError for points without a document, and for documents without all of their points.
    """
    found: dict[str, Any] = {}
    chunks_by_document: dict[str, int] = {}
    for document in index.documents():
        chunks = index.chunks_of(document)
        assert [chunk.index for chunk in chunks] == list(range(document.chunks))
        text = index.catalogue.text(document.document_id)
        assert all(text[chunk.start : chunk.end] == chunk.text for chunk in chunks)
        chunks_by_document[document.document_id] = len(chunks)
        found[document.source] = (document.document_id, document.content_hash, chunks)
    assert index.store.count() == sum(chunks_by_document.values()) == index.catalogue.chunk_count()
    assert index.catalogue.unfinished() == []
    return found


def full_state(index: EdgeIndex, queries: Sequence[str] = ()) -> dict[str, Any]:
    """:func:`state`, and by source the text, fields, vectors, BM25 terms and token codes; by query what is found."""
    found: dict[str, Any] = {"documents": state(index)}
    for document in index.documents():
        points = index.store.points(document.document_id)
        parts = []
        for kept in index.catalogue.chunks(document.document_id):
            point = points[kept.id]
            assert kept.sound
            terms = sorted(zip(point.sparse.indices, point.sparse.values, strict=True))
            parts.append((kept.vector.tolist(), point.dense.tolist(), terms, kept.codes))
        text = index.catalogue.text(document.document_id)
        doubts = (index.catalogue.boilerplate(document.document_id), document.coverage, document.warnings)
        sizes = (document.characters, document.size, document.root)
        found[document.source] = (text, document.fields, *sizes, parts, doubts)
    embedder = HashEmbedder(16)
    for query in queries:
        dense, (tokens,) = embedder.encode_tokens([query])
        late = late_query(tokens, [False] * len(tokens.spans))
        hits = index.search(dense[0], Bm25().query(query), late, limit=5).hits
        found[f"? {query}"] = [(hit.chunk, round(hit.score, 5), hit.codes) for hit in hits]
    return found


def clean_state(docs: Path, folder: Path, queries: Sequence[str] | None = None) -> dict[str, Any]:
    """The state after one run on an empty index, the full one for ``queries``. The caller has put ``light_parse_files``
    in place."""
    embedder = HashEmbedder(16)
    with EdgeIndex(folder, embedder, create=True) as index:
        pipeline.ingest([docs], index, embedder)
        return state(index) if queries is None else full_state(index, queries)


def need(program: str) -> None:
    """Skip a test where a program is not installed; CI installs those that tests need (.ci/run)."""
    if shutil.which(program) is None:
        assert "CI" not in os.environ, f"{program} is not installed"
        pytest.skip(f"needs {program}")


def child_environment(*first: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(map(str, [*first, ROOT, ROOT / "tests"]))}


def start(*arguments: str) -> "subprocess.Popen[str]":
    """This file as a program."""
    return subprocess.Popen(
        [sys.executable, __file__, *arguments],
        env=child_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_python(code: str, *arguments: str, path: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    """Python code in a process of its own; ``path`` is searched first for modules."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=child_environment(path),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def fail_at(border: str) -> None:
    """Let this process die, as by SIGKILL, before or after the n-th call of a method (from 1)."""
    name, when, call = border.split(":")
    owner_name, method = name.split(".")
    owner = {"Catalogue": Catalogue, "EdgeStore": EdgeStore}[owner_name]
    real = getattr(owner, method)
    calls = 0

    def dying(self: Any, *args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == int(call) and when == "before":
            os._exit(9)
        result = real(self, *args)
        if calls == int(call):
            os._exit(9)
        return result

    setattr(owner, method, dying)


def main(docs: str, folder: str, border: str = "") -> None:
    pipeline.parse_files = light_parse_files  # type: ignore[assignment]
    pipeline.GROUP_CHUNKS = 4
    embedder = HashEmbedder(16)
    print("ready", flush=True)
    with EdgeIndex(Path(folder), embedder, create=True) as index:
        if border:
            fail_at(border)
        pipeline.ingest([Path(docs)], index, embedder, prune=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
