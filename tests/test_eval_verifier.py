"""The claim verifier: what it must catch, and that its file and its features agree."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.claims import FEATURES, features, measured_otherwise
from rag.grounding import LABELS, Grounding, verify_any
from rag.roles import misplaced, swapped, turned
from rag.types import Passage
from rag.verifier import LexicalVerifier, load_weights

VERIFIER = LexicalVerifier()


@pytest.mark.parametrize(
    ("claim", "evidence", "supported"),
    [
        (
            "The MV Orrin was launched in 1987.",
            "She carries 214 passengers and was launched at Tollan in 1987.",
            True,
        ),
        (
            "The MV Orrin was launched in 1978.",
            "She carries 214 passengers and was launched at Tollan in 1987.",
            False,
        ),
        (
            "Dogs travel free on the open deck [3].",
            "Dogs travel free on the open deck. Cats stay inside.",
            True,
        ),
        ("Dogs do not travel free on the open deck.", "Dogs travel free on the open deck.", False),
        ("The Polar has a rain gauge.", "The Polar has no rain gauge.", False),
        ("The boat carries 340 passengers.", "The boat carries 214 passengers.", False),
        ("The boat carries more than 200 passengers.", "The boat carries 214 passengers.", True),
        ("The boat carries fewer than 200 passengers.", "The boat carries 214 passengers.", False),
        ("The chief engineer is Bob Tree.", "The chief engineer is Marit Solheim.", False),
        ("The captain lives in Oslo.", "The galley closes thirty minutes before arrival.", False),
        ("The answer is 2.", "Ask it of the HM-2.", False),
        ("Barcelona beat Real Madrid 3-1.", "Real Madrid beat Barcelona 3-1 on Sunday.", False),
        ("Real Madrid beat Barcelona 3-1.", "Real Madrid beat Barcelona 3-1 on Sunday.", True),
        ("The Orrin was launched in May 1987.", "The Orrin was launched in March 1987.", False),
        ("The line is staffed for twenty hours a day.", "The line is staffed for 20 hours a day.", True),
    ],
)
def test_numbers_negation_and_names(claim: str, evidence: str, supported: bool) -> None:
    verdict = VERIFIER.verify(claim, evidence)
    assert (verdict.label == "supported") is supported
    assert (verdict.p_supported >= 0.5) is supported


@pytest.mark.parametrize(
    ("claim", "text", "expected"),
    [
        ("Nora Hale interviewed Paul Brin.", "Paul Brin interviewed Nora Hale in 2011.", True),
        ("Nora Hale was interviewed by Paul Brin.", "Paul Brin interviewed Nora Hale in 2011.", False),
        ("Paul Brin was interviewed by Nora Hale.", "Paul Brin interviewed Nora Hale in 2011.", True),
        ("Paul Brin interviewed Nora Hale.", "Nora Hale was interviewed by Paul Brin.", False),
        (
            "Paul Brin interviewed Nora Hale.",
            "Nora Hale: she interviewed nobody. Paul Brin interviewed Nora Hale.",
            False,
        ),
        ("Marit Solheim is the chief engineer.", "The chief engineer is Marit Solheim.", False),
        ("The Orrin is larger than the Pip.", "The Pip is larger than the Orrin.", True),
        ("dogs chase cats", "cats chase dogs", False),
        ("", "", False),
    ],
)
def test_swapped_names_are_seen(claim: str, text: str, expected: bool) -> None:
    assert swapped(Grounding(), claim, text) is expected


@pytest.mark.parametrize(
    ("claim", "text", "expected"),
    [
        ("The Orrin carries 60 passengers.", "The Orrin carries 214 passengers. The Pip carries 60.", True),
        ("The Orrin carries 214 passengers.", "The Orrin carries 214 passengers. The Pip carries 60.", False),
        ("The film was directed by Nora Hale.", "The film was directed by Paul Brin and stars Ida Moe.", False),
        ("The film was directed by Ida Moe.", "The film was directed by Paul Brin. Its star is Ida Moe.", True),
        ("It was led by Ida Moe.", "It was led by Paul Brin and Ida Moe.", False),
        ("The Pip was built in 1987.", "The Orrin was built in 1987, the Pip in 1990.", True),
        ("", "The Orrin.", False),
    ],
)
def test_names_and_numbers_in_the_place_of_others_are_seen(claim: str, text: str, expected: bool) -> None:
    assert misplaced(claim, text) is expected


@pytest.mark.parametrize(
    ("claim", "text", "expected"),
    [
        ("Ingrid Holm built the Vega station in 1931.", "The Vega station was built in 1931 by Ingrid Holm.", False),
        ("Peter Holm succeeded Ida Berg in 1990.", "In 1990, Ida Berg was succeeded as director by Peter Holm.", False),
        ("Ida Berg succeeded Peter Holm in 1990.", "In 1990, Ida Berg was succeeded as director by Peter Holm.", True),
        ("Acme was acquired by Globex in 2004.", "Globex acquired Acme in 2004.", False),
        ("Globex was acquired by Acme in 2004.", "Globex acquired Acme in 2004.", True),
        (
            "Oslo University was founded by King Frederik in 1811.",
            "King Frederik founded Oslo University in 1811.",
            False,
        ),
        ("Kari Moe replaced Nora Lund in May.", "Nora Lund was replaced in May by Kari Moe.", False),
        (
            "The limit is 40 euros in Norway and 50 euros in Sweden.",
            "In Norway the limit is 40 euros, in Sweden 50 euros.",
            False,
        ),
        ("Ole Dahl leads Finance and Kari Moe leads Sales.", "Kari Moe leads Sales and Ole Dahl leads Finance.", False),
        ("Norway pays 40 euros and Sweden 50.", "Sweden pays 50 euros and Norway 40.", False),
        ("Travel costs are 40 euros and hotel 90 euros.", "Travel costs are 90 euros and hotel 40 euros.", True),
        ("Bergen lies north of Stavanger.", "Stavanger lies south of Bergen.", False),
        ("Marta is the mother of Lars.", "Lars is the son of Marta.", False),
        ("Anna sold the boat to Bert.", "Bert bought the boat from Anna.", False),
        ("Anna sold the boat to Bert.", "Bert sold the boat to Anna.", True),
        ("Smith met Jones in Paris.", "In Paris, Jones met Smith.", False),
        ("Denmark borders Germany.", "Germany borders Denmark.", False),
        ("Anna Berg works with Bo Lie.", "Bo Lie works with Anna Berg.", False),
        ("Nora met Paul. " * 300, "Paul hit Nora. " * 300, False),
    ],
)
def test_another_way_of_saying_it_swaps_nothing(claim: str, text: str, expected: bool) -> None:
    assert turned(Grounding(), claim, text) is expected


@pytest.mark.parametrize(
    ("claim", "text", "expected"),
    [
        ("The fee is 5 dollars.", "The fee is 5 euros.", True),
        ("The fee is 5 dollars.", "The fee is $5 (5 euros).", False),
        ("The fee is €5.", "The fee is 5 euros.", False),
        ("The fee is 5 million dollars.", "The fee is 5 million euros.", True),
        ("It takes 3 hours.", "It takes three days.", True),
        ("It takes 3 hours.", "It takes three hours, in all 3 days.", False),
        ("It takes 3 hours.", "It weighs 3 kg.", False),
        ("It takes 3 hours.", "A 3-hour trip.", False),
        ("The temperature is -5 degrees.", "The temperature is 5 degrees.", True),
        ("The temperature is -5 degrees.", "The temperature is 5 degrees below zero.", False),
        ("The temperature is -5 degrees.", "It is minus 5°.", False),
        ("It is 5 degrees.", "It is between 3-5 degrees.", False),
        ("The fee is 5 euros.", "The fee is - 5 euros.", False),
        ("", "5 euros", False),
    ],
)
def test_units_and_signs_of_the_same_number_are_seen(claim: str, text: str, expected: bool) -> None:
    assert measured_otherwise(claim, text) is expected


def test_the_order_of_long_texts_is_compared_in_bounded_work(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[int] = []

    class Counted(SequenceMatcher[str]):
        def __init__(self, junk: None, a: Sequence[str], b: Sequence[str], autojunk: bool) -> None:
            compared.extend((len(a), len(b)))
            super().__init__(junk, a, b, autojunk)

    monkeypatch.setattr("rag.claims.SequenceMatcher", Counted)
    features(Grounding(), "Anna Bo " * 300, "Anna met Bo " * 300)
    assert len(compared) == 2
    assert max(compared) <= 200


@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=120))
def test_a_text_swaps_nothing_with_itself(text: str) -> None:
    assert not turned(Grounding(), text, text)


def passage(text: str, *headings: str) -> Passage:
    return Passage(number=1, text=text, source="x", start=0, end=len(text), pages=(), headings=headings, score=0.0)


def test_the_right_sentence_of_a_long_text_is_found() -> None:
    filler = "Nothing of interest happens in this sentence about the weather at sea. " * 10
    verdict = VERIFIER.verify(
        "The MV Pip carries 60 passengers.", f"{filler}The MV Pip carries 60 passengers. {filler}"
    )
    assert verdict.label == "supported"
    assert verdict.evidence == "The MV Pip carries 60 passengers."


def test_headings_say_what_a_passage_is_about() -> None:
    headed = passage("Capacity: 60 passengers", "MV Pip")
    assert verify_any(VERIFIER, "The MV Pip carries 60 passengers.", [headed])[0].label == "supported"


def test_two_passages_may_support_together_and_none_supports_nothing() -> None:
    claim = "The MV Pip carries 60 passengers and Marit Solheim is the chief engineer."
    both = [passage("The MV Pip carries 60 passengers."), passage("Marit Solheim is the chief engineer.")]
    assert verify_any(VERIFIER, claim, both)[0].label == "supported"
    assert verify_any(VERIFIER, claim, [])[0].label == "not_enough"


def test_what_was_measured_is_shipped_with_the_weights() -> None:
    weights = load_weights("verifier.json", FEATURES)
    assert weights.matrix.shape == (len(FEATURES), len(LABELS))
    assert weights.measured["balanced_accuracy"] >= 0.76


@settings(max_examples=150, deadline=None)
@given(claim=st.text(max_size=80), evidence=st.text(max_size=200))
def test_any_text_gets_a_verdict(claim: str, evidence: str) -> None:
    verdict = VERIFIER.verify(claim, evidence)
    assert 0.0 <= verdict.p_supported <= 1.0
    assert verdict == VERIFIER.verify(claim, evidence)
    assert all(0.0 <= value <= 1.0 for value in features(Grounding(), claim, evidence))
