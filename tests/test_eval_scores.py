"""Every metric on tables worked out by hand, and within its bounds whatever comes in."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.answer_scores import normalised, token_f1
from eval.claims import claims_of, is_refusal, plain
from eval.errors import InputError
from eval.scores import METRICS, NO_ANSWER, measures, score_case, score_cases
from eval.types import Case, Cited, Record, Score
from rag.types import Passage
from rag.verifier import LexicalVerifier

VERIFIER = LexicalVerifier()
MEASURES = measures(VERIFIER)

FERRY = "The MV Orrin carries 214 passengers. She was launched at Tollan yard in 1987."
CREW = "The chief engineer is Marit Solheim. She joined the company in 2004."
PETS = "Dogs travel free on the open deck. Cats must stay in a carrier in the lounge."


def passage(number: int, text: str, source: str = "x.md") -> Passage:
    return Passage(number=number, text=text, source=source, start=0, end=len(text), pages=(), headings=(), score=0.0)


SENT = (passage(1, FERRY, "boats.md"), passage(2, CREW, "crew.txt"), passage(3, PETS, "pets.md"))


def record(answer: str, *, refused: bool | None = None, passages: Sequence[Passage] = SENT) -> Record:
    return Record(id="a", answer=answer, refused=refused, passages=tuple(passages))


def case(kind: str = "answerable", **fields: tuple[str, ...]) -> Case:
    return Case(id="a", question="How many passengers?", kind=kind, **fields)


def score(name: str, case_: Case, record_: Record) -> Score:
    return MEASURES[name](case_, record_)


@pytest.mark.parametrize(
    ("answer", "share", "strict"),
    [
        ("The MV Orrin carries 214 passengers [1].", 1.0, 1.0),
        ("The MV Orrin carries 214 passengers [1]. The chief engineer is Bob Tree [2].", 0.5, 0.0),
        ("The MV Orrin carries 340 passengers [1].", 0.0, 0.0),
        ("Dogs do not travel free on the open deck [3].", 0.0, 0.0),
        ("I don't know.", None, None),
        ("...", None, None),
    ],
)
def test_groundedness(answer: str, share: float | None, strict: float | None) -> None:
    assert score("groundedness", case(), record(answer)).value == share
    assert score("groundedness_strict", case(), record(answer)).value == strict


@pytest.mark.parametrize(
    ("answer", "recall", "precision", "validity"),
    [
        ("The MV Orrin carries 214 passengers [1].", 1.0, 1.0, 1.0),
        ("The MV Orrin carries 214 passengers. [1] The chief engineer is Marit Solheim. [2]", 1.0, 1.0, 1.0),
        ("The MV Orrin carries 214 passengers [1][3].", 1.0, 0.5, 1.0),
        ("The MV Orrin carries 214 passengers [3].", 0.0, 0.0, 1.0),
        ("The MV Orrin carries 214 passengers [1, 7].", 1.0, 0.5, 0.5),
        ("The MV Orrin carries 214 passengers [7].", 0.0, 0.0, 0.0),
        ("The MV Orrin carries 214 passengers.", 0.0, None, None),
        ("I cannot answer this from the given documents.", None, None, None),
    ],
)
def test_citations(answer: str, recall: float, precision: float | None, validity: float | None) -> None:
    got = [
        score(name, case(), record(answer)).value
        for name in ("citation_recall", "citation_precision", "citation_validity")
    ]
    assert got == [recall, precision, validity]


def test_a_listed_citation_must_quote_its_passage() -> None:
    good = Record(id="a", answer="214 passengers [1].", passages=SENT, citations=(Cited(number=1, quote=FERRY[:36]),))
    bad = Record(id="a", answer="214 passengers [1].", passages=SENT, citations=(Cited(number=1, quote="999"),))
    assert score("citation_validity", case(), good).value == 1.0
    assert score("citation_validity", case(), bad).value == 0.0


@pytest.mark.parametrize(
    ("kind", "refused", "precision", "recall", "f1", "weight", "over"),
    [
        ("answerable", False, None, None, None, 1.0, 0.0),
        ("answerable", True, 0.0, None, 0.0, 1.0, 1.0),
        ("near_miss", True, 1.0, 1.0, 1.0, 2.0, None),
        ("far_ood", False, None, 0.0, 0.0, 1.0, None),
        ("", True, None, None, None, 1.0, None),
    ],
)
def test_refusals(
    kind: str,
    refused: bool,
    precision: float | None,
    recall: float | None,
    f1: float | None,
    weight: float,
    over: float | None,
) -> None:
    names = ("refusal_precision", "refusal_recall", "refusal_f1", "over_refusal")
    got = [score(name, case(kind), record("x", refused=refused)) for name in names]
    assert [one.value for one in got] == [precision, recall, f1, over]
    assert got[2].weight == weight


def test_a_case_without_a_known_kind_is_answerable_when_it_has_answers() -> None:
    assert Case(id="a", question="q", kind="odd", answers=("x",)).answerable is True
    assert Case(id="a", question="q", kind="odd").answerable is False
    assert Case(id="a", question="q").answerable is None


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("I cannot answer this from the given documents.", True),
        ("I don’t know.", True),
        ("I don't know: the documents do not say.", True),
        ("The passages do not mention a mayor.", True),
        ("There is no information about the mayor in the documents.", True),
        ("The mayor is not mentioned in the provided text.", True),
        ("Sorry, I am unable to answer that.", True),
        ("This question cannot be answered.", True),
        ("The Polar has no rain gauge [2].", False),
        ("The documents do not mention a mayor, but the harbour master is Ida Voss [1].", False),
        ("It is not sold separately.", False),
        ("Dogs do not need a ticket.", False),
        ("Nobody is on duty after midnight.", False),
        ("", False),
    ],
)
def test_refusals_are_recognised_by_their_wording(text: str, refusal: bool) -> None:
    assert is_refusal(record(text)) is refusal
    assert is_refusal(record(text, refused=not refusal)) is not refusal


@pytest.mark.parametrize(
    ("answer", "gold", "exact", "f1", "recall"),
    [
        ("214", ("214",), 1.0, 1.0, 1.0),
        ("The 214 [1].", ("214",), 1.0, 1.0, 1.0),
        ("It carries 214 passengers [1].", ("214 passengers",), 0.0, 2 / 3, 1.0),
        ("It carries 214 passengers.", ("14",), 0.0, 0.0, 0.0),
        ("Marit", ("Bob", "Marit Solheim"), 0.0, 2 / 3, 0.0),
        ("at 13:15", ("13:15",), 0.0, 2 / 3, 1.0),
        ("I don't know.", ("214",), 0.0, 0.0, 0.0),
    ],
)
def test_correctness(answer: str, gold: tuple[str, ...], exact: float, f1: float, recall: float) -> None:
    got = [score(name, case(answers=gold), record(answer)).value for name in ("exact_match", "f1", "answer_recall")]
    assert got == pytest.approx([exact, f1, recall])


def test_normalisation_is_that_of_squad() -> None:
    assert normalised("The  U.S.A., an example!") == "usa example"
    assert token_f1("", "") == 1.0
    assert token_f1("a", "") == 0.0
    assert token_f1("x x y", "x z") == pytest.approx(2 / 5)


A, B, C = passage(1, "alpha\n one", "d/a.md"), passage(2, "beta", "d/b.md"), passage(3, "gamma", "d/c.md")


@pytest.mark.parametrize(
    ("fields", "ranked", "recall", "reciprocal", "ndcg"),
    [
        ({"gold_quotes": ("alpha one",)}, (A, B), 1.0, 1.0, 1.0),
        ({"gold_quotes": ("alpha one", "beta")}, (C, B, A), 1.0, 1 / 2, 1 / math.log2(3)),
        ({"gold_quotes": ("nowhere",), "gold_docs": ("a.md",)}, (A, B), 0.0, 0.0, 0.0),
        ({"gold_docs": ("a.md",)}, (C, B, A), 1.0, 1 / 3, 1 / 2),
        ({"gold_docs": ("d/a", "b.md")}, (A, C), 0.5, 1.0, 1 / (1 + 1 / math.log2(3))),
        ({"gold_docs": ("a.md",)}, (C, C, C, C, C, A), 0.0, 1 / 6, 1 / math.log2(7)),
        (
            {"gold_docs": ("a.md", "b.md"), "gold_quotes": ("alpha one", "beta"), "tags": ("multi-doc",)},
            (A, A, B),
            1.0,
            1.0,
            (1 + 1 / 2) / (1 + 1 / math.log2(3)),
        ),
        ({}, (A,), None, None, None),
    ],
)
def test_retrieval(
    fields: dict[str, tuple[str, ...]],
    ranked: tuple[Passage, ...],
    recall: float | None,
    reciprocal: float | None,
    ndcg: float | None,
) -> None:
    names = ("recall_at_5", "mrr_at_10", "ndcg_at_10")
    sent = [score(name, case(**fields), record("x", passages=ranked)).value for name in names]
    found = Record(id="a", answer="x", retrieved=ranked)
    assert sent == [score(name, case(**fields), found).value for name in names]
    assert sent == [None if want is None else pytest.approx(want) for want in (recall, reciprocal, ndcg)]


def test_a_case_to_be_refused_has_no_retrieval_to_score() -> None:
    assert score("recall_at_5", case("near_miss", gold_docs=("a.md",)), record("x")).value is None


def test_claims_keep_the_marker_that_follows_their_full_stop() -> None:
    found = claims_of("One boat sails. [1] Two boats stay [2; 3].\nThe documents do not say more.", VERIFIER.grounding)
    assert [(claim.text, claim.numbers) for claim in found] == [
        ("One boat sails.", (1,)),
        ("Two boats stay.", (2, 3)),
    ]


def test_an_error_scores_worst_wherever_an_answer_would_be_scored() -> None:
    wanted = case(answers=("214",), gold_docs=("boats.md",))
    result = score_case(wanted, Record(id="a", answer="", error="broke"), MEASURES)
    values = {one.name: one.value for one in result.scores}
    assert all(one.error for one in result.scores)
    assert values == dict.fromkeys(METRICS, 0.0) | {
        "over_refusal": 1.0,
        "refusal_precision": None,
        "refusal_recall": None,
        "refusal_f1": None,
    }


def test_a_case_without_a_record_is_an_error() -> None:
    (result,) = score_cases([case()], {}, VERIFIER)
    assert result.record.error == NO_ANSWER


def test_no_cases_and_strange_answers_are_refused() -> None:
    with pytest.raises(InputError, match="no cases"):
        score_cases([], {}, VERIFIER)
    with pytest.raises(InputError, match="'z'"):
        score_cases([case()], {"z": record("x")}, VERIFIER)


PIECES = st.lists(
    st.sampled_from(["The MV Orrin", "214", "[1]", "[9]", "[1, 3]", ".", "not", "I don't know", "carries", "\n", "“"])
)


@settings(max_examples=150, deadline=None)
@given(
    answer=PIECES.map(" ".join) | st.text(max_size=60),
    refused=st.sampled_from([None, True, False]),
    kind=st.sampled_from(["answerable", "near_miss", "", "odd"]),
    gold=st.lists(st.sampled_from(["214", "the", "Marit Solheim"]), max_size=2),
)
def test_every_score_is_from_0_to_1_or_says_why_not(
    answer: str, refused: bool | None, kind: str, gold: list[str]
) -> None:
    one = case(kind, answers=tuple(gold), gold_docs=("boats.md",))
    for got in score_case(one, record(answer, refused=refused), MEASURES).scores:
        assert got.value is None or 0.0 <= got.value <= 1.0
        assert got.weight > 0
        assert got.why
    assert "[1]" not in plain(answer)
