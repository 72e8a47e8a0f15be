"""Answers as JSON lines: what ``rag ask --json`` prints, plus the case's id and what a run adds."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from eval.errors import InputError
from eval.jsonl import Row, read_rows, unique
from eval.types import Cited, PromptFacts, Record
from ingest.types import ScoredChunk
from rag.types import Passage

_PROMPT_NUMBERS = ("tokens", "context_window", "reserved_tokens", "control_tokens", "template_tokens")
"""The numbers of a record's ``prompt``, 0 or more each; ``sha256`` stands beside them."""


def read_records(path: Path) -> dict[str, Record]:
    """The answers of a JSONL file by their ids, in order.

    Required are ``id``, ``answer`` and ``passages`` with ``text``; a line with an ``error`` needs only its
    id. Raises :class:`eval.errors.InputError` with the line number for anything malformed, and for two passages of one
    answer with the same number.
    """
    return {id_: read_record(row) for id_, row in unique(read_rows(path)).items()}


def read_record(row: Row) -> Record:
    """One answer. A passage without a number has its place in the list, from 1."""
    error = row.text("error", "") if row.data.get("error") is not None else ""
    if not error and "passages" not in row.data:
        raise row.wrong("passages", "a list of objects with a text (it may be empty)")
    return Record(
        id=row.name("id"),
        answer=row.text("answer", "" if error else None),
        passages=_sent(row),
        refused=_refused(row),
        citations=tuple(
            Cited(number=cited.whole("number"), quote=cited.text("quote", "")) for cited in row.rows("citations")
        ),
        retrieved=_passages(row, "retrieved") if "retrieved" in row.data else None,
        error=error,
        usage=row.numbers("usage"),
        timings=row.numbers("timings"),
        prompt=_prompt(row),
    )


def hit_fields(hit: ScoredChunk) -> dict[str, Any]:
    """A search hit as JSON: where it is, and its text."""
    chunk = hit.chunk
    return {
        "text": chunk.text,
        "source": chunk.source,
        "start": chunk.start,
        "headings": list(chunk.headings),
        "score": hit.score,
    }


def _refused(row: Row) -> bool | None:
    value = row.data.get("refused")
    if value is not None and not isinstance(value, bool):
        raise row.wrong("refused", "true or false")
    return value


def _prompt(row: Row) -> PromptFacts | None:
    """The facts of the prompt: all of them, or none where it is missing, null or the prompt's own text
    (``rag ask --show-prompt``)."""
    data = row.data.get("prompt")
    if data is None or isinstance(data, str):
        return None
    if not isinstance(data, dict):
        raise row.wrong("prompt", "an object")
    facts = Row(where=f"{row.where}: prompt", data=data)
    numbers = {name: facts.whole(name) for name in _PROMPT_NUMBERS}
    for name, number in numbers.items():
        if number < 0:
            raise facts.wrong(name, "0 or more")
    return PromptFacts(**numbers, sha256=facts.text("sha256"))


def _sent(row: Row) -> tuple[Passage, ...]:
    passages = _passages(row, "passages")
    for number, count in Counter(passage.number for passage in passages).items():
        if count > 1:
            raise InputError(f"{row.where}: {count} passages have the number {number}: give each its own")
    return passages


def _passages(row: Row, name: str) -> tuple[Passage, ...]:
    return tuple(_passage(item, number) for number, item in enumerate(row.rows(name), start=1))


def _passage(row: Row, place: int) -> Passage:
    text, start = row.text("text"), row.whole("start", 0)
    return Passage(
        number=row.whole("number", place),
        text=text,
        source=row.text("source", ""),
        start=start,
        end=start + len(text),
        pages=(),
        headings=row.texts("headings"),
        score=0.0,
    )
