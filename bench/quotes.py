"""How often the one sentence that would be quoted holds a gold answer, and what it costs to refuse the rest.

python bench/quotes.py EVALSET_FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

from evalset import PARTS, indexed, rows
from machine import print_head

from rag.grounding import Grounding
from rag.quotes import QUOTABLE, closest_quote
from rag.settings import Settings
from rag.types import Passage


def main() -> None:
    folder = Path(sys.argv[1])
    k = Settings().k
    print_head(data=folder.name, passages=k, threshold=QUOTABLE)
    grounding = Grounding()
    for corpus, questions in PARTS:
        with indexed(folder / f"{corpus}.jsonl") as (_, retriever):
            asked = rows(folder / f"{questions}.jsonl")
            for kind in sorted({row["kind"] for row in asked}):
                chosen = [row for row in asked if row["kind"] == kind]
                quoted = right = 0
                for row, retrieval in zip(
                    chosen, retriever.search_many([row["question"] for row in chosen], k=k), strict=True
                ):
                    passages = [
                        Passage(
                            number=number,
                            text=hit.chunk.text,
                            source=hit.chunk.source,
                            start=hit.chunk.start,
                            end=hit.chunk.end,
                            pages=(),
                            headings=(),
                            score=hit.score,
                        )
                        for number, hit in enumerate(retrieval.hits, start=1)
                    ]
                    quote = closest_quote(row["question"], passages, grounding, retriever.similarity)
                    quoted += quote is not None
                    gold = [text.casefold() for text in row.get("answers", [])]
                    right += quote is not None and any(text in quote.quote.casefold() for text in gold)
                print(
                    f"{questions} {kind}: {len(chosen)} asked, {quoted} quoted, {right} with a gold answer", flush=True
                )


if __name__ == "__main__":
    main()
