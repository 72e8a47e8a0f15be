"""Filters and collections as the chat and the commands take them; the embedder and the model are fakes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ingest_support import parse_files_here, write_files
from typer.testing import CliRunner

from ingest import pipeline
from ingest.edge_index import EdgeIndex
from ingest.embed import HashEmbedder
from ingest.errors import FieldError
from ingest.fields import parse_meta
from ingest.filters import parse_filters
from prompts.wording import load_wording
from rag import RagChat, Retriever, Settings
from rag.cli.main import app
from rag.errors import SettingsError
from rag.model import ScriptedModel
from rag.settings import resolve

ORRIN = "How many passengers does the MV Orrin carry?"
SAID = "The MV Orrin carries 214 passengers [1]."


@pytest.fixture
def chat(ferry_retriever: Retriever) -> RagChat:
    return RagChat(ferry_retriever, ScriptedModel([SAID] * 9), Settings(k=5, min_relevance=0.2))


def test_an_answer_rests_on_what_passes(chat: RagChat) -> None:
    answer = chat.ask(ORRIN, filters=parse_filters(["type=markdown"]))
    assert not answer.refused
    assert {passage.source for passage in answer.passages} == {"crew.md", "boats.md"}
    retrieval, context = chat.prepare(ORRIN, filters=parse_filters(["source=pets.txt"]))
    assert {hit.chunk.source for hit in retrieval.hits} == {"pets.txt"}
    assert {passage.source for passage in context.passages} == {"pets.txt"}


@pytest.mark.parametrize("filter_", ["path=nowhere/", "source=pets.txt"])
def test_a_refusal_names_the_filter(chat: RagChat, filter_: str) -> None:
    answer = chat.ask("Quantum chromodynamics lattices?", filters=parse_filters([filter_]))
    assert (answer.refused, answer.text) == (True, load_wording().refusal)
    assert filter_ in answer.why
    anything = RagChat(chat.retriever, chat.model, Settings(k=5, min_relevance=0.0))
    assert "path=nowhere" in anything.ask(ORRIN, filters=parse_filters(["path=nowhere"])).why
    assert "path" not in chat.ask("Quantum chromodynamics lattices?").why


def test_passages_of_earlier_turns_that_do_not_pass_are_not_used_again(chat: RagChat) -> None:
    first = chat.ask(ORRIN)
    assert "boats.md" in {passage.source for passage in first.conversation.turns[-1].passages}
    _, context = chat.prepare("And the Pip?", first.conversation)
    assert "boats.md" in {passage.source for passage in context.passages}
    _, context = chat.prepare("And the Pip?", first.conversation, filters=parse_filters(["source=pets.txt"]))
    assert {passage.source for passage in context.passages} == {"pets.txt"}


def test_an_unknown_field_is_an_error_of_the_question(chat: RagChat, ferry_index: EdgeIndex) -> None:
    ferry_index.catalogue.give(["crew.md"], parse_meta(["team=Sea"]))
    with pytest.raises(FieldError, match="team"):
        chat.ask(ORRIN, filters=parse_filters(["crew=Sea"]))


@pytest.fixture(autouse=True)
def _light(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "parse_files", parse_files_here)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with documents, and fakes in place of the models."""
    for name in ("RAG_INDEX", "RAG_COLLECTION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ingest.embed.open_embedder", lambda _: HashEmbedder())
    monkeypatch.setattr("rag.chat.open_embedder", lambda _: HashEmbedder())
    monkeypatch.setattr("rag.models.check_model", lambda _: None)
    monkeypatch.setattr("rag.chat.open_model", lambda *_, **__: ScriptedModel([SAID] * 9))
    write_files(
        tmp_path / "docs", {"boats.md": "---\nteam: Sea\n---\nThe MV Orrin carries 214 passengers.", "a.txt": "Dogs."}
    )
    return tmp_path


def run(*arguments: str, code: int = 0, text: str = "") -> Any:
    done = CliRunner().invoke(app, list(arguments), input=text)
    assert done.exit_code == code, done.output
    return done


def data(*arguments: str, code: int = 0) -> Any:
    return json.loads(run(*arguments, "--json", code=code).stdout)


def test_fields_from_ingest_to_every_command_that_searches(home: Path) -> None:
    assert data("ingest", "docs", "--meta", "lang=en", "--meta", "lang=fr")["documents"]["added"] == 2
    listed = data("docs", "list")["documents"]
    assert [item["fields"] for item in listed] == [{"lang": ["en", "fr"]}, {"lang": ["en", "fr"], "team": ["Sea"]}]
    assert [item["source"] for item in data("docs", "list", "--filter", "team=Sea")["documents"]] == ["boats.md"]
    only = ("--filter", "team=Sea", "--filter", "lang=fr")
    assert {hit["source"] for hit in data("search", "dogs", *only)["hits"]} == {"boats.md"}
    assert {passage["source"] for passage in data("ask", ORRIN, *only)["passages"]} == {"boats.md"}
    assert "214 passengers" in run("ask", ORRIN, *only).stdout
    assert "214 passengers" in data("prompt", ORRIN, *only)["text"]
    assert "214 passengers" not in data("prompt", ORRIN, "--filter", "type=text")["text"]
    line = run("chat", "--no-log", "--json", *only, text=f"{ORRIN}\n").stdout
    assert {passage["source"] for passage in json.loads(line)["passages"]} == {"boats.md"}
    batch = home / "batch.jsonl"
    batch.write_text(json.dumps({"id": 1, "question": ORRIN}))
    assert data("ask", "--batch", str(batch), "--filter", "type=text")["refused"]
    assert data("ingest", "docs", "--meta", "lang=")["documents"]["unchanged"] == 2
    assert [item["fields"] for item in data("docs", "list")["documents"]] == [{}, {"team": ["Sea"]}]


def test_a_filter_that_nothing_passes_is_told(home: Path) -> None:
    run("ingest", "docs")
    done = run("search", "dogs", "--filter", "type=pdf", "--json")
    assert json.loads(done.stdout)["hits"] == []
    assert "nothing was found in documents with type=pdf" in done.stderr
    assert "nothing" not in run("search", "dogs", "--filter", "type=text").stderr
    assert "type=pdf" in data("ask", ORRIN, "--filter", "type=pdf")["why"]
    for command in ("search", "ask", "prompt"):
        done = CliRunner().invoke(app, [command, ORRIN, "--filter", "tem=Sea"])
        assert isinstance(done.exception, FieldError)
        assert str(done.exception) == "no document has a field 'tem': there are source, path, type, date, team"


def test_collections_are_apart(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("ingest", "docs")
    assert "collections/animals" in run("ingest", "docs/a.txt", "--collection", "animals").stdout
    found = data("docs", "collections")
    assert [(item["name"], item["documents"], item["chunks"]) for item in found["collections"]] == [
        ("default", 2, 2),
        ("animals", 1, 1),
    ]
    assert "animals" in run("docs", "collections").stdout
    monkeypatch.setenv("RAG_COLLECTION", "animals")
    assert [item["source"] for item in data("docs", "list")["documents"]] == ["a.txt"]
    assert {hit["source"] for hit in data("search", "passengers")["hits"]} == {"a.txt"}
    assert len(data("docs", "list", "--collection", "default")["documents"]) == 2
    settings = resolve({}, {"RAG_COLLECTION": "animals"}).settings
    assert settings.location == ".rag/index/collections/animals"
    with RagChat.from_settings(settings).retriever.index as index:  # type: ignore[attr-defined]
        assert [document.source for document in index.documents()] == ["a.txt"]


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "x" * 65])
def test_a_collection_of_an_unsafe_name_is_no_setting(name: str) -> None:
    with pytest.raises(SettingsError, match="64 letters"):
        resolve({"collection": name}, {})
