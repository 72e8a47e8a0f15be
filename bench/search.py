"""What a search costs beyond the embedder and the engine, what a batch saves, and searches among many chunks.

python bench/search.py DATA [--file FILE] [--index DIR] [--questions 200] [--chunks 100000]

DATA is an evaluation set: see bench/retrieval_sets.py. Printed are

1. search beside its bare parts, in the same run: the very calls that the search had made of the embedder, of the engine
   (its requests ready made) and of the arithmetic of late interaction, and the engine's BM25 tokens of the question.
   Both are timed on each question, one right after the other, in random order;
2. the questions one at a time and as a batch;
3. hybrid, dense and sparse searches in a store of synthetic chunks (bench/synthetic.py); --chunks 0 leaves them out.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from machine import print_head
from retrieval_sets import indexed, read_set
from synthetic import at_scale, print_scale, row
from tape import Call, Tape, taped

from rag.errors import USER_ERRORS
from rag.retriever import Retriever
from rag.settings import Settings

SEED = 5
TARGET = 1.15
ROWS = {
    "ours": "search",
    "bare": "bare parts",
    "embedder": "  embedder",
    "engine": "  engine",
    "rerank": "  late interaction",
    "ours_cpu": "search, processor time",
    "bare_cpu": "bare parts, processor time",
}


def overhead(retriever: Retriever, tape: Tape, questions: Sequence[str], k: int) -> dict[str, list[float]]:
    """Milliseconds of each question, by the names in :data:`ROWS`.

    Processor time, of all threads, says more on a machine that does other things too.
    """
    import qdrant_edge

    bm25 = qdrant_edge.Bm25(qdrant_edge.Bm25Config(language="english"))
    asked = {question: _calls(retriever, tape, question, k) for question in questions}
    found: dict[str, list[float]] = {name: [] for name in ROWS}

    def ours(question: str) -> None:
        retriever.search(question, k=k)

    def bare(question: str) -> None:
        spent = dict.fromkeys(("embedder", "engine", "rerank"), 0.0)
        bm25.embed_query(question)
        for call in asked[question]:
            spent[call.part] += call.again()
        for part, milliseconds in spent.items():
            found[part].append(milliseconds)

    ways = {"ours": ours, "bare": bare}
    shuffled = random.Random(SEED)
    for question in shuffled.sample(questions, len(questions)):
        for name in shuffled.sample(list(ways), 2):
            began, used = time.perf_counter(), time.process_time()
            ways[name](question)
            found[f"{name}_cpu"].append(1000 * (time.process_time() - used))
            found[name].append(1000 * (time.perf_counter() - began))
    return found


def _calls(retriever: Retriever, tape: Tape, question: str, k: int) -> list[Call]:
    tape.wind_back()
    retriever.search(question, k=k)
    return tape.wind_back()


def ratio(times: Mapping[str, Sequence[float]], kind: str = "") -> float:
    """Median of the search / median of its bare parts; ``kind`` "_cpu" for processor time."""
    return float(np.median(times[f"ours{kind}"]) / np.median(times[f"bare{kind}"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Questions a second."""

    alone: float
    batch: float


def rates(retriever: Retriever, questions: Sequence[str], k: int) -> Rates:
    """Both ways on all questions: half of them first alone, the other half first in the batch."""
    half = len(questions) // 2
    seconds = {"alone": 0.0, "batch": 0.0}
    for part, order in ((questions[:half], ("alone", "batch")), (questions[half:], ("batch", "alone"))):
        for way in order:
            began = time.perf_counter()
            if way == "batch":
                retriever.search_many(part, k=k)
            else:
                for question in part:
                    retriever.search(question, k=k)
            seconds[way] += time.perf_counter() - began
    return Rates(**{way: len(questions) / spent for way, spent in seconds.items()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--file", type=Path, help="questions to a folder of documents: JSONL with gold_docs")
    parser.add_argument("--index", type=Path, help="keep the index below this folder")
    parser.add_argument("--questions", type=int, default=200, help="at most so many (default 200)")
    parser.add_argument("--chunks", type=int, default=100_000, help="synthetic chunks (default 100000)")
    arguments = parser.parse_args()

    from ingest.embed import open_embedder

    data = read_set(arguments.data, arguments.file).narrowed(half=None, sample=arguments.questions)
    questions = list(dict.fromkeys(case.question for cases in data.rows.values() for case in cases))
    questions = questions[: arguments.questions]
    embedder, k = open_embedder(), Settings().k
    with taped(embedder) as tape, indexed(data, embedder, arguments.index) as index:
        chunks = sum(document.chunks for document in index.documents())
        print_head(data=f"{data.name}, {chunks} chunks, {len(questions)} questions", embedder=embedder.name, k=k)
        retriever = Retriever(index, embedder)
        times = overhead(retriever, tape, questions, k)
        print("\n1. ms a question: median, 95th percentile")
        for name, label in ROWS.items():
            print(row(label, times[name]))
        wall, used = ratio(times), ratio(times, "_cpu")
        print(f"  search / bare parts: {wall:.3f} (target: below {TARGET}), in processor time {used:.3f}")
        found = rates(retriever, questions, k)
        print(f"\n2. questions a second: {found.alone:.1f} one at a time, {found.batch:.1f} in batches")
    if arguments.chunks:
        print("\n3. ", end="")
        print_scale(at_scale(arguments.chunks, arguments.questions))


if __name__ == "__main__":
    try:
        main()
    except USER_ERRORS as error:
        sys.exit(f"error: {error}")
