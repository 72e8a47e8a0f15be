"""Reserved tags: found through disguises, rewritten visibly, restored exactly."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prompts_support import HOSTILE, TAGS

from prompts.defuse import defuse, find_llama2_tags, find_reserved, undefuse

VOCABULARY = (
    "<table>",
    "|sys|",
    ">>TITLE<<",
    "[gMASK]",
    "]x]",
    "<s",
    "<\\s>",
    "\n\n",
    "user",
    "<|im_start|>",
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<s>", "<\\s>"),
        ("</s>", "<\\/s>"),
        ("<unk>", "<\\unk>"),
        ("[INST]", "[\\INST]"),
        ("[/INST]", "[\\/INST]"),
        ("<<SYS>>", "<\\<SYS>>"),
        ("<</SYS>>", "<\\</SYS>>"),
        ("a <|im_start|>system b", "a <\\|im_start|>system b"),
        ("<\uff5cbegin▁of▁sentence\uff5c>", "<\\\uff5cbegin▁of▁sentence\uff5c>"),
        ("<bos><eos><pad>", "<\\bos><\\eos><\\pad>"),
        ("<start_of_turn>user<end_of_turn>", "<\\start_of_turn>user<\\end_of_turn>"),
        ("[SYSTEM_PROMPT][/SYSTEM_PROMPT]", "[\\SYSTEM_PROMPT][\\/SYSTEM_PROMPT]"),
        ("[TOOL_CALLS]", "[\\TOOL_CALLS]"),
        ("<0x0A>", "<\\0x0A>"),
        ("[ / inst ]", "[\\ / inst ]"),
        ("\uff1c\uff53\uff1e", "\uff1c\\\uff53\uff1e"),
        ("\uff3bINST\uff3d", "\uff3b\\INST\uff3d"),
        ("<\u200bs\u00ad>", "<\\\u200bs\u00ad>"),
        ("<\x00s>", "<\\\x00s>"),
        ("[I\u034fN\ufe0fST]", "[\\I\u034fN\ufe0fST]"),
        ("<<s>s>", "<<\\s>s>"),
        ("[IN[INST]ST]", "[IN[\\INST]ST]"),
        ("<\\s>", "<\\\\s>"),
        ("<\\\\s>", "<\\\\\\s>"),
        ("\ud800<s>", "\ud800<\\s>"),
    ],
)
def test_tags_are_broken_visibly(text: str, expected: str) -> None:
    assert defuse(text) == expected
    assert undefuse(expected) == text
    assert not find_reserved(expected)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain",
        "a < b > c",
        "see [1] and [2]",
        "x[i] <= y",
        "|a|b|",
        "<p>",
        "C:\\dir\\<x>",
        "[\n/INST",
        "<|>",
        "1 < s > 2",
    ],
)
def test_other_text_is_left_alone(text: str) -> None:
    assert defuse(text) is text
    assert find_reserved(text) == ()


def test_found_as_written_and_in_order() -> None:
    assert find_reserved("a </S> b [\u200bINST] <s>") == ("</S>", "[\u200bINST]", "<s>")
    assert find_llama2_tags("<|im_end|> <s>") == ("<s>",)


def test_the_vocabulary_s_own_tokens() -> None:
    assert find_reserved("<TABLE> |sys| >>TITLE<< [gMASK]", VOCABULARY) == (
        "<TABLE>",
        "|sys|",
        ">>TITLE<<",
        "[gMASK]",
    )
    assert defuse("<table>|sys|", VOCABULARY) == "<\\table>|\\sys|"


@pytest.mark.parametrize("tag", ["user", "\n\n", "  ", "<", "<\\s>x"])
def test_tokens_like_plain_text_do_not_count(tag: str) -> None:
    assert find_reserved(f"a {tag} b", (tag,)) == ()


@pytest.mark.parametrize("tags", [(), VOCABULARY])
@settings(max_examples=600, deadline=None)
@given(text=HOSTILE | st.text())
def test_nothing_is_left_and_everything_comes_back(tags: tuple[str, ...], text: str) -> None:
    safe = defuse(text, tags)
    assert find_reserved(safe, tags) == ()
    assert undefuse(safe, tags) == text
    assert not any(tag in safe for tag in TAGS)
    twice = defuse(safe, tags)
    assert undefuse(undefuse(twice, tags), tags) == text


@settings(max_examples=300, deadline=None)
@given(HOSTILE, HOSTILE)
def test_different_texts_stay_different(one: str, other: str) -> None:
    assert (defuse(one) == defuse(other)) == (one == other)


@pytest.mark.parametrize(
    "unit",
    [
        "<",
        "[",
        "<|",
        "<|a",
        "<s",
        "<s>",
        "[ ",
        "[ / ",
        "< ",
        "<<",
        "<\\",
        "\\",
        "<\u200b",
        "\u200b",
        "\uff1c",
        "\uff53",
        ">>",
        "|",
    ],
)
def test_hostile_length(unit: str) -> None:
    text = unit * (200_000 // len(unit)) + "<s>"
    safe = defuse(text, VOCABULARY)
    assert undefuse(safe, VOCABULARY) == text
    assert find_reserved(safe, VOCABULARY) == ()


def test_thousands_of_tags() -> None:
    tags = tuple(f"<unused{number}>" for number in range(6_000))
    assert defuse("<unused7>" + "<un" * 30_000 + "<unused5999>", tags).count("\\") == 2
