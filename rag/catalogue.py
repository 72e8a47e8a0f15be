"""The chat models that are known by name, what they need, and the folder that pulled ones go to."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from pathlib import Path

from rag.errors import ModelError

STATED_WINDOW = 4096
"""The context window, in tokens, that memory is stated for; it is the default of the settings."""
_OVERHEAD = 1_200_000_000
_F16 = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownModel:
    """One entry of ``rag/data/models.toml``, which says what the fields mean.

    Either ``package`` names the Python package that carries the file, or ``repository`` and ``revision`` say where the
    hub has it.
    """

    alias: str
    about: str
    filename: str
    size_bytes: int
    licence: str
    prompt_format: str
    context_window: int
    layers: int
    kv_heads: int
    head_dim: int
    sha256: str | None = None
    package: str | None = None
    repository: str | None = None
    revision: str = "main"

    def memory(self, window: int = STATED_WINDOW) -> int:
        """Bytes of memory to chat with a context of ``window`` tokens, or of what the model can do if that is less.

        ``size_bytes + 2 * layers * kv_heads * head_dim * 2 * window + 1.2e9``: the file, the attention cache (a key and
        a value, 16 bits each, for every layer, head and token), and what else is needed. Of that, 0.6 GB are this
        program and its embedder (measured with the packaged model); the rest is llama.cpp's working memory, above all
        the attention scores of 512 tokens: heads * 512 * window * 4 bytes, 0.5 GB for 64 heads and 4,096 tokens.
        """
        tokens = min(window, self.context_window)
        cache_bytes = 2 * self.layers * self.kv_heads * self.head_dim * _F16 * tokens
        return self.size_bytes + cache_bytes + _OVERHEAD


@cache
def catalogue() -> tuple[KnownModel, ...]:
    """Every known model, from small to large."""
    text = (files("rag") / "data" / "models.toml").read_text(encoding="utf-8")
    return tuple(KnownModel(**entry) for entry in tomllib.loads(text)["model"])


def known_model(alias: str) -> KnownModel:
    """The entry of that alias. Raises :class:`ModelError`, with the closest alias if one is close."""
    for model in catalogue():
        if model.alias == alias:
            return model
    near = closest(alias)
    raise ModelError(f"no model is called {alias!r}: {f'did you mean {near}?' if near else 'see rag models list'}")


def closest(name: str) -> str | None:
    """The alias that ``name`` may be the beginning or a slip of."""
    aliases = [model.alias for model in catalogue()]
    begun = [alias for alias in aliases if name and alias.startswith(name.lower())]
    return next(iter(begun + get_close_matches(name.lower(), aliases, n=1)), None)


def models_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where pulled models are kept: ``RAG_MODELS``, else ``groundchat/models`` in the user's data folder."""
    if chosen := environment.get("RAG_MODELS"):
        return expanded(chosen)
    data = Path(environment.get("XDG_DATA_HOME", ""))
    return (data if data.is_absolute() else expanded("~/.local/share")) / "groundchat" / "models"


def expanded(path: str) -> Path:
    """A path as users write it, ``~`` put in; left as it is for a user that is not known."""
    return Path(os.path.expanduser(path))  # noqa: PTH111  Path.expanduser raises for such a user


def amount(size_bytes: int) -> str:
    """Bytes as people read them: "4.1 GB", or whole megabytes below one gigabyte."""
    return f"{size_bytes / 1e9:.1f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.0f} MB"
