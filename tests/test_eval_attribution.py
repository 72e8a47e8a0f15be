"""Gold in the passages sent x answered or refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.attribution import AttributionRow, attribution
from eval.gold import gold_sent
from eval.scores import score_case
from eval.types import Case, CaseResult, Record
from rag.types import Passage
from rag.verifier import LexicalVerifier

VERIFIER = LexicalVerifier()


def passage(number: int, text: str, source: str) -> Passage:
    return Passage(number=number, text=text, source=source, start=0, end=len(text), pages=(), headings=(), score=0.0)


BOAT = passage(1, "The MV Orrin carries\n214 passengers.", "a/boats.md")
CREW = passage(2, "The chief engineer is Marit Solheim.", "crew.txt")
COPY = passage(3, "In 1987 there were 214 of them.", "news.md")


@pytest.mark.parametrize(
    ("fields", "sent", "held"),
    [
        ({"gold_quotes": ("carries 214 passengers",)}, (CREW, BOAT), True),
        ({"gold_quotes": ("carries 214 passengers",)}, (CREW,), False),
        ({"gold_quotes": ("carries 214 passengers",)}, (), False),
        ({"gold_quotes": ("214 of them", "carries 214 passengers")}, (COPY,), True),
        (
            {"gold_quotes": ("Marit", "214"), "gold_docs": ("boats.md", "crew"), "tags": ("multi-doc",)},
            (BOAT, CREW),
            True,
        ),
        ({"gold_quotes": ("Marit", "214"), "gold_docs": ("boats.md", "crew"), "tags": ("multi-doc",)}, (BOAT,), False),
        ({"gold_docs": ("boats.md",)}, (BOAT,), True),
        ({"gold_docs": ("boats.md", "crew.txt")}, (BOAT,), False),
        ({"answers": ("214 Passengers!",)}, (BOAT,), True),
        ({"answers": ("14",)}, (BOAT,), False),
        ({"answers": ("214",), "gold_docs": ("boats.md",)}, (COPY,), False),
        ({"answers": ("214",), "gold_docs": ("boats.md",)}, (BOAT,), True),
        ({"kind": "near_miss", "gold_docs": ("boats.md",)}, (BOAT,), False),
        ({"kind": "gold_removed", "gold_quotes": ("214",)}, (BOAT,), False),
        ({"kind": "answerable"}, (BOAT,), None),
        ({}, (BOAT,), None),
    ],
)
def test_whether_the_gold_was_sent(fields: dict[str, str], sent: tuple[Passage, ...], held: bool | None) -> None:
    case = Case(id="a", question="q", **({"kind": "answerable" if fields else ""} | fields))  # type: ignore[arg-type]
    assert gold_sent(case, Record(id="a", answer="x", passages=sent)) is held


def result(
    id_: str, answer: str, *, sent: tuple[Passage, ...] = (BOAT,), kind: str = "answerable", **fields: object
) -> CaseResult:
    gold = {"answers": ("214",), "gold_quotes": ("carries 214 passengers",)} if kind == "answerable" else {}
    case = Case(id=id_, question="How many?", kind=kind, **gold)
    return score_case(case, Record(id=id_, answer=answer, passages=sent, **fields), VERIFIER)  # type: ignore[arg-type]


def test_the_table() -> None:
    table = attribution(
        [
            result("a", "It carries 214 passengers [1]."),
            result("b", "It carries 340 passengers [1]."),
            result("c", "I don't know."),
            result("d", "214", sent=(CREW,)),
            result("e", "I don't know.", sent=(CREW,)),
            result("f", "It is 7.", kind="near_miss"),
            result("g", "I don't know.", kind="near_miss", refused=False),
            result("h", "", error="broke"),
            result("i", "It is 7.", kind=""),
            result("j", "It is 7.", refused=True),
        ]
    )
    assert table.rows == (
        AttributionRow(gold="sent", answered=2, scored=2, right=1, refused=2, failed=1),
        AttributionRow(gold="not sent", answered=3, scored=1, right=1, refused=1, failed=0),
        AttributionRow(gold="unknown", answered=1, scored=0, right=0, refused=0, failed=0),
    )
    assert table.disputed == ("g", "j")


@given(
    st.lists(
        st.builds(
            result,
            st.text(max_size=3),
            st.sampled_from(["214", "I don't know.", "It is 7.", ""]),
            sent=st.sampled_from([(), (BOAT,), (CREW, BOAT)]),
            kind=st.sampled_from(["answerable", "near_miss", ""]),
            error=st.sampled_from(["", "broke"]),
        ),
        max_size=8,
    )
)
@settings(max_examples=30, deadline=None)
def test_every_case_stands_in_the_table_once(results: list[CaseResult]) -> None:
    rows = attribution(results).rows
    assert sum(row.answered + row.refused + row.failed for row in rows) == len(results)
    assert all(0 <= row.right <= row.scored <= row.answered for row in rows)
