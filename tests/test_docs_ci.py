"""The files in docs/ci: what they say is run, as a user's repository would run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from eval.gate import read_gate
from rag.cli.main import app

CI = Path(__file__).resolve().parent.parent / "docs" / "ci"
CASES = [
    {"id": "a", "question": "How many passengers does the MV Orrin carry?", "kind": "answerable", "answers": ["214"],
     "gold_docs": ["boats.md"]},
    {"id": "b", "question": "What is the capital of Australia?", "kind": "far_ood"},
]  # fmt: skip


@pytest.fixture
def project(tmp_path: Path, ferry_folder: Path) -> Path:
    """A user's repository: documents, cases, and the files of docs/ci."""
    (tmp_path / "docs").symlink_to(ferry_folder)
    folder = tmp_path / "rag-eval"
    folder.mkdir()
    for name in ("rag-eval.sh", "gate.toml"):
        (folder / name).write_text((CI / name).read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "cases.jsonl").write_text("".join(json.dumps(case) + "\n" for case in CASES), encoding="utf-8")
    return tmp_path


def test_the_script_answers_gates_and_keeps_a_report(project: Path) -> None:
    def evaluate(**settings: str) -> subprocess.CompletedProcess[str]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, **settings}
        command = ["sh", "rag-eval/rag-eval.sh"]
        return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)

    passed = evaluate()
    assert passed.returncode == 0, passed.stderr
    report = project / "reports" / "rag-eval"
    assert "**Gate passed**" in (report / "summary.md").read_text(encoding="utf-8")
    assert {"report.html", "junit.xml", "report.json"} <= {file.name for file in report.iterdir()}
    answered = (report / "answers.jsonl").read_bytes()

    (project / "rag-eval" / "strict.toml").write_text("[invariants]\nover_refusal = 0.5\n", encoding="utf-8")
    failed = evaluate(GATE="rag-eval/strict.toml", BASELINE="reports/rag-eval/report.json")
    assert failed.returncode == 1, failed.stderr
    assert "gate failed: invariant over_refusal" in failed.stderr
    assert (report / "answers.jsonl").read_bytes() == answered

    assert evaluate(GATE="rag-eval/none.toml").returncode == 2


def test_the_first_gate_can_be_read_and_its_hints_are_bounds_too(tmp_path: Path) -> None:
    text = (CI / "gate.toml").read_text(encoding="utf-8")
    assert read_gate(CI / "gate.toml", None).invariants["control_tokens_kept"] == 1
    hints = [line.removeprefix("# ") for line in text.splitlines()[1:] if line.startswith(("# [", "# ")) and line[2:]]
    (tmp_path / "gate.toml").write_text("\n".join(hints), encoding="utf-8")
    gate = read_gate(tmp_path / "gate.toml", 0.77)
    assert gate.floors
    assert gate.ceilings
    assert gate.regressions


def test_the_workflow_runs_the_script_and_keeps_what_it_writes() -> None:
    workflow = yaml.safe_load((CI / "rag-eval.yml").read_text(encoding="utf-8"))
    steps = workflow["jobs"]["rag-eval"]["steps"]
    runs = " ".join(step.get("run", "") for step in steps)
    assert "sh rag-eval/rag-eval.sh" in runs
    assert "reports/rag-eval/summary.md" in runs
    assert any(step.get("with", {}).get("path") == "reports/rag-eval" for step in steps)
    assert {step.get("if") for step in steps[-2:]} == {"always()"}


def test_every_command_of_the_script_exists() -> None:
    lines = (line.split() for line in (CI / "rag-eval.sh").read_text(encoding="utf-8").splitlines())
    used = [words[1:] for words in lines if words[:1] == ["rag"]]
    assert used
    for first, *rest in used:
        command = get_command(app).commands[first]  # type: ignore[attr-defined]
        if hasattr(command, "commands"):
            assert rest[0] in command.commands
