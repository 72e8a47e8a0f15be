"""The front matter of a Markdown file: a YAML block between ``---`` lines at its very start.

Its fields describe the file; they are no text of it. The block is composed into YAML nodes and no further: nothing is
constructed, no alias is expanded, and every value stays the text that was written (``2024-05-01``, ``1.10``, ``yes``).
"""

from __future__ import annotations

import re

from ingest.fields import MOST_VALUES, Fields, field_name, field_value

_BLOCK = re.compile(r"---[ \t]*\n(?=[ \t]*\S)(.*?)^(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)
_LONGEST_BLOCK = 32 * 2**10
"""In characters; a longer block is text."""


def split_front_matter(text: str) -> tuple[Fields, str]:
    """The fields of a front matter and the text after it; no fields and the whole text where there is none.

    Kept are the names whose value is a scalar or a list with scalars; what is nested deeper, or has no name or value
    that :mod:`ingest.fields` allows, is left out. A block that is no YAML mapping is text.
    """
    match = _BLOCK.match(text, 0, _LONGEST_BLOCK) if text.startswith("---") else None
    fields = _fields(match.group(1)) if match else None
    if match is None or fields is None:
        return {}, text
    return fields, text[match.end() :]


def _fields(block: str) -> Fields | None:
    import yaml  # type: ignore[import-untyped]

    try:
        root = yaml.compose(block, Loader=yaml.BaseLoader)
    # Beside its own errors it lets through those of numbers of characters (\U00ffffff) and of deep nesting.
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError):
        return None
    if not isinstance(root, yaml.MappingNode):
        return None
    found: dict[str, tuple[str, ...]] = {}
    for key, value in root.value:
        name = field_name(key.value) if isinstance(key, yaml.ScalarNode) else None
        nodes = value.value if isinstance(value, yaml.SequenceNode) else [value]
        texts = [field_value(node.value) for node in nodes[:MOST_VALUES] if isinstance(node, yaml.ScalarNode)]
        if name is not None and (values := tuple(dict.fromkeys(filter(None, texts)))):
            found[name] = values
        if len(found) == MOST_VALUES:
            break
    return found
