"""Our metrics against others' definitions: trec_eval and ndeval through ir-measures, and SQuAD written again."""

from __future__ import annotations

import string

import ir_measures
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_measures import RR, Qrel, R, ScoredDoc, alpha_nDCG, nDCG

from eval.answer_scores import exact_match, f1
from eval.retrieval_scores import mrr_at_10, ndcg_at_10, recall_at_5
from eval.types import Case, Record
from rag.types import Passage

DOCUMENTS = [f"d{number}" for number in range(16)]
GOLD = st.lists(st.sampled_from(DOCUMENTS), min_size=1, max_size=4, unique=True)


def passage(number: int, source: str) -> Passage:
    return Passage(number=number, text="x", source=source, start=0, end=1, pages=(), headings=(), score=0.0)


def ranked(sources: list[str]) -> Record:
    return Record(id="q", answer="x", passages=tuple(passage(n, source) for n, source in enumerate(sources, start=1)))


def asked(gold: list[str]) -> Case:
    return Case(id="q", question="q", kind="answerable", gold_docs=tuple(gold))


@given(order=st.permutations(DOCUMENTS), shown=st.integers(0, 16), gold=GOLD)
@settings(deadline=None)
def test_rankings_without_repeats_score_as_in_trec_eval(order: list[str], shown: int, gold: list[str]) -> None:
    """Where each thing to be found has one passage, needs are relevant documents."""
    # Filled up, since ir-measures leaves out a question without a ranking.
    sources = [*order[:shown], *(f"other{number}" for number in range(11))]
    run = [ScoredDoc("q", source, float(-rank)) for rank, source in enumerate(sources)]
    qrels = [Qrel("q", source, 1) for source in gold]
    wanted = {one.measure: one.value for one in ir_measures.iter_calc([RR @ 10, nDCG @ 10, R @ 5], qrels, run)}
    case, record = asked(gold), ranked(sources)
    assert mrr_at_10(case, record).value == pytest.approx(wanted[RR @ 10])
    assert ndcg_at_10(case, record).value == pytest.approx(wanted[nDCG @ 10])
    assert recall_at_5(case, record).value == pytest.approx(wanted[R @ 5])


@given(
    sources=st.lists(st.sampled_from(DOCUMENTS[:6]), max_size=14),
    gold=st.lists(st.sampled_from(DOCUMENTS[:6]), min_size=1, max_size=4, unique=True),
)
@settings(deadline=None)
def test_rankings_with_repeats_score_as_alpha_ndcg(sources: list[str], gold: list[str]) -> None:
    """A second passage with the same evidence has no gain: alpha = 1. trec_eval would give it one."""
    sources = [*sources, "other"]
    run = [ScoredDoc("q", f"{rank} of {source}", float(-rank)) for rank, source in enumerate(sources)]
    found = [
        Qrel("q", f"{rank} of {source}", 1, str(gold.index(source)))
        for rank, source in enumerate(sources)
        if source in gold
    ]
    missed = [Qrel("q", f"unseen of {source}", 1, str(need)) for need, source in enumerate(gold)]
    (wanted,) = ir_measures.iter_calc([alpha_nDCG(alpha=1.0) @ 10], [*found, *missed], run)
    assert ndcg_at_10(asked(gold), ranked(sources)).value == pytest.approx(wanted.value)


def squad_tokens(text: str) -> list[str]:
    """Lower case, punctuation out, articles out, split on white space: written from the description."""
    kept = "".join(char for char in text.lower() if char not in string.punctuation)
    return [token for token in kept.split() if token not in {"a", "an", "the"}]


def squad_f1(answer: str, gold: str) -> float:
    left, right = squad_tokens(answer), squad_tokens(gold)
    if not left or not right:
        return float(left == right)
    rest, shared = list(right), 0
    for token in left:
        if token in rest:
            rest.remove(token)
            shared += 1
    if not shared:
        return 0.0
    precision, recall = shared / len(left), shared / len(right)
    return 2 * precision * recall / (precision + recall)


TEXTS = st.lists(
    st.sampled_from(["The", "a", "an", "Orrin", "orrin", "214", "U.S.", "well-known", "!", "café", "MV", "in\t1987"]),
    max_size=6,
).map(" ".join)


@settings(deadline=None)
@given(answer=TEXTS, gold=st.lists(TEXTS.filter(str.strip), min_size=1, max_size=3))
def test_answers_score_as_squad_defines_it(answer: str, gold: list[str]) -> None:
    case = Case(id="q", question="q", kind="answerable", answers=tuple(gold))
    record = Record(id="q", answer=answer, refused=False)
    assert f1(case, record).value == pytest.approx(max(squad_f1(answer, one) for one in gold))
    assert exact_match(case, record).value == max(float(squad_tokens(answer) == squad_tokens(one)) for one in gold)
