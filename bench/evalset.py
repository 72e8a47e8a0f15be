"""Reading an evaluation set: FOLDER/{corpus,questions,refusal_corpus,refusal_questions}.jsonl.

A corpus line has `id` and `text`; a question line `question`, `kind`, `cluster` and, where it has one, `answers`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from eval.loaders import write_corpus
from ingest.edge_index import EdgeIndex
from ingest.embed import open_embedder
from ingest.index import open_index
from ingest.pipeline import ingest
from rag.retriever import Retriever

PARTS = (("corpus", "questions"), ("refusal_corpus", "refusal_questions"))


def rows(file: Path) -> list[dict[str, Any]]:
    """The objects of a JSONL file."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


@contextmanager
def indexed(corpus: Path) -> Iterator[tuple[EdgeIndex, Retriever]]:
    """A temporary index with one document a line of the corpus, named as gold documents are."""
    embedder = open_embedder()
    with TemporaryDirectory() as folder:
        documents = Path(folder, "documents")
        write_corpus(corpus, documents)
        with open_index(f"{folder}/index", embedder, create=True) as index:
            ingest([documents], index, embedder)
            yield index, Retriever(index, embedder)
