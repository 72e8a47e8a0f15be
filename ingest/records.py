"""JSON and its kin as text: every value on a line behind the path of its keys, records one after the other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ingest.errors import ParseError
from ingest.rows import Reading, Row, clean


class Pairs(list[tuple[str, Any]]):
    """The members of an object, in order, those of one name more than once."""


def read_json(text: str) -> Reading:
    """One JSON value, or one on each line. Raises :class:`ParseError` for what is neither."""
    try:
        value = _parsed(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            return read_ndjson(text)
        raise ParseError(
            f"not valid JSON ({error.msg} in line {error.lineno}): correct it, or rename it to .txt to have it as text"
        ) from error
    return Reading(rows=list(record_rows(value)))


def read_ndjson(text: str) -> Reading:
    """A JSON value on each line; a line that is none, as the last of a log that was cut off, is kept as it is.

    Raises :class:`ParseError` when no line is JSON.
    """
    rows: list[Row] = []
    sound = 0
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = _parsed(line)
            sound += 1
        except json.JSONDecodeError:
            rows.append(Row(clean(line)))
            continue
        rows += _record(value, f"line {number}")
    if not sound:
        raise ParseError("no line of it is valid JSON: correct it, or rename it to .txt to have it as text")
    return Reading(rows=[row for row in rows if row.text])


def _parsed(text: str) -> Any:
    """Numbers stay the digits that were written. Raises json.JSONDecodeError, or :class:`ParseError` if too deep."""
    try:
        return json.loads(text, object_pairs_hook=Pairs, parse_float=str, parse_int=str, parse_constant=str)
    except RecursionError as error:
        raise ParseError("nested too deep to be read: take a part of it") from error


def record_rows(value: Any, path: str = "", depth: int = 0) -> Iterator[Row]:
    """Objects become titles and their members what stands below, items of lists become records.

    ``path``: of the value, from the last title; ``depth``: of a title here.
    """
    if isinstance(value, Pairs):
        yield from _record(Pairs((key, item) for key, item in value if not _is_nested(item)), path)
        for key, item in value:
            if _is_nested(item):
                if title := clean(key):
                    yield Row(title, "title", depth=depth)
                yield from record_rows(item, "", depth + bool(title))
    elif isinstance(value, list) and _is_nested(value):
        for number, item in enumerate(value):
            yield from _record(item, f"{path}[{number}]")
    else:
        yield from _record(value, path)


def _record(value: Any, name: str) -> Iterator[Row]:
    """All of a value as one text, below its name."""
    lines = list(_lines(value, ""))
    if lines:
        yield Row(clean("\n".join([name, *lines] if name else lines)))


def _lines(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, Pairs):
        for key, item in value:
            yield from _lines(item, f"{path}.{key}" if path and key else path or key)
    elif _is_nested(value):
        for number, item in enumerate(value):
            yield from _lines(item, f"{path}[{number}]")
    else:
        text = ", ".join(map(_scalar, value)) if isinstance(value, list) else _scalar(value)
        if text.strip():
            yield f"{path}: {text}" if path else text


def _is_nested(value: Any) -> bool:
    """Whether a value holds more than scalars or a list of them."""
    return isinstance(value, Pairs) or (isinstance(value, list) and any(isinstance(item, list) for item in value))


def _scalar(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
