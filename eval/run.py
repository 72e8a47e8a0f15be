"""Cases -> answers, one JSON line each, written as they are made.

A run is resumable: a line holds the key of everything that its answer depends on, and a case for which there is a line
with the same key is not generated again. Model, settings, index, code and question all go into the key; where the
index or the model lies, and on how many threads it runs, do not.

An answer does not depend on the cases before it either: a model in this process forgets what it has read, so that the
order of the cases, and where a run was taken up again, make no difference. ``usage.reused_tokens`` is therefore 0.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import asdict
from pathlib import Path
from typing import Any

from eval.cases import case_json
from eval.errors import InputError
from eval.folder import ANSWERS, CASES, MANIFEST, as_line, as_lines, unwritable, write_whole
from eval.hiding import without
from eval.manifest import digest, make_manifest, model_facts, run_facts
from eval.prompt_facts import prompt_facts
from eval.records import hit_fields, read_records
from eval.types import Case, Record
from ingest.types import ScoredChunk
from rag.chat import RagChat
from rag.errors import USER_ERRORS
from rag.llama import LlamaModel
from rag.model import ChatModel

Progress = Callable[[int, int], None]
"""Called with the answers that are there and the number of cases, at the start and after each answer."""

RANKED = 10
"""How many hits of the search are recorded for the retrieval metrics, however few stand in the prompt."""


def run_into(
    folder: Path, chat: RagChat, cases: Sequence[Case], controls: frozenset[int], progress: Progress
) -> tuple[list[Record], dict[str, Any]]:
    """Answer every case into a folder that this process has claimed (:func:`eval.folder.claimed`).

    Returns the records in the order of the cases, and the facts of the run with its machine. ``controls``: see
    :func:`eval.prompt_facts.control_ids`. Raises what :func:`run_cases` does.
    """
    facts = run_facts(chat, model_facts(chat.settings, chat.model))
    text = as_lines(map(case_json, cases))
    manifest = make_manifest(facts, chat.settings, count=len(cases), sha256=hashlib.sha256(text.encode()).hexdigest())
    try:
        write_whole(folder / CASES, text)
        write_whole(folder / MANIFEST, json.dumps(manifest.as_json(), ensure_ascii=False, indent=1) + "\n")
    except OSError as error:
        raise unwritable(folder, error) from error
    records = run_cases(chat, cases, folder / ANSWERS, facts, progress, controls)
    return records, {**facts, "machine": manifest.machine}


def run_cases(
    chat: RagChat,
    cases: Sequence[Case],
    file: Path,
    facts: Mapping[str, object],
    progress: Progress,
    controls: frozenset[int] = frozenset(),
) -> list[Record]:
    """Answer every case; the records are in the order of the cases, and so are the lines of ``file``.

    A case that fails becomes a record with its error and the run goes on. Raises
    :class:`~eval.errors.InputError` when ``file`` cannot be written or there are no cases.
    """
    if not cases:
        raise InputError("there are no cases to run: pass a file that has some")
    keys = {case.id: key_of(case, facts) for case in cases}
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        known = _earlier(file)
        done = {case.id: {**known[keys[case.id]], "id": case.id} for case in cases if keys[case.id] in known}
        write_whole(file, as_lines(done.values()))
        progress(len(done), len(cases))
        for case in cases:
            if case.id in done:
                continue
            key = keys[case.id]
            made = {"id": case.id, "key": key, **(known.get(key) or answer_case(chat, case, controls))}
            done[case.id] = {**made, "id": case.id}
            if "error" not in made:
                known[key] = made
            _append(file, done[case.id])
            progress(len(done), len(cases))
        write_whole(file, as_lines(done[case.id] for case in cases))
    except OSError as error:
        raise unwritable(file, error) from error
    return list(read_records(file).values())


def key_of(case: Case, facts: Mapping[str, object]) -> str:
    """What a case's answer depends on, as 64 hex digits: the facts of the run, the question and what goes with it."""
    return digest([facts, case.question, [asdict(turn) for turn in case.history], list(case.hidden)])


def answer_case(chat: RagChat, case: Case, controls: frozenset[int]) -> dict[str, Any]:
    """What a run records of a case, apart from its id and key: as ``rag ask --json``, and more.

    ``retrieved``: the first :data:`RANKED` hits; ``search``: what the prompt was made from; ``prompt``: see
    :class:`eval.types.PromptFacts`. Of a case that failed, the ``error`` alone.
    """
    asked = copy(chat)
    asked.retriever = without(chat.retriever, case.hidden)
    try:
        forget(chat.model)
        answer = asked.ask(case.question, case.history)
        found = asked.retriever.search(answer.standalone, k=chat.settings.k, mode=chat.settings.mode)
        ranking = asked.retriever.search(answer.standalone, k=RANKED, mode=chat.settings.mode)
        facts = prompt_facts(answer.prompt, chat.model, chat.settings.max_answer_tokens, controls)
    except USER_ERRORS as error:
        return {"error": str(error)}
    except Exception as error:  # a defect in one answer must not lose the others; the gate counts it
        return {"error": f"{type(error).__name__}: {error}"}
    return {
        **answer.as_json(),
        "prompt": asdict(facts) if facts else None,
        "search": {"best_cosine": found.best_cosine, "hits": [_whole_hit(hit) for hit in found.hits]},
        "retrieved": [hit_fields(hit) for hit in ranking.hits],
    }


def forget(model: ChatModel) -> None:
    """Make a model of this process read the next prompt from its beginning; a server's memory is its own affair."""
    if isinstance(model, LlamaModel):
        model.forget()


def _whole_hit(hit: ScoredChunk) -> dict[str, Any]:
    return {**asdict(hit.chunk), "score": hit.score}


def _append(file: Path, row: Mapping[str, Any]) -> None:
    with file.open("ab") as stream:
        stream.write(as_line(row).encode())


def _earlier(file: Path) -> dict[str, dict[str, Any]]:
    """Answers of an earlier run by their keys; a line cut off by a kill, or damaged, or of a failure, is none."""
    if not file.is_file():
        return {}
    found: dict[str, dict[str, Any]] = {}
    for line in file.read_bytes().split(b"\n"):
        try:
            data = json.loads(line.decode("utf-8"))
        except (ValueError, RecursionError):
            continue
        if isinstance(data, dict) and "error" not in data and isinstance(key := data.get("key"), str):
            found[key] = data
    return found
