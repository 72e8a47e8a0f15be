"""The command as a user runs it: a real process, the real models, the sample corpus."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import FERRY, Rag

from ingest.embed import HashEmbedder
from ingest.index import open_index


def loaded(text: str) -> dict[str, Any]:
    value = json.loads(text)
    assert isinstance(value, dict)
    return value


def test_ingest_then_nothing_to_do_then_list_and_remove(rag: Rag, ferry_folder: Path, tmp_path: Path) -> None:
    index = str(tmp_path / "index")
    first = rag("ingest", str(ferry_folder), "--index", index, "--json")
    report = loaded(first.stdout)
    assert first.returncode == 0, first.stderr
    assert report["documents"]["added"] == 3
    assert report["coverage"] == 1.0
    again = loaded(rag("ingest", str(ferry_folder), "--index", index, "--json").stdout)
    assert (again["documents"]["unchanged"], again["chunks"]) == (3, 0)
    listed = loaded(rag("docs", "list", "--index", index, "--json").stdout)
    assert [document["source"] for document in listed["documents"]] == sorted(FERRY)
    assert rag("docs", "verify", "--index", index).returncode == 0
    assert rag("docs", "remove", "crew.md", "--index", index).returncode == 0
    found = loaded(rag("search", "chief engineer", "--index", index, "--json").stdout)
    assert all("Solheim" not in hit["text"] for hit in found["hits"])


def test_the_demo_makes_its_own_index_again_and_no_other(rag: Rag, tmp_path: Path) -> None:
    for folder in (".rag/demo", "mine"):
        with open_index(str(tmp_path / folder), HashEmbedder(16), create=True) as index:
            index.catalogue.set_meta({"format": "1"})
    kept = tmp_path / ".rag" / "demo" / "collections" / "mine" / "catalogue.sqlite3"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"another collection")
    other = rag("demo", "--index", "mine", cwd=tmp_path)
    assert (other.returncode, other.stdout) == (2, "")
    assert "the index in mine was made with format '1'" in other.stderr
    done = rag("demo", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "made by another version or with another embedder: it is made again" in done.stderr
    assert done.stdout.count("\n> ") == 3
    assert kept.read_bytes() == b"another collection"
    again = rag("demo", cwd=tmp_path)
    assert "made again" not in again.stderr
    assert "unchanged" in again.stdout


def test_a_bad_file_is_named_and_the_rest_is_done(rag: Rag, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "good.txt").write_text("The harbour fee is twelve crowns.")
    (docs / "broken.pdf").write_bytes(b"%PDF-1.7 garbage")
    (docs / "photo.png").write_bytes(b"\x89PNG")
    done = rag("ingest", str(docs), "--index", str(tmp_path / "index"), "--json")
    report = loaded(done.stdout)
    assert done.returncode == 1
    assert report["documents"]["added"] == 1
    assert [failure["source"] for failure in report["documents"]["failed"]] == ["broken.pdf", "photo.png"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("ingest", "nowhere"), "nowhere does not exist"),
        (("ingest", "empty"), "no files in empty"),
        (("ask", "Why?", "--index", "none"), "no index in none: run 'rag ingest"),
        (("ask", "Why?", "--model", "no.gguf"), "no model file no.gguf"),
        (("ask", "Why?", "--model", "text.txt"), "not a GGUF file"),
        (("ask", "Why?", "--embedder", "nobody/nothing"), "is not on this machine"),
        (("ask",), "give either a question or --batch"),
        (("ask", "  "), "the question is empty"),
        (("search", "x", "-k", "0"), "k is 0: it must be from 1 to 100"),
        (("search", "x", "--mode", "magic"), "choose one of hybrid, dense, sparse"),
        (("search", "--batch", "text.txt"), "text.txt, line 1"),
        (("search", "x", "--filter", "colour", "--index", "none"), "write KEY=VALUE"),
        (("search", "x", "--collection", "../up", "--index", "none"), "collection '../up'"),
        (("ask", "x", "--index", "http://localhost:1"), "start the Qdrant server, or check the URL"),
        (("docs", "list", "--index", "text.txt"), "text.txt"),
    ],
)
def test_bad_use_is_one_line_with_the_remedy_and_exit_2(
    rag: Rag, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.txt").write_text("just text\n")
    done = rag(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert said in done.stderr
    assert done.stderr.startswith("rag: error: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "none").exists()


def test_an_index_of_another_embedder_is_refused(rag: Rag, tmp_path: Path) -> None:
    open_index(str(tmp_path / "index"), HashEmbedder(), create=True).close()
    done = rag("search", "x", "--index", str(tmp_path / "index"))
    assert done.returncode == 2
    assert "was made with embedder 'hash-64'" in done.stderr


def test_an_index_that_is_open_elsewhere_names_the_process(rag: Rag, tmp_path: Path) -> None:
    import os

    with open_index(str(tmp_path / "index"), HashEmbedder(), create=True):
        done = rag("search", "x", "--index", str(tmp_path / "index"))
    assert done.returncode == 2
    assert f"in use by another process (pid {os.getpid()})" in done.stderr


def test_ask_answers_from_the_corpus_with_a_citation_that_resolves(rag: Rag, corpus_index: Path) -> None:
    done = rag("ask", "How many months between annual inspections?", "--index", str(corpus_index), "--json")
    answer = loaded(done.stdout)
    assert done.returncode == 0, done.stderr
    assert "14 months" in answer["answer"]
    assert answer["refused"] is False
    passages = {passage["number"]: passage for passage in answer["passages"]}
    assert answer["citations"]
    for citation in answer["citations"]:
        passage = passages[citation["number"]]
        at = citation["start"] - passage["start"]
        assert passage["text"][at : at + len(citation["quote"])] == citation["quote"]


def test_ask_refuses_what_the_corpus_does_not_hold(rag: Rag, corpus_index: Path) -> None:
    done = rag("ask", "What is the capital of Australia?", "--index", str(corpus_index))
    assert done.returncode == 0
    assert done.stdout.startswith("I cannot answer this from the given documents.")


def test_prompt_shows_what_would_be_sent_and_what_it_costs(rag: Rag, corpus_index: Path) -> None:
    done = rag("prompt", "How long is the hotline open?", "--index", str(corpus_index), "--json")
    shown = loaded(done.stdout)
    kept = sum(entry["tokens"] for entry in shown["ledger"] if entry["action"] != "dropped")
    assert kept == len(shown["token_ids"])
    assert len(shown["token_ids"]) + shown["reserved_tokens"] <= shown["context_window"]
    assert "How long is the hotline open?" in shown["text"]


def test_batches_print_one_object_a_line_in_order(rag: Rag, corpus_index: Path, tmp_path: Path) -> None:
    questions = ["first remedy for E-17?", "holidays a year?"]
    batch = tmp_path / "batch.jsonl"
    batch.write_text("".join(json.dumps({"id": i, "question": q}) + "\n" for i, q in enumerate(questions)))
    done = rag("search", "--batch", str(batch), "--index", str(corpus_index), "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["id"], row["query"]) for row in rows] == list(enumerate(questions))


def test_a_question_that_cannot_be_asked_does_not_stop_the_batch(rag: Rag, corpus_index: Path, tmp_path: Path) -> None:
    questions = ["hotline " * 3000, "What is the capital of Australia?"]
    batch = tmp_path / "batch.jsonl"
    batch.write_text("".join(json.dumps({"id": i, "question": q}) + "\n" for i, q in enumerate(questions)))
    done = rag(
        "ask",
        "--batch",
        str(batch),
        "--index",
        str(corpus_index),
        "--context-window",
        "512",
        "--max-answer-tokens",
        "64",
    )
    first, second = (json.loads(line) for line in done.stdout.splitlines())
    assert done.returncode == 1
    assert "window of 512" in first["error"]
    assert second["refused"] is True


def test_why_not_finds_the_stage(rag: Rag, corpus_index: Path) -> None:
    index = ("--index", str(corpus_index))
    found = rag("why-not", "http-api.html", "Restores archived readings.", *index)
    assert (found.returncode, found.stdout.split(":")[0]) == (0, "found")
    lost = rag("why-not", "http-api.html", "no such words are in it", *index)
    assert (lost.returncode, lost.stdout.split(":")[0]) == (1, "parse")
    asked = ("--question", "Which method restores archived readings and expunges?", "--passage-tokens", "64")
    cut = rag("why-not", "http-api.html", "Expunging is carried out after a delay of 48 hours", *asked, *index)
    assert (cut.returncode, cut.stdout.split(":")[0]) == (1, "budget")


def test_config_doctor_and_models_answer_in_json(rag: Rag, corpus_index: Path, tmp_path: Path) -> None:
    config = loaded(rag("config", "--json", cwd=tmp_path, RAG_K="9").stdout)
    assert config["k"] == {"value": 9, "from": "environment"}
    doctor = loaded(rag("doctor", "--json", "--index", str(corpus_index)).stdout)
    assert doctor["ok"] is True
    assert {check["name"] for check in doctor["checks"]} >= {"embedder", "model", "prompt format", "index"}
    assert loaded(rag("models", "list", "--json").stdout)["models"]


def test_a_conversation_ends_with_its_input(rag: Rag, corpus_index: Path) -> None:
    done = rag("chat", "--index", str(corpus_index))
    assert done.returncode == 0, done.stderr
