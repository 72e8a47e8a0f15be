"""Cases -> answers, one JSON line each, written as they are made.

A run is resumable: a line holds the key of everything that its answer depends on, and a case whose line with
the same key is there already is not generated again. Model, settings, index and question all go into the key;
where the index or the model lies, and on how many threads it runs, do not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from eval.errors import InputError
from eval.records import hit_fields, read_records
from eval.types import Case, Record
from prompts.wording import load_wording
from rag.chat import RagChat
from rag.errors import USER_ERRORS
from rag.model import ChatModel
from rag.models import find_model, is_server
from rag.settings import Settings

Progress = Callable[[int, int], None]
"""Called with the answers that are there and the number of cases, at the start and after each answer."""

RANKED = 10
"""How many hits of the search are recorded for the retrieval metrics, however few stand in the prompt."""

_ELSEWHERE = ("index", "model", "threads", "gpu_layers")


def model_facts(name: str, model: ChatModel) -> dict[str, object]:
    """What identifies the model of a ``--model`` without reading gigabytes: its name, and the file's size in bytes.

    What a server runs under a name may change without notice; its ``bytes`` are None.
    """
    return {"name": model.name, "bytes": None if is_server(name) else find_model(name).stat().st_size}


def run_facts(chat: RagChat, model: Mapping[str, object]) -> dict[str, object]:
    """Everything that the answers of a run depend on, except the questions."""
    index = chat.retriever.index
    documents = sorted((document.source, document.document_id, document.chunks) for document in index.documents())
    return {
        "model": dict(model),
        "settings": _settings(chat.settings),
        "index": {"documents": len(documents), "digest": _digest(documents)},
        "wording": _digest(asdict(load_wording())),
    }


def run_cases(
    chat: RagChat, cases: Sequence[Case], file: Path, facts: Mapping[str, object], progress: Progress
) -> list[Record]:
    """Answer every case; the records are in the order of the cases, and so are the lines of ``file``.

    A case that fails becomes a record with its error and the run goes on. Raises
    :class:`~eval.errors.InputError` when ``file`` cannot be written or there are no cases.
    """
    if not cases:
        raise InputError("there are no cases to run: pass a file that has some")
    keys = {case.id: _digest([facts, case.question, [asdict(turn) for turn in case.history]]) for case in cases}
    done = _done(file, keys)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        _write(file, done.values())
        progress(len(done), len(cases))
        with file.open("a", encoding="utf-8") as stream:
            for case in cases:
                if case.id in done:
                    continue
                done[case.id] = {"id": case.id, "key": keys[case.id], **_answer(chat, case)}
                stream.write(_line(done[case.id]))
                stream.flush()
                progress(len(done), len(cases))
        _write(file, (done[case.id] for case in cases))
    except OSError as error:
        raise InputError(f"{file} cannot be written ({error.strerror}): pass another --out") from error
    return list(read_records(file).values())


def _answer(chat: RagChat, case: Case) -> dict[str, Any]:
    try:
        answer = chat.ask(case.question, case.history)
        ranking = chat.retriever.search(answer.standalone, k=RANKED, mode=chat.settings.mode)
    except USER_ERRORS as error:
        return {"error": str(error)}
    except Exception as error:  # a defect in one answer must not lose the others; the gate counts it
        return {"error": f"{type(error).__name__}: {error}"}
    return {**answer.as_json(), "retrieved": [hit_fields(hit) for hit in ranking.hits]}


def _done(file: Path, keys: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Lines of an earlier run that still hold; a line cut off by a kill, and answers that failed, do not."""
    if not file.is_file():
        return {}
    found: dict[str, dict[str, Any]] = {}
    for line in file.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            data = json.loads(line)
        except ValueError:
            continue
        if not isinstance(data, dict) or "error" in data or not isinstance(data.get("id"), str):
            continue
        if data["id"] in keys and data.get("key") == keys[data["id"]]:
            found[data["id"]] = data
    return found


def _write(file: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    new = file.with_name(file.name + ".new")
    new.write_text("".join(map(_line, lines)), encoding="utf-8")
    new.replace(file)


def _line(data: Mapping[str, Any]) -> str:
    text = json.dumps(data, ensure_ascii=False) + "\n"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")  # half a surrogate pair becomes \\ud800


def _settings(settings: Settings) -> dict[str, Any]:
    return {name: value for name, value in asdict(settings).items() if name not in _ELSEWHERE}


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
