"""Ask questions of your documents: retriever, prompt, model, checked citations.

    from rag import RagChat, Settings
    chat = RagChat.from_settings(Settings(index=".rag/index"))
    print(chat.ask("How often is a station inspected?").text)

The names below are loaded when they are first used, so that ``import rag`` and ``rag --help`` stay fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rag.chat import RagChat
    from rag.retriever import Retriever
    from rag.settings import Settings
    from rag.types import Answer, Citation, Passage

__all__ = ["Answer", "Citation", "Passage", "RagChat", "Retriever", "Settings"]

_HOMES = {
    "Answer": "rag.types",
    "Citation": "rag.types",
    "Passage": "rag.types",
    "RagChat": "rag.chat",
    "Retriever": "rag.retriever",
    "Settings": "rag.settings",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'rag' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
