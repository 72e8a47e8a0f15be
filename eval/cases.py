"""Cases: JSONL files (the project's own, and question files with more fields), and suites that pick from one.

A suite is a TOML file: ``cases`` (a JSONL file beside it), ``sha256`` of that file, ``stride`` and ``offset``
(every stride-th case from offset on, counted from 0), and a table ``[settings]`` for the run.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.errors import GateError, InputError
from eval.jsonl import Row, read_rows, unique
from eval.types import Case
from prompts.types import Message
from rag.types import History

_SUITE_KEYS = frozenset({"cases", "sha256", "stride", "offset", "settings"})
_SUITE_SETTINGS = frozenset({"k", "mode", "max_answer_tokens", "context_window"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """Cases of one or several files, ids unique among them, and settings that a suite asks for."""

    cases: tuple[Case, ...]
    settings: Mapping[str, Any]

    def flags(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Flags of a run: what was given on the command line, else (None) what the suite asks for."""
        return {name: self.settings.get(name) if value is None else value for name, value in given.items()}


def read_cases(path: Path) -> tuple[Case, ...]:
    """The cases of a JSONL file; fields that are not a case's are left alone.

    Raises :class:`InputError` with the line number for anything malformed, an id that comes twice, no case.
    """
    return tuple(_case(row) for row in unique(read_rows(path)).values())


def read_suite(paths: Sequence[Path]) -> Suite:
    """The cases of all files together: JSONL files, and suites (``.toml``).

    Raises :class:`InputError` as :func:`read_cases`, :class:`GateError` for a malformed suite.
    """
    suites = [_read_toml(path) if path.suffix == ".toml" else _plain(path) for path in paths]
    cases: dict[str, Case] = {}
    settings: dict[str, Any] = {}
    for path, suite in zip(paths, suites, strict=True):
        for case in suite.cases:
            if case.id in cases:
                raise InputError(f"{path}: the id {case.id!r} is in an earlier file too: ids must be unique")
            cases[case.id] = case
        for name, value in suite.settings.items():
            if settings.setdefault(name, value) != value:
                raise GateError(f"{path} sets {name} to {value!r}, an earlier suite to {settings[name]!r}")
    return Suite(cases=tuple(cases.values()), settings=settings)


def _plain(path: Path) -> Suite:
    return Suite(cases=read_cases(path), settings={})


def _read_toml(path: Path) -> Suite:
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise GateError(f"the suite {path} cannot be read ({error}): mend it") from error
    _known(path, found, _SUITE_KEYS)
    settings = found.get("settings", {})
    if not isinstance(settings, dict):
        raise GateError(f"{path}: settings must be a table")
    _known(path, settings, _SUITE_SETTINGS)
    stride, offset = _count(path, found, "stride", 1), _count(path, found, "offset", 0)
    if stride < 1 or offset >= stride:
        raise GateError(f"{path}: stride must be 1 or more and offset below it, not {stride} and {offset}")
    if not isinstance(found.get("cases"), str):
        raise GateError(f"{path}: cases must name a JSONL file beside the suite")
    file = path.parent / found["cases"]
    cases = read_cases(file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    if found.get("sha256") != digest:
        raise GateError(f"{path}: sha256 is not that of {file}: if the cases are meant to be so, set it to {digest}")
    return Suite(cases=cases[offset::stride], settings=settings)


def _known(path: Path, found: Mapping[str, Any], known: frozenset[str]) -> None:
    if unknown := sorted(set(found) - known):
        raise GateError(f"{path}: unknown keys {', '.join(unknown)}: known are {', '.join(sorted(known))}")


def _count(path: Path, found: Mapping[str, Any], name: str, default: int) -> int:
    value = found.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise GateError(f"{path}: {name} is {value!r}: it must be a whole number from 0")
    return value


def _case(row: Row) -> Case:
    return Case(
        id=row.name("id"),
        question=row.name("question"),
        kind=row.text("kind", ""),
        answers=row.texts("answers"),
        gold_docs=row.texts("gold_docs"),
        gold_quotes=row.texts("gold_quotes"),
        cluster=row.text("cluster", ""),
        history=_history(row),
        tags=row.texts("tags"),
    )


def _history(row: Row) -> History:
    turns = [
        Message(role=_role(turn, number), content=turn.text("content"))
        for number, turn in enumerate(row.rows("history"))
    ]
    if len(turns) % 2:
        raise row.wrong("history", "whole turns, each a user and an assistant message")
    return tuple(turns)


def _role(turn: Row, number: int) -> Any:
    wanted = "assistant" if number % 2 else "user"
    if turn.text("role") != wanted:
        raise turn.wrong("role", f"{wanted!r} here: users and assistant alternate")
    return wanted
