"""``rag eval``: one object on stdout, progress elsewhere, exit codes that scripts can trust."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from report_support import HOSTILE, report_of
from typer.testing import CliRunner, Result

from eval.errors import EvalError, GateError, InputError
from eval.judging import Judged, write_reports
from eval.saved import read_report
from ingest.embed import HashEmbedder
from ingest.index import open_index
from ingest.pipeline import ingest
from rag.cli.eval_parts import show_markdown
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


def test_score_writes_every_report(files: tuple[str, str], tmp_path: Path) -> None:
    answers, cases = files
    out = tmp_path / "deep" / "out"
    result = invoke("score", answers, "--cases", cases, "--json", "--out", str(out))
    assert result.exit_code == 0, result.output
    assert {file.name for file in out.iterdir()} == {"report.json", "report.html", "summary.md", "junit.xml"}
    assert json.loads((out / "report.json").read_text(encoding="utf-8")) == json.loads(result.stdout)
    assert (out / "summary.md").read_text(encoding="utf-8").startswith("# Evaluation: 2 cases, 0 errors")
    assert "How many passengers" in (out / "report.html").read_text(encoding="utf-8")
    assert "report.html" in result.stderr


def test_the_last_step_judges_as_the_second_did(files: tuple[str, str], tmp_path: Path) -> None:
    answers, cases = files
    out = str(tmp_path / "out")
    assert invoke("score", answers, "--cases", cases, "--out", out).exit_code == 0
    for text, code in (("[floors]\ngroundedness = 0.1", 0), ("[invariants]\nexact_match = 1.0", 1)):
        bounds = gate(tmp_path, text)
        scored = invoke("score", answers, "--cases", cases, "--gate", bounds, "--json")
        for report in (out, f"{out}/report.json"):
            gated = invoke("gate", report, "--gate", bounds, "--json")
            assert (gated.exit_code, scored.exit_code) == (code, code), gated.output
            assert json.loads(gated.stdout)["gate"] == json.loads(scored.stdout)["gate"]
    shown = invoke("gate", out, "--gate", bounds)
    assert "| invariant exact_match | FAIL |" in shown.stdout
    assert "gate failed: invariant exact_match" in shown.stderr


def test_a_baseline_is_compared_and_gated(files: tuple[str, str], tmp_path: Path) -> None:
    answers, cases = files
    before, after = str(tmp_path / "before"), str(tmp_path / "after")
    invoke("score", answers, "--cases", cases, "--out", before)
    worse = jsonl(tmp_path / "worse.jsonl", [{**ANSWERS[0], "answer": "It carries 60 passengers [1]."}, ANSWERS[1]])
    result = invoke("score", worse, "--cases", cases, "--out", after, "--baseline", before, "--json")
    assert result.exit_code == 0, result.output
    flips = json.loads(result.stdout)["comparison"]["flips"]
    assert {"id": "a", "metric": "answer_recall", "before": 1.0, "after": 0.0} in flips
    assert "answer_recall 1 → 0" in (tmp_path / "after" / "summary.md").read_text(encoding="utf-8")
    assert "Flipped against the baseline" in (tmp_path / "after" / "report.html").read_text(encoding="utf-8")
    bounds = gate(tmp_path, "[invariants]\nerrors = 0")
    gated = invoke("gate", after, "--gate", bounds, "--baseline", f"{before}/report.json", "--json")
    assert json.loads(gated.stdout)["comparison"]["flips"] == flips
    small = gate(tmp_path, "[regressions]\nanswer_recall = 0.01")
    assert "answer_recall" in error_of(invoke("gate", after, "--gate", small, "--baseline", before), GateError)
    assert "baseline" in error_of(invoke("gate", after, "--gate", small), GateError)
    assert "cannot be read" in error_of(invoke("gate", after, "--gate", bounds, "--baseline", "none"), InputError)
    assert "cannot be read" in error_of(invoke("gate", "none", "--gate", bounds), InputError)


def test_a_report_that_was_not_measured_cannot_gate_what_a_verifier_judged(tmp_path: Path) -> None:
    report = report_of(facts={"judge": {"name": "mine", "balanced_accuracy": None}})
    write_reports(tmp_path, Judged(report=report))
    judged = gate(tmp_path, "[floors]\ngroundedness = 0.1")
    assert "groundedness cannot gate" in error_of(invoke("gate", str(tmp_path), "--gate", judged), GateError)
    assert invoke("gate", str(tmp_path), "--gate", gate(tmp_path, "[floors]\nf1 = 0.01")).exit_code == 0


def test_saved_files_are_the_old_or_the_new_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_reports(tmp_path, Judged(report=report_of("old")))
    old = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert set(old) == {"report.json", "report.html", "summary.md", "junit.xml"}

    def killed(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            write_reports(tmp_path, Judged(report=report_of("new")))
    assert {name: (tmp_path / name).read_bytes() for name in old} == old
    write_reports(tmp_path, Judged(report=report_of("new")))
    assert {file.name for file in tmp_path.iterdir()} == set(old)
    assert b"wrong new" in (tmp_path / "report.json").read_bytes()


@pytest.mark.parametrize("text", ["plain", HOSTILE])
def test_what_is_saved_is_read_back(tmp_path: Path, text: str) -> None:
    report = report_of(text)
    write_reports(tmp_path, Judged(report=report))
    again = read_report(tmp_path)
    assert again.metrics == report.metrics
    assert [result.scores for result in again.results] == [result.scores for result in report.results]
    assert [result.case.id for result in again.results] == [result.case.id for result in report.results]
    for name in ("report.html", "summary.md", "junit.xml"):
        (tmp_path / name).read_text(encoding="utf-8")


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        write_reports(tmp_path / "file", Judged(report=report_of()))


def test_a_person_at_a_terminal_sees_tables(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "# Title\n\n| a | b |\n|---|---|\n| \\| x | y |\n"
    show_markdown(text)
    assert capsys.readouterr().out == text
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    show_markdown(text)
    shown = capsys.readouterr().out
    assert "Title" in shown
    assert "| x" in shown
    assert "|---|" not in shown


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
    monkeypatch.setattr("rag.chat.open_model", lambda *_, **__: model)
    monkeypatch.setattr("eval.prompt_facts.control_ids", lambda _: frozenset({256, 257}))
    out = tmp_path / "out"
    args = ["run", files[1], "--index", str(index), "--model", str(tmp_path / "m.gguf"), "--out", str(out)]
    args += ["--gate", gate(tmp_path, "[floors]\nanswer_recall = 0.01"), "--json"]
    result = invoke(*args)
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert data["metrics"]["answer_recall"]["value"] == 1.0
    assert (data["facts"]["model"]["name"], data["facts"]["model"]["bytes"]) == ("scripted", 4)
    assert data["metrics"]["control_tokens_kept"]["value"] == 1.0
    assert {"run.json", "cases.jsonl", "answers.jsonl", "report.json", "report.html", "summary.md", "junit.xml"} <= {
        file.name for file in out.iterdir()
    }
    again = invoke(*args)
    assert json.loads(again.stdout)["metrics"] == data["metrics"]
    scored = invoke("score", str(out / "answers.jsonl"), "--cases", files[1], "--json")
    assert json.loads(scored.stdout)["metrics"] == data["metrics"]
