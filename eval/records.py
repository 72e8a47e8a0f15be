"""Answers as JSON lines: what ``rag ask --json`` prints, plus the case's id and what a run adds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from eval.jsonl import Row, read_rows, unique
from eval.types import Cited, Record
from ingest.types import ScoredChunk
from rag.types import Passage


def read_records(path: Path) -> dict[str, Record]:
    """The answers of a JSONL file by their ids, in order.

    Required are ``id``, ``answer`` and ``passages`` with ``text``; a line with an ``error`` needs only its
    id. Raises :class:`eval.errors.InputError` with the line number for anything malformed.
    """
    return {id_: read_record(row) for id_, row in unique(read_rows(path)).items()}


def read_record(row: Row) -> Record:
    """One answer. A passage without a number has its place in the list, from 1."""
    error = row.text("error", "")
    if not error and "passages" not in row.data:
        raise row.wrong("passages", "a list of objects with a text (it may be empty)")
    return Record(
        id=row.name("id"),
        answer=row.text("answer", "" if error else None),
        passages=_passages(row, "passages"),
        refused=_refused(row),
        citations=tuple(
            Cited(number=cited.whole("number"), quote=cited.text("quote", "")) for cited in row.rows("citations")
        ),
        retrieved=_passages(row, "retrieved") if "retrieved" in row.data else None,
        error=error,
        usage=row.numbers("usage"),
        timings=row.numbers("timings"),
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
