"""Replays: the same answer from what was recorded, and what differs when something has changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from eval_support import CASES, TEXTS, EchoModel, MemoryIndex, memory_chat
from typer.testing import CliRunner, Result

from eval.errors import InputError
from eval.replay import changes, finds_the_same, read_recorded, recorded_settings, replay
from eval.run import run_into
from eval.types import Case
from ingest.edge_index import EdgeIndex
from ingest.embed import HashEmbedder
from ingest.errors import IndexMissingError
from ingest.pipeline import ingest
from prompts.types import Message
from rag.chat import RagChat
from rag.cli.evaluate import app
from rag.model import ByteTokenizer, ScriptedModel
from rag.retriever import Retriever
from rag.settings import Settings

CONTROLS = frozenset(control.id for control in ByteTokenizer.controls)
PAST = (
    Message(role="user", content="How many passengers does boat 3 carry?"),
    Message(role="assistant", content="Boat 3 carries 103 passengers [1]."),
)
ASKED = (
    *CASES,
    Case(id="hidden", question=CASES[3].question, hidden=("boat 3",)),
    Case(id="after", question="And does it carry dogs?", history=PAST),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a finished run."""
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    settings = Settings(min_relevance=0.0, k=3, threads=2, model=str(tmp_path / "m.gguf"), index=str(tmp_path / "ix"))
    run_into(tmp_path, memory_chat(EchoModel(), settings), ASKED, CONTROLS, lambda done, total: None)
    return tmp_path


def made_again(folder: Path, id_: str, model: ScriptedModel | None = None) -> Any:
    recorded = read_recorded(folder, id_)
    settings = recorded_settings(recorded.manifest, {})
    return replay(recorded, model or EchoModel(), HashEmbedder(), settings)


def edit(file: Path, change: Callable[[Any], None]) -> None:
    data = json.loads(file.read_text())
    change(data)
    file.write_text(json.dumps(data))


@pytest.mark.parametrize("case", ASKED, ids=lambda case: case.id)
def test_every_answer_comes_again_without_the_index(folder: Path, case: Case) -> None:
    model = EchoModel()
    made = made_again(folder, case.id, model)
    assert made.identical
    assert made.changed == ()
    assert len(model.prompts) == 1


def test_passages_that_join_neighbouring_hits_are_joined_again(tmp_path: Path) -> None:
    for name in ("docs", "run"):
        (tmp_path / name).mkdir()
    facts = [
        f"Boat {n} of the harbour carries {100 + n} passengers over the sound every day of the week." for n in range(12)
    ]
    (tmp_path / "docs" / "boats.md").write_text("# Boats\n\n" + "\n\n".join(facts))
    embedder = HashEmbedder()
    settings = Settings(min_relevance=0.0, min_confidence=0.0, k=4, model=str(tmp_path / "m.gguf"))
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    case = Case(id="joined", question="How many passengers do the boats of the harbour carry?")
    with EdgeIndex(tmp_path / "index", embedder, create=True) as index:
        ingest([tmp_path / "docs"], index, embedder)
        chat = RagChat(Retriever(index, embedder), ScriptedModel([facts[0]]), settings)
        (record,), _ = run_into(tmp_path / "run", chat, [case], CONTROLS, lambda done, total: None)
        joined = [
            p for p in record.passages if not any(p.text in hit.text for hit in index.chunks_of(index.documents()[0]))
        ]
    assert joined
    assert made_again(tmp_path / "run", "joined", ScriptedModel([facts[0]])).differences == ()


def test_settings_are_those_of_then(folder: Path) -> None:
    manifest = read_recorded(folder, "c0").manifest
    settings = recorded_settings(manifest, {"threads": None})
    assert (settings.k, settings.threads, settings.min_relevance) == (3, 2, 0.0)
    assert recorded_settings(manifest, {"threads": 7, "index": "x"}) == replace(settings, threads=7, index="x")


def test_another_answer_is_told_part_by_part(folder: Path) -> None:
    made = made_again(folder, "c0", ScriptedModel(["The boat 1 carries 101 passengers [2]."]))
    assert [difference.part for difference in made.differences] == ["answer", "citations"]
    assert "100 passengers" in made.differences[0].before
    assert "101 passengers" in made.differences[0].after


def test_what_has_changed_is_named(folder: Path) -> None:
    (folder / "m.gguf").write_bytes(b"GGUF of another training")

    def older(manifest: Any) -> None:
        manifest["facts"]["versions"]["llama-cpp-python"] = "0.0.1"
        manifest["facts"]["wording"] = "0" * 64

    edit(folder / "run.json", older)
    made = made_again(folder, "c0")
    assert made.identical
    names = [change.split(" was ")[0] for change in made.changed]
    assert names == ["model.bytes", "model.digest", "wording", "versions.llama-cpp-python"]


def test_the_wording_is_that_of_then(folder: Path) -> None:
    edit(folder / "run.json", lambda manifest: manifest["wording"].update(refusal="No idea."))
    made = made_again(folder, "c0")
    assert [difference.part for difference in made.differences] == ["prompt"]
    assert "No idea." in made.answer.prompt.text


def test_whether_a_search_finds_the_same(folder: Path) -> None:
    recorded = read_recorded(folder, "c3")
    settings = recorded_settings(recorded.manifest, {})
    same, other = (MemoryIndex(texts) for texts in (TEXTS, (*TEXTS, CASES[3].question)))
    assert finds_the_same(recorded, Retriever(same, same.embedder), settings)
    assert not finds_the_same(recorded, Retriever(other, other.embedder), settings)


def test_changes_are_told_by_their_dotted_names() -> None:
    assert changes({"a": {"b": 1, "c": "x"}, "d": 2}, {"a": {"b": 1, "c": "y"}, "e": [1]}) == (
        'a.c was "x", is "y"',
        "d was 2, is null",
        "e was null, is [1]",
    )


def test_what_cannot_be_replayed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(InputError, match="no answer to a case 'c9'"):
        read_recorded(folder, "c9")
    with pytest.raises(InputError, match=r"run\.json cannot be read"):
        read_recorded(tmp_path_factory.mktemp("empty"), "c0")
    answers = folder / "answers.jsonl"
    rows = [json.loads(line) for line in answers.read_text().splitlines()]
    rows[0] = {"id": "c0", "key": "k", "error": "out of memory"}
    del rows[1]["search"]
    rows[2]["search"]["hits"][0].pop("start")
    answers.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(InputError, match=r"answers\.jsonl:1: this case failed \(out of memory\)"):
        read_recorded(folder, "c0")
    for id_ in ("c1", "c2"):
        with pytest.raises(InputError, match="'search' is"):
            made_again(folder, id_)
    edit(folder / "run.json", lambda manifest: manifest["facts"]["settings"].update(unknown=1))
    with pytest.raises(InputError, match="settings are not for this version"):
        made_again(folder, "c3")
    edit(folder / "run.json", lambda manifest: manifest["wording"].update(unknown="x"))
    edit(folder / "run.json", lambda manifest: manifest["facts"]["settings"].pop("unknown"))
    with pytest.raises(InputError, match="wording has other parts"):
        made_again(folder, "c3")


@pytest.fixture
def command(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """``rag eval replay`` with the scripted model and no index."""

    def no_index(location: str, _: object, *, collection: str) -> None:
        assert collection == "default"
        raise IndexMissingError(f"no index in {location}")

    monkeypatch.setattr("ingest.embed.open_embedder", lambda _: HashEmbedder())
    monkeypatch.setattr("ingest.index.open_index", no_index)
    monkeypatch.setattr("rag.chat.open_model", lambda *_, **__: EchoModel())
    return lambda *args: CliRunner().invoke(app, ["replay", *args, "--out", str(folder)])


def test_the_command_says_identical(command: Callable[..., Result]) -> None:
    result = command("c2")
    assert result.exit_code == 0
    assert "identical: c2" in result.stdout
    assert "index: not looked at: no index in" in result.stderr


def test_the_command_shows_the_prompt(command: Callable[..., Result], folder: Path) -> None:
    shown = command("c2", "--show-prompt")
    assert "<|im_start|>system" in shown.stdout
    data = json.loads(command("c2", "--show-prompt", "--json").stdout)
    assert data["identical"] is True
    assert data["prompt"] in shown.stdout
    assert data["answer"]["answer"] == json.loads((folder / "answers.jsonl").read_text().splitlines()[2])["answer"]


def test_the_command_says_what_differs(
    command: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    monkeypatch.setattr(
        "rag.chat.open_model", lambda *_, **__: ScriptedModel(["The boat 1 carries 101 passengers [2]."])
    )
    result = command("c0")
    assert result.exit_code == 1
    assert "answer differs" in result.stdout
    assert "nothing that a run records has changed" in result.stdout
    edit(folder / "run.json", lambda manifest: manifest["facts"].update(code="0"))
    assert "changed since the run: code was" in command("c0").stderr
    data = json.loads(command("c0", "--json").stdout)
    assert [difference["part"] for difference in data["differences"]] == ["answer", "citations"]
    assert asdict(CASES[0])["id"] == data["id"]


def test_the_command_without_such_a_case(command: Callable[..., Result]) -> None:
    assert isinstance(command("c9").exception, InputError)
