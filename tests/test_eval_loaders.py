"""Evaluation sets of others: read by shape, with documents whose names the gold documents have."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from eval.cases import read_cases, read_suite
from eval.corpora import SUFFIX, CorpusDocument, document_files, document_names
from eval.errors import InputError
from eval.gold import needs_of
from eval.jsonl import Row
from eval.loaders import QUOTE, corpus_names, read_squad, squad_articles, write_corpus
from eval.types import Case
from ingest.parse import parse_bytes
from ingest.scan import scan
from rag.cli.evaluate import app
from rag.types import Passage


def jsonl(file: Path, rows: list[dict[str, Any]]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def passage(source: str, text: str = "text") -> Passage:
    return Passage(number=1, text=text, source=source, start=0, end=4, pages=(), headings=(), score=0.0)


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    folder = tmp_path / "set"
    jsonl(
        folder / "corpus.jsonl",
        [
            {"_id": "MED-1", "title": "Statins", "text": "They lower LDL.", "metadata": {}},
            {"_id": "med-1", "title": "", "text": "Another."},
            {"_id": "a/../b.txt", "title": "", "text": "Third."},
            {"_id": "empty", "title": "", "text": " "},
        ],
    )
    jsonl(folder / "queries.jsonl", [{"_id": "q1", "text": "What lowers LDL?"}, {"_id": "q2", "text": "unjudged"}])
    (folder / "qrels").mkdir()
    (folder / "qrels" / "test.tsv").write_text(
        "query-id\tcorpus-id\tscore\r\nq1\tMED-1\t2\r\nq1\tmed-1\t0\nq1\ta/../b.txt\t1\nq1\tgone\t1\n\n"
    )
    return folder


def test_beir_has_the_judged_queries_with_the_names_of_files(beir: Path, tmp_path: Path) -> None:
    (case,) = read_suite([beir]).cases
    assert (case.id, case.question, case.answerable) == ("q1", "What lowers LDL?", None)
    written = write_corpus(beir, tmp_path / "docs")
    assert (written.documents, written.empty) == (3, ("empty",))
    sources = [file.source for file in scan([tmp_path / "docs"]).files]
    assert len({source.casefold() for source in sources}) == 3
    found = [[source for source in sources if need(passage(source))] for need in needs_of(case)]
    assert [len(sources_) for sources_ in found] == [1, 1, 0]
    assert found[0][0].startswith("MED_1-")
    assert "Statins" in (tmp_path / "docs" / found[0][0]).read_text(encoding="utf-8")


def test_a_beir_split_is_named_by_its_file(beir: Path) -> None:
    test = beir / "qrels" / "test.tsv"
    test.rename(beir / "qrels" / "dev.tsv")
    assert len(read_suite([beir]).cases) == 1
    (beir / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\nq2\tmed-1\t1\n")
    with pytest.raises(InputError, match=r"has the splits dev, train: name one"):
        read_suite([beir])
    assert [case.id for case in read_suite([beir / "qrels" / "train.tsv"]).cases] == ["q2"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ":1: the header must be"),
        ("q1\tMED-1\t1\n", ":1: the header must be"),
        ("query-id\tcorpus-id\tscore\nq1 MED-1 1\n", ":2: expected query id"),
        ("query-id\tcorpus-id\tscore\nq1\tMED-1\tnan\n", ":2: expected query id"),
        ("query-id\tcorpus-id\tscore\nq9\tMED-1\t1\n", ":2: the query 'q9' is not in"),
        ("query-id\tcorpus-id\tscore\nq1\tMED-1\t0\n", "judges no document relevant"),
    ],
)
def test_malformed_judgements(beir: Path, text: str, message: str) -> None:
    (beir / "qrels" / "test.tsv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_suite([beir])


CONTEXT = "The Orrin was built in 1987.  She carries 214 passengers. In 1987 a fare was 2 crowns."


def squad(folder: Path, questions: list[dict[str, Any]], context: str = CONTEXT) -> Path:
    article = {"title": "MV_Orrin", "paragraphs": [{"context": context, "qas": questions}]}
    file = folder / "dev.json"
    file.write_text(json.dumps({"version": "v2.0", "data": [article]}), encoding="utf-8")
    return file


def answer(text: str, start: int) -> dict[str, Any]:
    return {"text": text, "answer_start": start}


def test_squad_quotes_the_sentence_of_each_answer(tmp_path: Path) -> None:
    second = CONTEXT.index("1987", 30)
    answers = [answer("1987", 23), answer("1987", second), answer("in 1987", 20)]
    file = squad(
        tmp_path,
        [
            {"id": "1", "question": " When was it built? ", "answers": answers, "is_impossible": False},
            {"id": "2", "question": "Who built it?", "answers": [], "is_impossible": True, "plausible_answers": []},
        ],
    )
    one, two = read_cases(file)
    assert (one.kind, one.question, one.answers) == ("answerable", "When was it built?", ("1987", "in 1987"))
    assert one.gold_quotes == ("The Orrin was built in 1987.", "In 1987 a fare was 2 crowns.")
    assert (one.gold_docs, one.cluster) == (("MV_Orrin#000",), "MV_Orrin")
    assert (two.kind, two.answerable, two.gold_docs) == ("near_miss", False, ())
    assert dict(corpus_names(file)) == {"MV_Orrin#000": "MV_Orrin#000"}


@given(st.integers(0, 300), st.integers(0, 300), st.integers(1, 30))
def test_a_long_sentence_is_cut_around_the_answer(before: int, behind: int, length: int) -> None:
    context = f"{'word ' * before}{'x' * length}{' word' * behind}"
    asked = {"id": "1", "question": "q?", "answers": [answer("x" * length, 5 * before)]}
    row = {"title": "T", "paragraphs": [{"context": context, "qas": [asked]}]}
    (case,) = read_squad([Row(where="here", data=row)])
    (quote,) = case.gold_quotes
    assert "x" * length in quote
    assert quote in context
    assert len(quote) <= QUOTE + 1
    assert set(quote.split()) <= {"word", "x" * length}


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ({"id": "1", "question": "q?"}, "'answers' is null"),
        ({"id": "1", "question": "q?", "answers": [answer("1987", 3)]}, "'answer_start' is 3"),
        ({"id": "1", "question": "q?", "answers": [answer("The", -1)]}, "'answer_start' is -1"),
        ({"id": "1", "question": "q?", "answers": [{"text": "1987"}]}, "'answer_start' is null"),
        ({"id": "1", "question": "q?", "is_impossible": "no"}, "'is_impossible' is"),
        ({"question": "q?"}, "no 'id'"),
    ],
)
def test_malformed_squad(tmp_path: Path, question: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_cases(squad(tmp_path, [question]))


def test_a_squad_file_without_questions(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no questions"):
        read_suite([squad(tmp_path, [])])


def test_the_same_id_twice_in_a_squad_file(tmp_path: Path) -> None:
    row = {"id": "1", "question": "q?", "is_impossible": True}
    with pytest.raises(InputError, match="the id '1' is in"):
        read_cases(squad(tmp_path, [row, row]))


def test_questions_with_a_corpus_beside_them(tmp_path: Path) -> None:
    jsonl(tmp_path / "my_corpus.jsonl", [{"id": "War#001", "text": "one"}, {"id": "x/y", "text": "two", "title": "T"}])
    rows = [
        {"id": "a", "question": "q?", "kind": "answerable_disfluent", "gold_docs": ["War#001"], "about_doc": "War#001"},
        {"id": "b", "question": "r?", "kind": "answerable", "gold_docs": ["x/y"]},
    ]
    questions = jsonl(tmp_path / "my_questions.jsonl", rows)
    first, second = read_suite([questions]).cases
    assert (first.gold_docs, first.answerable) == (("War#001",), True)
    write_corpus(questions, tmp_path / "docs")
    assert (tmp_path / "docs" / f"{second.gold_docs[0]}{SUFFIX}").is_file()
    jsonl(questions, [{"id": "a", "question": "q?", "gold_docs": ["none"]}])
    with pytest.raises(InputError, match=r"'none', which .*my_corpus\.jsonl lacks"):
        read_cases(questions)


AWKWARD = ["..", ".hidden", "a/b", "b", "a\\b", "CON", "nul.x", "x" * 300, "é", "e\u0301", "A", "a", "doc.txt", "doc",
           "doc.", "a b", "-x", "node_modules", "", "x\ny", "\ud800", "b.html", "1.2.3", "?", "*", "a:b"]  # fmt: skip


@given(st.lists(st.one_of(st.sampled_from(AWKWARD), st.text(max_size=12)), unique=True))
def test_names_are_files_that_only_their_own_gold_document_matches(ids: list[str]) -> None:
    names = document_names(ids)
    assert list(names) == ids
    assert len({name.casefold() for name in names.values()}) == len(ids)
    for name in names.values():
        assert name
        assert not name.startswith((".", "-"))
        assert len(name) <= 100
        assert PurePosixPath(name).name == name
        assert not set(name) & set('\\/:*?"<>| \n')
        matched = [other for other in names.values() if _of(name, other + SUFFIX)]
        assert matched == [name]


def _of(name: str, source: str) -> bool:
    (need,) = needs_of(Case(id="i", question="q", kind="answerable", gold_docs=(name,)))
    return need(passage(source)) and need(passage(f"below/{source}"))


def test_safe_names_stay_as_they_are() -> None:
    ids = ["French_and_Indian_War#025", "MED-10", "4983", "PLAIN-1.2", "S001"]
    assert document_names(ids) == {id_: id_ for id_ in ids}
    with pytest.raises(InputError, match="'a' is in the corpus 2 times"):
        document_names(["a", "b", "a"])


@pytest.mark.parametrize(
    "text",
    [
        "Plain text.",
        "See *stars* and _lines_ stay, # so does this, 1 < 2 & 3 > 2 &amp; <b>tags</b>.",
        "Half a pair \ud800 and a bell \x07 are made harmless.",
        "Two paragraphs.\n\nThe second one.",
    ],
)
def test_what_is_ingested_is_the_text_as_it_was(text: str) -> None:
    document = CorpusDocument(id="d", text=text, title="A <title>")
    ((source, content),) = document_files([document], {"d": "d"})
    parsed = parse_bytes(content.encode(), source)
    title, *rest = parsed.elements
    assert (title.kind, title.text) == ("title", "A <title>")
    wanted = text.replace("\ud800", "\ufffd").replace("\x07", " ")
    assert " ".join(" ".join(part.text for part in rest).split()) == " ".join(wanted.split())


def test_the_command_writes_a_corpus_into_an_empty_folder_only(beir: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    result = runner.invoke(app, ["corpus", str(beir), "--out", str(tmp_path / "docs"), "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"out": str(tmp_path / "docs"), "documents": 3, "empty": ["empty"]}
    again = runner.invoke(app, ["corpus", str(beir), "--out", str(tmp_path / "docs")])
    assert isinstance(again.exception, InputError)
    assert "holds other files" in str(again.exception)
    (tmp_path / "file").write_text("x")
    taken = runner.invoke(app, ["corpus", str(beir), "--out", str(tmp_path / "file")])
    assert "cannot be written" in str(taken.exception)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("cases.jsonl", '{"id": "a", "question": "q"}', "has no corpus"),
        ("list.json", "[1, 2]", "is one JSON list"),
        ("bad.json", '{"data": 3}', "'data' is 3"),
        ("none.json", None, "cannot be read"),
    ],
)
def test_what_has_no_corpus(tmp_path: Path, name: str, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        write_corpus(tmp_path / name, tmp_path / "docs")


def test_json_lines_are_no_squad_file(tmp_path: Path) -> None:
    assert squad_articles(jsonl(tmp_path / "a.jsonl", [{"id": "a", "question": "q", "data": []}])) is None


def test_a_folder_that_is_no_set(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no suite"):
        read_suite([tmp_path])
    with pytest.raises(InputError, match="is no BEIR folder"):
        write_corpus(tmp_path, tmp_path / "docs")
