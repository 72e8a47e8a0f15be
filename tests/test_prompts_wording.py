"""The wording file: strict slots, one pass, and what is shipped."""

from pathlib import Path

import llama_cpp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prompts_support import HOSTILE, llama2_vocab, smollm2_vocab

from prompts.defuse import defuse, find_reserved
from prompts.errors import WordingError
from prompts.wording import load_wording

__all__ = ["llama2_vocab", "smollm2_vocab"]

GOOD = """
refusal = "No."
system = "Only these, else {refusal}\\n{passages}"
passage = "[{number}] {source}{headings}: {text}"
heading = "/{heading}"
between_passages = "\\n"
question = "Q {question}"
summary = " so far: {summary}"
summarise = "Sum up."
"""


def test_shipped_wording() -> None:
    wording = load_wording()
    first = wording.passage(1, "Fares rose.", "a/b.md", ("Prices", "2024"))
    assert first == "[1] a/b.md - Prices - 2024\nFares rose."
    assert wording.passage(2, "No.", "c.md") == "[2] c.md\nNo."
    text = wording.system([first, "second"])
    assert wording.refusal in text
    assert text.endswith(f"\n\n{first}\n\nsecond")
    assert wording.question("Why?") == "Why?"
    assert find_reserved(text) == ()


def test_shipped_instruction_is_short(llama2_vocab: llama_cpp.Llama, smollm2_vocab: llama_cpp.Llama) -> None:
    text = load_wording().system([]).encode()
    for vocabulary in (llama2_vocab, smollm2_vocab):
        assert len(vocabulary.tokenize(text, add_bos=False, special=False)) < 120


def test_own_wording(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(GOOD)
    wording = load_wording(path)
    assert wording.system([wording.passage(1, "t", "s", ("a", "b"))]) == "Only these, else No.\n[1] s/a/b: t"
    assert wording.question("x") == "Q x"
    assert wording.system([], "y") == "Only these, else No.\n so far: y"


def test_slots_are_filled_in_one_pass() -> None:
    wording = load_wording()
    passage = wording.passage(1, "{question} {refusal} {text}", "{number}", ("{heading}",))
    assert passage == "[1] {number} - {heading}\n{question} {refusal} {text}"
    assert passage in wording.system([passage])
    assert wording.question("{question}") == "{question}"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("{text}", "text", r"passage has slots.*missing \['text'\]"),
        ("{text}", "{text}{page}", r"passage has slots.*unknown \['page'\]"),
        ("refusal =", "refuse =", r"missing \['refusal'\], unknown \['refuse'\]"),
        ('"No."', "3", "must be a text"),
        ('"No."', '"No.', "cannot be read"),
        ('"No."', '"No {reason}."', r"unknown \['reason'\]"),
    ],
)
def test_files_that_do_not_fit(old: str, new: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(WordingError, match=said):
        load_wording(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(WordingError, match="cannot be read"):
        load_wording(tmp_path / "none.toml")


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(HOSTILE, HOSTILE, HOSTILE), max_size=3),
    st.sampled_from([(), ("<table>", "|x|", ">>A<<")]),
)
def test_defused_parts_stay_defused_in_their_frame(parts: list[tuple[str, str, str]], tags: tuple[str, ...]) -> None:
    wording = load_wording()
    safe = [[defuse(part, tags) for part in passage] for passage in parts]
    framed = [wording.passage(n, text, source, (above,)) for n, (text, source, above) in enumerate(safe, 1)]
    assert find_reserved(wording.system(framed), tags) == ()
