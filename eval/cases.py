"""Cases: JSONL files, suites that pick from files, and evaluation sets of others (:mod:`eval.loaders`).

A suite is a TOML file, or a folder with a ``suite.toml``: ``cases`` (a file beside it) with its ``sha256``, or a table
``[files]`` of name = "sha256" for several; ``kinds`` (only cases of these kinds); ``stride`` and ``offset`` (of those,
every stride-th from offset on, counted from 0); and a table ``[settings]`` for the run. Drafts are never counted: they
are left out before anything is picked.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

from eval.errors import GateError, InputError
from eval.jsonl import Row, read_rows, unique
from eval.loaders import corpus_beside, in_corpus, is_beir, read_beir, read_squad, squad_articles
from eval.types import Case
from prompts.encoding import clean
from prompts.types import Message
from rag.types import History

SUITE_FILE = "suite.toml"
_SUITE_KEYS = frozenset({"cases", "sha256", "files", "kinds", "stride", "offset", "settings"})
_SUITE_SETTINGS = frozenset({"k", "mode", "max_answer_tokens", "context_window"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """Cases of one or several files, ids unique among them, and settings that a suite asks for.

    ``drafts`` were left out, for no person has accepted them.
    """

    cases: tuple[Case, ...]
    settings: Mapping[str, Any]
    drafts: int = 0

    def flags(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Flags of a run: what was given on the command line, else (None) what the suite asks for."""
        return {name: self.settings.get(name) if value is None else value for name, value in given.items()}


def read_cases(path: Path) -> tuple[Case, ...]:
    """The cases of one file, drafts left out: JSONL (fields that are not a case's are left alone), or SQuAD.

    Raises :class:`InputError` with the line number for anything malformed, an id that comes twice, no case.
    """
    return _counted(read_all(path), path)


def read_all(path: Path) -> tuple[Case, ...]:
    """Like :func:`read_cases`, with the drafts."""
    articles = squad_articles(path)
    if articles is None:
        cases = tuple(case_of(row) for row in unique(read_rows(path)).values())
        corpus = corpus_beside(path)
        return in_corpus(cases, corpus) if corpus else cases
    found = _unique([(path, case) for case in read_squad(articles)])
    if not found:
        raise InputError(f"{path} has no questions: pass a SQuAD file that has some")
    return found


def read_suite(paths: Sequence[Path]) -> Suite:
    """The cases of everything together: files of cases, suites (``.toml``, or a folder with one), BEIR folders.

    Raises :class:`InputError` as :func:`read_cases`, :class:`GateError` for a malformed suite.
    """
    suites = [_read(path) for path in paths]
    settings: dict[str, Any] = {}
    for path, suite in zip(paths, suites, strict=True):
        for name, value in suite.settings.items():
            if settings.setdefault(name, value) != value:
                raise GateError(f"{path} sets {name} to {value!r}, an earlier suite to {settings[name]!r}")
    cases = _unique([(path, case) for path, suite in zip(paths, suites, strict=True) for case in suite.cases])
    return Suite(cases=cases, settings=settings, drafts=sum(suite.drafts for suite in suites))


def _read(path: Path) -> Suite:
    if is_beir(path):
        return Suite(cases=_unique([(path, case) for case in read_beir(path)]), settings={})
    if path.is_dir():
        if not (path / SUITE_FILE).is_file():
            raise InputError(
                f"{path} is no suite ({SUITE_FILE}) and no BEIR folder (corpus.jsonl, queries.jsonl, qrels): "
                "name a file of cases in it"
            )
        return _read_toml(path / SUITE_FILE)
    if path.suffix == ".toml":
        return _read_toml(path)
    cases = read_all(path)
    return Suite(cases=_counted(cases, path), settings={}, drafts=sum(case.draft for case in cases))


def _counted(cases: Sequence[Case], path: Path) -> tuple[Case, ...]:
    counted = tuple(case for case in cases if not case.draft)
    if not counted:
        raise InputError(
            f"{path}: all {len(cases)} cases are drafts, which are not counted: review them, "
            f"then run 'rag eval accept {path} --all --out CASES.jsonl'"
        )
    return counted


def _unique(found: Iterable[tuple[Path, Case]]) -> tuple[Case, ...]:
    cases: dict[str, Case] = {}
    places: dict[str, Path] = {}
    for path, case in found:
        if case.id in cases:
            raise InputError(f"{path}: the id {case.id!r} is in {places[case.id]} already: ids must be unique")
        cases[case.id], places[case.id] = case, path
    return tuple(cases.values())


def _read_toml(path: Path) -> Suite:
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise GateError(f"the suite {path} cannot be read ({error}): mend it") from error
    _known(path, found, _SUITE_KEYS)
    settings = found.get("settings", {})
    if not isinstance(settings, dict):
        raise GateError(f"{path}: settings must be a table")
    _known(path, settings, _SUITE_SETTINGS)
    stride, offset = _count(path, found, "stride", 1), _count(path, found, "offset", 0)
    if stride < 1 or offset >= stride:
        raise GateError(f"{path}: stride must be 1 or more and offset below it, not {stride} and {offset}")
    read = _unique([(path.parent / name, case) for name, case in _pinned(path, _files(path, found))])
    picked = _of_kinds(path, found, _counted(read, path))[offset::stride]
    if not picked:
        raise GateError(f"{path}: kinds, stride and offset leave no case: pick more")
    return Suite(cases=picked, settings=settings, drafts=sum(case.draft for case in read))


def _files(path: Path, found: Mapping[str, Any]) -> dict[str, str]:
    """Name -> SHA-256 of each file of a suite."""
    files = found.get("files")
    if files is None:
        if not isinstance(found.get("cases"), str):
            raise GateError(f"{path}: cases must name a JSONL file beside the suite, or a table [files] several")
        return {found["cases"]: str(found.get("sha256", ""))}
    if "cases" in found or "sha256" in found:
        raise GateError(f"{path}: the table [files] stands in place of cases and sha256: leave these out")
    if not isinstance(files, dict) or not files or not all(isinstance(digest, str) for digest in files.values()):
        raise GateError(f'{path}: files must be a table of "name" = "sha256", with one file or more')
    return files


def _pinned(path: Path, files: Mapping[str, str]) -> Iterable[tuple[str, Case]]:
    for name, wanted in files.items():
        file = path.parent / name
        cases = read_all(file)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        if wanted.lower() != digest:
            raise GateError(
                f"{path}: sha256 is not that of {file}: if the cases are meant to be so, set it to {digest}"
            )
        yield from ((name, case) for case in cases)


def _of_kinds(path: Path, found: Mapping[str, Any], cases: tuple[Case, ...]) -> tuple[Case, ...]:
    wanted = found.get("kinds")
    if wanted is None:
        return cases
    known = {case.kind for case in cases}
    if not isinstance(wanted, list) or not wanted or not all(isinstance(kind, str) for kind in wanted):
        raise GateError(f"{path}: kinds must be a list of kinds, with one or more")
    if unknown := [kind for kind in wanted if kind not in known]:
        raise GateError(f"{path}: no case is of the kind {unknown[0]!r}: there are {', '.join(sorted(known))}")
    return tuple(case for case in cases if case.kind in wanted)


def _known(path: Path, found: Mapping[str, Any], known: frozenset[str]) -> None:
    if unknown := sorted(set(found) - known):
        raise GateError(f"{path}: unknown keys {', '.join(unknown)}: known are {', '.join(sorted(known))}")


def _count(path: Path, found: Mapping[str, Any], name: str, default: int) -> int:
    value = found.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise GateError(f"{path}: {name} is {value!r}: it must be a whole number from 0")
    return value


def case_of(row: Row) -> Case:
    """The case that a JSONL line holds. Raises :class:`InputError` for a field that is not what it must be."""
    case = Case(
        id=row.name("id"),
        question=row.name("question"),
        kind=row.text("kind", ""),
        answers=row.texts("answers"),
        gold_docs=row.texts("gold_docs"),
        gold_quotes=row.texts("gold_quotes"),
        cluster=row.text("cluster", ""),
        history=_history(row),
        tags=row.texts("tags"),
        hidden=row.texts("hidden"),
        draft=row.flag("draft"),
    )
    for name in ("id", "question", "answers", "gold_docs", "gold_quotes", "hidden"):
        if (written := json.dumps(row.data.get(name), ensure_ascii=False)) != clean(written):
            raise InputError(f"{row.where}: {name!r} holds half a surrogate pair (\\ud800 to \\udfff): write it anew")
    return case


def case_json(case: Case) -> dict[str, Any]:
    """A case as an object of a JSONL file; what is as by default is left out."""
    defaults = {field.name: field.default for field in fields(Case) if field.default is not MISSING}
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in asdict(case).items()
        if name not in defaults or value != defaults[name]
    }


def cases_text(rows: Iterable[Mapping[str, Any]]) -> str:
    """The rows as the text of a JSONL file."""
    return "".join(clean(json.dumps(row, ensure_ascii=False)) + "\n" for row in rows)


def write_new(path: Path, text: str) -> None:
    """Write a file that is not there yet. Raises :class:`InputError` when it is, or cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError as error:
        raise InputError(f"{path} exists: delete it, or pass another --out") from error
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}): pass another --out") from error


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
