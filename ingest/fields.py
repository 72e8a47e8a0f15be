"""Own fields of sources: names and values in the form in which they are kept and compared.

They come from a front matter (:mod:`ingest.front_matter`) or from ``rag ingest --meta``, and filters ask for them
(:mod:`ingest.filters`).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence

from ingest.errors import FieldError

Fields = Mapping[str, tuple[str, ...]]
"""By name, the values of a source, without repetitions."""

BUILT_IN = ("source", "path", "type", "date")
"""What every source has; an own field of such a name is kept as ``meta.NAME``."""
LONGEST_NAME = 100
LONGEST_VALUE = 1000
MOST_VALUES = 200
"""Of one field, and fields of one source."""
_OPERATORS = frozenset("=<>")


def field_name(text: str) -> str | None:
    """A name as it is kept: composed, in lower case, without outer or repeated white space.

    None for what cannot be one: empty, longer than 100 characters, or with an operator (``=``, ``<``, ``>``) in it.
    """
    name = _evened(text).casefold()
    if not name or len(name) > LONGEST_NAME or _OPERATORS & set(name):
        return None
    return f"meta.{name}" if name in BUILT_IN else name


def field_value(text: str) -> str | None:
    """A value as it is kept and compared: composed, white space evened, upper and lower case as written.

    None for an empty one, and for one longer than 1,000 characters.
    """
    value = _evened(text)
    return value if value and len(value) <= LONGEST_VALUE else None


def parse_meta(texts: Sequence[str]) -> Fields:
    """The fields of ``KEY=VALUE`` texts. A key given twice has both values; ``KEY=`` alone has none: it is removed.

    Raises :class:`FieldError`.
    """
    found: dict[str, tuple[str, ...]] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        name = field_name(key)
        if not equals or name is None:
            raise FieldError(f"--meta {text[:80]!r}: write KEY=VALUE, or KEY= to remove the field")
        kept = field_value(value)
        if kept is None and value.strip():
            raise FieldError(f"--meta {name}: its value is longer than {LONGEST_VALUE} characters: shorten it")
        known = found.setdefault(name, ())
        if kept is not None and kept not in known:
            found[name] = (*known, kept)
    return found


def _evened(text: str) -> str:
    printable = text.encode("utf-8", "replace").decode("utf-8")
    return " ".join(unicodedata.normalize("NFC", printable).split())
