from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from test_rag_citations import PASSAGES

from rag.grounding import Grounding
from rag.quotes import closest_quote

GROUNDING = Grounding()


def even(question: str, texts: Sequence[str]) -> list[float]:
    return [0.3] * len(texts)


def test_the_sentence_with_the_questions_rare_words_is_quoted() -> None:
    quote = closest_quote("How many passengers does the Orrin carry?", PASSAGES, GROUNDING, even)
    assert quote is not None
    assert quote.quote == "The MV Orrin carries 214 passengers."
    assert (quote.number, quote.start, quote.status) == (2, 200, "verified")


def test_meaning_decides_where_words_do_not() -> None:
    def second(question: str, texts: Sequence[str]) -> list[float]:
        return [1.0 if "2004" in text else 0.0 for text in texts]

    quote = closest_quote("Since when is Solheim with them?", PASSAGES, GROUNDING, second)
    assert quote is not None
    assert quote.quote == "She joined in 2004."


def test_nothing_is_quoted_when_nothing_comes_close() -> None:
    assert closest_quote("Who is the mayor of the town?", PASSAGES, GROUNDING, even) is None
    assert closest_quote("Who is it?", PASSAGES, GROUNDING, even) is None
    assert closest_quote("Orrin?", (), GROUNDING, even) is None


@given(st.text(max_size=60), st.floats(-1, 1))
def test_a_quote_is_exact(question: str, cosine: float) -> None:
    quote = closest_quote(question, PASSAGES, GROUNDING, lambda _, texts: [cosine] * len(texts))
    if quote is not None:
        passage = PASSAGES[quote.number - 1]
        assert passage.text[quote.start - passage.start : quote.end - passage.start] == quote.quote
