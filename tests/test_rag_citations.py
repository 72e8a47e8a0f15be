from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.citations import SHOWN, AnswerWriter
from rag.grounding import Grounding
from rag.types import Passage
from rag.verifier import LexicalVerifier

TEXTS = (
    "The chief engineer is Marit Solheim. She joined in 2004.",
    "The MV Orrin carries 214 passengers. She was launched in 1987 at Tollan.",
)
PASSAGES = tuple(
    Passage(
        number=number,
        text=text,
        source=f"{number}.md",
        start=100 * number,
        end=100 * number + len(text),
        pages=(number,),
        headings=(),
        score=1.0,
    )
    for number, text in enumerate(TEXTS, start=1)
)
VERIFIER = LexicalVerifier()
GROUNDING = Grounding()


def written(text: str, size: int = 3) -> AnswerWriter:
    writer = AnswerWriter(PASSAGES, VERIFIER, GROUNDING)
    shown = "".join(writer.feed(text[i : i + size]) for i in range(0, len(text), size)) + writer.finish()
    assert shown == writer.text
    return writer


ORRIN = "The Orrin carries 214 passengers."


@pytest.mark.parametrize(
    ("said", "shown", "cited", "left_out"),
    [
        (ORRIN, f"{ORRIN} [2]", [2], []),
        ("The Orrin carries 214 passengers [2].", f"{ORRIN} [2]", [2], []),
        (f"{ORRIN} [2]", f"{ORRIN} [2]", [2], []),
        ("The Orrin carries 214 passengers [7].", f"{ORRIN} [2]", [2], []),
        ("The Orrin carries 214 passengers [1].", f"{ORRIN} [2]", [2], []),
        ("It flies to the moon [9].", "", [], ["It flies to the moon."]),
        ("The Orrin carries 999 passengers [2].", "", [], ["The Orrin carries 999 passengers."]),
        ("The Orrin does not carry 214 passengers [2].", "", [], ["The Orrin does not carry 214 passengers."]),
        (
            "Marit Solheim is the chief engineer. [1] The Orrin was launched in 1987 [2].",
            "Marit Solheim is the chief engineer. [1] The Orrin was launched in 1987. [2]",
            [1, 2],
            [],
        ),
        (
            "Facts:\n- Marit Solheim is the chief engineer\n- She flies to the moon\n- "
            "The Orrin carries 214 passengers",
            "- Marit Solheim is the chief engineer [1]\n- The Orrin carries 214 passengers [2]",
            [1, 2],
            ["Facts:", "- She flies to the moon"],
        ),
        ("", "", [], []),
        ("[1] [2]", "", [], []),
    ],
)
def test_only_supported_sentences_are_shown_with_checked_markers(
    said: str, shown: str, cited: list[int], left_out: list[str]
) -> None:
    for size in (1, 2, 5, 1000):
        writer = written(said, size)
        assert writer.text == shown
        assert [citation.number for citation in writer.citations] == cited
        assert writer.unsupported == left_out


@pytest.mark.parametrize(("marker", "status"), [("", "verified"), (" [2]", "verified"), (" [1]", "misattributed")])
def test_a_citation_says_whether_the_model_named_its_passage(marker: str, status: str) -> None:
    (citation,) = written(f"The Orrin carries 214 passengers{marker}.").citations
    assert (citation.number, citation.status) == (2, status)


@pytest.mark.parametrize(
    ("said", "status", "named", "numbers"),
    [
        ("The Orrin carries 214 passengers.", "verified", (), (2,)),
        ("The Orrin carries 214 passengers [1, 2].", "verified", (1, 2), (2,)),
        ("The Orrin carries 214 passengers [1].", "misattributed", (1,), (2,)),
        ("The Orrin carries 214 passengers [7].", "misattributed", (7,), (2,)),
        ("She flies to the moon.", "unsupported", (), ()),
        ("She flies to the moon [2] [9].", "unsupported", (2, 9), ()),
        ("She flies to the moon [9][9].", "invalid", (9,), ()),
    ],
)
def test_every_sentence_says_what_became_of_it(
    said: str, status: str, named: tuple[int, ...], numbers: tuple[int, ...]
) -> None:
    writer = written(said)
    (claim,) = writer.claims
    assert (claim.status, claim.named, claim.numbers) == (status, named, numbers)
    assert claim.text in ("The Orrin carries 214 passengers.", "She flies to the moon.")
    assert (claim.p_supported >= SHOWN) is bool(numbers)
    assert [citation.status for citation in writer.citations] == [status] * len(numbers)


def test_a_model_that_loops_is_cut_at_the_first_repetition() -> None:
    writer = written("The Orrin carries 214 passengers. " * 5)
    assert writer.repeats
    assert writer.text.strip() == "The Orrin carries 214 passengers. [2]"


@settings(deadline=None)
@given(st.lists(st.sampled_from([*TEXTS, "[1]", "[2]", "[3]", "[", "]", " ", "\n", ". ", "Tollan", "7"])))
def test_every_citation_resolves_to_the_exact_characters_of_a_passage(parts: list[str]) -> None:
    writer = written("".join(parts))
    for citation in writer.citations:
        passage = PASSAGES[citation.number - 1]
        quote = passage.text[citation.start - passage.start : citation.end - passage.start]
        assert citation.quote == quote
        assert quote
        assert (citation.source, citation.pages) == (passage.source, passage.pages)


@settings(deadline=None)
@given(st.text(alphabet="ab .!?[]12\n", max_size=80), st.lists(st.integers(1, 79), max_size=6))
def test_what_is_shown_does_not_depend_on_how_the_text_arrives(text: str, cuts: list[int]) -> None:
    writer = AnswerWriter(PASSAGES, VERIFIER, GROUNDING)
    borders = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    for start, end in pairwise(borders):
        writer.feed(text[start:end])
    writer.finish()
    assert writer.text == written(text, 1000).text
