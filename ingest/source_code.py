"""Source code: its text as it is, in blocks that begin at the outer level."""

from __future__ import annotations

import re

from ingest.rows import Reading, Row, clean

_BORDER = re.compile(r"\n[ \t]*\n(?=[^\s)\]}])")
"""A blank line before a line that is not indented and closes nothing: there a definition, or a group of lines, begins.
"""


def read_code(text: str) -> Reading:
    """Blocks of code; the indentation inside of a block stays, blank lines between blocks do not."""
    blocks = (clean(block) for block in _BORDER.split(text))
    return Reading(rows=[Row(block, "code") for block in blocks if block])
