"""A report read back from the folder of a run, as strictly as any other input."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from eval.aggregate import metrics_of
from eval.errors import InputError
from eval.jsonl import Row, unique, unreadable
from eval.scores import MACRO, METRICS
from eval.types import Case, CaseResult, Metric, Record, Report, Score
from prompts.types import Message

REPORT = "report.json"

_CLOSE = 1e-6
_HEAVIEST = 1000.0


def read_report(path: Path) -> Report:
    """The report of a run: its folder, or the ``report.json`` in it.

    What it has are scores, not what they were made from: the records come without passages and citations.
    Raises :class:`~eval.errors.InputError` for a file that cannot be read, is no report, was written by a version with
    other metrics, or whose metrics are not what its cases come to.
    """
    file = path / REPORT if path.is_dir() else path
    row = Row(where=str(file), data=_object(file))
    results = tuple(_result(item) for item in unique(_listed(row)).values())
    metrics = _metrics(row)
    facts = row.data.get("facts")
    if not isinstance(facts, dict):
        raise row.wrong("facts", "an object")
    _agree(file, results, metrics)
    return Report(metrics=metrics, results=results, facts=facts)


def _object(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(file, error, "pass the --out folder of 'rag eval run'") from error
    try:
        data = json.loads(text, parse_constant=_no_number, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deep" if isinstance(error, RecursionError) else str(error)
        raise InputError(f"{file} is no report ({reason}): run 'rag eval run' or 'rag eval score' again") from error
    if not isinstance(data, dict) or "results" not in data or "metrics" not in data:
        raise InputError(f"{file} is no report (no metrics and results): pass the report.json of 'rag eval run'")
    return data


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _no_number(text)


def _listed(row: Row) -> Sequence[Row]:
    if not (found := row.rows("results")):
        raise InputError(f"{row.where}: 'results' is empty: a run without cases shows nothing, run it again")
    return found


def _result(row: Row) -> CaseResult:
    refused = row.data.get("refused")
    if not isinstance(refused, bool):
        raise row.wrong("refused", "true or false")
    gold = row.data.get("gold", {})
    if not isinstance(gold, dict):
        raise row.wrong("gold", "an object")
    known = Row(where=f"{row.where}: gold", data=gold)
    return CaseResult(
        case=Case(
            id=row.name("id"),
            question=row.name("question"),
            kind=row.text("kind"),
            answers=known.texts("answers"),
            gold_docs=known.texts("gold_docs"),
            gold_quotes=known.texts("gold_quotes"),
            cluster=row.text("cluster"),
            history=tuple(_message(item) for item in row.rows("history")),
            tags=row.texts("tags"),
        ),
        record=Record(id=row.name("id"), answer=row.text("answer"), refused=refused, error=row.text("error")),
        refused=refused,
        scores=tuple(_score(item, name) for name, item in _known(row, "scores").items()),
    )


def _message(row: Row) -> Message:
    role = row.text("role")
    if role not in ("user", "assistant"):
        raise row.wrong("role", "'user' or 'assistant'")
    return Message(role="user" if role == "user" else "assistant", content=row.text("content"))


def _score(row: Row, name: str) -> Score:
    error, weight = row.data.get("error"), _number(row, "weight", highest=_HEAVIEST)
    if not isinstance(error, bool):
        raise row.wrong("error", "true or false")
    if not weight:
        raise row.wrong("weight", "a number above 0")
    return Score(name=name, value=_number(row, "value"), why=row.text("why"), weight=weight, error=error)


def _metrics(row: Row) -> dict[str, Metric]:
    return {name: _metric(item) for name, item in _known(row, "metrics").items()}


def _metric(row: Row) -> Metric:
    value, bounds = _number(row, "value"), row.data.get("ci95")
    if (value is None) != (bounds is None) or not (bounds is None or (isinstance(bounds, list) and len(bounds) == 2)):
        raise row.wrong("ci95", "two numbers, or null without a value")
    low, high = (_number(Row(where=row.where, data={"ci95": bound}), "ci95") for bound in bounds or (None, None))
    if value is not None and (low is None or high is None or not low - _CLOSE <= value <= high + _CLOSE):
        raise row.wrong("ci95", "two numbers with the value between them")
    n, not_applicable, errors = (row.whole(name) for name in ("n", "not_applicable", "errors"))
    if min(n, not_applicable, errors) < 0:
        raise row.wrong("n", "a count, as not_applicable and errors")
    return Metric(
        value=value,
        ci95=None if low is None or high is None else (low, high),
        n=n,
        not_applicable=not_applicable,
        errors=errors,
    )


def _known(row: Row, name: str) -> dict[str, Row]:
    """An object of objects by metric, in the order of :data:`eval.scores.METRICS`."""
    found = row.data.get(name)
    if not isinstance(found, dict) or not all(isinstance(item, dict) for item in found.values()):
        raise row.wrong(name, "an object of objects")
    if unknown := sorted(set(found) - set(METRICS)):
        raise InputError(
            f"{row.where}: {name} has {unknown[0]!r}, which is no metric here: the file is of another version, "
            "score its answers again (rag eval score)"
        )
    return {
        metric: Row(where=f"{row.where}: {name}.{metric}", data=found[metric]) for metric in METRICS if metric in found
    }


def _number(row: Row, name: str, *, highest: float = 1.0) -> float | None:
    """A number from 0 to ``highest``, or None for null."""
    if name not in row.data:
        raise row.wrong(name, "there: a number, or null")
    value = row.data[name]
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= highest:
        raise row.wrong(name, f"a number from 0 to {highest:g}")
    return float(value)


def _agree(file: Path, results: Sequence[CaseResult], metrics: Mapping[str, Metric]) -> None:
    """Every case has the same scores, there is a metric for each, and it is what the cases come to."""
    names = [score.name for score in results[0].scores]
    for result in results:
        if any(score.error != bool(result.record.error) for score in result.scores):
            raise InputError(
                f"{file}: {result.case.id!r} has an error that its scores do not know of, or the other way round: "
                "the file was changed, score its answers again (rag eval score)"
            )
        if other := set(names) ^ {score.name for score in result.scores}:
            raise InputError(
                f"{file}: {result.case.id!r} and {results[0].case.id!r} differ in their scores ({min(other)}): "
                "the file was changed, score its answers again (rag eval score)"
            )
    macros = (name for name, parts in MACRO.items() if set(parts) <= set(names))
    if other := set(chain(names, macros)) ^ set(metrics):
        raise InputError(
            f"{file}: {min(other)!r} is either a metric without scores or the other way round: score again"
        )
    for name, found in metrics_of(results, tuple(metrics)).items():
        if not _alike(found, metrics[name]):
            raise InputError(
                f"{file}: metrics.{name} is not what the cases come to ({found.value} over {found.n} cases): "
                "the file was changed, score its answers again (rag eval score)"
            )


def _alike(found: Metric, told: Metric) -> bool:
    """Whether two metrics are the same, but for rounding."""
    ours, theirs = ((metric.value, *(metric.ci95 or (None, None))) for metric in (found, told))
    counts = [(metric.n, metric.not_applicable, metric.errors) for metric in (found, told)]
    close = (
        a == b or (a is not None and b is not None and abs(a - b) <= _CLOSE) for a, b in zip(ours, theirs, strict=True)
    )
    return counts[0] == counts[1] and all(close)
