"""What the benchmarks of retrieval read: questions with gold documents, and the documents as an index.

DATA is one of

- a folder with ``corpus.jsonl`` and ``questions.jsonl``, its kinds of questions reported one by one;
- a BEIR folder (``corpus.jsonl``, ``queries.jsonl``, ``qrels/``), or one of its files of judgements;
- a SQuAD file: its paragraphs are the documents;
- a folder of any documents, with a JSONL file of questions (``id``, ``question``, ``gold_docs``) beside it.

What is to be found is the document: gold quotes are left aside, so that a figure compares with published ones.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from eval.cases import read_cases
from eval.errors import InputError
from eval.gold import needs_of
from eval.loaders import corpus_documents, is_beir, read_beir, write_corpus
from eval.types import Case
from ingest.edge_index import EdgeIndex
from ingest.index import open_index
from ingest.pipeline import ingest
from ingest.types import Embedder

Half = Literal["dev", "test"]


def set_parser(description: str | None) -> argparse.ArgumentParser:
    """With the arguments that say which questions, to which documents, in which index."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--questions", type=Path, help="questions to a folder of documents: JSONL with gold_docs")
    parser.add_argument("--index", type=Path, help="keep the index below this folder")
    parser.add_argument("--sample", type=int, help="so many questions, spread over the clusters")
    parser.add_argument("--half", choices=("dev", "test"), help="the questions of half of the clusters")
    return parser


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrievalSet:
    """Cases with gold documents by the name of their row in a report, and where the documents are.

    ``corpus`` is what :func:`eval.loaders.write_corpus` takes, or a folder of documents as they are where ``written``
    is False.
    """

    name: str
    rows: dict[str, tuple[Case, ...]]
    corpus: Path
    written: bool

    def narrowed(self, *, half: Half | None, sample: int | None) -> RetrievalSet:
        """With the cases of one half of the clusters, and then so many of each row. Raises :class:`InputError` when
        none is left."""
        rows = {kind: half_of(cases, half) if half else cases for kind, cases in self.rows.items()}
        if sample is not None:
            rows = {kind: sample_of(cases, sample) for kind, cases in rows.items()}
        kept = {kind: cases for kind, cases in rows.items() if cases}
        if not kept:
            raise InputError(f"{self.name}: no question is left: take the other half, or a larger sample")
        return replace(self, rows=kept)


def read_set(data: Path, questions: Path | None = None) -> RetrievalSet:
    """The questions of DATA that have gold documents. Raises :class:`InputError` for data of no known shape."""
    if questions is not None:
        if not data.is_dir():
            raise InputError(f"{data} is no folder of documents: with a file of questions, pass one")
        return RetrievalSet(name=data.name, rows=_rows(read_cases(questions), questions), corpus=data, written=False)
    if is_beir(data):
        return RetrievalSet(name=data.name, rows=_rows(read_beir(data), data), corpus=data, written=True)
    file = data / "questions.jsonl" if data.is_dir() else data
    if data.is_dir() and not (data / "corpus.jsonl").is_file():
        raise InputError(f"{data} has no corpus.jsonl: pass an evaluation set, or name the questions to its files")
    return RetrievalSet(name=data.name, rows=_rows(read_cases(file), file), corpus=file, written=True)


def _rows(cases: Sequence[Case], path: Path) -> dict[str, tuple[Case, ...]]:
    """By kind, those that have something to find."""
    found: dict[str, list[Case]] = {}
    for case in cases:
        plain = replace(case, gold_quotes=())
        if needs_of(plain):
            found.setdefault(case.kind or "all", []).append(plain)
    if not found:
        raise InputError(f"{path} has no question with gold_docs: add them")
    return {kind: tuple(rows) for kind, rows in found.items()}


def half_of(cases: Sequence[Case], half: Half) -> tuple[Case, ...]:
    """The cases of about half of the clusters, always the same ones: by the first bit of the name's SHA-256."""
    return tuple(case for case in cases if (_digest(cluster_of(case))[0] < 0x80) is (half == "dev"))


def sample_of(cases: Sequence[Case], count: int) -> tuple[Case, ...]:
    """So many cases, always the same ones, spread over the clusters: one of each in turn, by the id's SHA-256."""
    waiting: dict[str, list[Case]] = {}
    for case in sorted(cases, key=lambda case: _digest(case.id)):
        waiting.setdefault(cluster_of(case), []).append(case)
    turns = [(turn, _digest(cluster), case) for cluster, found in waiting.items() for turn, case in enumerate(found)]
    return tuple(case for _, _, case in sorted(turns, key=lambda item: item[:2])[:count])


def cluster_of(case: Case) -> str:
    """What is resampled together; a case without a cluster is one of its own."""
    return case.cluster or case.id


def _digest(name: str) -> bytes:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()


@contextmanager
def indexed(data: RetrievalSet, embedder: Embedder, kept: Path | None = None) -> Iterator[EdgeIndex]:
    """An index of the documents, made by ``ingest``: below ``kept``, where the next run finds it, or a temporary one.

    What is below ``kept`` is named by the corpus's content, or the folder's path: one folder serves several sets.
    """
    with TemporaryDirectory() as temporary:
        folder = (kept or Path(temporary)) / _place(data)
        documents = data.corpus
        if data.written:
            documents = folder / "documents"
            if not documents.is_dir():
                unfinished = folder / "documents.new"
                for old in unfinished.glob("*"):
                    old.unlink()
                write_corpus(data.corpus, unfinished)
                unfinished.rename(documents)
        with open_index(str(folder / "index"), embedder, create=True) as index:
            for failure in ingest([documents], index, embedder).failed:
                print(f"not in the index: {failure.source}: {failure.error}", file=sys.stderr)
            yield index


def _place(data: RetrievalSet) -> str:
    if not data.written:
        return f"{data.name}-{_digest(str(data.corpus.resolve())).hex()[:12]}"
    digest = hashlib.sha256()
    for document in corpus_documents(data.corpus):
        digest.update(_digest(f"{document.id}\n{document.title}\n{document.text}"))
    return f"{data.name}-{digest.hexdigest()[:12]}"
