"""How many questions have their answer in the passages, by the tokens that these take.

python bench/packing.py DATA [--questions FILE] [--index DIR] [--k 5 15] [--tokens 256 512 ...] [--sample N]
    [--half dev|test]

DATA is an evaluation set: see bench/retrieval_sets.py; only questions with answers count. "whole": the chunks as
they were found, best first, the first that does not fit cut at the border of a sentence. "windows": what the chat is
given (rag/packing.py). Tokens are those of the embedder, the frame around each passage counts. An answer must stand in
the passages as whole words; cases are folded. Intervals are 95% cluster bootstraps; p is that of a paired test by
question.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial

from machine import print_head
from retrieval import answer_end
from retrieval_sets import cluster_of, indexed, read_set, set_parser

from eval.paired import Pair, change_interval, paired_test
from eval.statistics import Columns, interval, ratio
from eval.types import Case
from ingest.edge_index import EdgeIndex
from ingest.types import Chunk, TokenCounter
from prompts.wording import load_wording
from rag.errors import USER_ERRORS
from rag.grounding import Grounding, sentence_spans
from rag.matching import matches_of
from rag.packing import Budget, pack
from rag.retriever import Retrieval, Retriever

BATCH = 32
Texts = list[str]
Way = Callable[[Retrieval, Budget], Texts]
"""What is found for a question -> the passages that it is answered from."""


def whole(retrieval: Retrieval, budget: Budget) -> Texts:
    """Whole chunks, best first, while they fit; of the next one as many whole sentences as fit."""
    left = budget.tokens
    texts: Texts = []
    for hit in retrieval.hits:
        chunk = hit.chunk
        size = budget.count(budget.frame(chunk))
        if size <= left:
            texts.append(chunk.text)
            left -= size
            continue
        room = left - (size - budget.count(chunk.text))
        starts = [chunk.text[:end] for _, end in sentence_spans(chunk.text)]
        fitting = [text for text in starts if budget.count(text) <= room]
        return [*texts, *fitting[-1:]]
    return texts


class Windows:
    """What :mod:`rag.packing` makes of the hits; ``seconds`` and ``passages``: of each question."""

    def __init__(self, retriever: Retriever, index: EdgeIndex) -> None:
        self._retriever = retriever
        self._index = index
        self._grounding = Grounding()
        self.seconds: list[float] = []
        self.passages: list[int] = []

    def __call__(self, retrieval: Retrieval, budget: Budget) -> Texts:
        began = time.perf_counter()
        matches = matches_of(retrieval.question, retrieval.late, self._retriever.token_spans, self._grounding)
        packing = pack(retrieval.hits, matches=matches, budget=budget, text_of=self._index.catalogue.text)
        self.seconds.append(time.perf_counter() - began)
        self.passages.append(len(packing.passages))
        return [packed.passage.text for packed in packing.passages]


def found_in(case: Case, texts: Texts) -> float:
    """1 if an answer stands in one of the texts, else 0."""
    return float(any(answer_end(case.answers, " ".join(text.split())) is not None for text in texts))


def measure(cases: Sequence[Case], retrieved: Sequence[Retrieval], way: Way, budget: Budget) -> tuple[Columns, float]:
    """Share of the questions that have an answer in their passages, and the tokens that these take on average."""
    packed = [way(retrieval, budget) for retrieval in retrieved]
    found = [found_in(case, texts) for case, texts in zip(cases, packed, strict=True)]
    columns = ratio(found, [1.0] * len(cases), [cluster_of(case) for case in cases])
    return columns, statistics.mean(sum(map(budget.count, texts)) for texts in packed)


def run(
    cases: Sequence[Case],
    index: EdgeIndex,
    retriever: Retriever,
    counter: TokenCounter,
    ks: Sequence[int],
    sizes: Sequence[int],
) -> None:
    """Print a line for each number of chunks and tokens."""
    wording = load_wording()
    windows = Windows(retriever, index)

    def frame(chunk: Chunk) -> str:
        return wording.passage(1, chunk.text, chunk.source, chunk.headings)

    def count(text: str) -> int:
        return len(counter.offsets(text))

    for k in ks:
        search = partial(retriever.search_many, k=k)
        retrieved = [
            found
            for start in range(0, len(cases), BATCH)
            for found in search([case.question for case in cases[start : start + BATCH]])
        ]
        for size in sizes:
            budget = Budget(tokens=size, count=count, frame=frame)
            before, whole_tokens = measure(cases, retrieved, whole, budget)
            after, tokens = measure(cases, retrieved, windows, budget)
            pair = Pair(before=before, after=after)
            old, new = (f"{column.value or 0:.3f} {_range(*interval(column))}" for column in (before, after))
            print(
                f"k {k:3d}  {size:5d} tokens  whole {old} of {whole_tokens:4.0f}  windows {new} of {tokens:4.0f}"
                f"  change {pair.change or 0:+.3f} {_range(*change_interval(pair))}  p {paired_test(pair)[1]:.4f}"
            )
    print(
        f"windows: {statistics.mean(windows.passages):.1f} passages on average, "
        f"{1000 * statistics.median(windows.seconds):.1f} ms to choose (median)"
    )


def _range(low: float, high: float) -> str:
    return f"[{low:.3f} {high:.3f}]"


def main() -> None:
    parser = set_parser(__doc__)
    parser.add_argument("--k", type=int, nargs="+", default=[5, 15], help="chunks that passages are made of")
    parser.add_argument("--tokens", type=int, nargs="+", default=[256, 512, 768, 1024, 2048], help="budgets")
    arguments = parser.parse_args()

    from ingest.embed import open_embedder

    data = read_set(arguments.data, arguments.questions).narrowed(half=arguments.half, sample=arguments.sample)
    embedder = open_embedder()
    with indexed(data, embedder, arguments.index) as index:
        documents = index.documents()
        chunks = sum(document.chunks for document in documents)
        print_head(data=f"{data.name}, {len(documents)} documents, {chunks} chunks", embedder=embedder.name)
        for row, cases in data.rows.items():
            asked = [case for case in cases if case.answers]
            print(f"\n{row}: {len(asked)} questions with answers, {len({cluster_of(case) for case in asked})} clusters")
            if asked:
                retriever = Retriever(index, embedder)
                run(asked, index, retriever, embedder.counter, arguments.k, arguments.tokens)


if __name__ == "__main__":
    try:
        main()
    except USER_ERRORS as error:
        sys.exit(f"error: {error}")
