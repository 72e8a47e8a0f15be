"""Which questions lean on the conversation, and what they are searched for as."""

from __future__ import annotations

import pytest

from rag.followup import joined, leans
from rag.grounding import Grounding
from rag.types import Conversation, Turn

GROUNDING = Grounding()
ORRIN = Turn(
    question="How many passengers does the Orrin carry?",
    standalone="How many passengers does the Orrin carry?",
    answer="The Orrin carries 214 passengers. [1]",
)
TALK = Conversation(turns=(ORRIN,))


@pytest.mark.parametrize(
    "question",
    [
        "And the Pip?",
        "and its population?",
        "Why?",
        "How much is that?",
        "What about dogs?",
        "Who is she?",
        "Since when?",
        "When was it launched?",
        "Do they need a ticket for the lounge?",
        "How do I get there from the harbour?",
        "Which one is older?",
        "Why is that?",
        "Is there anything else on the open deck?",
        "And if I only travel one way?",
        "Can that be changed on the day?",
    ],
)
def test_questions_that_need_what_was_said(question: str) -> None:
    assert leans(question, GROUNDING)


@pytest.mark.parametrize(
    "question",
    [
        "How many passengers does the Pip carry?",
        "Is there a charge for dogs on the open deck?",
        "How long does it take to sail from Pell to Brae?",
        "What is the fee that applies to bicycles in summer?",
        "And who is the chief engineer of the ferry company?",
        "Are there restrooms on the lower deck of the Orrin?",
        "Who mends the winch, and when is it checked?",
        "What is it that the bell on the quay announces?",
        "Is it possible to bring a cat into the lounge?",
    ],
)
def test_questions_that_stand_alone(question: str) -> None:
    assert not leans(question, GROUNDING)


def test_joined_takes_the_question_that_stands_alone_and_the_last_one() -> None:
    assert joined("And the Pip?", TALK) == (
        "How many passengers does the Orrin carry? The Orrin carries 214 passengers. And the Pip?"
    )
    pip = Turn(question="And the Pip?", standalone=joined("And the Pip?", TALK), answer="60. [1]")
    talk = Conversation(turns=(ORRIN, pip))
    third = joined("How old is she?", talk)
    assert third == "How many passengers does the Orrin carry? And the Pip? 60. How old is she?"
    old = Turn(question="How old is she?", standalone=third, answer="Unknown.")
    fourth = joined("And why?", Conversation(turns=(ORRIN, pip, old)), refusal="Unknown.")
    assert fourth == "How many passengers does the Orrin carry? How old is she? And why?"
