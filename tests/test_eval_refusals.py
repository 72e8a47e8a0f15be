"""Refusals by their wording: single cases that tell the rules apart, and the labelled answers."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.jsonl import Row, read_rows, unique
from eval.refusals import says_nothing, says_refusal
from prompts.wording import load_wording

LABELLED = Path(__file__).parents[1] / "data" / "eval" / "refusals.jsonl"


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("I cannot tell. Please ask the office.", True),
        ("I cannot tell. The office opens at nine.", False),
        ("The documents describe the ferry, but they do not give its price.", True),
        ("The documents describe the ferry.", False),
        ("The documents do not give its price, but it is 40 crowns.", False),
        ("The contract does not give its price.", False),
        ('"I don\'t know."', True),
        ('He said "I don\'t know."', False),
        ("**I don’t know.** [1]", True),
        ("There is no reference in the text.", True),
        ("There is no reference number on the ticket.", False),
        ("Not included.", False),
        ("Not mentioned.", True),
        ("Which boat do you mean?", True),
        ("Why not?", False),
        ("I'm sorry.", False),
        ("\ud800", False),
        ("The documents do not contain lead.", True),
        ("The material does not contain lead.", False),
        ("The material does not contain information about lead.", True),
        ("The material provided does not contain lead.", True),
        ("The document lacks a signature.", False),
        ("The document does not mention a signature.", True),
        ("The source code does not mention a licence.", False),
        ("Legal documents do not mention tips.", False),
        ("The passages about ships do not mention tips.", True),
        ("Pets are not covered by the documents.", True),
        ("Pets are not covered by the document insurance.", False),
        ("I know of no fee. I don't know of any except the deposit.", False),
        ("The context does not allow me to answer.", True),
        ("The passage does not allow bicycles.", False),
    ],
)
def test_wordings(text: str, refusal: bool) -> None:
    assert says_refusal(text) is refusal


def test_the_products_own_refusal_is_one() -> None:
    assert says_refusal(load_wording().refusal)
    assert says_nothing(load_wording().refusal)
    assert not says_refusal(f"{load_wording().refusal} The mast is 90 metres high.")


@settings(deadline=None)
@given(
    st.text(max_size=200)
    | st.lists(st.sampled_from(["I cannot say", "the documents", "do not", ",", ".", "but"])).map(" ".join)
)
def test_any_text_is_judged_the_same_each_time(text: str) -> None:
    assert says_refusal(text) is says_refusal(text)
    if says_refusal(text):
        assert any(char.isalnum() for char in text)


def labelled() -> list[Row]:
    return list(unique(read_rows(LABELLED)).values())


def test_the_labelled_answers_are_sound() -> None:
    rows = labelled()
    assert all(set(row.data) == {"id", "answer", "refused", "kind", "split"} for row in rows)
    assert all(isinstance(row.data["refused"], bool) for row in rows)
    for split in ("dev", "test"):
        labels = [row.data["refused"] for row in rows if row.data["split"] == split]
        assert len(labels) >= 75
        assert 0.4 < sum(labels) / len(labels) < 0.65


@pytest.mark.parametrize(
    ("split", "reviewer", "precision", "recall"),
    [("dev", False, 0.98, 0.98), ("dev", True, 0.98, 0.98), ("test", False, 0.98, 0.96), ("test", True, 0.9, 0.69)],
)
def test_labelled_refusals_are_recognised(split: str, reviewer: bool, precision: float, recall: float) -> None:
    """As measured by bench/refusals.py; a reviewer's answers have ids that begin with r."""
    rows = [row for row in labelled() if row.data["split"] == split and row.data["id"].startswith("r") is reviewer]
    pairs = [(row.data["refused"], says_refusal(row.data["answer"])) for row in rows]
    right = pairs.count((True, True))
    assert right / (right + pairs.count((False, True))) >= precision
    assert right / (right + pairs.count((True, False))) >= recall
