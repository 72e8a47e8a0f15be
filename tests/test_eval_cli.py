"""``rag eval``: one object on stdout, progress elsewhere, exit codes that scripts can trust."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from eval.errors import EvalError, GateError, InputError
from ingest.embed import HashEmbedder
from ingest.index import open_index
from ingest.pipeline import ingest
from rag.cli.evaluate import app
from rag.model import ScriptedModel

SENT = [{"number": 1, "text": "The MV Orrin carries 214 passengers. The chief engineer is Marit Solheim."}]
CASES = [
    {
        "id": "a",
        "question": "How many passengers does the MV Orrin carry?",
        "answers": ["214"],
        "kind": "answerable",
    },
    {"id": "b", "question": "Who is the mayor?", "kind": "near_miss"},
]
ANSWERS = [
    {"id": "a", "answer": "It carries 214 passengers [1].", "passages": SENT},
    {"id": "b", "answer": "I don't know.", "passages": SENT},
]


def jsonl(file: Path, rows: list[dict[str, Any]]) -> str:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(file)


def invoke(*args: str) -> Result:
    return CliRunner().invoke(app, args)


def error_of(result: Result, kind: type[EvalError]) -> str:
    assert isinstance(result.exception, kind), result.output
    assert "\n" not in str(result.exception)
    return str(result.exception)


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    return jsonl(tmp_path / "answers.jsonl", ANSWERS), jsonl(tmp_path / "cases.jsonl", CASES)


def gate(tmp_path: Path, text: str) -> str:
    (tmp_path / "gate.toml").write_text(text, encoding="utf-8")
    return str(tmp_path / "gate.toml")


def test_score_prints_one_object(files: tuple[str, str]) -> None:
    answers, cases = files
    result = invoke("score", answers, "--cases", cases, "--json")
    assert result.exit_code == 0
    data = json.loads(result.stdout)
    assert data["metrics"]["groundedness"]["value"] == 1.0
    assert data["metrics"]["groundedness"]["not_applicable"] == 1
    assert data["metrics"]["refusal_f1"]["value"] == 1.0
    assert data["gate"] is None


def test_score_shows_a_table_and_how_good_its_judge_is(files: tuple[str, str]) -> None:
    answers, cases = files
    result = invoke("score", answers, "--cases", cases)
    assert result.exit_code == 0
    assert "| groundedness* | 1.000 |" in result.stdout
    assert "balanced accuracy 0.7" in result.stdout


def test_a_gate_that_fails_exits_1_and_says_which(files: tuple[str, str], tmp_path: Path) -> None:
    answers, cases = files
    passed = invoke("score", answers, "--cases", cases, "--gate", gate(tmp_path, "[invariants]\nerrors = 0"))
    assert passed.exit_code == 0
    result = invoke(
        "score", answers, "--cases", cases, "--json", "--gate", gate(tmp_path, "[floors]\nexact_match = 0.9")
    )
    assert result.exit_code == 1
    assert json.loads(result.stdout)["gate"]["passed"] is False
    assert "gate failed: floor exact_match" in result.stderr


def test_what_cannot_be_evaluated(files: tuple[str, str], tmp_path: Path) -> None:
    answers, cases = files
    assert "cannot be read" in error_of(invoke("score", "none.jsonl", "--cases", cases), InputError)
    empty = jsonl(tmp_path / "empty.jsonl", [])
    assert "is empty" in error_of(invoke("score", empty, "--cases", cases), InputError)
    assert "is empty" in error_of(invoke("run", empty), InputError)
    bad = gate(tmp_path, "[[[")
    assert "gate" in error_of(invoke("run", cases, "--gate", bad, "--model", "no.gguf"), GateError)
    assert invoke("score", answers).exit_code == 2


def test_verify_prints_an_object_a_line(tmp_path: Path) -> None:
    rows = [
        {"id": "x", "claim": "Dogs travel free.", "evidence": "Dogs travel free on the open deck."},
        {
            "id": "y",
            "claim": "The boat carries 340 passengers.",
            "evidence": "The boat carries 214 passengers.",
        },
    ]
    result = invoke("verify", jsonl(tmp_path / "claims.jsonl", rows))
    seen = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(row["id"], row["label"]) for row in seen] == [("x", "supported"), ("y", "contradicted")]
    assert set(seen[0]) == {"id", "label", "p_supported"}
    missing = jsonl(tmp_path / "claims.jsonl", [{"id": "x", "claim": "c"}])
    assert ":1: no 'evidence'" in error_of(invoke("verify", missing), InputError)


def test_run_answers_scores_and_gates(
    files: tuple[str, str], tmp_path: Path, ferry_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = tmp_path / "index"
    with open_index(str(index), HashEmbedder(), create=True) as opened:
        ingest([ferry_folder], opened, HashEmbedder(), workers=1)
    model = ScriptedModel(["The MV Orrin carries 214 passengers [1]."])
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    monkeypatch.setattr("ingest.embed.open_embedder", lambda _: HashEmbedder())
    monkeypatch.setattr("rag.chat.open_model", lambda _: model)
    out = tmp_path / "out"
    args = ["run", files[1], "--index", str(index), "--model", str(tmp_path / "m.gguf"), "--out", str(out)]
    args += ["--gate", gate(tmp_path, "[floors]\nanswer_recall = 0.01"), "--json"]
    result = invoke(*args)
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert data["metrics"]["answer_recall"]["value"] == 1.0
    assert data["facts"]["model"] == {"name": "scripted", "bytes": 4}
    assert {file.name for file in out.iterdir()} == {"answers.jsonl", "report.json", "summary.md"}
    again = invoke(*args)
    assert json.loads(again.stdout)["metrics"] == data["metrics"]
    scored = invoke("score", str(out / "answers.jsonl"), "--cases", files[1], "--json")
    assert json.loads(scored.stdout)["metrics"] == data["metrics"]
