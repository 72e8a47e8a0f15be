"""Files of cases, suites and answers: read strictly, with the place of every error."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from eval.cases import case_json, read_cases, read_suite
from eval.errors import GateError, InputError
from eval.records import read_records

ROOT = Path(__file__).resolve().parent.parent
CASES = ROOT / "data" / "eval" / "cases.jsonl"


def written(folder: Path, text: str, name: str = "cases.jsonl") -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def test_the_projects_own_cases() -> None:
    cases = read_cases(CASES)
    kinds = [case.kind for case in cases]
    assert (kinds.count("answerable"), kinds.count("near_miss"), kinds.count("far_ood")) == (138, 42, 20)
    assert all(case.answerable is bool(case.answers) for case in cases)


def test_unknown_fields_are_left_alone_and_only_two_are_required(tmp_path: Path) -> None:
    (case,) = read_cases(written(tmp_path, '\n{"id": "a", "question": "q?", "source": "squad", "about_doc": "x"}\n'))
    assert (case.id, case.kind, case.history) == ("a", "", ())


def test_only_a_line_feed_ends_a_line(tmp_path: Path) -> None:
    text = '{"id": "a", "question": "one\u2028two\x85three"}\r\n{"id": "b", "question": "q"}'
    assert [case.id for case in read_cases(written(tmp_path, text))] == ["a", "b"]


def test_history_becomes_messages(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes?"}]
    (case,) = read_cases(written(tmp_path, json.dumps({"id": "a", "question": "q", "history": turns})))
    assert [(turn.role, turn.content) for turn in case.history] == [("user", "hi"), ("assistant", "yes?")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        ('{"id": "a", "question": "q"}\n{', ":2: this is no JSON"),
        ("[1]", "is one JSON list"),
        ("[1]\n[2]", ":1: this is no JSON object"),
        ('{"question": "q"}', "no 'id'"),
        ('{"id": "a"}', "no 'question'"),
        ('{"id": "a", "question": " "}', "'question' is"),
        ('{"id": 1, "question": "q"}', "'id' is 1"),
        ('{"id": "a", "question": null}', "'question' is null"),
        ('{"id": "a", "question": "q", "answers": "x"}', "'answers' is"),
        ('{"id": "a", "question": "q", "gold_quotes": [""]}', "'gold_quotes' is"),
        ('{"id": "a", "question": "q"}\n\n{"id": "a", "question": "r"}', ":3: the id 'a' is also at"),
        ('{"id": "a", "question": "q", "history": [{"role": "user", "content": "x"}]}', "whole turns"),
        ('{"id": "a", "question": "q", "history": [{"role": "system", "content": "x"}]}', "'role' is"),
        ('{"id": "a", "question": "q", "history": [1]}', "'history' is"),
    ],
)
def test_every_error_says_where(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_cases(written(tmp_path, text))


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_cases(tmp_path / "none.jsonl")
    (tmp_path / "latin.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="not UTF-8"):
        read_cases(tmp_path / "latin.jsonl")


def test_the_same_id_in_two_files(tmp_path: Path) -> None:
    one = written(tmp_path, '{"id": "a", "question": "q"}')
    with pytest.raises(InputError, match="already: ids must be unique"):
        read_suite([one, one])


FIVE = "".join(json.dumps({"id": str(number), "question": "q"}) + "\n" for number in range(5))
DIGEST = hashlib.sha256(FIVE.encode()).hexdigest()


def suite(folder: Path, text: str) -> Path:
    written(folder, FIVE)
    return written(folder, text, "suite.toml")


def test_a_suite_takes_every_stride_th_case(tmp_path: Path) -> None:
    text = f'cases = "cases.jsonl"\nsha256 = "{DIGEST}"\nstride = 2\noffset = 1\n[settings]\nk = 3\n'
    found = read_suite([suite(tmp_path, text)])
    assert [case.id for case in found.cases] == ["1", "3"]
    assert found.flags({"k": None, "mode": None}) == {"k": 3, "mode": None}
    assert found.flags({"k": 7}) == {"k": 7}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[[", "cannot be read"),
        ('cases = "cases.jsonl"', "sha256 is not that of"),
        (f'cases = "cases.jsonl"\nsha256 = "{DIGEST}"\nlimit = 3', "unknown keys limit"),
        (f'cases = "cases.jsonl"\nsha256 = "{DIGEST}"\nstride = 0', "stride must be"),
        (f'cases = "cases.jsonl"\nsha256 = "{DIGEST}"\nstride = "2"', "stride is '2'"),
        (f'cases = "cases.jsonl"\nsha256 = "{DIGEST}"\n[settings]\nindex = "x"', "unknown keys index"),
        (f'sha256 = "{DIGEST}"', "must name a JSONL file"),
    ],
)
def test_a_malformed_suite(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(GateError, match=message):
        read_suite([suite(tmp_path, text)])


def test_answers_need_little(tmp_path: Path) -> None:
    rows = [
        {"id": "a", "answer": "x", "passages": [{"text": "one"}, {"text": "two"}]},
        {
            "id": "b",
            "answer": "",
            "passages": [],
            "refused": True,
            "timings": {"first_token_ms": None, "total_ms": 2},
        },
        {"id": "c", "error": "broke"},
    ]
    found = read_records(written(tmp_path, "".join(json.dumps(row) + "\n" for row in rows)))
    assert [passage.number for passage in found["a"].passages] == [1, 2]
    assert found["a"].retrieved is None
    assert found["b"].refused is True
    assert found["b"].timings == {"total_ms": 2.0}
    assert found["c"].error == "broke"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"id": "a", "passages": []}', "no 'answer'"),
        ('{"id": "a", "answer": "x"}', "'passages' is"),
        ('{"id": "a", "answer": "x", "passages": [{}]}', r"passages\[0\]: no 'text'"),
        ('{"id": "a", "answer": "x", "passages": [], "refused": "no"}', "'refused' is"),
        ('{"id": "a", "answer": "x", "passages": [{"text": "t", "number": true}]}', "'number' is true"),
        ('{"id": "a", "answer": "x", "passages": [], "citations": [{}]}', "'number' is null"),
        ('{"id": "a", "answer": "x", "passages": [], "usage": 3}', "'usage' is 3"),
    ],
)
def test_malformed_answers(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_records(written(tmp_path, text))


def test_new_fields_are_read_and_written_back(tmp_path: Path) -> None:
    row = {"id": "a", "question": "q?", "kind": "gold_removed", "hidden": ["the fare is 2"], "tags": ["derived"]}
    (case,) = read_cases(written(tmp_path, json.dumps(row)))
    assert (case.hidden, case.draft, case.answerable) == (("the fare is 2",), False, False)
    assert case_json(case) == row
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes?"}]
    (case,) = read_cases(written(tmp_path, json.dumps({"id": "a", "question": "q", "history": turns})))
    assert case_json(case)["history"] == turns


def test_drafts_are_never_counted(tmp_path: Path) -> None:
    rows = [{"id": str(number), "question": "q", "draft": number % 2 == 0} for number in range(5)]
    file = written(tmp_path, "".join(json.dumps(row) + "\n" for row in rows))
    found = read_suite([file])
    assert ([case.id for case in found.cases], found.drafts) == (["1", "3"], 3)
    assert read_cases(file) == found.cases
    only = written(tmp_path, json.dumps(rows[0]), "drafts.jsonl")
    for read in (lambda: read_suite([only]), lambda: read_cases(only)):
        with pytest.raises(InputError, match=r"all 1 cases are drafts.*rag eval accept"):
            read()


def test_a_suite_folder_with_several_files_and_kinds(tmp_path: Path) -> None:
    files = {}
    for name, kind in (("one", "answerable"), ("two", "near_miss")):
        rows = [{"id": f"{name}{number}", "question": "q", "kind": kind} for number in range(3)]
        file = written(tmp_path, "".join(json.dumps(row) + "\n" for row in rows), f"{name}.jsonl")
        files[file.name] = hashlib.sha256(file.read_bytes()).hexdigest()
    table = "[files]\n" + "".join(f'"{name}" = "{digest}"\n' for name, digest in files.items())
    written(tmp_path, f"stride = 2\n{table}", "suite.toml")
    assert [case.id for case in read_suite([tmp_path]).cases] == ["one0", "one2", "two1"]
    written(tmp_path, f'kinds = ["near_miss"]\n{table}', "suite.toml")
    assert [case.id for case in read_suite([tmp_path]).cases] == ["two0", "two1", "two2"]
    written(tmp_path, f'kinds = ["far_ood"]\n{table}', "suite.toml")
    with pytest.raises(GateError, match="no case is of the kind 'far_ood': there are answerable, near_miss"):
        read_suite([tmp_path])
    written(tmp_path, table.replace(files["two.jsonl"], "0" * 64), "suite.toml")
    with pytest.raises(GateError, match=f"set it to {files['two.jsonl']}"):
        read_suite([tmp_path])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f'cases = "cases.jsonl"\n[files]\n"cases.jsonl" = "{DIGEST}"', "in place of cases"),
        ("files = []", "files must be a table"),
        ("[files]", "files must be a table"),
        (f'cases = "cases.jsonl"\nsha256 = "{DIGEST}"\nkinds = "answerable"', "kinds must be a list"),
        (f'cases = "cases.jsonl"\nsha256 = "{DIGEST}"\nstride = 9\noffset = 8', "leave no case"),
    ],
)
def test_a_suite_that_picks_wrongly(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(GateError, match=message):
        read_suite([suite(tmp_path, text)])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"id": "a", "question": "q", "draft": "yes"}', "'draft' is"),
        ('{"id": "a", "question": "q", "hidden": [""]}', "'hidden' is"),
        ('{"id": "a", "question": "half \\ud800"}', "half a surrogate pair"),
        ('{"id": "a", "question": "q", "answers": ["\\udfff"]}', "half a surrogate pair"),
        ('{"id": "a", "question": ' + "[" * 100_000, "this is no JSON"),
    ],
)
def test_bad_new_fields(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_suite([written(tmp_path, text)])


def test_a_byte_order_mark_is_no_error(tmp_path: Path) -> None:
    (case,) = read_cases(written(tmp_path, '\ufeff{"id": "a", "question": "q"}'))
    assert case.id == "a"
