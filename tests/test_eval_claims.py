"""Answers taken apart, and each claim judged once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.claims import cited_numbers, claims_of, is_disputed, is_refusal
from eval.errors import InputError
from eval.grounding_scores import (
    citation_precision,
    citation_recall,
    citation_validity,
    groundedness,
    groundedness_min,
    groundedness_strict,
)
from eval.judged import judge_claims
from eval.markers import numbers_in
from eval.records import read_records
from eval.types import Cited, PromptFacts, Record
from rag.grounding import Grounding, Verdict
from rag.types import Passage
from rag.verifier import LexicalVerifier

GROUNDING = Grounding()


class Holds:
    """Supports a claim by a text that holds each of its words of four letters or more; counts what it is asked."""

    name = "holds"
    measured: Mapping[str, float] | None = None

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def verify(self, claim: str, evidence: str, subject: str = "") -> Verdict:
        del subject
        self.asked.append((claim, evidence))
        words = [word for word in claim.lower().strip(".").split() if len(word) > 3]
        share = sum(word in evidence.lower() for word in words) / max(1, len(words))
        label = "supported" if share == 1 else "not_enough"
        return Verdict(label=label, p_supported=1.0 if share == 1 else share / 2.5, evidence=evidence)


def record(answer: str, *texts: str, **fields: Any) -> Record:
    passages = tuple(
        Passage(number=n, text=text, source="x", start=0, end=len(text), pages=(), headings=(), score=0.0)
        for n, text in enumerate(texts, start=1)
    )
    return Record(id="a", answer=answer, passages=passages, **fields)


BOATS, HALF, REST, DOGS = "Boats sail north daily", "Boats sail north", "They do it daily", "Dogs sleep inside"


@pytest.mark.parametrize(
    ("markers", "cited", "needed", "recall", "precision"),
    [
        ("[1]", True, (1,), 1.0, 1.0),
        ("[4]", False, (), 0.0, 0.0),
        ("[1][4]", True, (1,), 1.0, 0.5),
        ("[2][3]", True, (2, 3), 1.0, 1.0),
        ("[2]", False, (), 0.0, 0.0),
        ("[2][3][4]", True, (2, 3), 1.0, 2 / 3),
        ("[9]", False, (), 0.0, 0.0),
        ("[1][9]", True, (1,), 1.0, 0.5),
        ("[1][9][0]", True, (1,), 1.0, 1 / 3),
        ("[1][1]", True, (1,), 1.0, 1.0),
        ("", False, (), 0.0, None),
    ],
)
def test_citations_as_in_alce_with_invented_ones_wrong(
    markers: str, cited: bool, needed: tuple[int, ...], recall: float, precision: float | None
) -> None:
    one = record(f"Boats sail north daily {markers}.", BOATS, HALF, REST, DOGS)
    (claim,) = claims = judge_claims(one, Holds())
    assert (claim.cited, claim.needed) == (cited, needed)
    assert citation_recall(one, claims).value == recall
    assert citation_precision(one, claims).value == precision


def test_two_passages_that_each_hold_the_whole_are_both_needed() -> None:
    """ALCE: a citation that supports its sentence alone is right, whatever else is cited."""
    one = record("Boats sail north daily [1][2].", BOATS, BOATS + " indeed")
    (claim,) = judge_claims(one, Holds())
    assert claim.needed == (1, 2)


def test_an_invented_number_is_wrong_wherever_it_stands() -> None:
    one = record("Boats sail north daily [1]. Thanks [8]. Please ask again [9].", BOATS)
    assert len(judge_claims(one, Holds())) == 1
    assert citation_precision(one, judge_claims(one, Holds())).value == 1 / 3
    listed = record("Boats sail north daily [1].", BOATS, citations=(Cited(number=7),))
    assert citation_precision(listed, judge_claims(listed, Holds())).value == 0.5
    assert citation_validity(listed).value == 0.5


def test_a_claim_says_which_passage_bears_it_out() -> None:
    one = record("Dogs sleep inside. Boats sail south daily.", BOATS, DOGS)
    first, second = judge_claims(one, Holds())
    assert (first.label, first.p_supported, first.passage, first.evidence) == ("supported", 1.0, 2, DOGS)
    assert (second.label, second.passage, second.evidence) == ("not_enough", 1, BOATS)
    assert groundedness(one, (first, second)).value == 0.5
    assert groundedness_strict(one, (first, second)).value == 0.0
    assert groundedness_min(one, (first, second)).value == second.p_supported == 0.75 / 2.5


def test_what_the_cited_passages_support_together_is_supported() -> None:
    """Though the two closest passages of all do not hold it."""
    near = (f"Boats north north{n}" for n in range(2))
    one = record("Boats sail north daily slowly [3][4].", *near, "boats north slowly", "sail daily")
    (claim,) = judge_claims(one, Holds())
    assert claim.cited
    assert (claim.label, claim.passage) == ("supported", 3)


def test_a_claim_without_passages_has_nothing_to_rest_on() -> None:
    (claim,) = judge_claims(record("Boats sail north daily [1]."), Holds())
    assert (claim.label, claim.p_supported, claim.passage, claim.cited) == ("not_enough", 0.0, None, False)


@pytest.mark.parametrize("metric", [groundedness, groundedness_strict, groundedness_min, citation_recall])
def test_a_refusal_is_never_zero(metric: Callable[..., Any]) -> None:
    for one in (record("I don't know.", BOATS), record("Cats fly.", BOATS, refused=True), record("", BOATS)):
        assert judge_claims(one, Holds()) == ()
        assert metric(one, ()).value is None
        assert citation_precision(one, ()).value is None


def test_no_pair_is_judged_twice() -> None:
    verifier = Holds()
    judge_claims(record("Boats sail north daily [1][2]. Dogs sleep inside [1][3].", BOATS, HALF, DOGS), verifier)
    assert len(verifier.asked) == len(set(verifier.asked))


ANSWERS = st.lists(
    st.sampled_from(
        ["Boats sail north daily", "Dogs sleep", "[1]", "[2, 3]", "[77]", ".", "\n", "I don't know", "I can't say", ","]
    ),
    max_size=12,
).map(" ".join)


@given(answer=ANSWERS | st.text(max_size=80))
@settings(deadline=None)
def test_claims_are_within_their_answer_and_the_same_each_time(answer: str) -> None:
    one = record(answer, BOATS, HALF, DOGS)
    claims = judge_claims(one, Holds())
    assert claims == judge_claims(one, Holds())
    assert not (claims and is_refusal(one))
    for claim in claims:
        assert set(claim.needed) <= set(claim.numbers) & {1, 2, 3}
        assert set(claim.numbers) <= set(cited_numbers(one))
        assert not claim.needed or claim.cited
        assert 0.0 <= claim.p_supported <= 1.0
        assert not claim.cited or claim.label == "supported"


def test_claims_keep_the_marker_that_follows_their_full_stop() -> None:
    found = claims_of("One boat sails. [1] Two boats stay [2; 3].\nThe documents do not say more.", GROUNDING)
    assert [(claim.text, claim.numbers) for claim in found] == [
        ("One boat sails.", (1,)),
        ("Two boats stay.", (2, 3)),
    ]


def test_courtesy_is_no_claim_but_what_the_documents_are_said_to_hold_is() -> None:
    text = "Thank you for asking! The documents describe a mast of 90 metres. Let me know if you have more questions."
    assert [claim.text for claim in claims_of(text, GROUNDING)] == ["The documents describe a mast of 90 metres."]


def test_numbers_of_any_length_are_read() -> None:
    assert numbers_in("[1] [01, 2] [x] [3") == (1, 2)
    (number,) = numbers_in(f"[{'9' * 5000}]")
    assert citation_validity(record(f"Boats sail [{'9' * 5000}].", BOATS)).value == 0.0
    assert number > 10**6


@pytest.mark.parametrize(
    ("answer", "refused", "disputed"),
    [
        ("I don't know.", False, True),
        ("I don't know.", True, False),
        ("I don't know.", None, False),
        ("Boats sail.", True, True),
        ("Boats sail.", False, False),
    ],
)
def test_the_systems_word_counts_and_the_dispute_is_seen(answer: str, refused: bool | None, disputed: bool) -> None:
    one = record(answer, BOATS, refused=refused)
    assert is_disputed(one) is disputed
    assert refused is None or is_refusal(one) is refused


PROMPT = {
    "tokens": 900,
    "context_window": 4096,
    "reserved_tokens": 256,
    "control_tokens": 7,
    "template_tokens": 7,
    "sha256": "ab",
}


def read(tmp_path: Path, **fields: Any) -> Record:
    file = tmp_path / "answers.jsonl"
    file.write_text(json.dumps({"id": "a", "answer": "x", "passages": []} | fields), encoding="utf-8")
    return read_records(file)["a"]


def test_facts_of_the_prompt_are_read_or_missing(tmp_path: Path) -> None:
    assert read(tmp_path, prompt=PROMPT).prompt == PromptFacts(**PROMPT)  # type: ignore[arg-type]
    assert read(tmp_path).prompt is None
    assert read(tmp_path, prompt=None).prompt is None
    assert read(tmp_path, prompt="<s>[INST] as rag ask --show-prompt prints it").prompt is None


def test_half_a_surrogate_pair_is_judged_as_an_unknown_letter() -> None:
    one = record("Boats \ud800 sail [1].", "Boats \ud800 sail")
    (claim,) = judge_claims(one, LexicalVerifier())
    assert (claim.text, claim.evidence) == ("Boats \ufffd sail.", "Boats \ufffd sail")
    assert citation_validity(one).value == 1.0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"prompt": []}, "'prompt' is .*an object"),
        ({"prompt": {**PROMPT, "tokens": "many"}}, "prompt: 'tokens' is .*whole number"),
        ({"prompt": {**PROMPT, "tokens": True}}, "prompt: 'tokens' is true.*whole number"),
        ({"prompt": {**PROMPT, "tokens": 1.5}}, "whole number"),
        ({"prompt": {**PROMPT, "reserved_tokens": -1}}, "'reserved_tokens' is -1: it must be 0 or more"),
        ({"prompt": {"tokens": 1}}, "prompt: 'context_window' is null: .*whole number"),
        ({"prompt": {**PROMPT, "sha256": 1}}, "prompt: 'sha256' is 1: it must be a text"),
        ({"passages": [{"text": "x", "number": 0}, {"text": "y", "number": 0}]}, "2 passages have the number 0"),
    ],
)
def test_malformed_records_are_named_in_one_line(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path, **fields)
    assert "answers.jsonl:1" in str(caught.value)
    assert "\n" not in str(caught.value)
