"""The pytest fixture, in test runs of its own: what a user sees, and what is written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from conftest import ROOT

from ingest.embed import HashEmbedder
from ingest.index import open_index
from ingest.pipeline import ingest
from rag.model import ByteTokenizer, ScriptedModel

pytest_plugins = ["pytester"]

CASES = [
    {"id": "boat", "question": "How many passengers does the MV Orrin carry?", "answers": ["214"]},
    {"id": "mayor", "question": "Who is the mayor of the boats?", "kind": "near_miss"},
]
LOW = "[invariants]\nerrors = 0\n[floors]\nanswer_recall = 0.1\n"
HIGH = "[invariants]\nerrors = 0\n[floors]\nf1 = 0.99\n"


@pytest.fixture(scope="module")
def index(ferry_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real index that nobody has open."""
    folder = tmp_path_factory.mktemp("plugin") / "index"
    with open_index(str(folder), HashEmbedder(), create=True) as opened:
        ingest([ferry_folder], opened, HashEmbedder(), workers=1)
    return folder


@pytest.fixture
def model(pytester: pytest.Pytester, index: Path, monkeypatch: pytest.MonkeyPatch) -> ScriptedModel:
    """The model of the inner test runs, which find cases, gates and settings in their folder."""
    scripted = ScriptedModel(["The MV Orrin carries 214 passengers [1]."])
    monkeypatch.setattr("ingest.embed.open_embedder", lambda _: HashEmbedder())
    monkeypatch.setattr("rag.chat.open_model", lambda *_, **__: scripted)
    monkeypatch.setattr("eval.prompt_facts.control_ids", lambda _: {control.id for control in ByteTokenizer.controls})
    for name, text in (("low.toml", LOW), ("high.toml", HIGH), ("broken.toml", "[[[")):
        (pytester.path / name).write_text(text)
    (pytester.path / "cases.jsonl").write_text("".join(json.dumps(case) + "\n" for case in CASES))
    (pytester.path / "m.gguf").write_bytes(b"GGUF")
    (pytester.path / "rag.toml").write_text(
        f"index = {json.dumps(str(index))}\nmodel = 'm.gguf'\nmin_relevance = 0.0\n"
    )
    return scripted


def run(pytester: pytest.Pytester, body: str, *args: str) -> pytest.RunResult:
    pytester.makepyfile(f"def test_docs(rag_eval):\n    {body}\n")
    # By name, whether or not this environment's groundchat was installed with its entry point.
    return pytester.runpytest_inprocess("-p", "no:groundchat", "-p", "eval.pytest_plugin", *args)


def test_a_gate_that_is_met(pytester: pytest.Pytester, model: ScriptedModel) -> None:
    body = (
        "result = rag_eval('cases.jsonl', gate='low.toml', k=2)\n"
        "    assert result.passed and result.failures == () and len(result.checks) == 2\n"
        "    assert result.metrics['answer_recall'] == 1.0 and result.metrics['exact_match'] == 0.0\n"
        "    assert result.report.metrics['answer_recall'].n == 1\n"
        "    assert (result.folder / 'report.json').is_file()"
    )
    run(pytester, body).assert_outcomes(passed=1)
    assert len(model.prompts) == 2
    run(pytester, body).assert_outcomes(passed=1)
    assert len(model.prompts) == 2, "the second session has made the answers again"


def test_a_gate_that_is_not_met(pytester: pytest.Pytester, model: ScriptedModel) -> None:
    result = run(pytester, "rag_eval('cases.jsonl', gate='high.toml')", "--junitxml=junit.xml", "--rag-eval-out=kept")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            ">*rag_eval('cases.jsonl', gate='high.toml')",
            "E*GateFailed: 1 of 2 bounds of high.toml are not met",
            "E*floor f1: 0.*",
            "E*look at kept*report.html",
        ]
    )
    assert "pytest_plugin.py" not in result.stdout.str()
    (failure,) = ElementTree.parse(pytester.path / "junit.xml").iter("failure")
    assert "1 of 2 bounds of high.toml are not met" in failure.attrib["message"]
    assert "floor f1: 0." in failure.attrib["message"]
    (folder,) = (pytester.path / "kept").iterdir()
    assert (folder / "answers.jsonl").is_file()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("'cases.jsonl', gate='broken.toml'", "CannotEvaluate: the gate broken.toml cannot be read"),
        ("'none.jsonl'", "CannotEvaluate: none.jsonl cannot be read"),
        ("[]", "CannotEvaluate: there are no cases"),
        ("'cases.jsonl', k=0", "CannotEvaluate: k is 0"),
        ("'cases.jsonl', judge='nobody'", "CannotEvaluate: unknown verifier 'nobody'"),
        ("'cases.jsonl', indx='x'", "TypeError: rag_eval has no setting indx"),
    ],
)
def test_what_cannot_be_evaluated_is_one_line(
    pytester: pytest.Pytester, model: ScriptedModel, call: str, message: str
) -> None:
    result = run(pytester, f"rag_eval({call})")
    result.assert_outcomes(failed=1)
    assert message in result.stdout.str()
    assert "pytest_plugin.py" not in result.stdout.str()
    assert model.prompts == []


def test_each_way_to_call_it_keeps_its_answers(pytester: pytest.Pytester, model: ScriptedModel) -> None:
    body = (
        "one, two = rag_eval('cases.jsonl', k=1), rag_eval(['cases.jsonl'], k=2)\n"
        "    assert one.folder != two.folder and one.checks == () and one.passed\n"
        "    assert rag_eval('cases.jsonl', k=1).folder == one.folder\n"
        "    assert rag_eval('cases.jsonl', out='here').folder.name == 'here'"
    )
    run(pytester, body, "-p", "no:cacheprovider").assert_outcomes(passed=1)
    assert len(model.prompts) == 6


def test_it_costs_nothing_until_it_is_called() -> None:
    heavy = "{'torch', 'numpy', 'typer', 'rag', 'ingest'}"
    code = f"import sys, eval.pytest_plugin; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
