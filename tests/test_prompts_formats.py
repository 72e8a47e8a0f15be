"""Formats on real vocabularies: exact ids, no control token from contents, and tokens that add up."""

# ruff: noqa: ARG002 (a fake tokenizer has the real one's arguments)

import re
from bisect import bisect_left
from itertools import pairwise
from typing import Any

import llama_cpp
import pytest
from hypothesis import given, settings
from prompts_support import (
    HOSTILE,
    conversations,
    llama2_vocab,
    load_llama2,
    load_smollm2,
    read_control_tokens,
    smollm2_vocab,
    wants_bos,
)

from prompts.errors import MessageOrderError, PromptError, TemplateError, UnsafePromptError
from prompts.formats import FORMAT_NAMES, PromptFormat, choose_format
from prompts.llama2 import defuse, encode, render
from prompts.types import ControlToken, Encoded, Message

__all__ = ["llama2_vocab", "smollm2_vocab"]

CHATML = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
BUILT_IN = [name for name in FORMAT_NAMES if name not in ("auto", "template")]
TALK = [
    Message(role="system", content="Be good.\n"),
    Message(role="user", content=" hi é\U0001f600"),
    Message(role="assistant", content="Hello!"),
    Message(role="user", content="so?"),
]


def chosen(requested: str, llama: llama_cpp.Llama, **changes: Any) -> PromptFormat:
    facts: dict[str, Any] = {
        "model_name": "some model",
        "chat_template": llama.metadata.get("tokenizer.chat_template"),
        "tokenizer": llama,
        "control_tokens": read_control_tokens(llama),
        "add_bos": wants_bos(llama),
    }
    return choose_format(requested, **{**facts, **changes})


def tokens_between(encoded: Encoded, start: int, end: int) -> int:
    return bisect_left(encoded.token_starts, end) - bisect_left(encoded.token_starts, start)


def check_places(encoded: Encoded, messages: list[Message]) -> None:
    """Starts fit the ids; the regions that the contents cut the text into hold every token once."""
    assert len(encoded.token_starts) == len(encoded.token_ids)
    assert list(encoded.token_starts) == sorted(encoded.token_starts)
    assert all(0 <= start <= len(encoded.text) for start in encoded.token_starts)
    assert len(encoded.content_spans) == len(messages)
    borders = sorted({0, len(encoded.text) + 1, *(edge for span in encoded.content_spans for edge in span)})
    regions = [tokens_between(encoded, start, end) for start, end in pairwise(borders)]
    assert sum(regions) == len(encoded.token_ids)


def test_smollm2_is_the_template_s_own_ids(smollm2_vocab: llama_cpp.Llama) -> None:
    made = chosen("auto", smollm2_vocab)
    encoded = made.build(TALK)
    assert made.name == "template"
    assert encoded.text == (
        "<|im_start|>system\nBe good.<|im_end|>\n<|im_start|>user\nhi é\U0001f600<|im_end|>\n"
        "<|im_start|>assistant\nHello!<|im_end|>\n<|im_start|>user\nso?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert list(encoded.token_ids) == smollm2_vocab.tokenize(encoded.text.encode(), add_bos=False, special=True)
    assert [encoded.text[slice(*span)] for span in encoded.content_spans] == [
        "Be good.",
        "hi é\U0001f600",
        "Hello!",
        "so?",
    ]
    assert chosen("chatml", smollm2_vocab).build(TALK) == encoded


@settings(max_examples=150, deadline=None)
@given(conversations(HOSTILE))
def test_template_ids_equal_llama_cpp_s_where_contents_are_harmless(messages: list[Message]) -> None:
    llama = load_smollm2()
    made = chosen("auto", llama)
    safe = [Message(role=m.role, content=defuse(m.content, made.tags)) for m in messages]
    encoded = made.build(safe)
    assert list(encoded.token_ids) == llama.tokenize(encoded.text.encode(), add_bos=False, special=True)
    check_places(encoded, safe)


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize("load", [load_llama2, load_smollm2])
@settings(max_examples=40, deadline=None)
@given(messages=conversations(HOSTILE))
def test_control_tokens_are_the_format_s_alone(name: str, load: Any, messages: list[Message]) -> None:
    llama = load()
    made = chosen(name, llama)
    controls = {token.id for token in read_control_tokens(llama)}
    encoded = made.build([Message(role=m.role, content=defuse(m.content, made.tags)) for m in messages])
    plain = made.build([Message(role=m.role, content="x") for m in messages])
    assert [i for i in encoded.token_ids if i in controls] == [i for i in plain.token_ids if i in controls]
    check_places(encoded, messages)


@settings(max_examples=150, deadline=None)
@given(conversations(HOSTILE.map(defuse)))
def test_llama2_format_is_render_and_encode(messages: list[Message]) -> None:
    llama = load_llama2()
    encoded = chosen("llama-2", llama).build(messages)
    assert encoded.text == render(messages)
    assert list(encoded.token_ids) == encode(messages, llama)
    check_places(encoded, messages)


def test_llama2_spans(llama2_vocab: llama_cpp.Llama) -> None:
    encoded = chosen("llama-2", llama2_vocab).build(TALK)
    assert [encoded.text[slice(*span)] for span in encoded.content_spans] == [
        "Be good.\n",
        " hi é\U0001f600",
        "Hello!",
        "so?",
    ]
    blank = chosen("llama-2", llama2_vocab).build([TALK[0], Message(role="user", content="  ")])
    start, end = blank.content_spans[1]
    assert start == end == blank.text.index(" [/INST]")


def test_token_starts_point_at_the_token_s_text(llama2_vocab: llama_cpp.Llama) -> None:
    encoded = chosen("llama-2", llama2_vocab).build([Message(role="user", content="fares \u8a9e\U0001f600 rose")])
    ends = (*encoded.token_starts[1:], len(encoded.text))
    shown = [encoded.text[start:end] for start, end in zip(encoded.token_starts, ends, strict=True)]
    assert "".join(shown) == encoded.text
    visible = " ".join(part.strip() for part in shown if part.strip())
    assert visible == "<s> [ INST ] far es \u8a9e \U0001f600 rose [ / INST ]"


@pytest.mark.parametrize("name", ["template", "llama-2"])
def test_contents_that_were_not_defused_are_refused(name: str, smollm2_vocab: llama_cpp.Llama) -> None:
    made = chosen(name, smollm2_vocab)
    for tag in ("<|im_end|>", "<repo_name>", "</s>"):
        with pytest.raises(UnsafePromptError) as caught:
            made.build([Message(role="user", content=f"x{tag}")])
        assert (caught.value.index, caught.value.tag) == (0, tag)


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_format_wants_the_same_order(name: str, smollm2_vocab: llama_cpp.Llama) -> None:
    with pytest.raises(MessageOrderError):
        chosen(name, smollm2_vocab).build([*TALK, Message(role="user", content="again")])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "chatml",
            "<s><|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n"
            "<|im_start|>assistant\nA<|im_end|>\n<|im_start|>user\nV<|im_end|>\n<|im_start|>assistant\n",
        ),
        (
            "llama-3",
            "<s><|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nU<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\nA<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nV<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n",
        ),
        ("mistral", "<s>[INST] S\n\nU [/INST] A</s>[INST] V [/INST]"),
        (
            "gemma",
            "<s><start_of_turn>user\nS\n\nU<end_of_turn>\n<start_of_turn>model\nA<end_of_turn>\n"
            "<start_of_turn>user\nV<end_of_turn>\n<start_of_turn>model\n",
        ),
        (
            "zephyr",
            "<s><|system|>\nS</s>\n<|user|>\nU</s>\n<|assistant|>\nA</s>\n<|user|>\nV</s>\n<|assistant|>\n",
        ),
        ("llama-2", "<s>[INST] <<SYS>>\nS\n<</SYS>>\n\nU [/INST] A </s><s>[INST] V [/INST]"),
    ],
)
def test_built_in_formats(name: str, expected: str, llama2_vocab: llama_cpp.Llama) -> None:
    roles_contents: list[tuple[Any, str]] = [
        ("system", "S"),
        ("user", "U"),
        ("assistant", "A"),
        ("user", "V"),
    ]
    messages = [Message(role=role, content=content) for role, content in roles_contents]
    assert chosen(name, llama2_vocab).build(messages).text == expected


@pytest.mark.parametrize(
    ("requested", "changes", "name", "why"),
    [
        ("auto", {"chat_template": "... <<SYS>> ..."}, "llama-2", "mentions <<SYS>>"),
        ("auto", {"model_name": "Llama-2-7B-Chat.Q4_K_M.gguf"}, "llama-2", "Llama 2 chat"),
        ("auto", {"chat_template": CHATML}, "template", "own chat template"),
        ("template", {"chat_template": CHATML}, "template", "own chat template"),
        ("llama-2", {}, "llama-2", "asked for by name"),
        ("llama-2", {"chat_template": CHATML}, "llama-2", "warning: .*template has no <<SYS>>"),
        ("chatml", {}, "chatml", r"warning: .*vocabulary has no token <\|im_start\|>"),
        ("gemma", {}, "gemma", "warning: .*first user message"),
    ],
)
def test_choice_and_its_reason(
    requested: str, changes: dict[str, Any], name: str, why: str, llama2_vocab: llama_cpp.Llama
) -> None:
    made = chosen(requested, llama2_vocab, **changes)
    assert made.name == name
    assert re.search(why, made.why)


def test_llama2_on_another_vocabulary_warns(smollm2_vocab: llama_cpp.Llama) -> None:
    assert "warning: the model's vocabulary has no <s>" in chosen("llama-2", smollm2_vocab, chat_template=None).why


@pytest.mark.parametrize(
    ("requested", "said"),
    [("auto", "no chat template.*--prompt-format"), ("template", "no chat"), ("vicuna", "unknown")],
)
def test_no_way_to_tell_is_an_error(requested: str, said: str, llama2_vocab: llama_cpp.Llama) -> None:
    with pytest.raises(TemplateError, match=said):
        chosen(requested, llama2_vocab, model_name="llama-2-7b base")


class Bytes:
    """A tokenizer of bytes with no BOS and no EOS, which reads `~` as the control token 1."""

    def tokenize(self, text: bytes, add_bos: bool, special: bool) -> list[int]:
        return [1 if byte == ord("~") else byte for byte in text]

    def detokenize(self, tokens: list[int], prev_tokens: list[int] | None = None, special: bool = False) -> bytes:
        return b"".join({1: b"~", ord("p"): b"?"}.get(token, bytes([token])) for token in tokens)

    def token_bos(self) -> int:
        return -1

    def token_eos(self) -> int:
        return -1


def bytes_format(name: str, template: str | None = None) -> PromptFormat:
    return choose_format(
        name,
        model_name="bytes",
        chat_template=template,
        tokenizer=Bytes(),
        control_tokens=(ControlToken(text="~", id=1),),
        add_bos=True,
    )


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_vocabulary_without_bos(name: str) -> None:
    encoded = bytes_format(name).build(TALK)
    assert "<s>" not in encoded.text
    assert len(encoded.token_ids) == len(encoded.text.encode())
    check_places(encoded, TALK)


def test_a_tokenizer_that_makes_a_control_token_from_text_is_refused() -> None:
    with pytest.raises(PromptError, match="plain text as the control token '~'"):
        bytes_format("llama-2").build([Message(role="user", content="Hi~")])


def test_pieces_that_do_not_stand_in_the_text_take_no_place() -> None:
    encoded = bytes_format("template", CHATML).build([Message(role="user", content="pop up")])
    start, end = encoded.content_spans[0]
    assert tokens_between(encoded, start, end) == 6
    assert encoded.token_starts[-1] == len(encoded.text) - 1
