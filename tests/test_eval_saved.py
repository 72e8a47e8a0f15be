"""A report read back from its file: the same report, or one clear line."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eval.aggregate import make_report
from eval.errors import InputError
from eval.report import report_json
from eval.saved import read_report
from eval.scores import score_cases
from eval.types import Case, Record, Report
from prompts.types import Message
from rag.types import Passage
from rag.verifier import LexicalVerifier

TEXT = "The MV Orrin carries 214 passengers."
SENT = (Passage(number=1, text=TEXT, source="a.md", start=0, end=36, pages=(), headings=(), score=0.0),)
HISTORY = (Message(role="user", content="Hello"), Message(role="assistant", content="Yes?"))
CASES = (
    Case(id="a", question="How many?", kind="answerable", answers=("214",), gold_docs=("a.md",), cluster="x"),
    Case(id="b", question="Who is the mayor?", kind="near_miss", tags=("t",), history=HISTORY),
    Case(id="c", question="And \ud800 this?", answers=("9",)),
)
RECORDS = {
    "a": Record(id="a", answer=f"{TEXT[:-1]} [1].", passages=SENT),
    "b": Record(id="b", answer="I don't know.", refused=True),
}
REPORT = make_report(score_cases(CASES, RECORDS, LexicalVerifier()), {"verifier": "lexical", "settings": {"k": 3}})


def written(folder: Path, data: object) -> Path:
    file = folder / "report.json"
    file.write_bytes(json.dumps(data).encode("utf-8", "backslashreplace"))
    return file


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    file = written(tmp_path, report_json(REPORT))
    found = read_report(tmp_path)
    assert found == read_report(file)
    assert found.metrics == REPORT.metrics
    assert found.facts == REPORT.facts
    assert [result.scores for result in found.results] == [result.scores for result in REPORT.results]
    assert [result.case for result in found.results] == list(CASES)
    assert [result.refused for result in found.results] == [False, True, False]
    assert found.errors == REPORT.errors == 1
    assert make_report(found.results, found.facts).metrics == REPORT.metrics


def test_a_report_of_fewer_metrics_is_read_and_unknown_keys_are_left_alone(tmp_path: Path) -> None:
    data = report_json(REPORT)
    data["new"] = 1
    for table in (data["metrics"], *(result["scores"] for result in data["results"])):
        del table["mrr_at_10"]
    assert "mrr_at_10" not in read_report(written(tmp_path, data)).metrics


Edit = Callable[[dict[str, Any]], object]


def put(value: object, *path: str | int) -> Edit:
    def edit(data: dict[str, Any]) -> None:
        place: Any = data
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = value

    return edit


def drop(*path: str | int) -> Edit:
    def edit(data: dict[str, Any]) -> None:
        place: Any = data
        for name in path[:-1]:
            place = place[name]
        del place[path[-1]]

    return edit


FIRST = ("results", 0)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (drop("results"), "is no report"),
        (drop("metrics"), "is no report"),
        (drop("facts"), "'facts' is null"),
        (put([], "results"), "'results' is empty"),
        (put({}, "results"), "'results' is"),
        (put([1], "results"), "'results' is"),
        (put("b", *FIRST, "id"), r"results\[1\]: the id 'b' is also at"),
        (put(" ", *FIRST, "question"), r"results\[0\]: 'question' is"),
        (drop(*FIRST, "kind"), "no 'kind'"),
        (put("no", *FIRST, "refused"), "'refused' is \"no\""),
        (put([""], *FIRST, "tags"), "'tags' is"),
        (put(3, *FIRST, "gold"), "'gold' is 3"),
        (put([{"role": "system", "content": "x"}], *FIRST, "history"), "'role' is"),
        (drop(*FIRST, "scores"), "'scores' is null"),
        (put({"f1": 1}, *FIRST, "scores"), "'scores' is"),
        (drop(*FIRST, "scores", "f1"), "differ in their scores.*f1"),
        (drop(*FIRST, "scores", "f1", "value"), r"scores.f1: 'value' is null: it must be there"),
        (put(1.5, *FIRST, "scores", "f1", "value"), "'value' is 1.5: it must be a number from 0 to 1"),
        (put(True, *FIRST, "scores", "f1", "value"), "'value' is true"),
        (put("1", *FIRST, "scores", "f1", "value"), "'value' is \"1\""),
        (put(0, *FIRST, "scores", "f1", "weight"), "'weight' is 0"),
        (put(None, *FIRST, "scores", "f1", "weight"), "'weight' is null"),
        (put(-1, *FIRST, "scores", "f1", "weight"), "'weight' is -1"),
        (put(10**400, *FIRST, "scores", "f1", "weight"), "'weight' is 1000"),
        (drop(*FIRST, "scores", "f1", "error"), "'error' is null"),
        (drop(*FIRST, "scores", "f1", "why"), "no 'why'"),
        (put({}, *FIRST, "scores", "bleu"), "'bleu', which is no metric here: the file is of another version"),
        (put({}, "metrics", "bleu"), "'bleu', which is no metric here: the file is of another version"),
        (drop("metrics", "f1"), "'f1' is either a metric without scores"),
        (drop("metrics", "f1", "n"), "'n' is null"),
        (put(-1, "metrics", "f1", "n"), "'n' is -1"),
        (put([0.9, 0.1], "metrics", "f1", "ci95"), "'ci95' is"),
        (put([0.1], "metrics", "f1", "ci95"), "'ci95' is"),
        (put(None, "metrics", "f1", "ci95"), "'ci95' is null"),
        (put([None, 1.0], "metrics", "f1", "ci95"), "'ci95' is"),
        (put(0.123, "metrics", "f1", "value"), r"metrics.f1 is not what the cases come to"),
        (put([0.0, 0.99], "metrics", "f1", "ci95"), r"metrics.f1 is not what the cases come to"),
        (put(999, "metrics", "f1", "n"), r"metrics.f1 is not what the cases come to"),
        (put("boom", *FIRST, "error"), "has an error that its scores do not know of"),
    ],
)
def test_every_error_says_where(tmp_path: Path, edit: Edit, message: str) -> None:
    data = copy.deepcopy(json.loads(json.dumps(report_json(REPORT))))
    edit(data)
    with pytest.raises(InputError, match=message) as error:
        read_report(written(tmp_path, data))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "is no report"),
        (b'{"metrics": {', "is no report"),
        (b"[]", "is no report"),
        (b'{"metrics": {}, "results": [{"x": NaN}]}', "NaN is no number of JSON"),
        (b'{"metrics": {}, "results": [{"x": 1e999}]}', "1e999 is no number of JSON"),
        (b"[" * 200_000, "nested too deep"),
        (b'{"metrics": {}, "results": ' + b"9" * 5000 + b"}", "is no report"),
        (b"\xff\xfe", "not UTF-8"),
    ],
)
def test_what_is_no_report(tmp_path: Path, text: bytes, message: str) -> None:
    (tmp_path / "report.json").write_bytes(text)
    with pytest.raises(InputError, match=message):
        read_report(tmp_path)


def test_a_folder_without_a_report(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(InputError, match=r"cannot be read \(No such file.*--out folder"):
            read_report(path)


def test_a_report_may_hold_what_no_metric_applies_to(tmp_path: Path) -> None:
    bare = make_report(score_cases((Case(id="q", question="?"),), {}, LexicalVerifier()), {})
    file = written(tmp_path, report_json(bare))
    assert isinstance(read_report(file), Report)
    assert read_report(file).metrics["f1"].value is None
