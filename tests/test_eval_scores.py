"""Every metric on tables worked out by hand, and within its bounds whatever comes in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.answer_scores import token_f1
from eval.claims import is_refusal
from eval.errors import InputError
from eval.markers import plain
from eval.normal import normalised
from eval.refusal_scores import grounded_f1_answered, grounded_f1_refused
from eval.scores import (
    JUDGED,
    LOWER_IS_BETTER,
    MACRO,
    METRICS,
    NO_ANSWER,
    SCORED,
    describe,
    score_case,
    score_cases,
)
from eval.types import Case, Cited, PromptFacts, Record, Score
from rag.types import Passage
from rag.verifier import LexicalVerifier

VERIFIER = LexicalVerifier()

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
    return next(one for one in score_case(case_, record_, VERIFIER).scores if one.name == name)


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


def test_an_error_scores_worst_wherever_an_answer_would_be_scored() -> None:
    wanted = case(answers=("214",), gold_docs=("boats.md",))
    result = score_case(wanted, Record(id="a", answer="", error="broke"), VERIFIER)
    values = {one.name: one.value for one in result.scores}
    assert all(one.error and one.weight == 1.0 for one in result.scores)
    assert not result.claims
    assert values == dict.fromkeys(SCORED, 0.0) | {
        "over_refusal": 1.0,
        "unsupported_answer_rate": 1.0,
        "refusal_precision": None,
        "refusal_recall": None,
        "refusal_f1": None,
        "grounded_f1_refused": None,
        "within_budget": None,
        "control_tokens_kept": None,
    }


def test_an_error_is_a_missed_refusal_too() -> None:
    result = score_case(case("near_miss"), Record(id="a", answer="", error="broke"), VERIFIER)
    values = {one.name: one.value for one in result.scores}
    assert (values["refusal_recall"], values["grounded_f1_refused"], values["grounded_f1_answered"]) == (0.0, 0.0, None)


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


@settings(max_examples=80, deadline=None)
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
    result = score_case(one, record(answer, refused=refused), VERIFIER)
    assert tuple(got.name for got in result.scores) == SCORED
    for got in result.scores:
        assert got.value is None or 0.0 <= got.value <= 1.0
        assert got.weight > 0
        assert got.why
    assert result == score_case(one, record(answer, refused=refused), VERIFIER)
    assert not (result.refused and result.claims)
    assert "[1]" not in plain(answer)


def test_metrics_are_listed_once_and_described() -> None:
    lines = describe()
    assert tuple(line.name for line in lines) == METRICS
    assert len(set(METRICS)) == len(METRICS)
    assert {line.name for line in lines if "lower" in line.range} == LOWER_IS_BETTER < set(METRICS)
    assert {line.name for line in lines if line.judged} == JUDGED
    assert all(set(parts) <= set(SCORED) and name not in SCORED for name, parts in MACRO.items())
    assert all(line.meaning.endswith(".") for line in lines)


CONTRACT = (
    "groundedness groundedness_strict citation_recall citation_precision citation_validity refusal_precision "
    "refusal_recall refusal_f1 over_refusal exact_match f1 answer_recall recall_at_5 mrr_at_10 ndcg_at_10"
)


def test_the_names_that_others_rely_on_are_there() -> None:
    assert set(CONTRACT.split()) <= set(METRICS)


@pytest.mark.parametrize(
    ("answer", "refused", "value"),
    [
        ("The MV Orrin carries 214 passengers [1].", None, 0.0),
        ("The MV Orrin carries 214 passengers. The chief engineer is Bob Tree.", None, 1.0),
        ("I don't know.", None, 0.0),
        ("The chief engineer is Bob Tree.", True, 0.0),
        ("...", None, 0.0),
        ("", None, 0.0),
    ],
)
def test_unsupported_answers_are_counted_among_all_cases(answer: str, refused: bool | None, value: float) -> None:
    assert score("unsupported_answer_rate", case(), record(answer, refused=refused)).value == value


QUOTED = {"gold_quotes": ("214 passengers",)}


@pytest.mark.parametrize(
    ("kind", "gold", "passages", "refused", "as_refused", "as_answered"),
    [
        ("answerable", QUOTED, SENT, False, None, (1.0, 2.0)),
        ("answerable", QUOTED, SENT, True, (0.0, 1.0), (0.0, 1.0)),
        ("answerable", QUOTED, SENT[1:], True, (1.0, 2.0), None),
        ("answerable", QUOTED, SENT[1:], False, (0.0, 1.0), (0.0, 1.0)),
        ("near_miss", {}, SENT, True, (1.0, 2.0), None),
        ("near_miss", {}, SENT, False, (0.0, 1.0), (0.0, 1.0)),
        ("answerable", {}, SENT, True, None, None),
        ("", {}, SENT, True, None, None),
    ],
)
def test_grounded_refusals(
    kind: str,
    gold: dict[str, tuple[str, ...]],
    passages: tuple[Passage, ...],
    refused: bool,
    as_refused: tuple[float, float] | None,
    as_answered: tuple[float, float] | None,
) -> None:
    one = record("It is 214.", refused=refused, passages=passages)
    for name, wanted in (("grounded_f1_refused", as_refused), ("grounded_f1_answered", as_answered)):
        got = score(name, case(kind, **gold), one)
        assert (None if got.value is None else (got.value, got.weight)) == wanted


@settings(deadline=None)
@given(decisions=st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=20))
def test_the_weighted_mean_of_grounded_refusals_is_their_f1(decisions: list[tuple[bool, bool]]) -> None:
    for metric, positive in ((grounded_f1_refused, True), (grounded_f1_answered, False)):
        scores = [
            metric(case(**QUOTED), record("x", refused=refused, passages=SENT if sent else SENT[1:]))
            for sent, refused in decisions
        ]
        applied = [one for one in scores if one.value is not None]
        taken = [refused == positive for _, refused in decisions]
        wanted = [sent != positive for sent, _ in decisions]
        right = sum(a and b for a, b in zip(taken, wanted, strict=True))
        assert bool(applied) == bool(sum(taken) + sum(wanted))
        if applied:
            value = sum(one.value * one.weight for one in applied if one.value) / sum(one.weight for one in applied)
            assert value == pytest.approx(2 * right / (sum(taken) + sum(wanted)))


FACTS = PromptFacts(
    tokens=900, context_window=1000, reserved_tokens=100, control_tokens=5, template_tokens=5, sha256="0" * 64
)


@pytest.mark.parametrize(
    ("change", "usage", "within", "kept"),
    [
        ({}, {}, 1.0, 1.0),
        ({}, {"prompt_tokens": 900.0, "answer_tokens": 100.0}, 1.0, 1.0),
        ({"tokens": 901}, {}, 0.0, 1.0),
        ({}, {"prompt_tokens": 901.0}, 0.0, 1.0),
        ({}, {"prompt_tokens": 899.0}, 0.0, 1.0),
        ({}, {"answer_tokens": 101.0}, 0.0, 1.0),
        ({"control_tokens": 6}, {}, 1.0, 0.0),
        ({"control_tokens": 4}, {}, 1.0, 0.0),
    ],
)
def test_invariants_of_the_prompt(change: dict[str, int], usage: dict[str, float], within: float, kept: float) -> None:
    one = Record(id="a", answer="214", passages=SENT, usage=usage, prompt=replace(FACTS, **change))  # type: ignore[arg-type]
    assert score("within_budget", case(), one).value == within
    assert score("control_tokens_kept", case(), one).value == kept
    assert score("within_budget", case(), replace(one, prompt=None)).value is None
    assert score("control_tokens_kept", case(), replace(one, prompt=None)).value is None


@pytest.mark.parametrize(
    ("answer", "gold", "right"),
    [
        ("The fee is 1.5 euros.", "15", 0.0),
        ("The fee is 1.5 euros.", "1.5", 1.0),
        ("It costs 1,500 crowns.", "1500", 1.0),
        ("It leaves at 10:45.", "10:45", 1.0),
        ("Release 3.2.1, of May.", "3.2.1", 1.0),
        ("Release 3.2.1, of May.", "321", 0.0),
    ],
)
def test_a_number_is_found_whole(answer: str, gold: str, right: float) -> None:
    assert score("answer_recall", case(answers=(gold,)), record(answer)).value == right


def test_a_quote_is_found_however_its_characters_are_composed() -> None:
    quoted = case(gold_quotes=("Gråholm has two sites",))
    for text in ("Gra\u030aholm has two sites.", "Grå\u00adholm has\n two sites."):
        assert score("recall_at_5", quoted, record("Two.", passages=[passage(1, text)])).value == 1.0


def test_a_source_that_is_no_file_name_is_no_gold_document() -> None:
    for source in (".", "/", ""):
        asked = case(gold_docs=("x.md",))
        assert score("recall_at_5", asked, record("Two.", passages=[passage(1, "Two.", source)])).value == 0.0
