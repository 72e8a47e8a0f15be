"""Strict JSONL: each error names file, line, field and remedy."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """An object of a JSONL file; ``where`` is ``file:line``, lines counted from 1 (inner objects add a
    field)."""

    where: str
    data: dict[str, Any]

    def text(self, name: str, default: str | None = None) -> str:
        """A text; a missing one is ``default``, or an error when that is None."""
        value = self.data.get(name, default)
        if value is None and name not in self.data:
            raise InputError(f"{self.where}: no {name!r}: add it (a text)")
        if not isinstance(value, str):
            raise self.wrong(name, "a text")
        return value

    def name(self, name: str) -> str:
        """A text that is not blank."""
        value = self.text(name)
        if not value.strip():
            raise self.wrong(name, "a text that is not blank")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts that are not blank; a missing one is empty."""
        value = self.data.get(name, [])
        if not isinstance(value, list) or not all(isinstance(item, str) and item.strip() for item in value):
            raise self.wrong(name, "a list of texts, none of them blank")
        return tuple(value)

    def flag(self, name: str) -> bool:
        """True or false; a missing one is False."""
        value = self.data.get(name, False)
        if not isinstance(value, bool):
            raise self.wrong(name, "true or false")
        return value

    def rows(self, name: str) -> tuple[Row, ...]:
        """A list of objects; a missing one is empty."""
        value = self.data.get(name, [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self.wrong(name, "a list of objects")
        return tuple(Row(where=f"{self.where}: {name}[{number}]", data=item) for number, item in enumerate(value))

    def whole(self, name: str, default: int | None = None) -> int:
        """A whole number; a missing one is ``default``, or an error when that is None."""
        value = self.data.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.wrong(name, "a whole number")
        return value

    def numbers(self, name: str) -> dict[str, float]:
        """The numbers of an object, by name; what is no finite number is left out, a missing object is empty."""
        value = self.data.get(name, {})
        if not isinstance(value, dict):
            raise self.wrong(name, "an object")
        return {
            key: float(item)
            for key, item in value.items()
            if isinstance(item, (int, float)) and not isinstance(item, bool) and abs(item) <= sys.float_info.max
        }

    def wrong(self, name: str, wanted: str) -> InputError:
        """The error for a field that is not what it must be."""
        shown = json.dumps(self.data.get(name), ensure_ascii=False)[:60]
        return InputError(f"{self.where}: {name!r} is {shown}: it must be {wanted}")


def read_rows(path: Path) -> list[Row]:
    """The objects of a JSONL file, in order; blank lines are skipped.

    Raises :class:`InputError` when the file cannot be read, a line is no JSON object, or there is none.
    """
    return list(iter_rows(path))


def iter_rows(path: Path) -> Iterator[Row]:
    """:func:`read_rows` one at a time, for files that are larger than memory should hold."""
    none = True
    try:
        # Only a line feed ends a line: a JSON text may hold U+2028 and the like as they are.
        with path.open(encoding="utf-8-sig", newline="\n") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    none = False
                    yield Row(where=f"{path}:{number}", data=_object(line, f"{path}:{number}"))
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(path, error, "pass a JSONL file") from error
    if none:
        raise InputError(f"{path} is empty: it must have one JSON object a line")


def unreadable(path: Path, error: OSError | ValueError, remedy: str) -> InputError:
    """The error for a file that cannot be read as UTF-8 text; a ValueError means that it is not that."""
    reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
    return InputError(f"{path} cannot be read ({reason}): {remedy}")


def unique(rows: Iterable[Row]) -> dict[str, Row]:
    """Rows by their ``id``, in order. Raises :class:`InputError` for an id that comes twice."""
    found: dict[str, Row] = {}
    for row in rows:
        id_ = row.name("id")
        if id_ in found:
            raise InputError(f"{row.where}: the id {id_!r} is also at {found[id_].where}: ids must be unique")
        found[id_] = row
    return found


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: this is no JSON ({error}): write one object a line") from error
    if not isinstance(value, dict):
        raise InputError(f"{where}: this is no JSON object: write one object a line")
    return value
