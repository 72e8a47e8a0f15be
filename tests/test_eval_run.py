"""Runs: what is written, what is not generated again, and how a failure is kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eval.errors import InputError
from eval.run import RANKED, model_facts, run_cases, run_facts
from eval.types import Case, Record
from ingest.embed import HashEmbedder
from ingest.index import open_index
from ingest.pipeline import ingest
from prompts.types import Message
from rag.chat import RagChat
from rag.errors import ModelError
from rag.model import ScriptedModel
from rag.retriever import Retriever
from rag.settings import Settings

CASES = (
    Case(id="boats", question="How many passengers does the MV Orrin carry?"),
    Case(id="crew", question="Who is the chief engineer?"),
    Case(id="pets", question="Where must cats stay?"),
)
MODEL = {"name": "scripted", "bytes": 0}


class Run:
    """A chat with a scripted model, its answers file, and what the progress callback was told."""

    def __init__(self, retriever: Retriever, file: Path, settings: Settings | None = None) -> None:
        self.model = ScriptedModel(["The MV Orrin carries 214 passengers [1]."])
        self.chat = RagChat(retriever, self.model, settings or Settings())
        self.file = file
        self.told: list[tuple[int, int]] = []

    def __call__(self, cases: tuple[Case, ...] = CASES) -> list[Record]:
        facts = run_facts(self.chat, MODEL)
        return run_cases(self.chat, cases, self.file, facts, lambda done, total: self.told.append((done, total)))


@pytest.fixture(scope="module")
def retriever(ferry_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Retriever]:
    """One index for all runs: they only read it."""
    embedder = HashEmbedder()
    with open_index(str(tmp_path_factory.mktemp("run") / "index"), embedder, create=True) as index:
        ingest([ferry_folder], index, embedder, workers=1)
        yield Retriever(index, embedder)


@pytest.fixture
def run(retriever: Retriever, tmp_path: Path) -> Run:
    return Run(retriever, tmp_path / "out" / "answers.jsonl")


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_a_line_has_what_ask_prints_and_more(run: Run) -> None:
    records = run()
    assert [record.id for record in records] == ["boats", "crew", "pets"]
    assert run.told == [(0, 3), (1, 3), (2, 3), (3, 3)]
    (first, *_) = lines(run.file)
    wanted = {
        "id",
        "key",
        "question",
        "answer",
        "refused",
        "citations",
        "passages",
        "usage",
        "timings",
        "retrieved",
    }
    assert wanted <= set(first)
    assert records[0].refused is False
    assert records[0].passages[0].text == first["passages"][0]["text"]
    assert records[0].retrieved is not None
    assert 0 < len(records[0].retrieved) <= RANKED


def test_nothing_is_generated_twice(run: Run) -> None:
    once = run()
    assert run() == once
    assert len(run.model.prompts) == 3
    assert run.told[-1] == (3, 3)


def test_strange_characters_survive_the_file(run: Run) -> None:
    run.model.answers = ("Cats \u2028 must stay \x85 in a carrier [1].",)
    once = run()
    assert "\u2028" in once[2].answer
    assert run() == once
    assert len(run.model.prompts) == 3


def test_half_a_surrogate_pair_is_written_as_json(run: Run) -> None:
    (record,) = run((Case(id="odd", question="Who is the \ud800 engineer?"),))
    assert record.id == "odd"


def test_a_killed_run_is_taken_up_where_it_broke_off(run: Run) -> None:
    once = run()
    whole = run.file.read_text(encoding="utf-8").splitlines(keepends=True)
    run.file.write_text(whole[0] + whole[1][:40], encoding="utf-8")
    again = run()
    assert [record.answer for record in again] == [record.answer for record in once]
    assert len(run.model.prompts) == 5
    assert [line["id"] for line in lines(run.file)] == ["boats", "crew", "pets"]


def test_settings_that_matter_and_the_question_make_the_key(run: Run, retriever: Retriever) -> None:
    run()
    same = Run(retriever, run.file, Settings(threads=3, index="elsewhere"))
    same()
    assert same.model.prompts == []
    other = Run(retriever, run.file, Settings(k=1))
    other()
    assert len(other.model.prompts) == 3
    other((replace(CASES[0], question="How many passengers does the MV Pip carry?"),))
    assert len(other.model.prompts) == 4


def test_a_failure_is_kept_and_tried_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(run.model, "stream", _broken)
        assert [record.error for record in run()] == ["out of memory"] * 3
    assert [record.error for record in run()] == [""] * 3


def test_a_defect_in_one_answer_does_not_lose_the_others(run: Run) -> None:
    run.model.answers = ()  # the script's modulo then raises ZeroDivisionError
    records = run()
    assert all(record.error.startswith("ZeroDivisionError") for record in records)


def test_no_cases_and_a_folder_that_cannot_be_made(run: Run, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no cases"):
        run(())
    (tmp_path / "file").write_text("")
    run.file = tmp_path / "file" / "answers.jsonl"
    with pytest.raises(InputError, match="--out"):
        run()


def test_a_follow_up_is_ranked_as_it_was_searched_for(run: Run) -> None:
    past = (
        Message(role="user", content="Who is the chief engineer of the company?"),
        Message(role="assistant", content="The chief engineer is Marit Solheim."),
    )
    run((Case(id="she", question="When did she join?", history=past),))
    (line,) = lines(run.file)
    assert line["standalone"].startswith(past[0].content)
    assert line["retrieved"][0]["source"] == "crew.md"


def test_a_model_is_known_by_name_and_size(tmp_path: Path) -> None:
    file = tmp_path / "m.gguf"
    file.write_bytes(b"GGUF1234")
    model = ScriptedModel(["unused"])
    assert model_facts(str(file), model) == {"name": "scripted", "bytes": 8}
    assert model_facts("http://127.0.0.1:1/v1", model) == {"name": "scripted", "bytes": None}


def _broken(*_: object) -> None:
    raise ModelError("out of memory")
