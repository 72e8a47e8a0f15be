"""Which documents a search looks at: ``KEY=VALUE`` conditions on their sources.

Several values of a key are alternatives, different keys must all hold, and so must all comparisons of dates.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal, cast

from ingest.errors import FieldError
from ingest.fields import BUILT_IN, field_name, field_value
from ingest.formats import FORMATS
from ingest.scan import printable

Operator = Literal["=", "<", "<=", ">", ">="]

_CONDITION = re.compile(r"([^=<>]*)(<=|>=|=|<|>)(.*)", re.DOTALL)
_DATE = re.compile(r"(\d{4})(?:-(\d{1,2})(?:-(\d{1,2}))?)?", re.ASCII)
_EPOCH = date(1970, 1, 1).toordinal()
_DAY_NS = 86_400 * 10**9
_LAST_NS = 2**63 - 1
"""The largest whole number of SQLite, in the year 2262."""
_LONGEST_PATH = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """``key`` is source, path, type, date or the name of an own field; only dates have an order."""

    key: str
    operator: Operator
    value: str

    def __str__(self) -> str:
        return f"{self.key}{self.operator}{self.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """At least one condition, in the order in which they were given."""

    conditions: tuple[Condition, ...]

    def __str__(self) -> str:
        return ", ".join(map(str, self.conditions))

    def values(self, key: str) -> tuple[str, ...]:
        """The alternatives that ``=`` gives for a key."""
        return tuple(c.value for c in self.conditions if c.key == key and c.operator == "=")

    @property
    def own(self) -> tuple[str, ...]:
        """The names of the own fields that are asked for."""
        return tuple(dict.fromkeys(c.key for c in self.conditions if c.key not in BUILT_IN))


def parse_filters(texts: Sequence[str]) -> Filters | None:
    """The filters of ``KEY=VALUE`` texts, None for no text.

    ``source``: an exact source or a unique path suffix. ``path``: a folder, or a pattern in which ``*`` is any text
    (with slashes), ``?`` any character and ``[...]`` one of some. ``type``: a format. ``date``: a day, month or year
    in UTC of the file's last change, also with ``<``, ``<=``, ``>`` and ``>=``. Anything else: an own field. Raises
    :class:`FieldError`.
    """
    conditions = tuple(dict.fromkeys(map(_condition, texts)))
    return Filters(conditions=conditions) if conditions else None


def _condition(text: str) -> Condition:
    match = _CONDITION.fullmatch(text)
    if match is None:
        hint = "; quote a comparison, for < and > mean files to the shell" if text.strip() == "date" else ""
        raise FieldError(f"--filter {text[:80]!r}: write KEY=VALUE, as in type=pdf{hint}")
    key, operator, value = match.groups()
    built_in = key.strip().casefold()
    name = built_in if built_in in BUILT_IN else field_name(key)
    if name is None or not value.strip():
        raise FieldError(f"--filter {text[:80]!r}: write KEY=VALUE, as in type=pdf")
    if operator != "=" and name != "date":
        raise FieldError(f"--filter {text[:80]!r}: only a date can be compared; write {name}=VALUE")
    return Condition(key=name, operator=cast(Operator, operator), value=_value(name, value.strip()))


def _value(key: str, value: str) -> str:
    if key == "type":
        formats = sorted(set(FORMATS.values()))
        if value.lower() not in formats:
            raise FieldError(f"--filter type={value[:80]}: there is no such type; choose one of {', '.join(formats)}")
        return value.lower()
    if key == "date":
        days(value)
        return value
    if key == "path" and len(value) > _LONGEST_PATH:
        raise FieldError(f"--filter path: it is longer than {_LONGEST_PATH} characters: shorten it")
    if key in BUILT_IN:
        return printable(value)
    kept = field_value(value)
    if kept is None:
        raise FieldError(f"--filter {key}: its value is longer than any that is kept: shorten it")
    return kept


def days(text: str) -> tuple[int, int]:
    """The first day of a day, month or year (``2024-05-01``, ``2024-05``, ``2024``) and the day after its last one,
    counted from 1970-01-01. Raises :class:`FieldError`.
    """
    match = _DATE.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        year, month, day = (int(part) if part else None for part in match.groups())
        assert year is not None
        first = date(year, month or 1, day or 1)
    except ValueError:
        raise FieldError(f"--filter date: {text[:40]!r} is no date; write 2024-05-01, 2024-05 or 2024") from None
    last = first
    if month is None:
        last = date(year, 12, 31)
    elif day is None:
        last = date(year, month, monthrange(year, month)[1])
    return first.toordinal() - _EPOCH, last.toordinal() + 1 - _EPOCH


def where(filters: Filters, exact: Callable[[str], str]) -> tuple[str, list[object]]:
    """The filters as an SQL condition on the catalogue's ``sources s``, and its values.

    ``exact`` gives the source that a name of ``source=`` means.
    """
    parts: list[str] = []
    values: list[object] = []
    for key in dict.fromkeys(condition.key for condition in filters.conditions):
        some: list[str] = []
        for value in filters.values(key):
            sql, found = _alternative(key, exact(value) if key == "source" else value)
            some.append(sql)
            values += found
        if some:
            parts.append(f"({' OR '.join(some)})")
    for condition in filters.conditions:
        if condition.operator != "=":
            first, after = map(_nanoseconds, days(condition.value))
            # "<=" and ">" are about the end of the day, month or year.
            bound = after if condition.operator in {"<=", ">"} else first
            parts.append(f"s.mtime_ns {'<' if condition.operator.startswith('<') else '>='} ?")
            values.append(bound)
    return " AND ".join(parts), values


def _alternative(key: str, value: str) -> tuple[str, list[object]]:
    if key == "source":
        return "s.source = ?", [value]
    if key == "date":
        return "(s.mtime_ns >= ? AND s.mtime_ns < ?)", [*map(_nanoseconds, days(value))]
    if key == "type":
        patterns = [f"*{suffix}" for suffix, format_ in FORMATS.items() if format_ == value]
        return f"({' OR '.join(['lower(s.source) GLOB ?'] * len(patterns))})", [*patterns]
    if key == "path":
        if any(sign in value for sign in "*?["):
            return "s.source GLOB ?", [value]
        folder = value.removeprefix("./").rstrip("/")
        if not folder:
            return "1", []
        # All texts that begin with "folder/": "0" is the character after "/".
        return "(s.source = ? OR (s.source >= ? AND s.source < ?))", [folder, f"{folder}/", f"{folder}0"]
    found = (
        "(s.document_id IN (SELECT document_id FROM document_fields WHERE key = ? AND value = ?)"
        " OR s.source IN (SELECT source FROM given_fields WHERE key = ? AND value = ?))"
    )
    return found, [key, value, key, value]


def _nanoseconds(day: int) -> int:
    return max(-_LAST_NS, min(_LAST_NS, day * _DAY_NS))
