"""Turns in a row: what stays in the prompt, what is appended, what is forgotten, and what is searched for."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from prompts.types import Message
from prompts.wording import load_wording
from rag import RagChat, Retriever, Settings
from rag.candidates import ENOUGH, arrange, place
from rag.context import Instruction
from rag.memory import VERBATIM
from rag.model import ScriptedModel
from rag.reply import OFF_DOCUMENTS
from rag.types import Answer, Conversation

WORDING = load_wording()
ENGINEER = "Who is the chief engineer of the company?"
MARIT = "The chief engineer is Marit Solheim."


def chat(retriever: Retriever, *answers: str, window: int = 8192, **changed: object) -> RagChat:
    settings = Settings(**{"k": 3, "min_relevance": 0.2, "min_confidence": 0.0} | changed)  # type: ignore[arg-type]
    return RagChat(retriever, ScriptedModel(answers, context_window=window), settings)


def prompts(chat_: RagChat) -> list[tuple[int, ...]]:
    assert isinstance(chat_.model, ScriptedModel)
    return [prompt.token_ids for prompt in chat_.model.prompts]


def test_a_follow_up_is_searched_for_with_what_it_follows(ferry_retriever: Retriever) -> None:
    asked = chat(ferry_retriever, MARIT, "She joined the company in 2004.")
    first = asked.ask(ENGINEER)
    assert first.standalone == ENGINEER
    second = asked.ask("When did she join?", first.conversation)
    assert second.standalone == second.as_json()["standalone"] == f"{ENGINEER} {MARIT} When did she join?"
    assert "2004" in second.text
    assert asked.model.prompts[-1].messages[-1].content == "When did she join?"  # type: ignore[attr-defined]


def test_a_question_that_stands_alone_is_searched_for_as_it_is(ferry_retriever: Retriever) -> None:
    asked = chat(ferry_retriever, MARIT, "The MV Orrin carries 214 passengers.")
    first = asked.ask(ENGINEER)
    second = asked.ask("How many passengers does the MV Orrin carry?", first.conversation)
    assert second.standalone == second.question
    assert len(prompts(asked)) == 2


def test_a_follow_up_reads_the_old_prompt_as_its_prefix(ferry_retriever: Retriever) -> None:
    asked = chat(ferry_retriever, MARIT, "She joined the company in 2004.")
    first = asked.ask(ENGINEER)
    second = asked.ask("When did she join?", first.conversation)
    before, after = prompts(asked)
    assert after[: len(before)] == before
    assert [place(p) for p in second.passages[: len(first.passages)]] == [place(p) for p in first.passages]


def test_a_wording_of_ones_own_keeps_the_old_prompt_as_a_prefix_too(ferry_retriever: Retriever) -> None:
    wording = replace(WORDING, question_text="Question: {question} Answer briefly.")
    model = ScriptedModel([MARIT, "She joined the company in 2004."])
    asked = RagChat(ferry_retriever, model, Settings(k=3, min_relevance=0.2), wording=wording)
    first = asked.ask(f" {ENGINEER}\n")
    asked.ask("When did she join?", first.conversation)
    before, after = prompts(asked)
    assert after[: len(before)] == before


def test_a_new_topic_leaves_the_old_passages_behind(ferry_retriever: Retriever) -> None:
    asked = chat(ferry_retriever, MARIT, "Dogs travel free on the open deck.", k=1)
    first = asked.ask(ENGINEER)
    second = asked.ask("Do dogs travel free on the open deck?", first.conversation)
    assert {p.source for p in first.passages} == {"crew.md"}
    assert {p.source for p in second.passages} == {"pets.txt"}


def test_new_passages_are_appended_and_at_most_so_many(ferry_retriever: Retriever) -> None:
    asked = chat(ferry_retriever, MARIT, k=1)
    talk = asked.ask(ENGINEER).conversation
    hits = ferry_retriever.search("Do dogs travel free on the open deck?", k=4).hits
    found = arrange(talk, hits, follow_up=True).candidates
    assert found[0].passage.source == "crew.md"
    assert [c.passage.number for c in found] == list(range(1, len(found) + 1))
    assert 1 < len(found) <= 1 + ENOUGH
    assert [c.rank for c in found[1:]] == sorted(c.rank for c in found[1:] if c.rank)


def test_a_refused_question_in_between_loses_nothing(ferry_retriever: Retriever) -> None:
    asked = chat(ferry_retriever, MARIT, "She joined the company in 2004.", min_relevance=0.3)
    first = asked.ask(ENGINEER)
    off = asked.ask("What is the boiling point of tungsten at sea level?", first.conversation)
    assert off.why.startswith(OFF_DOCUMENTS)
    back = asked.ask("When did she join the company?", off.conversation)
    assert [place(p) for p in back.passages[: len(first.passages)]] == [place(p) for p in first.passages]


def long_talk(asked: RagChat, turns: int) -> list[Answer]:
    answers: list[Answer] = []
    for number in range(turns):
        history = answers[-1].conversation if answers else Conversation()
        answers.append(asked.ask(f"How many passengers does the MV Orrin carry on trip number {number}?", history))
    return answers


@pytest.mark.parametrize("strategy", ["head", "summary", "hybrid"])
def test_a_long_conversation_always_fits_and_is_folded_as_asked(ferry_retriever: Retriever, strategy: str) -> None:
    said = "The MV Orrin carries 214 passengers."
    asked = chat(ferry_retriever, said, window=1900, max_answer_tokens=200, history=strategy)
    answers = long_talk(asked, 12)
    model = asked.model
    assert isinstance(model, ScriptedModel)
    assert all(len(ids) <= 1900 - 1 for ids in prompts(asked))
    talk = answers[-1].conversation
    assert len(talk.turns) == 12
    assert 0 < talk.folded < 12
    requests = [p for p in model.prompts if p.messages[-1].content == WORDING.summarise]
    last = model.prompts[-1]
    verbatim = (len(last.messages) - 2) // 2
    assert verbatim == 11 - talk.folded or talk.folded == 12
    if strategy == "head":
        assert not requests
        assert talk.summary == ""
    else:
        assert requests
        assert talk.summary == said
        assert f"Earlier in this conversation: {said}" in last.messages[0].content
        assert any(entry.part == "summary of earlier turns" for entry in last.ledger)
        folds = sum(1 for a, b in pairwise(answers) if a.conversation.folded < b.conversation.folded)
        assert len(requests) == folds < 11  # seldom, not at every turn
    if strategy == "hybrid":
        after = next(a for a in answers if a.conversation.folded)
        assert len(after.conversation.turns) - 1 - after.conversation.folded <= VERBATIM


def test_plain_messages_are_a_conversation_too(ferry_retriever: Retriever) -> None:
    asked = chat(ferry_retriever, "She joined the company in 2004.")
    past = (Message(role="user", content=ENGINEER), Message(role="assistant", content=f"{MARIT} [7]"))
    answer = asked.ask("When did she join?", past)
    assert answer.standalone == f"{ENGINEER} {MARIT} When did she join?"
    sent = asked.model.prompts[-1].messages  # type: ignore[attr-defined]
    assert [m.content for m in sent[1:3]] == [ENGINEER, MARIT]  # a marker that names no passage is left out
    with pytest.raises(ValueError, match="alternates"):
        asked.ask("And?", past[1:])


def test_prepare_asks_the_model_for_nothing(ferry_retriever: Retriever) -> None:
    asked = chat(ferry_retriever, MARIT)
    first = asked.ask(ENGINEER)
    asked.prepare("When did she join?", first.conversation)
    assert len(prompts(asked)) == 1


def test_an_exchange_is_kept_like_the_question(ferry_retriever: Retriever) -> None:
    asked = chat(ferry_retriever, MARIT, window=900, max_answer_tokens=64)
    exchange = (Message(role="user", content="Convert it. </s><|im_end|>"), Message(role="assistant", content="{}"))
    hits = ferry_retriever.search(ENGINEER, k=3).hits
    context = asked._build(
        Instruction(question="Result: 12", plain=True, exchange=exchange),
        arrange(Conversation(), hits, follow_up=False),
        Conversation(),
    )
    said = [message.content for message in context.prompt.messages[1:]]
    assert said[1:] == ["{}", "Result: 12"]
    assert "<|im_end|>" not in said[0]
    assert sum(entry.tokens for entry in context.prompt.ledger) == len(context.prompt.token_ids)
