import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.edge import Bm25
from rag.grounding import Grounding, sentence_spans

TEXT = "The chief engineer is Marit Solheim. She joined in 2004.\nThe MV Orrin carries 214 passengers."


@pytest.fixture(scope="module")
def grounding() -> Grounding:
    return Grounding()


@pytest.mark.parametrize(
    ("claim", "close", "quote"),
    [
        ("Marit Solheim is the chief engineer.", True, "The chief engineer is Marit Solheim."),
        ("The Orrin can carry 214 passengers [3].", True, "The MV Orrin carries 214 passengers."),
        ("The Orrin carries 241 passengers.", False, ""),
        ("The cook is called Olav and lives in Oslo.", False, ""),
        (
            "The chief engineer Marit Solheim joined in 2004.",
            True,
            "The chief engineer is Marit Solheim. She joined in 2004.",
        ),
    ],
)
def test_a_claim_is_traced_to_the_sentence_that_says_it(
    grounding: Grounding, claim: str, close: bool, quote: str
) -> None:
    found = grounding.closest(claim, TEXT)
    assert (found.score >= 0.6) is close
    if close:
        assert TEXT[found.start : found.end] == quote


def test_coverage_is_the_share_of_the_questions_words(grounding: Grounding) -> None:
    assert grounding.coverage("Who is the chief engineer?", [TEXT]) == 1.0
    assert grounding.coverage("chief gardener", [TEXT]) == 0.5
    assert grounding.coverage("Who is it?", [TEXT]) == 1.0
    assert grounding.best_sentence("engineer passengers", [TEXT]) == 0.5


def test_a_number_or_a_stop_word_alone_is_no_claim(grounding: Grounding) -> None:
    assert not grounding.is_claim("1.")
    assert not grounding.is_claim("It is.")
    assert grounding.is_claim("Dogs travel free.")


@given(st.text(max_size=400))
def test_sentences_lie_in_order_inside_the_text_and_hold_all_that_is_visible(text: str) -> None:
    spans = sentence_spans(text)
    assert all(0 <= start < end <= len(text) for start, end in spans)
    assert all(first[1] <= second[0] for first, second in pairwise(spans))
    assert sum(len("".join(text[a:b].split())) for a, b in spans) == len("".join(text.split()))


@given(st.text(max_size=120), st.text(max_size=400))
def test_scores_are_shares_and_evidence_lies_in_the_text(claim: str, text: str) -> None:
    found = Grounding().closest(claim, text)
    assert 0.0 <= found.score <= 1.0
    assert 0 <= found.start <= found.end <= len(text)


WORDS = st.sampled_from(
    ["engineer", "Engineers", "the", "don't", "x_y", "naïve", "Σας", "don’t", "3.5", "2004", "日本", "ﬁne", "İ", "."]
)
PROSE = st.one_of(
    st.lists(st.tuples(WORDS, st.sampled_from([" ", ". ", "?) ", "\n", "-", "–", ""]))).map(
        lambda parts: "".join(word + end for word, end in parts)
    ),
    st.text(max_size=200),
)


@given(PROSE)
def test_terms_are_those_of_the_engine(text: str) -> None:
    assert Grounding().terms(text) == frozenset(Bm25().query(text).indices)


@given(PROSE, st.lists(PROSE, max_size=4))
def test_the_best_sentence_is_found_without_looking_at_all_of_them(question: str, texts: list[str]) -> None:
    grounding = Grounding()
    wanted = grounding.terms(question)
    sentences = [text[start:end] for text in texts for start, end in sentence_spans(text)]
    shares = [len(wanted & grounding.terms(sentence)) / len(wanted) for sentence in sentences] if wanted else [1.0]
    assert grounding.best_sentence(question, texts) == max(shares, default=0.0)
    assert grounding.coverage(question, texts) >= grounding.best_sentence(question, texts) * bool(texts)


def test_a_term_that_was_forgotten_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rag.grounding._KNOWN_PIECES", 3)
    small, long_word = Grounding(), "engineer" * 9
    words = ["engineer", "passenger", "boat", "ferry", "dog", long_word]
    assert [small.term(word) for word in words * 2] == [Grounding().term(word) for word in words * 2]


@given(st.text(alphabet="aA1 .!?\n\t\"'”’)](-\x85\u2028\r", max_size=60))
def test_a_sentence_ends_where_white_space_follows_its_marks(text: str) -> None:
    plain = re.compile(r"[^\s].*?(?:[.!?]+[\"'”’)\]]*(?=\s)|(?=\n)|$)", re.DOTALL)
    assert sentence_spans(text) == [match.span() for match in plain.finditer(text)]
