from __future__ import annotations

import re
from functools import partial

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from prompts_support import HOSTILE, load_llama2, load_smollm2, read_control_tokens, wants_bos

from ingest.types import Chunk, ScoredChunk
from prompts.formats import PromptFormat, choose_format
from prompts.types import Message
from prompts.wording import load_wording
from rag.candidates import arrange, place
from rag.context import Context, Instruction, build_context
from rag.errors import QuestionTooLongError
from rag.packing import Budget, pack
from rag.types import Conversation, History, Turn

WORDING = load_wording()
PROSE = st.lists(
    st.sampled_from(["The ferry leaves at 06:40. ", "Dogs travel free. ", "E-17 means drag.\n", "word " * 30]),
    min_size=1,
    max_size=12,
).map("".join)


def format_of(name: str) -> PromptFormat:
    llama = load_llama2() if name == "llama-2" else load_smollm2()
    return choose_format(
        "llama-2" if name == "llama-2" else "template",
        model_name=name,
        chat_template=llama.metadata.get("tokenizer.chat_template"),
        tokenizer=llama,
        control_tokens=read_control_tokens(llama),
        add_bos=wants_bos(llama),
    )


FORMATS = {name: format_of(name) for name in ("llama-2", "smollm2")}


def hits(texts: list[str]) -> list[ScoredChunk]:
    return [
        ScoredChunk(
            chunk=Chunk(
                id=str(number),
                document_id="d",
                source=f"file{number}.md",
                index=number,
                start=10,
                end=10 + len(text),
                text=text,
                headings=("Handbook",),
                pages=(),
            ),
            score=1.0,
        )
        for number, text in enumerate(texts)
    ]


def turns(texts: list[str]) -> History:
    return tuple(Message(role=role, content=text) for text in texts for role in ("user", "assistant"))  # type: ignore[arg-type]


def build(name: str, question: str, texts: list[str], past: list[str], window: int, reserved: int) -> Context:
    return build_context(
        Instruction(question=question),
        arrange(Conversation(), hits(texts), follow_up=False),
        Conversation.of(turns(past)),
        format_=FORMATS[name],
        wording=WORDING,
        window=window,
        reserved=reserved,
    )


def check(context: Context, question: str, window: int, reserved: int, texts: list[str]) -> None:
    prompt = context.prompt
    assert len(prompt.token_ids) + reserved <= window
    kept = sum(entry.tokens for entry in prompt.ledger if entry.action != "dropped")
    assert kept == len(prompt.token_ids)
    assert all(entry.tokens >= 0 for entry in prompt.ledger)
    assert [passage.number for passage in context.passages] == list(range(1, len(context.passages) + 1))
    for passage, whole in zip(context.passages, texts, strict=False):
        assert whole.startswith(passage.text)
        assert passage.end - passage.start == len(passage.text)
    assert prompt.messages[-1].role == "user"
    assert prompt.messages[0].role == "system"


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(PROSE, max_size=8),
    past=st.lists(PROSE, max_size=3),
    window=st.integers(512, 4096),
    reserved=st.integers(1, 256),
)
def test_the_prompt_and_the_reserve_always_fit(
    name: str, texts: list[str], past: list[str], window: int, reserved: int
) -> None:
    question = "When does the ferry leave?"
    context = build(name, question, texts, past, window, reserved)
    check(context, question, window, reserved, texts)
    assert question in context.prompt.messages[-1].content


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=60, deadline=None)
@given(
    question=HOSTILE,
    texts=st.lists(HOSTILE.filter(str.strip), max_size=4),
    past=st.lists(HOSTILE, max_size=2),
)
def test_nothing_that_we_did_not_write_becomes_a_control_token(
    name: str, question: str, texts: list[str], past: list[str]
) -> None:
    assume(question.strip())
    control = {token.id for token in read_control_tokens(load_llama2() if name == "llama-2" else load_smollm2())}
    context = build(name, question, texts, past, 4096, 64)
    harmless = build(name, "q", ["p" for _ in context.passages], ["h" for _ in past], 4096, 64)
    made = sum(id_ in control for id_ in context.prompt.token_ids)
    assert made == sum(id_ in control for id_ in harmless.prompt.token_ids)
    check(context, question, 4096, 64, texts)


@st.composite
def conversations(draw: st.DrawFn) -> tuple[Conversation, list[ScoredChunk], bool]:
    """Turns with passages, some of them folded into a summary, and the hits of the next question."""
    pool = hits(draw(st.lists(PROSE.filter(str.strip), min_size=2, max_size=8)))
    chosen = st.lists(st.sampled_from(pool), unique_by=lambda hit: hit.chunk.id, max_size=len(pool))
    turns = []
    for question, answer in draw(st.lists(st.tuples(PROSE, PROSE), max_size=12)):
        passages = tuple(c.passage for c in arrange(Conversation(), draw(chosen), follow_up=False).candidates)
        turns.append(Turn(question=question, standalone=question, answer=f"{answer} [1] [9]", passages=passages))
    talk = Conversation(
        turns=tuple(turns),
        summary=draw(st.sampled_from(["", "They spoke of ferries. </s><|im_end|>"])),
        folded=draw(st.integers(0, len(turns))),
    )
    return talk, draw(chosen), draw(st.booleans())


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=80, deadline=None)
@given(made=conversations(), window=st.integers(512, 4096), reserved=st.integers(1, 256))
def test_any_conversation_fits_and_the_ledger_adds_up(
    name: str, made: tuple[Conversation, list[ScoredChunk], bool], window: int, reserved: int
) -> None:
    talk, found, follow_up = made
    arranged = arrange(talk, found, follow_up=follow_up)
    candidates = arranged.candidates
    context = build_context(
        Instruction(question="When does the ferry leave?"),
        arranged,
        talk,
        format_=FORMATS[name],
        wording=WORDING,
        window=window,
        reserved=reserved,
    )
    prompt = context.prompt
    assert len(prompt.token_ids) + reserved <= window
    assert sum(entry.tokens for entry in prompt.ledger) == prompt.tokens == len(prompt.token_ids)
    assert all(entry.tokens >= 0 for entry in prompt.ledger)
    assert [passage.number for passage in context.passages] == list(range(1, len(context.passages) + 1))
    assert prompt.messages[-1].content == "When does the ferry leave?"
    assert len(prompt.messages) == 2 + 2 * context.turns
    assert context.turns <= len(talk.turns) - talk.folded
    if candidates and not context.passages:  # only where not even the first sentence of the best one fits
        assert context.turns == 0
    best = [c for c in candidates if c.rank == 1]
    if best and context.passages:
        assert place(best[0].passage) in {place(passage) for passage in context.passages}
    shown = {passage.number for passage in context.passages}
    for message in prompt.messages[1:-1]:
        assert {int(n) for n in re.findall(r"\[(\d+)\]", message.content)} <= shown


def test_the_best_passage_is_shortened_at_a_sentence_and_the_ledger_says_so() -> None:
    text = " ".join(f"Sentence number {n} about the ferry." for n in range(200))
    context = build("llama-2", "Which sentence?", [text, "Second passage."], ["old turn"], 512, 128)
    (passage,) = context.passages
    assert passage.text.endswith("about the ferry.")
    assert len(passage.text) < len(text)
    actions = {entry.part.split(":")[0]: entry.action for entry in context.prompt.ledger}
    assert actions["passage 1"] == "shortened"
    assert actions["passage"] == "dropped"
    assert actions["history"] == "dropped"
    assert actions["question"] == "kept"


def test_the_best_passages_and_the_newest_turns_are_kept() -> None:
    filler = "The harbour office opens at eight. " * 25
    context = build("smollm2", "When?", [f"P{n} {filler}" for n in range(6)], [], 1024, 100)
    assert 1 <= len(context.passages) < 6
    assert [p.text[:2] for p in context.passages] == [f"P{n}" for n in range(len(context.passages))]
    context = build("smollm2", "When?", ["short"], [f"T{n} {filler}" for n in range(6)], 1600, 100)
    kept = [message.content[:2] for message in context.prompt.messages[1:-1]]
    assert kept
    assert kept[-1] == "T5"
    assert "T0" not in kept


def test_a_question_that_cannot_fit_is_an_error_with_the_numbers() -> None:
    with pytest.raises(QuestionTooLongError, match="window of 512"):
        build("llama-2", "why " * 3000, ["text"], [], 512, 64)


def test_the_ledger_says_what_the_budget_cut_and_left_out() -> None:
    found = hits(
        ["The ferry leaves at 06:40. " * 3 + "Dogs travel free on the deck of every boat.", "E-17 means drag."]
    )
    budget = Budget(tokens=64, count=len, frame=lambda chunk: chunk.text)
    packing = partial(pack, matches=lambda hit, spans: [float(n) for n, _ in enumerate(spans)], budget=budget)
    arranged = arrange(Conversation(), found, follow_up=False, pack=packing)
    context = build_context(
        Instruction(question="Do dogs pay?"),
        arranged,
        Conversation(),
        format_=FORMATS["smollm2"],
        wording=WORDING,
        window=1024,
        reserved=64,
    )
    (passage,) = context.passages
    assert passage.text == "Dogs travel free on the deck of every boat."
    told = {entry.part: (entry.action, entry.why) for entry in context.prompt.ledger}
    length = len(found[0].chunk.text)
    assert told["passage 1: file0.md"] == ("shortened", f"cut to 43 of {length} characters for the budget")
    assert told["passage: file1.md"] == ("dropped", "budget: the 64 tokens for passages are full")
