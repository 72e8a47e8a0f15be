"""Runs: what is written, what is not generated again, and how a failure is kept."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import eval_support
import pytest
from conftest import ROOT
from eval_support import CASES as MANY
from eval_support import EchoModel, memory_chat
from prompts_support import load_smollm2
from typer.testing import CliRunner, Result

from eval.cases import case_json, read_cases
from eval.errors import InputError
from eval.folder import claimed
from eval.manifest import model_facts, read_manifest, run_facts
from eval.prompt_facts import control_ids, prompt_facts
from eval.run import RANKED, run_cases, run_into
from eval.types import Case, Record
from ingest.embed import HashEmbedder
from ingest.index import open_index
from ingest.pipeline import ingest
from prompts.types import Message
from rag.chat import RagChat, open_model
from rag.cli.evaluate import app
from rag.cli.output import progress
from rag.errors import ModelError
from rag.model import ByteTokenizer, ScriptedModel
from rag.retriever import Retriever
from rag.settings import Settings

CASES = (
    Case(id="boats", question="How many passengers does the MV Orrin carry?"),
    Case(id="crew", question="Who is the chief engineer?"),
    Case(id="pets", question="Where must cats stay?"),
)
MODEL = {"name": "scripted", "bytes": 0}
CONTROLS = frozenset(control.id for control in ByteTokenizer.controls)


class Run:
    """A chat with a scripted model, its answers file, and what the progress callback was told."""

    def __init__(self, retriever: Retriever, file: Path, settings: Settings | None = None) -> None:
        self.model = ScriptedModel(["The MV Orrin carries 214 passengers [1]."])
        self.chat = RagChat(retriever, self.model, settings or Settings())
        self.file = file
        self.told: list[tuple[int, int]] = []

    def __call__(self, cases: tuple[Case, ...] = CASES) -> list[Record]:
        facts = run_facts(self.chat, MODEL)
        told = self.told.append
        return run_cases(self.chat, cases, self.file, facts, lambda done, total: told((done, total)), CONTROLS)


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
        "prompt",
        "search",
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


def _broken(*_: object) -> None:
    raise ModelError("out of memory")


def test_an_answer_is_made_once_whatever_its_case_is_called(run: Run) -> None:
    run((CASES[0], replace(CASES[0], id="twin")))
    run((replace(CASES[0], id="other name"),))
    assert len(run.model.prompts) == 1
    assert [line["id"] for line in lines(run.file)] == ["other name"]


def test_the_order_of_the_cases_makes_no_difference(tmp_path: Path) -> None:
    forward, backward = (_records(tmp_path / name, cases) for name, cases in (("a", MANY), ("b", MANY[::-1])))
    assert forward == backward[::-1]


def test_a_run_that_is_taken_up_gives_the_same_lines(tmp_path: Path) -> None:
    whole = _records(tmp_path / "whole", MANY)
    _records(tmp_path / "parts", MANY[1:3])
    file = tmp_path / "parts" / "answers.jsonl"
    file.write_bytes(file.read_bytes() + b'{"id": "c0", "key": "12')
    assert _records(tmp_path / "parts", MANY) == whole


def test_a_run_that_is_killed_keeps_what_it_had(tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    command = [sys.executable, eval_support.__file__, str(file), "3"]
    with subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}) as killed:
        while not file.is_file() or file.read_bytes().count(b"\n") < 3:
            assert killed.poll() is None, "the run ended by itself"
            time.sleep(0.05)
        killed.kill()
    model = EchoModel()
    chat = memory_chat(model)
    records = run_cases(chat, MANY, file, run_facts(chat, {"name": "echo"}), lambda done, total: None)
    assert len(model.prompts) == 2
    assert [record.id for record in records] == [case.id for case in MANY]
    assert all(record.answer for record in records)


def test_a_full_disk_is_one_clear_line(tmp_path: Path) -> None:
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000));"
        "from pathlib import Path; import eval_support; eval_support.run_slowly(Path(sys.argv[1]), 9)"
    )
    file = tmp_path / "answers.jsonl"
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, env=env, check=False)
    assert "InputError" in done.stderr.splitlines()[-1]
    assert "File too large" in done.stderr.splitlines()[-1]
    chat = memory_chat(EchoModel())
    records = run_cases(chat, MANY, file, run_facts(chat, {"name": "echo"}), lambda done, total: None)
    assert 0 < len(chat.model.prompts) < len(MANY)  # type: ignore[attr-defined]
    assert all(record.answer for record in records)


def test_a_real_model_remembers_nothing_of_the_case_before(tmp_path: Path) -> None:
    settings = Settings(min_relevance=0.0, k=1, max_answer_tokens=8, context_window=512)
    model = open_model(settings)
    chat = RagChat(memory_chat(EchoModel()).retriever, model, settings)
    found = []
    for name, cases in (("forward", MANY[:2]), ("backward", MANY[1::-1])):
        file = tmp_path / name / "answers.jsonl"
        run_cases(
            chat, cases, file, run_facts(chat, {"name": "packaged"}), lambda done, total: None, control_ids(settings)
        )
        found.append({line["id"]: {**line, "timings": None} for line in lines(file)})
    model.close()
    assert found[0] == found[1]
    assert [line["usage"]["reused_tokens"] for line in found[0].values()] == [0, 0]
    assert all(line["prompt"]["control_tokens"] == 5 for line in found[0].values())


def test_damaged_lines_are_answered_again(run: Run) -> None:
    run()
    whole = run.file.read_bytes().splitlines(keepends=True)
    damaged = whole[1].replace(b"214", b"2\xff4", 1)
    deep = b"[" * 100_000 + b"\n"
    run.file.write_bytes(b"null\n7\n" + deep + whole[0] + damaged + whole[2])
    assert [record.id for record in run()] == ["boats", "crew", "pets"]
    assert len(run.model.prompts) == 4
    assert len(lines(run.file)) == 3


def test_half_pairs_come_through_the_file(run: Run) -> None:
    run(CASES[:1])
    run.file.write_bytes(run.file.read_bytes().replace(b" 214 ", b" 2\\ud8004 "))
    for _ in range(2):
        (record,) = run(CASES[:1])
        assert "carries 2\ud8004 passengers" in record.answer
    assert len(run.model.prompts) == 1
    assert b"2\\ud8004" in run.file.read_bytes()


def test_a_prompt_is_told_with_its_control_tokens(run: Run) -> None:
    question = "How many passengers does the MV Orrin <|im_end|> carry?"
    run((CASES[0], Case(id="tag", question=question)))
    plain, tagged = (line["prompt"] for line in lines(run.file))
    for prompt in (plain, tagged):
        # ChatML: a beginning and an end around each of two messages, and the beginning of the answer.
        assert prompt["control_tokens"] == prompt["template_tokens"] == 5
        assert prompt["tokens"] + prompt["reserved_tokens"] <= prompt["context_window"] == 8192
    assert plain["tokens"] == lines(run.file)[0]["usage"]["prompt_tokens"]
    assert plain["sha256"] != tagged["sha256"]
    ids = ",".join(str(id_) for id_ in run.model.prompts[0].token_ids)
    assert plain["sha256"] == hashlib.sha256(ids.encode()).hexdigest()


def test_a_leaked_control_token_shows(run: Run) -> None:
    run()
    prompt = run.model.prompts[0]
    leaked = replace(prompt, token_ids=(*prompt.token_ids, 257))
    facts = prompt_facts(leaked, run.model, 256, CONTROLS)
    assert facts is not None
    assert (facts.control_tokens, facts.template_tokens) == (6, 5)


def test_without_a_model_there_is_no_prompt(retriever: Retriever, tmp_path: Path) -> None:
    never = Run(retriever, tmp_path / "answers.jsonl", Settings(min_relevance=1.0))
    never(CASES[:1])
    assert lines(never.file)[0]["prompt"] is None
    assert never.model.prompts == []


def test_control_tokens_are_those_of_the_vocabulary() -> None:
    found = control_ids(Settings())
    vocabulary = load_smollm2()
    assert {
        vocabulary.tokenize(tag, add_bos=False, special=True)[0] for tag in (b"<|im_start|>", b"<|im_end|>")
    } <= found
    assert not found.intersection(vocabulary.tokenize(b"A plain text of 12 words", add_bos=False, special=False))
    assert control_ids(Settings(model="http://127.0.0.1:1/v1")) == frozenset()


def test_a_model_is_known_by_its_file_and_not_by_its_place(tmp_path: Path) -> None:
    content = b"GGUF" + bytes(5_000_000)
    first, moved, other = (tmp_path / name for name in ("m.gguf", "moved.gguf", "other.gguf"))
    first.write_bytes(content)
    moved.write_bytes(content)
    other.write_bytes(content[:-1] + b"\x01")
    model = ScriptedModel(["unused"])
    facts = [model_facts(Settings(model=str(file)), model) for file in (first, moved, other)]
    assert facts[0] == facts[1] != facts[2]
    assert (facts[0]["name"], facts[0]["bytes"]) == ("scripted", 5_000_004)
    assert model_facts(Settings(model="http://127.0.0.1:1/v1"), model)["digest"] is None


def test_a_folder_tells_what_the_run_was_made_with(tmp_path: Path) -> None:
    model = _file(tmp_path)
    chat = memory_chat(EchoModel(), Settings(min_relevance=0.0, model=str(model), index="somewhere", threads=3))
    records, facts = run_into(tmp_path, chat, MANY, CONTROLS, lambda done, total: None)
    manifest = read_manifest(tmp_path)
    assert facts == {**manifest.facts, "machine": manifest.machine}
    assert manifest.machine["threads"] == 3
    assert manifest.places == {
        "index": "somewhere",
        "collection": "default",
        "model": str(model),
        "tokenizer": "",
        "abstention": "",
    }
    assert manifest.facts["settings"]["k"] == 5
    assert manifest.cases["count"] == len(records) == len(MANY)
    assert manifest.cases["sha256"] == hashlib.sha256((tmp_path / "cases.jsonl").read_bytes()).hexdigest()
    assert read_cases(tmp_path / "cases.jsonl") == MANY


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read"),
        ("{", "no JSON"),
        ("[]", "not of format"),
        ('{"format": 9}', "not of format"),
        ('{"format": 1, "facts": {}}', "has no machine"),
    ],
)
def test_a_manifest_that_cannot_be_used(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "run.json").write_text(text)
    with pytest.raises(InputError, match=message):
        read_manifest(tmp_path)


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    out = tmp_path / "a" / "b"
    with (
        claimed(out),
        pytest.raises(InputError, match=rf"another run \(pid {os.getpid()}\) is writing to"),
        claimed(out),
    ):
        pytest.fail("the folder was claimed twice")
    with claimed(out):
        assert out.is_dir()
    assert list(out.iterdir()) == []


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Callable[..., Result], EchoModel]:
    """``rag eval run`` with a scripted model, cases and folder given; and the model."""
    model = EchoModel()
    rows = [case_json(case) for case in MANY] + [{"id": "draft", "question": "Why?", "draft": True}]
    (tmp_path / "cases.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    @contextmanager
    def open_chat(settings: Settings) -> Iterator[RagChat]:
        yield memory_chat(model, replace(settings, min_relevance=0.0))

    monkeypatch.setattr("rag.cli.parts.open_chat", open_chat)
    monkeypatch.setattr("eval.prompt_facts.control_ids", lambda _: CONTROLS)
    fixed = ["run", str(tmp_path / "cases.jsonl"), "--model", str(_file(tmp_path)), "--out", str(tmp_path / "out")]
    return lambda *args: CliRunner().invoke(app, [*fixed, *args]), model


def test_the_command_leaves_all_that_the_next_steps_need(
    command: tuple[Callable[..., Result], EchoModel], tmp_path: Path
) -> None:
    run_, model = command
    first = run_("--json")
    assert first.exit_code == 0, first.output
    assert "1 drafts are left out" in first.stderr
    out = tmp_path / "out"
    assert read_cases(out / "cases.jsonl") == MANY
    scored = CliRunner().invoke(
        app, ["score", str(out / "answers.jsonl"), "--cases", str(out / "cases.jsonl"), "--json"]
    )
    metrics = json.loads(first.stdout)["metrics"]
    assert json.loads(scored.stdout)["metrics"] == metrics
    assert metrics["control_tokens_kept"]["n"] == metrics["within_budget"]["n"] == len(MANY)
    bounds = tmp_path / "gate.toml"
    bounds.write_text("[invariants]\nerrors = 0\ncontrol_tokens_kept = 1\n[regressions]\n")
    assert CliRunner().invoke(app, ["gate", str(out), "--gate", str(bounds)]).exit_code == 0
    again = run_("--json", "--gate", str(bounds), "--baseline", str(out))
    assert again.exit_code == 0, again.output
    assert len(model.prompts) == len(MANY)


def test_the_command_where_it_cannot_write(command: tuple[Callable[..., Result], EchoModel], tmp_path: Path) -> None:
    run_, model = command
    (tmp_path / "out").write_text("a file")
    assert isinstance(error := run_().exception, InputError)
    assert "cannot be written" in str(error)
    assert model.prompts == []


def test_the_time_left_goes_by_what_this_run_has_answered(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([100.0, 130.0, 160.0, 190.0])
    monkeypatch.setattr("rag.cli.output.time.monotonic", lambda: next(clock))
    with progress("answering", "cases") as show:
        for done in (20, 24, 36, 40):
            show(done, 40, "")
    assert capsys.readouterr().err.splitlines() == [
        "answering: 20 of 40 cases",
        "answering: 24 of 40 cases, about 2 min left",
        "answering: 36 of 40 cases, about 15 s left",
        "answering: 40 of 40 cases",
    ]


def test_ctrl_c_keeps_what_was_answered(tmp_path: Path) -> None:
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import contextlib, eval_support, eval.prompt_facts, rag.cli.parts\n"
        "@contextlib.contextmanager\n"
        "def open_chat(settings):\n"
        "    yield eval_support.memory_chat(eval_support.EchoModel(slow_after=2), settings)\n"
        "rag.cli.parts.open_chat, eval.prompt_facts.control_ids = open_chat, lambda _: frozenset()\n"
        "from rag.cli.main import main; main()\n"
    )
    cases, out = tmp_path / "cases.jsonl", tmp_path / "out"
    cases.write_text("".join(json.dumps(case_json(case)) + "\n" for case in MANY))
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", "RAG_MIN_RELEVANCE": "0"}
    command = [
        sys.executable,
        "-c",
        code,
        "eval",
        "run",
        str(cases),
        "--model",
        str(_file(tmp_path)),
        "--out",
        str(out),
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env, cwd=tmp_path) as stopped:
        file = out / "answers.jsonl"
        while not file.is_file() or file.read_bytes().count(b"\n") < 2:
            assert stopped.poll() is None, stopped.communicate()[1]
            time.sleep(0.05)
        stopped.send_signal(signal.SIGINT)
        _, told = stopped.communicate()
    assert stopped.returncode == 130
    assert "answering: " in told
    assert "what was answered is kept in" in told.splitlines()[-1]
    assert [line["id"] for line in lines(file)] == ["c0", "c1"]
    assert not (out / ".lock").exists()


def _file(tmp_path: Path) -> Path:
    file = tmp_path / "m.gguf"
    file.write_bytes(b"GGUF")
    return file


def _records(folder: Path, cases: tuple[Case, ...]) -> list[dict[str, Any]]:
    """The lines of a run, without their timings."""
    chat = memory_chat(EchoModel())
    run_cases(chat, cases, folder / "answers.jsonl", run_facts(chat, {"name": "echo"}), lambda done, total: None)
    return [{**line, "timings": None} for line in lines(folder / "answers.jsonl")]
