"""How well the documents are found that hold the answer, in each mode: recall@1/5/K, MRR@K and nDCG@K.

python bench/retrieval.py DATA [--questions FILE] [--index DIR] [--k 10] [--sample N] [--half dev|test] [--answers]
                          [--window N]

DATA is an evaluation set: see bench/retrieval_sets.py. A document stands where its best chunk stands. Intervals are 95%
cluster bootstraps; differences are paired by question. With --answers also for how many questions a gold answer stands
within the first characters or tokens of the hits' texts, joined in order of rank. --window makes smaller chunks: so
many tokens of a chunk and its headings, instead of all that the embedder reads.
"""

from __future__ import annotations

import math
import re
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from machine import print_head
from retrieval_sets import RetrievalSet, cluster_of, indexed, read_set, set_parser

from eval.gold import needs_of
from eval.paired import Pair, change_interval, paired_test
from eval.statistics import Columns, interval, ratio
from eval.types import Case
from ingest.document_index import PassageIndex
from ingest.types import Embedder, ScoredChunk, TokenCounter
from rag.errors import USER_ERRORS
from rag.retriever import Retrieval, Retriever
from rag.types import Passage

DEPTH = 24
"""Chunks that are asked for; documents are ranked among these. For no more does the search look at as many candidates
as for five."""
BATCH = 32
CHARACTERS = {"2,000 chars": 2_000, "6,000 chars": 6_000}
TOKENS = {"256 tokens": 256, "512 tokens": 512, "1,024 tokens": 1_024, "2,048 tokens": 2_048}


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """Keywords of the retriever and of its ``search_many``: a stage that can be switched off is measured without."""

    search: Mapping[str, Any] = field(default_factory=dict)
    retriever: Mapping[str, Any] = field(default_factory=dict)


JUDGED = "hybrid"
CONFIGURATIONS = {
    "dense": Configuration(search={"mode": "dense"}),
    "sparse": Configuration(search={"mode": "sparse"}),
    JUDGED: Configuration(),
    "hybrid, not reranked": Configuration(retriever={"rerank": "none"}),
}
SINGLE = ("dense", "sparse")


def retrieve(
    index: PassageIndex, embedder: Embedder, cases: Sequence[Case], configuration: Configuration
) -> list[Retrieval]:
    """What is found for each case, in order."""
    retriever = Retriever(index, embedder, **configuration.retriever)
    questions = [case.question for case in cases]
    batches = (questions[start : start + BATCH] for start in range(0, len(questions), BATCH))
    return [found for batch in batches for found in retriever.search_many(batch, k=DEPTH, **configuration.search)]


def measure(case: Case, hits: Sequence[ScoredChunk], k: int = 10) -> dict[str, float]:
    """Recall@1, @5 and @k, reciprocal rank@k and nDCG@k of one case, each from 0 to 1.

    Each document counts once, where its best chunk is. Gains are binary, so a need that is met at rank r adds
    1 / log2(r + 1) to DCG (Jarvelin & Kekalainen 2002).
    """
    best: dict[str, ScoredChunk] = {}
    for hit in hits:
        best.setdefault(hit.chunk.source, hit)
    passages = [
        Passage.of(hit.chunk, number=rank, score=hit.score) for rank, hit in enumerate(list(best.values())[:k], start=1)
    ]
    needs = needs_of(case)
    ranks = [next((passage.number for passage in passages if need(passage)), math.inf) for need in needs]
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(k, len(needs)) + 1))
    found = {f"recall@{n}": sum(rank <= n for rank in ranks) / len(needs) for n in dict.fromkeys((1, 5, k))}
    found[f"MRR@{k}"] = 1 / min(ranks)
    found[f"nDCG@{k}"] = sum(1 / math.log2(rank + 1) for rank in ranks) / ideal
    return found


def answer_end(answers: Sequence[str], text: str) -> int | None:
    """Where the first of the answers is over in a text, in characters from 0; None when none stands there.

    Cases are folded; an answer must stand there as whole words.
    """
    ends = [
        match.end()
        for answer in answers
        if (match := re.search(rf"(?<!\w){re.escape(_even(answer))}(?!\w)", text, re.IGNORECASE))
    ]
    return min(ends, default=None)


def answered(case: Case, hits: Sequence[ScoredChunk], counter: TokenCounter) -> dict[str, float]:
    """Whether (1 or 0) an answer stands within the first so many characters, or tokens, of what is found."""
    text = _even(" ".join(hit.chunk.text for hit in hits))
    end = answer_end(case.answers, text)
    tokens = math.inf if end is None else len(counter.offsets(text[:end]))
    characters = math.inf if end is None else end
    within = {name: float(characters <= limit) for name, limit in CHARACTERS.items()}
    return within | {name: float(tokens <= limit) for name, limit in TOKENS.items()}


def _even(text: str) -> str:
    return " ".join(text.split())


def columns_of(cases: Sequence[Case], measured: Sequence[Mapping[str, float]]) -> dict[str, Columns]:
    """Each metric over the cases, by name."""
    clusters = [cluster_of(case) for case in cases]
    return {name: ratio([row[name] for row in measured], [1.0] * len(cases), clusters) for name in measured[0]}


def report(found: Mapping[str, Mapping[str, Columns]], main: str) -> list[str]:
    """Lines of a table: each configuration's metrics, then the judged one's lead over each of the others.

    The single mode that is better by the metric ``main`` has an asterisk; p is that of a paired test of this metric.
    """
    names = list(found[JUDGED])
    lines = [" " * 30 + "".join(f"{name:>24}" for name in names)]
    for label, columns in found.items():
        cells = [(columns[name].value or 0.0, *interval(columns[name])) for name in names]
        lines.append(f"{label:30}" + "".join(f"{f'{value:.3f} [{a:.3f} {b:.3f}]':>24}" for value, a, b in cells))
    better = max(SINGLE, key=lambda mode: found[mode][main].value or 0.0)
    for label, columns in found.items():
        if label == JUDGED:
            continue
        pairs = {name: Pair(before=columns[name], after=found[JUDGED][name]) for name in names}
        cells = [(pair.change or 0.0, *change_interval(pair)) for pair in pairs.values()]
        lines.append(
            f"{f'{JUDGED} - {label}' + (' *' if label == better else ''):30}"
            + "".join(f"{f'{value:+.3f} [{a:+.3f} {b:+.3f}]':>24}" for value, a, b in cells)
            + f"   p {paired_test(pairs[main])[1]:.4f} ({main})"
        )
    return lines


def run(data: RetrievalSet, index: PassageIndex, embedder: Embedder, *, k: int, answers: bool) -> None:
    """Print the tables of every row of questions."""
    for row, cases in data.rows.items():
        print(f"\n{row}: {len(cases)} questions, {len({cluster_of(case) for case in cases})} clusters")
        found = {name: retrieve(index, embedder, cases, chosen) for name, chosen in CONFIGURATIONS.items()}
        ranked = {
            name: [measure(case, one.hits, k) for case, one in zip(cases, retrieved, strict=True)]
            for name, retrieved in found.items()
        }
        print("\n".join(report({name: columns_of(cases, rows) for name, rows in ranked.items()}, f"nDCG@{k}")))
        told = [place for place, case in enumerate(cases) if case.answers]
        if answers and told:
            asked = [cases[place] for place in told]
            read = {
                name: [answered(cases[place], retrieved[place].hits, embedder.counter) for place in told]
                for name, retrieved in found.items()
            }
            print(
                "\n".join(
                    report({name: columns_of(asked, rows) for name, rows in read.items()}, next(iter(CHARACTERS)))
                )
            )
        for name, retrieved in found.items():
            embed = statistics.median(one.embed_ms for one in retrieved)
            search = statistics.median(one.search_ms for one in retrieved)
            print(
                f"{name}: {embed:.1f} ms to embed (batches of {BATCH}), {search:.1f} ms to search, for {DEPTH} chunks"
            )


def main() -> None:
    parser = set_parser(__doc__)
    parser.add_argument("--k", type=int, default=10, help="documents that are looked at (default 10)")
    parser.add_argument("--answers", action="store_true", help="how soon an answer is read in the hits' texts")
    parser.add_argument("--window", type=int, help="tokens of a chunk and its headings at most")
    arguments = parser.parse_args()

    from ingest.embed import open_embedder

    data = read_set(arguments.data, arguments.questions).narrowed(half=arguments.half, sample=arguments.sample)
    embedder = open_embedder()
    embedder.window = arguments.window or embedder.window
    with indexed(data, embedder, arguments.index) as index:
        documents = index.documents()
        chunks = sum(document.chunks for document in documents)
        print_head(data=f"{data.name}, {len(documents)} documents, {chunks} chunks", embedder=embedder.name)
        run(data, index, embedder, k=arguments.k, answers=arguments.answers)


if __name__ == "__main__":
    try:
        main()
    except USER_ERRORS as error:
        sys.exit(f"error: {error}")
