"""Cases to be refused, derived by rule: what is hidden hides the answer, what is swapped is nowhere answered."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from eval.cases import read_cases
from eval.entities import entities_of
from eval.errors import InputError
from eval.strata import NO_ANSWERS, NO_GOLD, NO_HISTORY, NO_SWAP, NOT_PLAIN, derive, strata_of
from eval.types import Case
from ingest.embed import HashEmbedder
from ingest.index import open_index
from ingest.pipeline import ingest
from prompts.types import Message
from rag.cli.evaluate import app
from rag.types import Passage


def passage(number: int, source: str, text: str) -> Passage:
    return Passage(number=number, text=text, source=source, start=0, end=1, pages=(), headings=(), score=0.0)


TEXTS = (
    ("orrin.md", "The MV Orrin carries 214 passengers on its way to Tollan. It was launched in 1987."),
    ("brochure.md", "Come aboard! Our largest ferry, the Orrin, carries 214 passengers."),
    ("port.md", "The quay of Tollan was rebuilt in 1931 after the storm, by a crew of 214 men."),
    ("lisbon.md", "The tram of Lisbon has run since 1873 and climbs seven hills."),
)
PASSAGES = tuple(passage(number, *text) for number, text in enumerate(TEXTS, start=1))
ORRIN = Case(
    id="a",
    question="How many passengers does the Orrin carry?",
    kind="answerable",
    answers=("214",),
    gold_quotes=("carries 214 passengers on its way",),
    cluster="ships",
    tags=("md",),
)
QUAY = Case(
    id="b",
    question="What happened to the quay of Tollan in 1931?",
    answers=("rebuilt",),
    gold_docs=("port.md",),
    cluster="ports",
)
TRAM = Case(
    id="c",
    question="Since when did the tram run in Lisbon, which in 1900 had ten cars?",
    answers=("1873",),
    gold_docs=("lisbon",),
    cluster="trams",
)


def shown(case: Case) -> list[str]:
    """What is left of the passages, as a run hides them."""
    hidden = [" ".join(text.split()) for text in case.hidden]
    return [p.text for p in PASSAGES if not any(text in " ".join(p.text.split()) for text in hidden)]


def test_the_gold_passage_and_what_else_gives_the_answer_away_are_hidden() -> None:
    (case,) = derive([ORRIN], PASSAGES, ["gold_removed"]).cases
    assert (case.id, case.kind, case.cluster, case.answerable) == ("a-removed", "gold_removed", "ships", False)
    assert (case.question, case.answers, case.gold_quotes) == (ORRIN.question, (), ())
    assert case.tags == ("md", "derived", "hidden:2")
    assert shown(case) == [TEXTS[2][1], TEXTS[3][1]]  # 214 men are no passengers


def test_without_quotes_the_whole_gold_document_is_hidden() -> None:
    (case,) = derive([QUAY], PASSAGES, ["gold_removed"]).cases
    assert TEXTS[2][1] not in shown(case)
    assert len(shown(case)) == 3


def test_a_short_sentence_is_hidden_with_its_neighbours_only() -> None:
    table = passage(1, "t.md", "Fares\nDogs\n2 crowns\nCats\n5 crowns")
    case = replace(QUAY, question="What fare do dogs pay?", answers=("2 crowns",), gold_docs=("t.md",))
    (made,) = derive([case], [table, passage(2, "u.md", "Dogs bark.")], ["gold_removed"]).cases
    assert all(len(text) >= 25 for text in made.hidden)


def test_a_swapped_question_names_what_no_gold_document_has() -> None:
    derived = derive([QUAY, TRAM], PASSAGES, ["entity_swapped"])
    assert {case.id: case.tags[-1] for case in derived.cases} == {"b-swapped": "swapped:1931->1900"}
    assert derived.cases[0].question == "What happened to the quay of Tollan in 1900?"
    assert (derived.cases[0].kind, derived.cases[0].answerable) == ("entity_swapped", False)
    # Lisbon's passage does not name 1900: the question does not rest on it, so it is left alone.
    assert derived.left_out == {f"entity_swapped: {NO_SWAP}": 1}


def test_no_swap_where_a_document_may_answer_the_new_question() -> None:
    told = (*PASSAGES, passage(9, "news.md", "In 1900 the quay of Tollan happened to burn."))
    assert derive([QUAY, TRAM], told, ["entity_swapped"]).cases == ()
    asked = replace(TRAM, id="d", question="What happened to the quay of Tollan in 1900?", kind="near_miss")
    assert derive([QUAY, TRAM, asked], PASSAGES, ["entity_swapped"]).cases == ()


def test_questions_of_another_set_that_no_passage_answers() -> None:
    other = replace(TRAM, question="Who was the first mayor of Oslo?", answers=("Andreas Tofte",))
    derived = derive([other, ORRIN], PASSAGES, ["off_corpus"])
    assert [(case.id, case.kind, case.tags[-1]) for case in derived.cases] == [("c-off", "far_ood", "off-corpus")]
    assert derived.left_out.total() == 1


@pytest.mark.parametrize(
    ("case", "why"),
    [
        (replace(ORRIN, answers=()), NO_ANSWERS),
        (replace(ORRIN, gold_quotes=("nowhere",)), NO_GOLD),
        (replace(ORRIN, gold_quotes=()), NO_GOLD),
        (
            replace(ORRIN, history=(Message(role="user", content="x"), Message(role="assistant", content="y"))),
            NO_HISTORY,
        ),
    ],
)
def test_what_no_rule_holds_for_is_left_out_and_counted(case: Case, why: str) -> None:
    derived = derive([case], PASSAGES, ["gold_removed"])
    assert (derived.cases, derived.left_out) == ((), {f"gold_removed: {why}": 1})


def test_only_answerable_cases_are_taken_and_only_plain_ones_swapped() -> None:
    assert derive([replace(ORRIN, kind="near_miss")], PASSAGES, ["gold_removed"]).left_out.total() == 0
    left_out = derive([replace(QUAY, kind="answerable_disfluent")], PASSAGES, ["entity_swapped"]).left_out
    assert left_out == {f"entity_swapped: {NOT_PLAIN}": 1}


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("What happened in 1931?", [("1931", "year after in")]),
        ("What does E-17 mean?", [("E-17", "code A-99 after other")]),
        ("Who was hired in May, on a Friday?", [("May", "month after in"), ("Friday", "weekday after a")]),
        ("What was signed in June/July 1754?", [("1754", "year after other")]),
        ("How is a Skerry 3 mounted with release 3.2.1?", []),
        ("What held between 1754-1763?", []),
        ("Are 40 crowns enough?", [("40", "number 99 after other")]),
        ("", []),
    ],
)
def test_entities_by_their_characters(question: str, found: list[tuple[str, str]]) -> None:
    (entities,) = entities_of([question])
    written = [one for one in entities if one.shape.split()[0] in ("year", "code", "month", "weekday", "number")]
    assert [(one.text, one.shape) for one in written] == found


def test_names_have_the_kind_that_most_questions_give_them() -> None:
    questions = ["When did France lose the battle?", "Who ruled France in 1700?", "Where did Napoleon Bonaparte die?"]
    entities = entities_of(questions)
    for question, found in zip(questions, entities, strict=True):
        assert all(question[one.start : one.start + len(one.text)] == one.text for one in found)
    france = [one.shape.split()[0] for found in entities for one in found if one.text == "France"]
    assert france == ["place", "place"]


def test_strata_have_names() -> None:
    assert strata_of(["off_corpus", "gold_removed", "gold_removed"]) == ("gold_removed", "off_corpus")
    with pytest.raises(InputError, match="'x' is no stratum"):
        strata_of(["x"])


def test_the_command_writes_cases_that_can_be_read(
    tmp_path: Path, ferry_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.embed.open_embedder", lambda _: HashEmbedder())
    with open_index(str(tmp_path / "index"), HashEmbedder(), create=True) as opened:
        ingest([ferry_folder], opened, HashEmbedder(), workers=1)
    row = {"id": "a", "question": "Who is the chief engineer?", "answers": ["Marit Solheim"], "gold_docs": ["crew.md"]}
    draft = {"id": "d", "question": "Is this counted?", "draft": True}
    (tmp_path / "cases.jsonl").write_text(json.dumps(row) + "\n" + json.dumps(draft), encoding="utf-8")
    args = ["derive", str(tmp_path / "cases.jsonl"), "--out", str(tmp_path / "out.jsonl")]
    args += ["--index", str(tmp_path / "index"), "--json"]
    result = CliRunner().invoke(app, args)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["cases"] == {"gold_removed": 1, "entity_swapped": 0, "off_corpus": 0}
    assert "1 drafts are left out" in result.stderr
    (case,) = read_cases(tmp_path / "out.jsonl")
    assert (case.kind, case.cluster) == ("gold_removed", "a")
    assert any("Marit Solheim" in text for text in case.hidden)
    assert "exists" in str(CliRunner().invoke(app, args).exception)
    none = CliRunner().invoke(app, [*args, "--out", str(tmp_path / "none.jsonl"), "--kind", "off_corpus"])
    assert "no case could be derived" in str(none.exception)
    assert not (tmp_path / "none.jsonl").exists()
