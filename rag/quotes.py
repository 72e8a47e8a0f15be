"""The source sentence that answers best, for when a model's own words cannot be used."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from rag.grounding import Grounding, sentence_spans
from rag.types import Citation, Passage

QUOTABLE = 0.86
"""Least score of a sentence that is quoted (docs/decisions/0001-answers-sentence-by-sentence.md)."""

Similarity = Callable[[str, Sequence[str]], Sequence[float]]
"""Cosines (-1 to 1) of a question with each of some texts."""


def closest_quote(
    question: str, passages: Sequence[Passage], grounding: Grounding, similarity: Similarity, said: str = ""
) -> Citation | None:
    """The sentence of the passages that comes closest to the question, or None if none is :data:`QUOTABLE`.

    Score: the cosine of sentence and question, plus the share of the question's content terms that the sentence has,
    where a term weighs the more the fewer of the sentences have it (inverse document frequency as in BM25).
    Sentences that say nothing beyond the question's own words are left out, and so are those that stand in ``said``,
    the earlier answers; among equals the earlier passage wins.
    """
    wanted = grounding.terms(question)
    found = [
        (passage, start, end, terms)
        for passage in passages
        for start, end in sentence_spans(passage.text)
        if (terms := grounding.terms(passage.text[start:end])) - wanted and passage.text[start:end] not in said
    ]
    if not found or not wanted:
        return None
    holding = {term: sum(term in terms for *_, terms in found) for term in wanted}
    weight = {term: math.log(1 + (len(found) + 1) / (count + 0.5)) for term, count in holding.items()}
    total = sum(weight.values())
    cosines = similarity(question, [passage.text[start:end] for passage, start, end, _ in found])
    scores = [
        cosine + sum(weight[term] for term in wanted & terms) / total
        for cosine, (*_, terms) in zip(cosines, found, strict=True)
    ]
    best = max(range(len(found)), key=scores.__getitem__)
    if scores[best] < QUOTABLE:
        return None
    passage, start, end, _ = found[best]
    return passage.cite(start, end, "verified")
