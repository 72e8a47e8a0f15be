"""Keys for servers, which come from the environment alone."""

from __future__ import annotations

import os

from rag.errors import ModelError


def key_in(variable: str) -> str:
    """The key in a variable of the environment; empty when there is none.

    Raises :class:`ModelError`, without showing it, for what no HTTP header can hold: libraries would show it.
    """
    key = os.environ.get(variable, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise ModelError(f"{variable} holds characters that no key has: set it anew")
    return key
